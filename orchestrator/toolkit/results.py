"""What a tool returned → what Gemini takes as a function result.

Gemini takes text, an object, or a list of content blocks; a bare number, boolean, null or plain
list is refused by its client (Gemini API, Interactions, "Function calling"), so those are wrapped
as `{"result": value}`. Everything is plain JSON before it leaves here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pydantic

from orchestrator.domain.plain import MAX_HANDED_ON, JsonObject
from orchestrator.toolkit.plain import PlainError, Room, TooLargeError, give, size

MAX_RESULT_BYTES: Final = MAX_HANDED_ON
"""Of a result's compact JSON in UTF-8."""

BLOCK_TYPES: Final = frozenset({"text", "image", "audio", "video", "document"})

Result = str | JsonObject | list[JsonObject]


class ResultTooLargeError(ValueError):
    """More than `MAX_RESULT_BYTES`."""


class ContentBlocks:
    """Return it to send content blocks, for example text beside an image.

    A plain list never becomes content blocks by looking like them: it is data.

    Args:
        blocks: As Gemini takes them: `{"type": "text", "text": …}`, or `image`, `audio`, `video`,
            `document` with `mime_type` and `data` (base64) or `uri`.

    Raises:
        ValueError: No block at all, or one of another type.
    """

    def __init__(self, *blocks: Mapping[str, Any]) -> None:
        if not blocks:
            raise ValueError("ContentBlocks needs at least one block")
        for block in blocks:
            if block.get("type") not in BLOCK_TYPES:
                raise ValueError(f"a content block's type is one of {', '.join(sorted(BLOCK_TYPES))}")
        self.blocks = blocks


def encode(value: Any, limit: int = MAX_RESULT_BYTES) -> Result:
    """The result to send, as plain JSON.

    Raises:
        PlainError: The value cannot be JSON (bytes, NaN, a foreign class, nested too deeply).
        ResultTooLargeError: Its JSON has more than `limit` bytes.
    """
    try:
        result = _shape(value, Room(limit))
    except TooLargeError:
        result = None  # no more was read of it than could be sent
    if result is None or size(result) > limit:
        raise ResultTooLargeError(f"the result has more than {limit} bytes")
    return result


def _shape(value: Any, room: Room) -> Result:
    if isinstance(value, ContentBlocks):
        return [_block(block, i, room) for i, block in enumerate(value.blocks)]
    plain = give(value, room=room)
    if isinstance(value, str) and isinstance(plain, str):
        return plain
    if _is_object(value) and isinstance(plain, dict):
        return plain
    return {"result": plain}


def _block(block: Mapping[str, Any], number: int, room: Room) -> JsonObject:
    try:
        plain: JsonObject = give(block, room=room)
    except PlainError as error:
        raise error.inside(f"block {number}") from None
    return plain


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping | pydantic.BaseModel | msgspec.Struct) or dataclasses.is_dataclass(value)
