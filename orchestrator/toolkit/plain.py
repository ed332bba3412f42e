"""Between Python values and plain JSON: what a model wrote comes in, what a tool holds goes out.

Plain means None, bool, int, float, str, list and dict with text keys, and nothing that another
JSON reader could understand differently: integers stay within ±(2^53-1), numbers are finite.
No other rules of the toolkit live here.
"""

import dataclasses
import enum
import json
import math
from collections.abc import Callable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import msgspec
import pydantic
from pydantic_core import to_jsonable_python

from orchestrator.domain.plain import MAX_SAFE_INTEGER as MAX_SAFE_INTEGER
from orchestrator.domain.plain import JsonObject, encodable

MAX_DEPTH: Final = 32
"""How deep lists and objects may be nested."""

MAX_DECIMAL_DIGITS: Final = 40
"""Digits a decimal number may have written out; "1e999999" is seven characters and a megabyte."""

PLACES: Final = 64
"""So many times its size may come together if the place of every value within is written out."""


VALUE_BYTES: Final = 8
"""Of their limit for each value within: what is done about arguments takes its time for each, small or not,
while others wait in line for the same transaction."""


class PlainError(ValueError):
    """A value that is no plain JSON. `path` is dotted, empty for the whole; `text` begins with a verb."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}" if path else text)
        self.path, self.text = path, text

    def inside(self, part: object) -> "PlainError":
        """The same, as seen from around that part; a path is made only where something is wrong."""
        return PlainError(f"{part}.{self.path}" if self.path else str(part), self.text)


class TooLargeError(ValueError):
    """More than there is room for."""


class Room:
    """How much of a value may still be looked at: every scalar, name and character of text takes some.

    Args:
        bytes_: As many as its compact JSON may have; that is never less than what is taken here.
    """

    def __init__(self, bytes_: int) -> None:
        self._left = bytes_

    def spend(self, value: Any) -> None:
        """Raises `TooLargeError` where it is too much, before anything inside it is looked at."""
        self._left -= 1 + (len(value) if isinstance(value, str | Mapping | list | tuple | Set) else 0)
        if self._left < 0:
            raise TooLargeError


def weigh(value: Any, most: int) -> None:
    """Look over a foreign JSON value, no further than `most` bytes of its JSON could reach.

    Whatever is said about a thing names its place, so that many things under long names cost more than their
    JSON has: a word about each of 8 000 numbers in a list, of a name of 30 000 characters, is 240 MB.

    Raises:
        PlainError: It has more bytes for sure, more values than there may be in as many bytes, or the places
            of all it holds come to far more text.
    """
    room, places, values = Room(most), PLACES * most, most // VALUE_BYTES
    stack: list[tuple[Any, int]] = [(value, 0)]
    try:
        while stack:
            top, above = stack.pop()
            room.spend(top)
            places, values = places - above, values - 1
            if values < 0:
                raise PlainError("", f"hold more than {most // VALUE_BYTES} values")
            if isinstance(top, Mapping):
                for name, inner in top.items():
                    room.spend(name)
                    stack.append((inner, above + (len(name) if isinstance(name, str) else 0)))
            elif isinstance(top, list | tuple):
                stack.extend((inner, above) for inner in top)
            if places < 0:
                raise PlainError("", "hold too many values under names that long")
    except TooLargeError:
        raise PlainError("", f"are larger than {most // 1024} KiB") from None


def join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)


_compact: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def compact(value: Any) -> str:
    """Plain JSON as text without spaces; equal values give equal text."""
    return _compact(value)


def take(value: Any, depth: int = 0) -> Any:
    """A foreign JSON value, checked and copied.

    JSON knows one kind of number and Gemini's pass through protobuf doubles, so `12.0` is taken
    as the integer 12 wherever it stands; a float parameter makes it 12.0 again.

    Raises:
        PlainError: Not plain JSON; says where and why.
    """
    if depth > MAX_DEPTH:
        raise PlainError("", f"is nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case int():
            return _integer(value)
        case float():
            return _number(value)
        case str():
            return _text(value)
        case Mapping():
            return {_key(k): _taken(k, v, depth + 1) for k, v in value.items()}
        case list() | tuple():
            return [_taken(i, v, depth + 1) for i, v in enumerate(value)]
    raise PlainError("", "is not JSON")


def _taken(part: object, value: Any, depth: int) -> Any:
    try:
        return take(value, depth)
    except PlainError as error:
        raise error.inside(part) from None


def _integer(value: int) -> int:
    if abs(value) > MAX_SAFE_INTEGER:
        raise PlainError("", f"is an integer beyond ±{MAX_SAFE_INTEGER}; give such numbers as text")
    return value


def _number(value: float) -> int | float:
    if not math.isfinite(value):
        raise PlainError("", "should be a finite number")
    return int(value) if value.is_integer() and abs(value) <= MAX_SAFE_INTEGER else value


def _text(value: str) -> str:
    if "\0" in value or not encodable(value):
        raise PlainError("", "holds a NUL or half a surrogate pair")
    return value


def _key(value: object) -> str:
    if not isinstance(value, str):
        raise PlainError("", "has a key that is not text")
    return _text(value)


Write = Callable[[Any], Any]
_SCALARS: Final = frozenset({str, bool, int, float})


def give(value: Any, *, decimal: Write | None = None, room: Room | None = None, depth: int = 0) -> Any:
    """A Python value as plain JSON; what a tool returns, or validated arguments.

    Decimals become text without exponent (or what `decimal` makes of them), dates ISO 8601,
    enums their value, sets sorted lists, models, dataclasses and Structs objects. Integers beyond
    ±(2^53-1) become text. NUL and lone surrogates become U+FFFD, because no store and no wire
    takes them.

    Raises:
        PlainError: NaN, infinity, bytes, a foreign class, nested too deeply.
        TooLargeError: There is no `room` for it.
    """
    if depth > MAX_DEPTH:
        raise PlainError("", f"is nested deeper than {MAX_DEPTH} levels")
    if room is not None:
        room.spend(value)
    kind = type(value)  # most is what JSON has itself; what it is else takes asking
    if value is None or kind in _SCALARS:
        return _scalar(value, decimal or decimal_text)

    def inner(child: Any, part: object) -> Any:
        try:
            return give(child, decimal=decimal, room=room, depth=depth + 1)
        except PlainError as error:
            raise error.inside(part) from None

    match value:
        case _ if kind is list:
            return [inner(v, i) for i, v in enumerate(value)]
        case _ if kind is dict:
            return {key: inner(v, key) for key, v in _named(value, room).items()}
        case enum.Enum():  # before its mixed-in base: an IntEnum is an int too
            return give(value.value, decimal=decimal, room=room, depth=depth + 1)
        case pydantic.BaseModel():
            dumped = value.model_dump(by_alias=True, warnings=False)
            return give(dumped, decimal=decimal, room=room, depth=depth)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: inner(getattr(value, f.name), f.name) for f in dataclasses.fields(value)}
        case msgspec.Struct():
            return {name: inner(getattr(value, name), name) for name in value.__struct_fields__}
        case Mapping():
            return {key: inner(v, key) for key, v in _named(value, room).items()}
        case list() | tuple():
            return [inner(v, i) for i, v in enumerate(value)]
        case Set():
            return sorted((inner(v, i) for i, v in enumerate(value)), key=compact)
    return _scalar(value, decimal or decimal_text)


def _named(value: Mapping[Any, Any], room: Room | None) -> dict[str, Any]:
    named = {_name(key, room): v for key, v in value.items()}
    if len(named) != len(value):
        raise PlainError("", "has two keys that read alike as text")
    return named


def _name(key: object, room: Room | None) -> str:
    plain_key = key.value if isinstance(key, enum.Enum) else key
    if room is not None:
        room.spend(plain_key)
    if isinstance(plain_key, str):
        return _mend(plain_key)
    if isinstance(plain_key, int | UUID | date) and not isinstance(plain_key, bool):
        return str(plain_key)
    raise PlainError("", f"has a key of type {type(key).__name__}")


def _scalar(value: Any, decimal: Write) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return _mend(value)
        case int():
            return int(value) if abs(value) <= MAX_SAFE_INTEGER else str(value)
        case float() if math.isfinite(value):
            return float(value)
        case Decimal() if value.is_finite():
            return _decimal(value, decimal)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return to_jsonable_python(value)
        case UUID() | PurePath():
            return str(value)
        case float() | Decimal():
            raise PlainError("", "should be a finite number")
    raise PlainError("", f"is of the type {type(value).__name__}, which JSON cannot hold")


def _decimal(value: Decimal, write: Write) -> Any:
    if len(value.as_tuple().digits) > MAX_DECIMAL_DIGITS or abs(value.adjusted()) > MAX_DECIMAL_DIGITS:
        raise PlainError("", f"has more than {MAX_DECIMAL_DIGITS} digits")
    return write(value)


def decimal_text(value: Decimal) -> str:
    """Written out, never with an exponent: "12.50", "100"."""
    return format(value, "f")


def _mend(text: str) -> str:
    if type(text) is str and "\0" not in text and encodable(text):
        return text
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def size(value: JsonObject | list[Any] | str) -> int:
    """Bytes of the compact UTF-8 form."""
    return len(compact(value).encode())
