"""The page: channels, messages as a person sees them, and buttons that really press.

It works without script; the little script only reloads it when something changed.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from orchestrator.emulator.slack.control import own_forms_only, own_pages_only
from orchestrator.emulator.slack.courier import Click
from orchestrator.emulator.slack.inputs import CannotClick, find_element
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.sight import ENVIRONMENT, TEMPLATES, Sight, field_name
from orchestrator.emulator.slack.workspace import sent_along, value_key

CSP = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


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

    @get("/ui/home", status_code=303, guards=[own_pages_only])
    async def home(self, request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]) -> Redirect:
        """Open the Home tab: tell the service where it listens for events, then show it."""
        viewer = request.query_params.get("as", "")
        if slack.switches.socket_mode or slack.courier.urls["events_api"]:
            await slack.open_home(viewer)
        return Redirect("/?" + urlencode({"as": viewer, "home": "true"}), status_code=303)

    @post("/ui/command", status_code=303)
    async def command(self, request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]) -> Redirect:
        """Enter a slash command, then go back; its answer is in the channel."""
        form = await _form(request)
        await slack.command(_first(form, "as"), _first(form, "line"), _first(form, "channel"))
        return _back(form)

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
    """Press what a form names; what stands in the fields it shares goes along."""
    block_id, action_id = _ids(form)
    pressed = bool(form.get("pressed"))
    choices = form.get(field_name(block_id, action_id)) if pressed else form.get("choice")
    choice = choices if choices is None or len(choices) > 1 else choices[0]
    view_id = _first(form, "view_id")
    if view_id:
        typed = _values(slack, view_id, form) if pressed else None
        return await slack.interactivity.click_view(
            view_id, action_id, block_id=block_id, choice=choice, values=typed
        )
    channel, ts, user = (_first(form, key) for key in ("channel", "ts", "as"))
    message = slack.workspace.find(channel, ts)
    values = _typed(filter(sent_along, message.blocks), form) if message and pressed else None
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
