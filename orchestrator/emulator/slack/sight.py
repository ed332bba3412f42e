"""What one person sees of the workspace: the values the page's templates draw, and the templates."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator.emulator.slack.courier import Click
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.render import Renderer, moment, plain
from orchestrator.emulator.slack.settings import SlackChannel
from orchestrator.emulator.slack.views import View
from orchestrator.emulator.slack.workspace import SLACKBOT, Message, sent_along, value_key

TEMPLATES: Final = Path(__file__).parent / "templates"
RECENT = 8
"""Deliveries, and notifications, listed beside the channel."""
DONE: Mapping[str, str] = {
    "view_submission": "submitted a form",
    "view_closed": "closed a form",
    "shortcut": "used a shortcut",
    "message_action": "used a shortcut on a message",
    "event_callback": "caused an event",
    "url_verification": "proved the events address",
}
WHY: Mapping[str, str] = {
    "direct": "wrote to you",
    "mention": "mentioned you",
    "group": "mentioned your group",
    "everyone": "mentioned everybody",
    "thread": "replied in a thread you follow",
}


def field_name(block_id: str, action_id: str) -> str:
    """The name of a form field, or of a button: both ids, so that neither needs escaping rules of its own."""
    return json.dumps([block_id, action_id])


def environment() -> Environment:
    """The templates, with everything escaped unless drawn by `render`."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        moment=moment, ts_moment=lambda ts: moment(float(ts), "%H:%M UTC"), value_key=value_key
    )
    env.tests["sent_along"] = sent_along
    env.globals.update(field_name=field_name, plain=plain)
    return env


ENVIRONMENT = environment()


class Sight:
    """What one person sees of one place: the values the templates draw."""

    def __init__(self, slack: LocalSlack, viewer: str | None, channel: str | None, home: bool) -> None:
        workspace = slack.workspace
        self.slack = slack
        self.workspace = workspace
        self.settings = slack.settings
        self.viewer = viewer if viewer in workspace.users else next(iter(workspace.users), "")
        self.home = home
        self.channels = [c for c in workspace.channels.values() if workspace.member(c, self.viewer)]
        self.channel = self._chosen(channel)
        stack = slack.views.stack(self.viewer)
        self.modal = stack[-1] if stack else None
        self.depth = len(stack)
        self.home_view = slack.views.home(self.viewer)
        self.renderer = Renderer(workspace)
        self.recent = list(reversed(slack.clicks))[:RECENT]
        self.sounds = list(reversed(slack.notifications(self.viewer)))[:RECENT]
        self.why = WHY

    def _chosen(self, channel: str | None) -> SlackChannel | None:
        """The channel asked for, else the first with a message in it, else the first."""
        asked = [c for c in self.channels if c.id == channel]
        busy = [c for c in self.channels if self.workspace.shown(c.id, self.viewer)]
        return next(iter([*asked, *busy, *self.channels]), None)

    def messages(self) -> list[Message]:
        """What stands in the channel itself."""
        shown = self._shown()
        return [m for m in shown if m.thread_ts is None or m.broadcast]

    def replies(self, parent: Message) -> list[Message]:
        """What stands in a message's thread, whispers to this person included."""
        return [m for m in self._shown() if m.thread_ts == parent.ts]

    def _shown(self) -> list[Message]:
        return self.workspace.shown(self.channel.id, self.viewer) if self.channel else []

    def waiting(self, channel: SlackChannel) -> int:
        """How many messages of a channel have something to press."""
        shown = self.workspace.shown(channel.id, self.viewer)
        return sum(any(b["type"] == "actions" for b in m.blocks) for m in shown)

    def trouble(self, message: Message) -> Click | None:
        """This person's last press on a message, if it failed."""
        own = [
            c
            for c in self.slack.clicks
            if (c.ts, c.channel, c.user) == (message.ts, message.channel, self.viewer)
        ]
        return own[-1] if own and own[-1].failed else None

    def did(self, click: Click) -> str:
        """What a person did, in words."""
        if click.kind == "command":
            return f"typed {click.payload['command']} {click.payload['text']}".strip()
        if click.payload.get("event", {}).get("type") == "app_home_opened":
            return "opened the Home tab"
        return f"pressed {click.action_id}" if click.action_id else DONE.get(click.kind, click.kind)

    def heard(self) -> bool:
        """Whether presses reach the app at all."""
        sockets = self.slack.switches.socket_mode
        return bool(self.slack.sockets.connected if sockets else self.slack.interactivity.url)

    def waiting_for(self) -> str:
        """How the app is reached, in words."""
        if not self.slack.switches.socket_mode:
            return "" if self.heard() else "Presses go nowhere yet: no interactivity address is set."
        number = self.slack.sockets.connected
        sockets = f"{number} socket{'' if number == 1 else 's'} connected"
        return f"Socket Mode, {sockets}." if number else "Presses go nowhere yet: no socket is connected."

    def fills(self, view: View) -> str:
        """The id of the form a modal's or Home tab's fields and buttons share; empty if it has no field."""
        kind = view.definition["type"]
        return f"{kind}-form" if any(block["type"] == "input" for block in view.blocks) else ""

    def typing(self, message: Message) -> str:
        """The id of the form of a message with input blocks, whose buttons send them along; else empty."""
        return f"f{message.ts.replace('.', '')}" if any(map(sent_along, message.blocks)) else ""

    def name(self, user: str) -> str:
        """A person's name as shown."""
        if user in (self.settings.bot_user_id, SLACKBOT):
            return "Slackbot" if user == SLACKBOT else self.settings.app_name
        person = self.workspace.users.get(user)
        return person.display_name if person else user

    def place(self, **more: str) -> str:
        """This view's address, with some of it changed."""
        here = {"as": self.viewer}
        if self.home:
            here["home"] = "true"
        elif self.channel is not None:
            here["channel"] = self.channel.id
        return "/?" + urlencode({**here, **more})

    def html(self) -> str:
        """The page, without its version."""
        return ENVIRONMENT.get_template("page.html").render(sight=self, r=self.renderer)

    def version(self) -> str:
        """Changes when anything on the page does."""
        return hashlib.sha256(self.html().encode()).hexdigest()[:16]
