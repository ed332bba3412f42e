"""Errors as `application/problem+json` (RFC 9457): one shape, no traces, nothing of ours inside.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import http
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter
from litestar.types import ExceptionHandlersMap, Scope, Send
from sqlalchemy.exc import OperationalError

from orchestrator.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    OrchestratorError,
    SignatureError,
    UnavailableError,
    UncertainError,
    UnreadableError,
)
from orchestrator.store.sql.unwritten import refusal
from orchestrator.web import expected
from orchestrator.web.failures import Failures
from orchestrator.web.head_requests import allowed

MEDIA: Final = "application/problem+json"
RETRY_SECONDS: Final = 1
_SOON: Final = {"retry-after": str(RETRY_SECONDS)}
_UNCHANGED: Final = "nothing was changed"
_NAMED: Final = re.compile(r"field `([^`]{1,80})`")
_SHOWN: Final = 80  # characters of a name that a stranger made up


class FieldError(msgspec.Struct):
    """What is wrong with one field; `field` is its dotted path in the request."""

    field: str
    message: str


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """RFC 9457. `errors` is there where single fields are at fault."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[FieldError] = []


def problems(*codes: int) -> dict[int, ResponseSpec]:
    """Those statuses for the OpenAPI document, beside the gatekeeper's and ours that may come anywhere."""
    return {
        code: ResponseSpec(
            Problem, media_type=MEDIA, generate_examples=False, description=http.HTTPStatus(code).phrase
        )
        for code in sorted({401, 403, 429, 500, 503, *codes})
    }


def shown(name: str) -> str:
    """A name from a request as it may stand in an answer: short and printable."""
    return ascii(name[:_SHOWN])


def answer(
    status: int,
    detail: str = "",
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response[Problem]:
    """The response; `errors` are (field, message) pairs."""
    problem = Problem(
        type="about:blank",
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=[FieldError(field, message) for field, message in errors],
    )
    always = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(problem, status_code=status, media_type=MEDIA, headers={**always, **(headers or {})})


def encoded(status: int, detail: str) -> bytes:
    """The body alone, for who answers before there is a request."""
    return msgspec.json.encode(answer(status, detail).content)


async def send_problem(scope: Scope, send: Send, exc: Exception, failures: Failures, route: str) -> None:
    """The same answer from an endpoint outside Litestar's stack, which has no name for its route."""
    request: Request[Any, Any, Any] = Request(scope)
    told = next(handler for kind, handler in _ANSWERS.items() if isinstance(exc, kind))(request, exc)
    if ours(told, exc):
        failures.failed(scope, exc, route)
    body = msgspec.json.encode(told.content)
    headers = {"content-type": MEDIA, "content-length": str(len(body)), **told.headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": told.status_code or 500, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def on_http(request: Request[Any, Any, Any], exc: HTTPException) -> Response[Problem]:
    """What Litestar raises: routing, sizes, types, and parameters that do not fit."""
    if exc.status_code >= 500:
        return on_error(request, exc)
    extra = exc.extra if isinstance(exc.extra, list) else []
    errors = [_field(_as_sent(request, e)) for e in extra if isinstance(e, dict)]
    errors = [(field, expected.named(request, message, field)) for field, message in errors]
    headers = {name: allowed(v) if name == "allow" else v for name, v in (exc.headers or {}).items()}
    detail = "The request does not fit; see errors." if errors else _detail(request, exc, headers)
    return answer(exc.status_code, detail, errors, headers)


def _detail(request: Request[Any, Any, Any], exc: HTTPException, headers: Mapping[str, str]) -> str:
    """What the title alone leaves open."""
    if exc.detail != http.HTTPStatus(exc.status_code).phrase:
        return exc.detail
    match exc.status_code:
        case 404:
            return "there is nothing at this address; /docs tells what there is"
        case 405 if "allow" in headers:
            return f"{request.method} is not taken here; taken are: {headers['allow']}"
        case _:
            return ""


def _as_sent(request: Request[Any, Any, Any], error: Mapping[str, Any]) -> Mapping[str, Any]:
    """With a parameter's name as callers write it, where the handler calls it otherwise."""
    handler = request.scope.get("route_handler")
    taken = handler.parsed_fn_signature.parameters if isinstance(handler, HTTPRouteHandler) else {}
    own = taken.get(str(error.get("key")))
    named = own.kwarg_definition if own is not None else None
    alias = named.name if isinstance(named, QueryParameter) else None
    return {**error, "key": alias} if alias else error


def _field(error: Mapping[str, Any]) -> tuple[str, str]:
    """Litestar names a body's field by `data`, or only inside its sentence."""
    message, path = str(error.get("message", "")), str(error.get("key", ""))
    inside = "" if path == "data" else path
    named = _NAMED.search(message)
    return ".".join(p for p in (inside, named[1] if named else "") if p), message


def on_ours(request: Request[Any, Any, Any], exc: OrchestratorError) -> Response[Problem]:
    """What this package raises on purpose; each branch of the tree has its status."""
    match exc:
        case InvalidError():
            return answer(400, str(exc), exc.fields)
        case NotFoundError():
            return answer(404, str(exc))
        case ConflictError():
            return answer(409, str(exc), exc.fields)
        case SignatureError():
            return answer(400 if exc.malformed else 401, str(exc))
        case ForbiddenError():
            return answer(403, str(exc))
        case UnavailableError():
            wait = max(1, round(exc.retry_after or RETRY_SECONDS))
            return answer(503, str(exc), headers={"retry-after": str(wait)})
        case UncertainError():
            return answer(503, str(exc), headers=_SOON)
        case UnreadableError():
            return answer(500, str(exc))
        case _:
            return on_error(request, exc)


def on_database(request: Request[Any, Any, Any], exc: OperationalError) -> Response[Problem]:
    """The database is away or locked; another try may work. One that was lost over a COMMIT has not said."""
    how = "takes no writes" if refusal(exc) else "does not answer"
    what = "it may have been done: ask again, with the same key" if exc.connection_invalidated else _UNCHANGED
    return answer(503, f"the database {how}; {what}", headers=_SOON)


def on_error(request: Request[Any, Any, Any], exc: Exception) -> Response[Problem]:
    """A mistake of ours: told to the log, not to the caller."""
    return answer(500)


_ANSWERS: Final[Mapping[type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Problem]]]] = {
    HTTPException: on_http,
    OrchestratorError: on_ours,
    OperationalError: on_database,
    Exception: on_error,
}


def ours(told: Response[Problem], exc: Exception) -> bool:
    """Whether it is our own fault that this was the answer."""
    return told.status_code == 500 or isinstance(exc, OperationalError | UncertainError)


def handlers(failures: Failures) -> ExceptionHandlersMap:
    """How Litestar answers what is raised, and who is told of what is our own fault."""

    def telling(handler: Callable[..., Response[Problem]]) -> Callable[..., Response[Problem]]:
        def act(request: Request[Any, Any, Any], exc: Exception) -> Response[Problem]:
            told = handler(request, exc)
            if ours(told, exc):
                failures.failed(request.scope, exc)
            return told

        return act

    return {kind: telling(handler) for kind, handler in _ANSWERS.items()}
