"""The control API's levers: what an owner of a workspace or Slack itself might do while the app runs."""

from dataclasses import asdict, fields
from typing import Any

import msgspec
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from orchestrator.emulator.slack.control import Answer, cannot, own_forms_only
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackUserGroup, Switches
from orchestrator.emulator.slack.sockets import Goodbye


class UrlsBody(msgspec.Struct):
    """The app's addresses to change; null for nowhere, left out stays."""

    interactivity: str | msgspec.UnsetType | None = msgspec.UNSET
    commands: str | msgspec.UnsetType | None = msgspec.UNSET
    events: str | msgspec.UnsetType | None = msgspec.UNSET


class EventBody(msgspec.Struct):
    """The inner event, with its `type`."""

    event: dict[str, Any]
    user: str = ""


class AgainBody(msgspec.Struct):
    """Which delivery to repeat, by its number in `/_emulator/clicks`."""

    number: int
    reason: str = "http_timeout"


class GoodbyeBody(msgspec.Struct):
    """Why sockets shall connect anew."""

    reason: Goodbye = "warning"


class Levers(Controller):
    """`/_emulator/…`, the part that turns things."""

    path = "/_emulator"
    guards = [own_forms_only]  # noqa: RUF012  Litestar's way
    exception_handlers = {CannotClick: cannot}  # noqa: RUF012  same

    @get("/switches")
    async def switches(self, slack: NamedDependency[LocalSlack]) -> Answer:
        """How they stand."""
        return asdict(slack.switches)

    @post("/switches", status_code=200)
    async def turn(self, slack: NamedDependency[LocalSlack], data: JSONBody[dict[str, Any]]) -> Answer:
        """Turn the switches named; see `Switches`."""
        known = {one.name for one in fields(Switches)}
        if unknown := sorted(set(data) - known):
            raise CannotClick(f"there are no switches {unknown}; there are {sorted(known)}")
        try:
            turned = msgspec.convert({**asdict(slack.switches), **data}, Switches)
        except msgspec.ValidationError as wrong:
            raise CannotClick(str(wrong)) from wrong
        for name in known:
            setattr(slack.switches, name, getattr(turned, name))
        return asdict(slack.switches)

    @get("/groups")
    async def groups(self, slack: NamedDependency[LocalSlack]) -> Answer:
        """The user groups."""
        return {"groups": [asdict(group) for group in slack.workspace.groups.values()]}

    @post("/groups", status_code=200)
    async def set_group(self, slack: NamedDependency[LocalSlack], data: JSONBody[SlackUserGroup]) -> Answer:
        """Add or change a user group."""
        slack.set_group(data)
        return {"groups": [asdict(group) for group in slack.workspace.groups.values()]}

    @delete("/groups/{group_id:str}", status_code=200)
    async def remove_group(self, slack: NamedDependency[LocalSlack], group_id: FromPath[str]) -> Answer:
        """Take a user group away."""
        slack.remove_group(group_id)
        return {"groups": [asdict(group) for group in slack.workspace.groups.values()]}

    @post("/urls", status_code=200)
    async def urls(self, slack: NamedDependency[LocalSlack], data: JSONBody[UrlsBody]) -> Answer:
        """Where the app is reached; an events address is proved at once."""
        if data.interactivity is not msgspec.UNSET:
            slack.set_interactivity_url(data.interactivity)
        if data.commands is not msgspec.UNSET:
            slack.set_commands_url(data.commands)
        if data.events is not msgspec.UNSET:
            slack.set_events_url(data.events)
        proof = await slack.events.verify() if isinstance(data.events, str) else None
        return {"urls": slack.courier.urls, "verification": proof.wire() if proof else None}

    @post("/event", status_code=200)
    async def event(self, slack: NamedDependency[LocalSlack], data: JSONBody[EventBody]) -> Answer:
        """Tell the app of an event, for example `{"type": "app_uninstalled"}`."""
        return (await slack.events.send(data.event, data.user)).wire()

    @post("/event/again", status_code=200)
    async def again(self, slack: NamedDependency[LocalSlack], data: JSONBody[AgainBody]) -> Answer:
        """Send an event once more, as Slack does when it had no answer."""
        found = [click for click in slack.clicks if click.number == data.number]
        if not found:
            raise CannotClick(f"there is no delivery {data.number}")
        return (await slack.events.again(found[0], data.reason)).wire()

    @get("/sockets")
    async def sockets(self, slack: NamedDependency[LocalSlack]) -> Answer:
        """How many sockets are open."""
        return {"connected": slack.sockets.connected}

    @post("/sockets/disconnect", status_code=200)
    async def disconnect(self, slack: NamedDependency[LocalSlack], data: JSONBody[GoodbyeBody]) -> Answer:
        """Tell the sockets to connect anew."""
        return {"told": await slack.sockets.disconnect(data.reason)}
