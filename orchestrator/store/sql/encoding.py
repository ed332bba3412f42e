"""How JSON and instants are written into columns: as the standard library would, several times as fast."""

import json
import math
import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

INSTANTS: Final = 4096
"""How many are remembered: each transaction of a run writes and reads the same few again and again."""
_SHORT: Final = re.compile(r"e(?<=\de)\d{2,3}(?:[,\]}]|$)")
"""Where a number ends that msgspec wrote with an exponent, as it does from `_LARGE` on; text may look like
that. It begins with a letter because such places are found quickly."""
_LARGE: Final = 1e16


def prepare(*kinds: Any) -> None:
    """Let msgspec work out how these classes are read, while a single thread does.

    It does so at their first use, and a second thread that uses one meanwhile ends the process.
    """
    for kind in kinds:
        with suppress(msgspec.ValidationError):
            msgspec.convert({}, kind)


def dumps(value: Any) -> str:
    """JSON text, also of values. What msgspec has no form for, half a surrogate pair, becomes an escape.

    Large floats are written out: PostgreSQL keeps 1e16 as 10000000000000000, an integer beyond what a tool
    may be given, and what people had been asked about would no longer be what there is.
    """
    try:
        text = msgspec.json.encode(value).decode()
        if _SHORT.search(text) is None:
            return text
        return msgspec.json.encode(_written_out(msgspec.to_builtins(value))).decode()
    except (UnicodeEncodeError, TypeError, OverflowError):
        return json.dumps(msgspec.to_builtins(value))


def _written_out(value: Any) -> Any:
    match value:
        case float() if _LARGE <= abs(value) < math.inf:
            return msgspec.Raw(f"{value:.1f}".encode())
        case dict():
            return {name: _written_out(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_written_out(inner) for inner in value]
        case _:
            return value


def loads(text: str | bytes) -> Any:
    """The value of JSON text, escaped halves of surrogate pairs included."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return json.loads(text)


def json_text(value: Any) -> str | None:
    """A column's JSON, NULL for None."""
    return None if value is None else dumps(value)


def json_value(column: Any) -> Any:
    """The way back. SQLite keeps JSON that is a lone number as that number."""
    return loads(column) if isinstance(column, str | bytes) else column


@lru_cache(INSTANTS)
def instant_text(value: datetime | None) -> str | None:
    """An aware instant as SQLite keeps it: UTC, microseconds, no offset.

    Raises:
        ValueError: It is naive.
    """
    if value is None:
        return None
    if value.tzinfo is not UTC:
        if value.utcoffset() is None:
            raise ValueError("an instant must say its offset")
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds").removesuffix("+00:00")


@lru_cache(INSTANTS)
def zoned_text(value: datetime | None) -> str | None:
    """As PostgreSQL reads it, whatever time zone its session has. Raises what `instant_text` does."""
    text = instant_text(value)
    return None if text is None else f"{text}+00:00"


@lru_cache(INSTANTS)
def instant(text: str | None) -> datetime | None:
    """The way back."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
