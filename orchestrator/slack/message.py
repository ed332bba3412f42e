"""What goes out as one message of ours, and a word to one person. No I/O."""

import re
from dataclasses import dataclass
from typing import Any

from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.text import escape, line


@dataclass(frozen=True, slots=True)
class Message:
    """What a post or an update takes: `text` for notifications, `blocks`, ids in `metadata`."""

    text: str
    blocks: list[Block]
    metadata: dict[str, Any]


def whisper(text: str) -> Message:
    """Our own words to one person. `<@U…>` becomes a mention, everything else is shown as it is written."""
    return Message(escape(line(re.sub(r"[<>@]", "", text), 300)), [kit.spoken("whisper", text)], {})
