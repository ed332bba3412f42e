"""Signed bodies from outside: Gemini's webhooks and Slack's clicks.

Raw ASGI, because nothing may touch the bytes before they are verified, and because the webhook is
the one hot path. What is committed before the 2xx is the promise; everything else comes later.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import structlog
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import ASGIApp, Receive, Scope, Send

from orchestrator.domain.plain import JsonObject
from orchestrator.engine.refused_webhooks import Refusals
from orchestrator.errors import InvalidError, SignatureError, UnavailableError
from orchestrator.gemini import webhook
from orchestrator.slack import incoming, interactivity, signature
from orchestrator.web import problems
from orchestrator.web.doors import Doors, DynamicDoor, SlackDoor
from orchestrator.web.drain import DRAIN_BYTES, drain
from orchestrator.web.patience import DELIVERIES
from orchestrator.web.slack_handler import Kind, SlackHandler
from orchestrator.web.stall_timeouts import BODIES

log = structlog.get_logger(__name__)

_TAKEN: Final[Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}
_EMPTY: Final[Any] = {"type": "http.response.body", "body": b"{}", "more_body": False}
_JSON: Final = (b"content-type", b"application/json")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
RawHeaders = Iterable[tuple[bytes, bytes]]


GEMINI: Final = "/webhooks/gemini"
DYNAMIC: Final = f"{GEMINI}/"
"""Followed by a token of ours."""


def gemini_hook(doors: Doors, refusals: Refusals) -> ASGIApp:
    """`POST /webhooks/gemini`: verified, stored, answered, in that order; worked on afterwards."""

    async def verify(headers: RawHeaders, body: bytes) -> webhook.Delivery:
        return doors.webhook.verify(headers, body, now=doors.clock())

    return _gemini(doors, refusals, verify)


def dynamic_hook(doors: Doors, refusals: Refusals, door: DynamicDoor) -> ASGIApp:
    """The same for what Google signed with its own keys; whoever gets here knew the address."""

    async def verify(headers: RawHeaders, body: bytes) -> webhook.Delivery:
        return await door.verifier.verify(headers, body, now=doors.clock())

    return _gemini(doors, refusals, verify)


_Verify = Callable[[RawHeaders, bytes], Awaitable[webhook.Delivery]]


def _gemini(doors: Doors, refusals: Refusals, verify: _Verify) -> ASGIApp:
    outcomes = doors.counters.outcomes("gemini")

    async def gemini_webhook(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await taken(scope, receive)
        except Exception as e:  # noqa: BLE001  told as a problem, and logged where it is ours
            doors.counters.refused(e)
            await problems.send_problem(scope, outcomes.heard(send), e, doors.failures, GEMINI)
        else:
            outcomes.taken.inc()
            doors.failures.answered(scope, GEMINI)
            await send(_TAKEN)
            await send(_EMPTY)

    async def taken(scope: Scope, receive: Receive) -> None:
        body = await read_body(scope, receive, doors.limits.max_webhook_bytes)
        delivery, signal = await believed(scope, body)
        try:
            storing = doors.intake.deliver(
                webhook_id=delivery.id,
                kind=_printable(signal.type),
                subject=signal.subject or "",
                timestamp=delivery.sent,
                body=body,
                scheme=delivery.scheme,
                headers=delivery.headers,
            )
            await DELIVERIES.wait(storing)
        except Exception as e:
            # Not taken, whatever the reason: the sender keeps it and comes again.
            doors.failures.failed(scope, e, GEMINI, webhook_id=delivery.id)
            raise UnavailableError("the delivery could not be stored; send it again") from e

    async def believed(scope: Scope, body: bytes) -> tuple[webhook.Delivery, webhook.Signal]:
        """What is signed and can be read; all else is kept for people to look at, and refused."""
        scheme = ""
        try:
            delivery = await verify(scope["headers"], body)
            scheme = delivery.scheme
            return delivery, webhook.parse(body)
        except (SignatureError, InvalidError) as e:
            log.warning("webhook_refused", reason=str(e))
            refusals.put(webhook.worth_keeping(scope["headers"]), body, str(e), scheme=scheme)
            raise

    return gemini_webhook


def gemini_route(hook: ASGIApp) -> ASGIRouteHandler:
    """The endpoint as one of Litestar's routes."""
    return _route(GEMINI, hook, {"scope": "signature", "owner": "gemini"})


def slack_hooks(doors: Doors, slack: SlackDoor, handler: SlackHandler) -> list[ASGIRouteHandler]:
    """Slack's addresses, one for each kind of thing it posts; all signed, and all heard by one handler."""
    posted: tuple[tuple[Kind, str, Callable[[bytes], JsonObject]], ...] = (
        ("interactive", "/slack/interactivity", interactivity.payload_of),
        ("slash_commands", "/slack/commands", incoming.fields_of),
        ("events_api", "/slack/events", incoming.json_of),
    )
    return [_slack(doors, slack, handler, *way) for way in posted]


def _slack(
    doors: Doors,
    slack: SlackDoor,
    handler: SlackHandler,
    kind: Kind,
    path: str,
    payload_of: Callable[[bytes], JsonObject],
) -> ASGIRouteHandler:
    """What was decided is committed before the 200; words to the person come after it.

    An event that Slack sends again (`X-Slack-Retry-Num`) is heard again: none of them decides anything.
    """

    async def slack_hook(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, doors.limits.max_webhook_bytes)
        _verify(scope["headers"], body, doors, slack)
        heard = await handler.take(kind, payload_of(body))
        if heard.answer is not None:
            await _answer(send, json.dumps(heard.answer).encode(), _JSON)
        else:
            await _answer(send, b"", _TEXT)
        heard.after()

    slack_hook.__name__ = f"slack_{kind}"
    return _route(path, slack_hook, {"scope": "signature", "owner": "slack"})


def _verify(headers: RawHeaders, body: bytes, doors: Doors, slack: SlackDoor) -> None:
    """401 whatever is wrong with it, and no word about what."""
    try:
        signature.verify(
            headers,
            body,
            secrets=slack.secrets,
            now=doors.clock(),
            tolerance_seconds=slack.tolerance_seconds,
        )
    except SignatureError as e:
        log.warning("click_unsigned", reason=str(e))
        raise SignatureError("not signed by Slack for us, now") from e


def _route(path: str, fn: Any, opt: dict[str, Any]) -> ASGIRouteHandler:
    return asgi(path, name=fn.__name__, opt=opt, copy_scope=False)(fn)


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The raw body of a POST.

    Raises:
        HTTPException: 405, 408 for a sender that stalls, 413 over `most` bytes (before keeping any
            where the length is announced), 415 for an encoded body.
        InvalidError: The sender went away.
    """
    if scope.get("method") != "POST":
        raise MethodNotAllowedException("send a POST", headers={"Allow": "POST"})
    for name, value in scope["headers"]:
        if name == b"content-length" and (announced := _length(value)) > most:
            if announced <= DRAIN_BYTES:
                await drain(scope, receive)
            raise _too_large(most)
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise HTTPException(status_code=415, detail="an encoded body is not taken")
    try:
        return await BODIES.wait(_chunks(scope, receive, most))
    except TimeoutError as e:
        raise HTTPException(status_code=408, detail="the body took too long", headers=_CLOSE) from e


def _length(announced: bytes) -> int:
    if not announced.isdigit() or len(announced) > 20:
        raise InvalidError("Content-Length is not a number of bytes")
    return int(announced)


async def _chunks(scope: Scope, receive: Receive, most: int) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidError("the body did not arrive whole")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            if message.get("more_body", False):
                await drain(scope, receive)
            raise _too_large(most)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


_CLOSE: Final = {"connection": "close"}


def _too_large(most: int) -> HTTPException:
    return HTTPException(status_code=413, detail=f"at most {most} bytes are taken", headers=_CLOSE)


def _printable(text: str) -> str:
    """The sender's word for the event as every database can keep it."""
    return text if text.isprintable() else "".join(ch if ch.isprintable() else "?" for ch in text)


async def _answer(send: Send, body: bytes, content_type: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [content_type, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
