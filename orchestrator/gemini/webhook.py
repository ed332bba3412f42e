"""From a signed delivery to a signal. A signal is a hint: it wakes the reading of an interaction, no more.

Order matters: headers (`headers`), then clock, then signature over the raw bytes (`static`,
`dynamic`), and only a body that proved to be the sender's is parsed, here. Each scheme has its own
address, and neither address believes what belongs to the other.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.errors import InvalidError
from orchestrator.gemini import wire
from orchestrator.gemini.dynamic import DynamicVerifier
from orchestrator.gemini.headers import Delivery, Headers, worth_keeping
from orchestrator.gemini.static import StaticSecret, StaticVerifier, verify
from orchestrator.strictjson import StrictReader

__all__ = [
    "Delivery",
    "DynamicVerifier",
    "Headers",
    "Signal",
    "StaticSecret",
    "StaticVerifier",
    "parse",
    "verify",
    "worth_keeping",
]

MAX_DEPTH: Final = 64
MAX_TYPE: Final = 128
_RESOURCE: Final = re.compile(r"^(?:batches|(?:models/[A-Za-z0-9.-]+/)?operations)/")
"""What an id may stand behind (Gemini API, Batches and Video)."""
_READER: Final = StrictReader(depth=MAX_DEPTH)


@dataclass(frozen=True, slots=True)
class Signal:
    """What an event says, believed for nothing but a reason to look.

    Args:
        type: For example `interaction.requires_action`; the list is open. Empty where it tells none:
            what a ping holds is not documented, and whatever is verified is taken.
        subject: Id of the interaction, batch or operation it is about: the last part of its name.
    """

    type: str
    subject: str | None = None


def parse(body: bytes) -> Signal:
    """The event in a verified body; unknown types and unknown fields are fine.

    Raises:
        InvalidError: Not strict JSON in UTF-8 (no repeated keys, no NaN, no half surrogate pairs, at
            most 64 deep, numbers of at most 40 digits), or not an object.
    """
    event = _strict(body)
    kind = event.get("type")
    kind = kind[:MAX_TYPE] if isinstance(kind, str) else ""
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    return Signal(kind, _subject(data.get("id")))


def _subject(value: object) -> str | None:
    bare = _RESOURCE.sub("", value) if isinstance(value, str) else value
    return bare if wire.is_interaction_id(bare) else None


def _strict(body: bytes) -> dict[str, Any]:
    try:
        value = _READER.read(body)
    except ValueError as error:  # UnicodeError and JSONDecodeError are ValueErrors
        why = str(error) if type(error) is ValueError else type(error).__name__
        raise InvalidError(f"the body is not strict JSON: {why}") from error
    if not isinstance(value, dict):
        raise InvalidError("the body is not an object")
    return value
