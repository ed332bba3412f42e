"""Signed deliveries that start runs: `POST /v1/triggers/{name}`.

Raw ASGI beside Litestar, as every signed door: nothing may touch the bytes before they are verified.
"""

import re
from base64 import b64encode
from secrets import token_bytes
from typing import Final

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from orchestrator.engine.armed import Fired
from orchestrator.errors import (
    InvalidError,
    NotFoundError,
    OrchestratorError,
    OversizeError,
    UnavailableError,
)
from orchestrator.gemini.webhook import StaticVerifier
from orchestrator.strictjson import StrictReader
from orchestrator.web import problems
from orchestrator.web.doors import Doors
from orchestrator.web.hooks import read_body
from orchestrator.web.patience import DELIVERIES
from orchestrator.web.triggers import fired_out

_PATH: Final = re.compile(r"/v1/triggers/([^/]+)")
ROUTE: Final = "/v1/triggers/{name}"
_HTTP: Final[str] = "http"
_READER: Final = StrictReader(depth=64, whole_bits=64, zero=False)
_NOBODY: Final = StaticVerifier(["whsec_" + b64encode(token_bytes(32)).decode()])
"""Says no to everybody, in the same words and after the same work: who knows no secret does not learn which
triggers there are.
"""


def beside(litestar: ASGIApp, doors: Doors) -> ASGIApp:
    """The app, with this door in it."""
    outcomes = doors.counters.outcomes("trigger")

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == _HTTP else None
        if found is None or scope.get("method") != "POST":
            await litestar(scope, receive, send)
            return
        counted = outcomes.heard(send)
        try:
            fired = await _take(found[1], scope, receive, doors)
        except Exception as e:  # noqa: BLE001  told as a problem, and logged where it is ours
            await problems.send_problem(scope, counted, e, doors.failures, ROUTE)
        else:
            doors.failures.answered(scope, ROUTE)
            await _answer(counted, fired)

    return handler


async def _take(name: str, scope: Scope, receive: Receive, doors: Doors) -> Fired:
    """Verified over its raw bytes, read strictly, committed, in that order.

    What does not fit the workflow is taken as well, for it would not fit the next time either; the answer
    says so. What makes a longer input than the workflow takes is answered with 400 and the bound, as the same
    input is over the API, and written down as refused; should it come again, it is known, and taken.
    The same id again is the same delivery, whatever its body.

    Source: Standard Webhooks specification.
    """
    body = await read_body(scope, receive, doors.limits.max_webhook_bytes)
    door = doors.triggers
    verifier = door.verifiers.get(name, _NOBODY) if door else _NOBODY
    delivery = verifier.verify(scope["headers"], body, now=doors.clock())
    if door is None:
        raise NotFoundError("there is no trigger of that name")
    value = _read(body)
    try:
        fired = await DELIVERIES.wait(door.triggers.deliver(name, delivery.id, body, value))
    except OrchestratorError:
        raise
    except Exception as e:
        # Not taken, whatever the reason: the sender keeps it and comes again.
        doors.failures.failed(scope, e, ROUTE, trigger=name)
        raise UnavailableError("the delivery could not be stored; send it again") from e
    doors.wake()
    if fired.oversize:
        raise OversizeError(fired.note)
    return fired


def _read(body: bytes) -> object:
    try:
        return _READER.read(body)
    except ValueError as e:  # UnicodeError and JSONDecodeError are ValueErrors
        why = str(e) if type(e) is ValueError else type(e).__name__
        raise InvalidError(f"the body is not strict JSON: {why}") from e


async def _answer(send: Send, fired: Fired) -> None:
    body = msgspec.json.encode(fired_out(fired))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
