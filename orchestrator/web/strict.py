"""JSON bodies of the API, read strictly before Litestar decodes them.

Litestar alone takes repeated keys and other content types, and answers 500 to deep nesting and
broken UTF-8. This guard runs after the one for tokens, so strangers make nobody parse.
"""

import json
import math
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, InternalServerException
from litestar.handlers.base import BaseRouteHandler

from orchestrator.errors import InvalidError

MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 40  # of one number
_INT64: Final = 2**63


async def json_only(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a body that is not strict JSON under its own content type.

    A handler with `opt["body"] == "optional"` may be called without any.

    Raises:
        InvalidError: Not strict JSON in UTF-8: repeated keys, NaN, half surrogate pairs, U+0000,
            over 32 deep, numbers no other program would read back.
        HTTPException: 415 for another content type or an encoded body, 413 for one too large.
    """
    if not isinstance(connection, Request) or connection.method != "POST":
        return
    optional = handler.opt.get("body") == "optional"
    if not optional:
        _as_json(connection)
    try:
        body = await connection.body()
    except InternalServerException as e:
        raise InvalidError("the body did not arrive whole") from e
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
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_refuse,
            parse_int=_integer,
            parse_float=_number,
        )
        _walk(value)
    except json.JSONDecodeError as e:
        raise InvalidError(f"the body is not JSON: line {e.lineno}, column {e.colno}") from e
    except UnicodeError as e:
        raise InvalidError("the body holds what is no text: broken UTF-8 or half a surrogate pair") from e
    except RecursionError as e:
        raise InvalidError("the body is nested too deeply") from e
    except ValueError as e:
        raise InvalidError(f"the body is not taken: {e}") from e


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _integer(text: str) -> int:
    number = int(text) if len(text) <= MAX_DIGITS else _INT64
    if not -_INT64 <= number < _INT64:
        raise ValueError("a whole number has more than 64 bits; send it as text")
    return number


def _number(text: str) -> float:
    number = float(text)
    if len(text) > MAX_DIGITS or not math.isfinite(number):
        raise ValueError("a number is too long or too large")
    return number


def _walk(value: object) -> None:
    """Depth and text, level by level, so that deep input costs no stack."""
    level, depth = [value], 0
    while level:
        inner: list[object] = []
        for item in level:
            if isinstance(item, str):
                _text(item)
            elif isinstance(item, dict):
                inner += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                inner += item
        depth += any(isinstance(item, dict | list) for item in level)
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        level = inner


def _text(item: str) -> None:
    item.encode("utf-8")  # UnicodeEncodeError where half a surrogate pair is inside
    if "\0" in item:
        raise ValueError("it holds U+0000, which PostgreSQL cannot keep")
