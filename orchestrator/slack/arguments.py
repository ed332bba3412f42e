"""The arguments of a call as people may see them in Slack. No I/O."""

from dataclasses import replace

from orchestrator.domain.hidden import covered
from orchestrator.domain.pictures import Card
from orchestrator.slack.text import Shown, line, render


def seen(card: Card) -> Shown:
    """All of them, safe to look at; what the tool keeps from view is covered, and a note says so."""
    hidden = [name for name in card.approval.terms.hidden if name in card.call.arguments]
    shown = render(covered(card.call.arguments, hidden))
    if not hidden:
        return shown
    note = f"Kept from view, but sealed and run as it is: {line(', '.join(hidden), 200)}."
    return replace(shown, notes=(*shown.notes, note))
