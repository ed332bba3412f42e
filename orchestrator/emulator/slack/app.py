"""The local Slack as an application: Web API, response addresses, control API and page on one port."""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from orchestrator.emulator.slack.api import call
from orchestrator.emulator.slack.arguments import whole_text
from orchestrator.emulator.slack.control import Control
from orchestrator.emulator.slack.levers import Levers
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.page import Page
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.sockets import link
from orchestrator.emulator.slack.tickets import Refused
from orchestrator.emulator.slack.uploads import MOST_BYTES

TICKET_ERRORS = frozenset({"no_service", "expired_url", "used_url"})


def build(
    settings: SlackEmulatorSettings | None = None, *, clock: Callable[[], float] = time.time
) -> Litestar:
    """A local Slack; the object behind it is at `app.state.slack`.

    Args:
        settings: None takes the defaults: token `xoxb-local`, three people, channels C0APPR and C0GENERAL.
        clock: Unix seconds now.
    """
    slack = LocalSlack(settings or SlackEmulatorSettings(), clock=clock)

    def heard(request: Request[Any, Any, Any]) -> None:
        slack.heard_as(request.url.scheme, request.headers.get("host", ""))

    return Litestar(
        before_request=heard,
        route_handlers=[call, respond, take_bytes, show_file, link, Control, Levers, Page],
        dependencies={
            "slack": Provide(lambda: slack, sync_to_thread=False),
            "sockets": Provide(lambda: slack.sockets, sync_to_thread=False),
        },
        state=State({"slack": slack}),
        openapi_config=None,
        logging_config=None,
    )


@post("/upload/v1/{ticket:str}", status_code=200, media_type="text/plain", request_max_body_size=MOST_BYTES)
async def take_bytes(
    ticket: FromPath[str], request: Request[Any, Any, Any], slack: NamedDependency[LocalSlack]
) -> Response[str]:
    """The bytes of one file, raw; the address is the permission. Trouble on order is that of `upload`."""
    content = await request.body()
    fault = slack.faults.take("upload")
    slack.note_call("upload", {"length": len(content)}, fault.kind if fault else "ok")
    if fault is not None:
        return Response("out of order", status_code=fault.status)
    try:
        slack.uploads.take(ticket, content)
    except Refused as refused:
        return Response(refused.error, status_code=404 if refused.error == "no_such_upload" else 400)
    return Response(f"OK - {len(content)}")


@get("/files/{file_id:str}", sync_to_thread=False)
def show_file(file_id: FromPath[str], slack: NamedDependency[LocalSlack]) -> Response[bytes]:
    """A picture that was shown, for the page; anything else is a download nobody needs."""
    file = slack.uploads.shown(file_id)
    if file is None or file.content is None:
        return Response(b"", status_code=404)
    headers = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox"}
    return Response(file.content, media_type=file.mimetype, headers=headers)


@post("/actions/{team:str}/{secret:str}", status_code=200)
async def respond(
    team: FromPath[str],
    secret: FromPath[str],
    request: Request[Any, Any, Any],
    slack: NamedDependency[LocalSlack],
) -> Response[dict[str, Any]]:
    """A `response_url`: no token, the address is the permission.

    404 for an address that is unknown, used up or too old; 400 for content Slack would refuse.
    """
    try:
        if team != slack.settings.team_id:
            raise Refused("no_service")
        slack.respond(secret, _body(await request.body()))
    except Refused as refused:
        status = 404 if refused.error in TICKET_ERRORS else 400
        return Response({"ok": False, "error": refused.error, **refused.extra}, status_code=status)
    return Response({"ok": True})


def _body(raw: bytes) -> dict[str, Any]:
    """JSON, or JSON in a form's `payload`."""
    text = raw.decode("utf-8", "replace")
    try:
        decoded = json.loads(parse_qs(text)["payload"][0] if text.startswith("payload=") else text)
    except (ValueError, RecursionError):
        raise Refused("invalid_payload") from None
    if not isinstance(decoded, dict):
        raise Refused("invalid_payload")
    return {key: whole_text(value) for key, value in decoded.items()}
