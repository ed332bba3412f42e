"""JSON, as the domain takes it."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.domain.values import sorted_json

JsonObject = Mapping[str, Any]

MAX_HANDED_ON: Final = 256 * 1024
"""Of what a call, a step or an ended run hands on: bytes of its compact JSON in UTF-8."""


MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Beyond this a JSON number may change on its way through a double (RFC 8785, RFC 7493)."""

_DIGITS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def size(value: Any) -> int:
    """Bytes of that JSON."""
    return len(_compact(value).encode(errors="replace"))


def whole(value: object) -> int | None:
    """A count that came back from where we sent it; None for anything else.

    It may have travelled as a whole float or as digits in a string (64-bit integers do).
    """
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and 0 <= value < 1e9 else None
    return value if type(value) is int and 0 <= value < 10**9 else None


def canonical(value: Any) -> bytes | None:
    """The RFC 8785 JSON of a value whose sorted JSON is just that, made in a fraction of the time.

    None for any other, of which it is not known here, and where half a character stands somewhere.
    """
    try:
        return sorted_json(value) if _is_canonical_sorted(value) else None
    except UnicodeEncodeError:
        return None


def _is_canonical_sorted(value: Any) -> bool:
    """Names are sorted alike where they are ASCII; numbers are spelled alike within bounds both have."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -MAX_SAFE_INTEGER <= int(value) <= MAX_SAFE_INTEGER
    if kind is float:
        return 1e-4 <= float(abs(value)) < 1e15 and not float.is_integer(value)
    if kind is dict:
        named = all(type(name) is str and name.isascii() for name in value)
        return named and all(map(_is_canonical_sorted, value.values()))
    return (kind is list or kind is tuple) and all(map(_is_canonical_sorted, value))


def encodable(text: str) -> bool:
    """Whether no half of a surrogate pair stands in it alone."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def exact(arguments: JsonObject) -> str:
    """Equal for equal JSON only, types and all."""
    return json.dumps(dict(arguments), sort_keys=True)
