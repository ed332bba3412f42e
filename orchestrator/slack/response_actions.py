"""What Slack is told to do with a window that was sent off, as its `response_action` has it. No I/O.

Source: Slack, "Modals": updating, clearing and validating after `view_submission`.
"""

from collections.abc import Mapping

from orchestrator.domain.plain import JsonObject
from orchestrator.slack import modals


def clear() -> JsonObject:
    """The window is closed, and those below it."""
    return {"response_action": "clear"}


def errors(by_block: Mapping[str, str]) -> JsonObject:
    """It stays open, with what is wrong below each input."""
    return {"response_action": "errors", "errors": dict(by_block)}


def instead(title: str, text: str) -> JsonObject:
    """Another window in its place that only says this; only `<@U…>` in `text` is markup."""
    return {"response_action": "update", "view": modals.said(title, text)}


def not_recorded(text: str) -> JsonObject:
    """Nothing of it counts, for this reason."""
    return instead("Not recorded", text)
