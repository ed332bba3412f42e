"""The local Slack as one object: its parts wired together, and all a test or a person may ask of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.emulator.slack.arguments import checked_blocks
from orchestrator.emulator.slack.faults import ApiFault, Faults, Kind
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.interactivity import Click, Interactivity
from orchestrator.emulator.slack.limits import RateLimits
from orchestrator.emulator.slack.methods import WebApi
from orchestrator.emulator.slack.settings import SlackChannel, SlackEmulatorSettings, SlackUser
from orchestrator.emulator.slack.tickets import Refused, Ticket, Tickets
from orchestrator.emulator.slack.views import Views
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
        self._fresh(settings.interactivity_url)

    def _fresh(self, interactivity_url: str | None) -> None:
        self.workspace = Workspace(self.settings)
        self.views = Views(self.settings)
        self.tickets = Tickets(self.clock)
        self.faults = Faults()
        self.limits = RateLimits()
        self.calls: list[ApiCall] = []
        self.api = WebApi(self.workspace, self.views, self.tickets, self.clock, self.base_url)
        self.interactivity = Interactivity(
            self.settings, self.workspace, self.views, self.tickets, self.clock, self.base_url
        )
        self.interactivity.url = interactivity_url

    def base_url(self) -> str:
        """This server's own address, without a slash at the end."""
        return self.settings.base_url or self._heard or UNKNOWN_ADDRESS

    def heard_as(self, scheme: str, host: str) -> None:
        """Remember under which address a request came in."""
        self._heard = f"{scheme}://{host}"

    def reset(self) -> None:
        """Back to how it started; only the interactivity address stays."""
        self._fresh(self.interactivity.url)

    def set_interactivity_url(self, url: str | None) -> None:
        """Where clicks and submissions go from now on."""
        self.interactivity.url = url

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
        self.faults.add(ApiFault(method, kind, status, error, retry_after, seconds, stored, count))

    @property
    def clicks(self) -> list[Click]:
        """Every interactivity post and its answer, oldest first."""
        return self.interactivity.clicks

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

    def top_modal(self, user: str) -> str:
        """The id of the modal a person sees.

        Raises:
            CannotClick: They have none open.
        """
        stack = self.views.stack(user)
        if not stack:
            raise CannotClick(f"{user} has no modal open")
        return stack[-1].id

    def add_user(self, user: SlackUser) -> None:
        """Add or change a person."""
        self.workspace.users[user.id] = user

    def add_channel(self, channel: SlackChannel) -> None:
        """Add or change a channel."""
        self.workspace.channels[channel.id] = channel

    def respond(self, secret: str, body: Mapping[str, Any]) -> None:
        """Take a post to a response address: whisper, say, replace or delete.

        Raises:
            Refused: the address is unknown, used up or too old, or the content will not do.
        """
        ticket = self.tickets.use_response(secret)
        original = self.workspace.find(str(ticket.channel), str(ticket.ts))
        if body.get("delete_original"):
            if original is None:
                raise Refused("message_not_found")
            original.deleted = True
            return
        text, blocks = str(body.get("text") or ""), checked_blocks(body)
        if not text and not blocks:
            raise Refused("no_text")
        now_ts = self.workspace.next_ts(self.clock())
        if not body.get("replace_original"):
            self._say(
                ticket,
                original,
                now_ts,
                text,
                blocks or [],
                whisper=body.get("response_type") != "in_channel",
            )
        elif original is None:
            raise Refused("message_not_found")
        else:
            self.workspace.redraw(original, text=text, blocks=blocks, edited_ts=now_ts)

    def _say(
        self,
        ticket: Ticket,
        original: Message | None,
        ts: str,
        text: str,
        blocks: list[dict[str, Any]],
        *,
        whisper: bool,
    ) -> None:
        thread_ts = original.thread_ts if original is not None else None
        only_for = ticket.user if whisper else None
        bot = self.settings.bot_user_id
        self.workspace.add(Message(str(ticket.channel), ts, bot, text, blocks, thread_ts, only_for=only_for))


def _has(part: Any, action_id: str) -> bool:
    """Whether some element below carries that action id."""
    if isinstance(part, dict):
        return part.get("action_id") == action_id or any(_has(v, action_id) for v in part.values())
    return isinstance(part, list) and any(_has(v, action_id) for v in part)
