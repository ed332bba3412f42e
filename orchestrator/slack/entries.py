"""What a field holds when it is sent: an element's state of Slack's, read strictly. No I/O.

Source: Slack, "view_submission payload" (`view.state.values`), "Block elements" (limits of the inputs).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.text import line, weight
from orchestrator.strictjson import StrictReader

MOST_TYPED: Final = 3_000
"""Characters an input of Slack's holds."""
ENTERED: Final = "v"
"""Action id of every field."""
LABEL: Final = 75
_MOST_OPTIONS: Final = 99  # one more is for "left out"
OUT: Final = "out"
LEFT_OUT: Final = "(left out)"
_READER: Final = StrictReader(depth=32, zero=False)


class _Missing:
    """The argument is not there; what counts for it then is the tool's to say."""


MISSING: Final = _Missing()


class BadEntryError(ValueError):
    """What was entered will not do; the text is for the person."""


def entry_in(values: Mapping[str, Any], block_id: str) -> Mapping[str, Any]:
    """The state of the element in that block; empty where there is none."""
    row = values.get(block_id)
    entry = row.get(ENTERED) if isinstance(row, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def typed_in(entry: Mapping[str, Any]) -> str:
    """What was typed; empty for nothing. Raises `BadEntryError`."""
    value = entry.get("value")
    if value is None:
        return ""
    if not isinstance(value, str) or weight(value) > MOST_TYPED:
        raise BadEntryError(f"must be text of at most {MOST_TYPED} characters")
    if any("\ud800" <= ch <= "\udfff" for ch in value) or "\0" in value:
        raise BadEntryError("holds half a character")
    return value


def from_json(text: str) -> Any:
    """The value that was typed as JSON. Raises `BadEntryError`."""
    if not text.strip():
        raise BadEntryError("is required")
    try:
        return _READER.read(text.strip().encode("utf-8"))
    except json.JSONDecodeError as e:
        raise BadEntryError(f"is not JSON: {e.msg}, line {e.lineno}, column {e.colno}") from e
    except UnicodeError as e:
        raise BadEntryError("holds half a character") from e
    except ValueError as e:
        raise BadEntryError(str(e)) from e


def nothing(value: Any, required: bool) -> Any:
    """What an empty field stands for: null where it was null, else nothing at all. Raises `BadEntryError`."""
    if required:
        raise BadEntryError("is required")
    return None if value is None else MISSING


def compact(value: Any) -> str:
    """Type and value in one text: 1, 1.0, true and "1" all differ."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True)


def options_of(choices: Any) -> list[Block] | None:
    """What is offered, by position; None where it cannot be told apart, or is too much."""
    if not isinstance(choices, list) or not 1 <= len(choices) <= _MOST_OPTIONS:
        return None
    labels = [line(c if isinstance(c, str) else json.dumps(c), LABEL) for c in choices]
    if len({*labels, LEFT_OUT}) != len(choices) + 1:
        return None
    return [option(label, str(index)) for index, label in enumerate(labels)]


def option(label: str, value: str) -> Block:
    """One of what is offered."""
    return {"text": kit.plain(label, LABEL), "value": value}


def value_of(option: Any) -> str:
    """The value of a chosen option; empty for what is none."""
    value = option.get("value") if isinstance(option, Mapping) else None
    return value if isinstance(value, str) else ""


def picked(choices: Sequence[Any], option: Any) -> Any:
    """Which of the choices an option stands for. Raises `BadEntryError`."""
    value = value_of(option)
    index = int(value) if value.isascii() and value.isdigit() and len(value) < 4 else -1
    if not 0 <= index < len(choices):
        raise BadEntryError("must be one of what is offered")
    return choices[index]
