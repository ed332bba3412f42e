"""JSON bodies of the API, read strictly before Litestar decodes them.

Litestar alone takes repeated keys and other content types, and answers 500 to deep nesting and
broken UTF-8. This guard runs after the one for tokens, so strangers make nobody parse.
"""

import json
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers.base import BaseRouteHandler

from orchestrator.errors import InvalidError
from orchestrator.strictjson import StrictReader
from orchestrator.web.drain import drain
from orchestrator.web.stall_timeouts import BODIES

MAX_DEPTH: Final = 32
_READER: Final = StrictReader(depth=MAX_DEPTH, whole_bits=64, zero=False)


async def json_only(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a body that is not strict JSON under its own content type.

    A handler with `opt["body"] == "optional"` may be called without any.

    Raises:
        InvalidError: Not strict JSON in UTF-8: repeated keys, NaN, half surrogate pairs, U+0000,
            over 32 deep, numbers no other program would read back.
        HTTPException: 415 for another content type or an encoded body, 413 for one too large, 408 for a
            sender that stalls.
    """
    if not isinstance(connection, Request) or connection.method != "POST":
        return
    optional = handler.opt.get("body") == "optional"
    if not optional:
        _as_json(connection)
    try:
        body = await BODIES.wait(connection.body())
    except TimeoutError as e:
        headers = {"connection": "close"}
        raise HTTPException(status_code=408, detail="the body took too long", headers=headers) from e
    except InternalServerException as e:
        raise InvalidError("the body did not arrive whole") from e
    except RequestEntityTooLarge as e:
        await drain(connection.scope, connection.receive)
        most = connection.route_handler.resolve_request_max_body_size()
        raise RequestEntityTooLarge(f"at most {most} bytes are taken") from e
    if not body and optional:
        return
    _as_json(connection)
    check(body)


def _as_json(request: Request[Any, Any, Any]) -> None:
    """A form or text from another site needs no preflight in a browser; JSON's own type does."""
    types = request.headers.getall("content-type", [])
    if len(types) != 1 or not _is_json(types[0]):
        raise HTTPException(status_code=415, detail="the body must be sent as application/json, in UTF-8")
    if any(e.strip().lower() != "identity" for e in request.headers.getall("content-encoding", [])):
        raise HTTPException(status_code=415, detail="an encoded body is not taken")


def _is_json(content_type: str) -> bool:
    kind, _, rest = content_type.partition(";")
    charset = rest.strip().lower().replace('"', "")
    return kind.strip().lower() == "application/json" and charset in ("", "charset=utf-8")


def check(body: bytes) -> None:
    """Raises `InvalidError` unless the body is strict JSON."""
    try:
        _READER.read(body)
    except json.JSONDecodeError as e:
        raise InvalidError(f"the body is not JSON: line {e.lineno}, column {e.colno}") from e
    except UnicodeError as e:
        raise InvalidError("the body holds what is no text: broken UTF-8 or half a surrogate pair") from e
    except ValueError as e:
        raise InvalidError(f"the body is not taken: {e}") from e
