"""The page: channels, messages as a person sees them, and buttons that really press.

It works without script; the little script only reloads it when something changed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from orchestrator.emulator.slack.control import own_forms_only, own_pages_only
from orchestrator.emulator.slack.inputs import CannotClick, find_element
from orchestrator.emulator.slack.interactivity import Click
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.render import Renderer, moment, plain
from orchestrator.emulator.slack.settings import SlackChannel
from orchestrator.emulator.slack.workspace import Message, sent_along, value_key

TEMPLATES = Path(__file__).parent / "templates"
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
RECENT = 8
"""Presses listed beside the channel."""


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
        self.home_view = slack.views.home(self.viewer)
        self.renderer = Renderer(workspace)
        self.recent = list(reversed(slack.clicks))[:RECENT]

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

    def typing(self, message: Message) -> str:
        """The id of the form of a message with input blocks, whose buttons send them along; else empty."""
        return f"f{message.ts.replace('.', '')}" if any(map(sent_along, message.blocks)) else ""

    def name(self, user: str) -> str:
        """A person's name as shown."""
        if user == self.settings.bot_user_id:
            return self.settings.app_name
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


def page(html: str, status_code: int = 200) -> Response[bytes]:
    """An HTML answer with the strict headers."""
    return Response(
        html.encode(), media_type="text/html; charset=utf-8", headers=HEADERS, status_code=status_code
    )


def cannot(_: Request[Any, Any, Any], problem: CannotClick) -> Response[bytes]:
    """A page that says why nothing was pressed."""
    html = ENVIRONMENT.get_template("trouble.html").render(said=str(problem.args[0]))
    return page(html, 404)


class Page(Controller):
    """`/` and what its forms post to."""

    path = "/"
    guards = [own_forms_only]  # noqa: RUF012  Litestar's way
    exception_handlers = {CannotClick: cannot}  # noqa: RUF012  same

    @get("/")
    async def show(
        self,
        request: Request[Any, Any, Any],
        slack: NamedDependency[LocalSlack],
        channel: FromQuery[str | None] = None,
        home: FromQuery[bool] = False,
    ) -> Response[bytes]:
        """The workspace as the person in `?as=` sees it."""
        slack.heard_as(request.url.scheme, request.headers.get("host", ""))
        sight = Sight(slack, request.query_params.get("as"), channel, home)
        return page(sight.html().replace('data-version=""', f'data-version="{sight.version()}"', 1))

    @get("/ui/version", media_type="text/plain")
    async def version(
        self,
        request: Request[Any, Any, Any],
        slack: NamedDependency[LocalSlack],
        channel: FromQuery[str | None] = None,
        home: FromQuery[bool] = False,
    ) -> str:
        """What the script compares before it reloads."""
        return Sight(slack, request.query_params.get("as"), channel, home).version()

    @get("/ui/confirm")
    async def confirm(
        self,
        request: Request[Any, Any, Any],
        slack: NamedDependency[LocalSlack],
    ) -> Response[bytes]:
        """The confirm dialog of one element, as a page of its own."""
        form, sent = dict(request.query_params), request.query_params.multi_items()
        block_id, action_id = _ids({key: [value] for key, value in form.items()})
        _, element = find_element(_blocks(slack, form), action_id, block_id)
        if element.get("confirm") is None:
            raise CannotClick("this element asks for no confirmation")
        sight = Sight(slack, form.get("as"), form.get("channel"), False)
        html = ENVIRONMENT.get_template("confirm.html")
        drawn = html.render(sight=sight, r=sight.renderer, dialog=element["confirm"], form=form, sent=sent)
        return page(drawn)

    @post("/ui/click", status_code=303)
    async def click(self, request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]) -> Redirect:
        """Press, then go back to the page."""
        form = await _form(request)
        await _press(slack, form)
        return _back(form)

    @get("/ui/visit", status_code=303, guards=[own_pages_only])
    async def visit(self, request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]) -> Redirect:
        """Press a link button: tell the service, then open its address."""
        form = {key: [value] for key, value in request.query_params.items()}
        _, element = find_element(
            _blocks(slack, dict(request.query_params)), _first(form, "action_id"), _first(form, "block_id")
        )
        if "url" not in element:
            raise CannotClick("this element has no address")
        await _press(slack, form)
        return Redirect(element["url"], status_code=303)

    @post("/ui/submit", status_code=303)
    async def submit(self, request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]) -> Redirect:
        """Submit the modal, then go back; what went wrong is shown in it."""
        form = await _form(request)
        view_id = _first(form, "view_id")
        try:
            await slack.interactivity.submit(view_id, _values(slack, view_id, form))
        except CannotClick:
            if not any(view.id == view_id and view.errors for view in slack.views.all()):
                raise
        return _back(form)

    @post("/ui/close", status_code=303)
    async def close(self, request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]) -> Redirect:
        """Close the modal, then go back."""
        form = await _form(request)
        await slack.interactivity.close(_first(form, "view_id"))
        return _back(form)

    @get("/assets/{name:str}")
    async def asset(self, name: FromPath[str]) -> Response[bytes]:
        """The style sheet and the script."""
        kinds = {"slack.css": "text/css; charset=utf-8", "slack.js": "text/javascript; charset=utf-8"}
        if name not in kinds:
            raise NotFoundException
        headers = {"x-content-type-options": "nosniff", "cache-control": "no-cache"}
        return Response((TEMPLATES / name).read_bytes(), media_type=kinds[name], headers=headers)


async def _form(request: Request[Any, Any, Any]) -> dict[str, list[str]]:
    return parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)


def _first(form: Mapping[str, list[str]], key: str) -> str:
    return form.get(key, [""])[0]


def _blocks(slack: LocalSlack, form: Mapping[str, str]) -> list[dict[str, Any]]:
    """The blocks of the message or view a form is about."""
    for view in slack.views.all():
        if view.id == form.get("view_id"):
            return view.blocks
    message = slack.workspace.find(form.get("channel", ""), form.get("ts", ""))
    if message is None:
        raise CannotClick("this message is gone")
    return message.blocks


async def _press(slack: LocalSlack, form: Mapping[str, list[str]]) -> Click:
    block_id, action_id = _ids(form)
    choices = form.get("choice")
    choice = choices if choices is None or len(choices) > 1 else choices[0]
    view_id = _first(form, "view_id")
    if view_id:
        return await slack.interactivity.click_view(view_id, action_id, block_id=block_id, choice=choice)
    channel, ts, user = (_first(form, key) for key in ("channel", "ts", "as"))
    message = slack.workspace.find(channel, ts)
    values = _typed(filter(sent_along, message.blocks), form) if message and form.get("pressed") else None
    return await slack.click(channel, ts, action_id, user, block_id=block_id, choice=choice, values=values)


def _ids(form: Mapping[str, list[str]]) -> tuple[str, str]:
    """Block and action of what was pressed: named by the button itself, or by fields of its own form."""
    if not form.get("pressed"):
        return _first(form, "block_id"), _first(form, "action_id")
    try:
        block_id, action_id = json.loads(_first(form, "pressed"))
    except (TypeError, ValueError):
        raise CannotClick("no such button") from None
    return str(block_id), str(action_id)


def _values(slack: LocalSlack, view_id: str, form: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """What a modal's form brought: every input of the view, those not sent being empty."""
    blocks = [b for view in slack.views.all() if view.id == view_id for b in view.blocks]
    return _typed((b for b in blocks if b["type"] == "input"), form)


def _typed(inputs: Iterable[dict[str, Any]], form: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """What a form brought for some input blocks, those not sent being empty."""
    made: dict[str, dict[str, Any]] = {}
    for block in inputs:
        element = block["element"]
        sent = form.get(field_name(block["block_id"], element["action_id"]), [])
        many = value_key(element).endswith("s")
        typed: Any = sent if many else (sent or [""])[0].replace("\r\n", "\n")
        made[block["block_id"]] = {element["action_id"]: typed}
    return made


def _back(form: Mapping[str, list[str]]) -> Redirect:
    """To where the person was, at the message they pressed."""
    query = {key: _first(form, key) for key in ("as", "channel", "home") if _first(form, key)}
    ts = _first(form, "ts").replace(".", "")
    return Redirect(f"/?{urlencode(query)}" + (f"#p{ts}" if ts.isdecimal() else ""), status_code=303)
