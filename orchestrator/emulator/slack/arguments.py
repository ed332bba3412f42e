"""The arguments of a Web API call, read and checked the way Slack does it. No I/O here."""

import json
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.emulator.slack.shapes import Fault
from orchestrator.emulator.slack.tickets import Refused
from orchestrator.emulator.slack.validation import TEXT_BUDGET, text_length, validate_blocks
from orchestrator.emulator.slack.workspace import Message

Args = Mapping[str, Any]

METADATA_BYTES: Final = 16_384
"""A guess at Slack's undocumented limit, large enough for ids."""


def checked_blocks(args: Args) -> list[dict[str, Any]] | None:
    """The call's blocks, or None when it brings none.

    Raises:
        Refused: `invalid_blocks_format`, `invalid_blocks` with a line per fault, `msg_blocks_too_long`.
    """
    if args.get("blocks") in (None, ""):
        return None
    blocks = decoded(args["blocks"], "invalid_blocks_format")
    if not isinstance(blocks, list):
        raise Refused("invalid_blocks_format")
    faults = validate_blocks(blocks)
    if faults:
        raise Refused("invalid_blocks", errors=[str(f) for f in faults], response_metadata=lines(faults))
    if text_length(blocks) > TEXT_BUDGET:
        raise Refused("msg_blocks_too_long")
    return list(blocks)


def lines(faults: tuple[Fault, ...]) -> dict[str, list[str]]:
    """Faults as `response_metadata` lists them."""
    return {"messages": [f"[ERROR] {fault}" for fault in faults]}


def decoded(value: Any, error: str) -> Any:
    """A structure as it came in JSON, or as JSON in a string from a form or query."""
    if not isinstance(value, str):
        return value
    try:
        return whole_text(json.loads(value))
    except (ValueError, RecursionError):
        raise Refused(error) from None


def whole_text(value: Any) -> Any:
    """The same value with half surrogate pairs, which no other JSON writer would take, as U+FFFD."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [whole_text(entry) for entry in value]
        case dict():
            return {whole_text(key): whole_text(entry) for key, entry in value.items()}
        case _:
            return value


def checked_metadata(args: Args) -> dict[str, Any] | None:
    """The call's message metadata, or None when it brings none.

    Raises:
        Refused: `invalid_metadata_format`, `invalid_metadata_schema`, `metadata_too_large`.
    """
    metadata = decoded(args.get("metadata"), "invalid_metadata_format")
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or set(metadata) - {"event_type", "event_payload"}:
        raise Refused("invalid_metadata_format")
    if not isinstance(metadata.get("event_type"), str) or not isinstance(metadata.get("event_payload"), dict):
        raise Refused("invalid_metadata_schema")
    if len(json.dumps(metadata).encode()) > METADATA_BYTES:
        raise Refused("metadata_too_large")
    return metadata


def checked_text(args: Args) -> str:
    """The call's text, empty when it brings none."""
    text = args.get("text")
    if text is not None and not isinstance(text, str):
        raise Refused("invalid_arguments")
    return text or ""


def is_true(value: Any) -> bool:
    """Whether a flag is on, in JSON or as a query spells it."""
    return value in (True, 1, "1", "true", "True")


def count(args: Args, key: str, default: int) -> int:
    """A number from 0 up. Cursors are opaque to callers; ours happen to be numbers as well."""
    value = args.get(key)
    if value in (None, ""):
        return default
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        raise Refused("invalid_cursor" if key == "cursor" else "invalid_arguments") from None


def between(message: Message, args: Args) -> bool:
    """Whether a message lies after `oldest` and before `latest`, or on them with `inclusive`."""
    oldest, latest = moment(args, "oldest", 0.0), moment(args, "latest", float("inf"))
    if is_true(args.get("inclusive")):
        return oldest <= message.seconds <= latest
    return oldest < message.seconds < latest


def moment(args: Args, key: str, default: float) -> float:
    """A point in time, in Unix seconds."""
    try:
        return float(args.get(key) or default)
    except (TypeError, ValueError):
        raise Refused(f"invalid_ts_{key}") from None
