"""Fields of a payload of Slack's, read strictly: of the right form, or refused by name. No I/O.

A field that is not there is empty, unless it is required; unknown fields are nobody's business.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from orchestrator.domain.legible import legible
from orchestrator.errors import InvalidError

TEAM: Final = re.compile(r"[TE][A-Z0-9]{2,}", re.ASCII)
APP: Final = re.compile(r"A[A-Z0-9]{2,}", re.ASCII)
CHANNEL: Final = re.compile(r"[CDG][A-Z0-9]{2,}", re.ASCII)
TS: Final = re.compile(r"[0-9]{1,12}\.[0-9]{1,6}", re.ASCII)
VIEW: Final = re.compile(r"V[A-Z0-9]{2,}", re.ASCII)
_LONGEST: Final = 2_000  # characters of any string we take


def obj(holder: Mapping[str, Any], key: str, *, required: bool = False) -> dict[str, Any]:
    """An object; absent or null is an empty one, unless it is required. Raises `InvalidError`."""
    value = holder.get(key)
    if value is None and not required:
        return {}
    return value if isinstance(value, dict) else refuse(key, "must be an object")


def string(
    holder: Mapping[str, Any],
    key: str,
    form: re.Pattern[str] | None = None,
    *,
    required: bool = False,
    at: str = "",
    most: int = _LONGEST,
) -> str:
    """A string of the right form; absent or null is empty, unless it is required. Raises `InvalidError`."""
    value = holder.get(key)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or len(value) > most or (required and not value):
        refuse(at or key, "must be a string")
    if form is not None and not form.fullmatch(value):
        refuse(at or key, "is not of the form Slack uses")
    if any("\ud800" <= ch <= "\udfff" for ch in value):
        refuse(at or key, "holds half a character")
    return value


def flag(holder: Mapping[str, Any], key: str, at: str) -> bool:
    """A boolean; absent or null is false. Raises `InvalidError`."""
    value = holder.get(key)
    if value is not None and not isinstance(value, bool):
        refuse(at, "must be true or false")
    return bool(value)


def refuse(at: str, why: str) -> NoReturn:
    """Raises `InvalidError`: what stands `at` that place is not what Slack sends."""
    raise InvalidError(f"{at or 'body'}: {why}", ((at, why),))


def printable(text: str) -> str:
    """`text` without control characters and the blanks around it; empty if there is nothing to read in it."""
    kept = "".join(ch for ch in text if ch.isprintable() or ch in "\n\t").strip()
    return kept if legible(kept) else ""
