"""JSON, as the domain takes it."""

import json
from collections.abc import Mapping
from typing import Any, Final

JsonObject = Mapping[str, Any]

MAX_HANDED_ON: Final = 256 * 1024
"""Of what a call, a step or an ended run hands on: bytes of its compact JSON in UTF-8."""


def size(value: Any) -> int:
    """Bytes of that JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode(errors="replace"))


def exact(arguments: JsonObject) -> str:
    """Equal for equal JSON only, types and all."""
    return json.dumps(dict(arguments), sort_keys=True)
