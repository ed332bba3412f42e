"""How people are shown what a call would do: words of its tool, as text and never as markup. No I/O."""

from typing import Final

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Preview
from orchestrator.slack.text import Shown, prose

WOULD: Final = "What it would do (worked out by the tool)"
BLIND: Final = "What it would do: no preview, it failed"
CHANGED: Final = "What it would do has changed since it was approved. Nothing was run."
BEFORE: Final = "What it would have done when it was approved"


def heading(preview: Preview) -> str:
    """What stands above the text."""
    return BLIND if preview.trouble else WOULD


def would(preview: Preview) -> Shown:
    """What it would do now, or why that is not known."""
    return prose(preview.text or preview.trouble)


def before(card: Card) -> Shown | None:
    """What had been approved, where it came out otherwise; None if nothing had."""
    preview = card.approval.preview
    return prose(preview.before) if preview is not None and preview.before is not None else None
