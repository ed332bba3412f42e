"""The control API for tests and demos: what was posted, what was pressed, and levers for trouble.

None of this exists at Slack. Everything answers JSON; what cannot be done answers 404 with `error`.
"""

from dataclasses import asdict
from typing import Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, JSONBody

from orchestrator.emulator.slack.faults import ApiFault
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackChannel, SlackUser

Answer = dict[str, Any]
Typed = dict[str, Any]
"""By block id and action id, or by block id alone: a text, a number, an option, an id, a list of these."""


class ClickBody(msgspec.Struct):
    """Which element of which message; without `ts` the newest message that fits.

    `values` is what was put into the message's input blocks before, by block id and action id.
    """

    action_id: str
    user: str
    channel: str | None = None
    ts: str | None = None
    text_contains: str | None = None
    latest: bool = True
    view_id: str | None = None
    block_id: str | None = None
    choice: str | list[str] | None = None
    values: Typed = {}


class SubmitBody(msgspec.Struct):
    """What `user` types into their topmost modal, by block id and action id."""

    user: str
    values: Typed = {}


class UserOnly(msgspec.Struct):
    """A person, by id."""

    user: str


class CommandBody(msgspec.Struct):
    """What `user` types in `channel`, for example `/approvals mine`."""

    user: str
    line: str
    channel: str


class ShortcutBody(msgspec.Struct):
    """A shortcut of the app; on a message if it names one."""

    user: str
    callback_id: str
    channel: str | None = None
    ts: str | None = None


class UrlBody(msgspec.Struct):
    """Where interactivity posts go; null for nowhere."""

    url: str | None


def own_pages_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Refuse what another site's page makes a browser send; programs send no such header."""
    if connection.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise PermissionDeniedException("only this server's own pages may do that")


def own_forms_only(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """As `own_pages_only`, but anybody may look: a link from the service's own pages must work."""
    if connection.scope.get("method") != "GET":
        own_pages_only(connection, handler)


def cannot(_: Request[Any, Any, Any], problem: CannotClick) -> Response[Answer]:
    """There is nothing there to click."""
    return Response({"error": str(problem.args[0])}, status_code=404)


class Control(Controller):
    """`/_emulator/…`"""

    path = "/_emulator"
    guards = [own_forms_only]  # noqa: RUF012  Litestar's way
    exception_handlers = {CannotClick: cannot}  # noqa: RUF012  same

    @get("/messages")
    async def messages(
        self, slack: NamedDependency[LocalSlack], channel: FromQuery[str | None] = None
    ) -> Answer:
        """Every message, ephemerals, deleted and earlier looks included."""
        return {"messages": slack.messages(channel)}

    @get("/clicks")
    async def clicks(self, slack: NamedDependency[LocalSlack]) -> Answer:
        """Everything brought to the app, with its answer."""
        return {"clicks": [click.wire() for click in slack.clicks]}

    @get("/calls")
    async def calls(self, slack: NamedDependency[LocalSlack]) -> Answer:
        """Every Web API call and its outcome."""
        return {"calls": [asdict(call) for call in slack.calls]}

    @get("/views")
    async def views(self, slack: NamedDependency[LocalSlack], user: FromQuery[str | None] = None) -> Answer:
        """Open modals, each person's topmost last, and Home tabs; of one person or everybody."""
        wanted = [v for v in slack.views.all() if user in (None, v.user)]
        rows = [{"user": v.user, "errors": v.errors, "trouble": v.trouble} for v in wanted]
        return {"views": [{**slack.views.wire(v), **row} for v, row in zip(wanted, rows, strict=True)]}

    @get("/notifications")
    async def notifications(
        self, slack: NamedDependency[LocalSlack], user: FromQuery[str | None] = None
    ) -> Answer:
        """Whom messages made a sound for and why, oldest first; of one person or everybody."""
        return {"notifications": [asdict(one) for one in slack.notifications(user)]}

    @post("/click", status_code=200)
    async def click(self, slack: NamedDependency[LocalSlack], data: JSONBody[ClickBody]) -> Answer:
        """Press, and wait for the service's answer."""
        if data.view_id is not None:
            clicked = await slack.interactivity.click_view(
                data.view_id,
                data.action_id,
                block_id=data.block_id,
                choice=data.choice,
                values=data.values,
            )
            return clicked.wire()
        channel, ts = _place(slack, data)
        clicked = await slack.click(
            channel,
            ts,
            data.action_id,
            data.user,
            block_id=data.block_id,
            choice=data.choice,
            values=data.values,
        )
        return clicked.wire()

    @post("/submit", status_code=200)
    async def submit(self, slack: NamedDependency[LocalSlack], data: JSONBody[SubmitBody]) -> Answer:
        """Fill in and submit a person's topmost modal."""
        return (await slack.submit(data.user, data.values)).wire()

    @post("/close", status_code=200)
    async def close(self, slack: NamedDependency[LocalSlack], data: JSONBody[UserOnly]) -> Answer:
        """Close a person's topmost modal."""
        click = await slack.close(data.user)
        return {"told": click.wire() if click else None}

    @post("/home", status_code=200)
    async def home(self, slack: NamedDependency[LocalSlack], data: JSONBody[UserOnly]) -> Answer:
        """Open the Home tab as a person."""
        return (await slack.open_home(data.user)).wire()

    @post("/command", status_code=200)
    async def command(self, slack: NamedDependency[LocalSlack], data: JSONBody[CommandBody]) -> Answer:
        """Enter a slash command as a person."""
        return (await slack.command(data.user, data.line, data.channel)).wire()

    @post("/shortcut", status_code=200)
    async def shortcut(self, slack: NamedDependency[LocalSlack], data: JSONBody[ShortcutBody]) -> Answer:
        """Use a shortcut as a person: a global one, or with `channel` and `ts` one on a message."""
        used = slack.interactivity.shortcut(data.user, data.callback_id, data.channel, data.ts)
        return (await used).wire()

    @post("/interactivity_url", status_code=200)
    async def interactivity_url(self, slack: NamedDependency[LocalSlack], data: JSONBody[UrlBody]) -> Answer:
        """Where clicks go from now on."""
        slack.set_interactivity_url(data.url)
        return {"url": data.url}

    @post("/faults", status_code=200)
    async def faults(self, slack: NamedDependency[LocalSlack], data: JSONBody[ApiFault]) -> Answer:
        """Order trouble."""
        slack.faults.add(data)
        return {"pending": [asdict(fault) for fault in slack.faults.pending()]}

    @post("/reset", status_code=200)
    async def reset(self, slack: NamedDependency[LocalSlack]) -> dict[str, Literal[True]]:
        """Back to how it started."""
        slack.reset()
        return {"ok": True}

    @post("/users", status_code=200)
    async def users(self, slack: NamedDependency[LocalSlack], data: JSONBody[SlackUser]) -> Answer:
        """Add or change a person."""
        slack.add_user(data)
        return {"users": [asdict(user) for user in slack.workspace.users.values()]}

    @post("/channels", status_code=200)
    async def channels(self, slack: NamedDependency[LocalSlack], data: JSONBody[SlackChannel]) -> Answer:
        """Add or change a channel."""
        slack.add_channel(data)
        return {"channels": sorted(slack.workspace.channels)}


def _place(slack: LocalSlack, data: ClickBody) -> tuple[str, str]:
    if data.channel is not None and data.ts is not None:
        return data.channel, data.ts
    message = slack.latest(data.channel, text_contains=data.text_contains, action_id=data.action_id)
    return message.channel, message.ts
