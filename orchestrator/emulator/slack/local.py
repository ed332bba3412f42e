"""The local Slack as one object: its parts wired together, and all a test or a person may ask of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.emulator.slack.commands import Commands
from orchestrator.emulator.slack.courier import Click, Courier
from orchestrator.emulator.slack.directory import Directory
from orchestrator.emulator.slack.events import Events
from orchestrator.emulator.slack.faults import ApiFault, Faults, Kind
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.interactivity import Interactivity
from orchestrator.emulator.slack.limits import RateLimits
from orchestrator.emulator.slack.methods import WebApi
from orchestrator.emulator.slack.notifications import Notification
from orchestrator.emulator.slack.responses import Responses
from orchestrator.emulator.slack.settings import (
    SlackChannel,
    SlackEmulatorSettings,
    SlackUser,
    SlackUserGroup,
    Switches,
)
from orchestrator.emulator.slack.sockets import Sockets
from orchestrator.emulator.slack.tickets import Tickets
from orchestrator.emulator.slack.uploads import Uploads
from orchestrator.emulator.slack.views import View, Views
from orchestrator.emulator.slack.workspace import Message, Workspace

UNKNOWN_ADDRESS = "http://127.0.0.1"
"""Stands for this server's address until a request named it."""


@dataclass(frozen=True)
class ApiCall:
    """One Web API call as it came in, without its token, and what it got. `at` is Unix seconds."""

    number: int
    method: str
    args: dict[str, Any]
    at: float
    outcome: str
    """`ok`, Slack's error code, or the fault it met."""


class LocalSlack:
    """One workspace with one app in it.

    Args:
        clock: Unix seconds now; message timestamps, trigger ids and response addresses follow it.
    """

    def __init__(self, settings: SlackEmulatorSettings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self._heard: str | None = None
        self.sockets = Sockets(settings.app_id, lambda: self.workspace.switches, self.base_url)
        self._fresh()

    def _fresh(self) -> None:
        self.workspace = Workspace(self.settings)
        self.views = Views(self.settings)
        self.tickets = Tickets(self.clock)
        self.faults = Faults()
        self.limits = RateLimits()
        self.calls: list[ApiCall] = []
        base_url, clock = self.base_url, self.clock
        self.uploads = Uploads(self.workspace, clock, base_url)
        methods = {**Directory(self.workspace).methods, **self.uploads.methods}
        methods["apps.connections.open"] = self.sockets.open
        self.api = WebApi(self.workspace, self.views, self.tickets, clock, base_url, methods)
        self.courier = Courier(self.settings, self.workspace, self.sockets, clock)
        self.responses = Responses(self.workspace, self.tickets, clock)
        self.interactivity = Interactivity(
            self.settings, self.workspace, self.views, self.tickets, self.courier, clock, base_url
        )
        self.commands = Commands(
            self.settings, self.workspace, self.tickets, self.courier, self.responses, base_url
        )
        self.events = Events(self.settings, self.workspace, self.views, self.courier, clock)

    def base_url(self) -> str:
        """This server's own address, without a slash at the end."""
        return self.settings.base_url or self._heard or UNKNOWN_ADDRESS

    def heard_as(self, scheme: str, host: str) -> None:
        """Remember under which address a request came in."""
        self._heard = f"{scheme}://{host}"

    def reset(self) -> None:
        """Back to how it started; only the app's addresses and its sockets stay."""
        urls = dict(self.courier.urls)
        self._fresh()
        self.courier.urls.update(urls)

    def set_interactivity_url(self, url: str | None) -> None:
        """Where clicks and submissions go from now on."""
        self.courier.urls["interactive"] = url

    def set_commands_url(self, url: str | None) -> None:
        """Where slash commands go from now on."""
        self.courier.urls["slash_commands"] = url

    def set_events_url(self, url: str | None) -> None:
        """Where events go from now on; `events.verify` proves it."""
        self.courier.urls["events_api"] = url

    @property
    def switches(self) -> Switches:
        """What may be turned while it runs: set its fields."""
        return self.workspace.switches

    def call(self, method: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """A Web API call in process, without token, faults or rate limits.

        Raises:
            Refused: Slack's error code.
        """
        return self.api.call(method, args)

    def note_call(self, method: str, args: Mapping[str, Any], outcome: str) -> None:
        """Keep a call for `calls`."""
        kept = {key: value for key, value in args.items() if key != "token"}
        self.calls.append(ApiCall(len(self.calls) + 1, method, kept, self.clock(), outcome))

    def fault(
        self,
        method: str,
        kind: Kind,
        *,
        status: int = 500,
        error: str = "internal_error",
        retry_after: int = 1,
        seconds: float = 1.0,
        stored: bool = False,
        count: int = 1,
    ) -> None:
        """Order trouble for the next `count` calls of `method`; see `ApiFault` for the rest."""
        self.faults.add(ApiFault(kind, method, status, error, retry_after, seconds, stored, count))

    @property
    def clicks(self) -> list[Click]:
        """Everything brought to the app and its answer, oldest first: interactions, commands, events."""
        return self.courier.clicks

    def notifications(self, user: str | None = None) -> list[Notification]:
        """Every sound a message made, for one person or anybody, oldest first."""
        return [n for n in self.workspace.notifications if user in (None, n.user)]

    def messages(self, channel: str | None = None) -> list[dict[str, Any]]:
        """Every message ever, oldest first, with ephemerals, deleted ones and earlier looks."""
        return [self._full(message) for message in self.workspace.listed(channel)]

    def _full(self, message: Message) -> dict[str, Any]:
        row = asdict(message)
        names = self.workspace.channels
        return {**row, "channel_name": names[message.channel].name, "edits": row.pop("past")}

    def latest(
        self, channel: str | None = None, *, text_contains: str | None = None, action_id: str | None = None
    ) -> Message:
        """The newest message still there, of one channel or any, whose text holds `text_contains`.

        With `action_id`, the newest of those that have such an element to press.

        Raises:
            CannotClick: There is none.
        """
        for message in reversed(list(self.workspace.listed(channel))):
            fits = text_contains is None or text_contains in message.text
            if not message.deleted and fits and (action_id is None or _has(message.blocks, action_id)):
                return message
        raise CannotClick("no such message")

    async def click(
        self,
        channel: str,
        ts: str,
        action_id: str,
        user: str,
        *,
        block_id: str | None = None,
        choice: str | list[str] | None = None,
        values: dict[str, dict[str, Any]] | None = None,
    ) -> Click:
        """Press a button, or use another element, as `user`; see `Interactivity.click`."""
        return await self.interactivity.click(
            channel, ts, action_id, user, block_id=block_id, choice=choice, values=values
        )

    async def submit(self, user: str, values: dict[str, dict[str, Any]] | None = None) -> Click:
        """Fill in and submit the topmost modal of `user`; see `Interactivity.submit`."""
        return await self.interactivity.submit(self.top_modal(user), values)

    async def close(self, user: str) -> Click | None:
        """Close the topmost modal of `user`; None when the app did not ask to hear of it."""
        return await self.interactivity.close(self.top_modal(user))

    async def command(self, user: str, line: str, channel: str) -> Click:
        """Have `user` enter a slash command such as `/approvals mine`; see `Commands.run`."""
        return await self.commands.run(user, line, channel)

    async def open_home(self, user: str) -> Click:
        """Have `user` open the app's Home tab, which the app is told of; see `Events.home_opened`."""
        return await self.events.home_opened(user)

    def modal(self, user: str) -> View | None:
        """The modal a person sees, if any."""
        stack = self.views.stack(user)
        return stack[-1] if stack else None

    def top_modal(self, user: str) -> str:
        """The id of the modal a person sees.

        Raises:
            CannotClick: They have none open.
        """
        view = self.modal(user)
        if view is None:
            raise CannotClick(f"{user} has no modal open")
        return view.id

    def add_user(self, user: SlackUser) -> None:
        """Add or change a person."""
        self.workspace.users[user.id] = user

    def set_group(self, group: SlackUserGroup) -> None:
        """Add or change a user group."""
        self.workspace.groups[group.id] = group

    def remove_group(self, group_id: str) -> None:
        """Take a user group away; unknown ones are gone already."""
        self.workspace.groups.pop(group_id, None)

    def add_channel(self, channel: SlackChannel) -> None:
        """Add or change a channel."""
        self.workspace.channels[channel.id] = channel

    def respond(self, secret: str, body: Mapping[str, Any]) -> None:
        """Take a post to a response address; see `Responses.respond`."""
        self.responses.respond(secret, body)


def _has(part: Any, action_id: str) -> bool:
    """Whether some element below carries that action id."""
    if isinstance(part, dict):
        return part.get("action_id") == action_id or any(_has(v, action_id) for v in part.values())
    return isinstance(part, list) and any(_has(v, action_id) for v in part)
