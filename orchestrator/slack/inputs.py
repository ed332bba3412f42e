"""What people put into the inputs of a window, or into the field of a message. No I/O.

Source: Slack, "view_submission payload" (`view.state.values`), "block_actions payload" (`state.values`).
"""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.slack.action import NOTE, note_block
from orchestrator.slack.payload import obj, printable, refuse, string

_MOST_ROWS: Final = 100  # a view has no more blocks
_LONGEST_TYPED: Final = 3_000  # no field of Slack's holds more


def typed(values: Mapping[str, Mapping[str, Mapping[str, Any]]], block: str, action: str) -> str:
    """The text in one input of a window, without control characters; empty where there is none.

    Raises:
        InvalidError: It is no text, or longer than any field takes.
    """
    entry = values.get(block, {}).get(action, {})
    return printable(string(entry, "value", at=f"view.state.values.{block}", most=_LONGEST_TYPED))


def ticked(values: Mapping[str, Mapping[str, Mapping[str, Any]]], block: str, action: str) -> bool:
    """Whether the one box of an input of a window is ticked.

    Raises:
        InvalidError: It is no choice of boxes.
    """
    chosen = values.get(block, {}).get(action, {}).get("selected_options")
    if chosen is None:
        return False
    return (
        bool(chosen) if isinstance(chosen, list) else refuse(f"view.state.values.{block}", "must be a list")
    )


def entered(view: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """What was entered: objects three deep; what each element holds is for its form to read."""
    values = obj(obj(view, "state"), "values")
    if len(values) > _MOST_ROWS:
        refuse("view.state.values", "has more blocks than a view")
    for row in values.values():
        if not isinstance(row, dict) or not all(isinstance(entry, dict) for entry in row.values()):
            refuse("view.state.values", "must be objects in objects")
    return values


def note(payload: Mapping[str, Any], revision: int) -> str:
    """What was typed beside the buttons of this revision; every other field of the message is ignored."""
    row = obj(obj(obj(payload, "state"), "values"), note_block(revision))
    return printable(string(obj(row, NOTE), "value", at="state.values.note", most=_LONGEST_TYPED))
