"""What a drawn message says and offers, for tests that look at it."""

from typing import Any

from support.slack_limits import texts

from orchestrator.emulator.slack.validation import validate_blocks
from orchestrator.slack.message import Message


def shown(message: Message) -> str:
    """All its text, in order."""
    return "\n".join(texts(message.blocks))


def block(message: Message, name: str) -> dict[str, Any]:
    """The first block of that name."""
    return next(b for b in message.blocks if b["block_id"].startswith(f"{name}:"))


def actions(message: Message) -> list[str]:
    """What its buttons do, in order; it is one Slack would take."""
    assert validate_blocks(message.blocks) == ()
    return [e["action_id"] for b in message.blocks if b["type"] == "actions" for e in b["elements"]]
