"""The arguments of a call as people may see them in Slack. No I/O."""

from collections.abc import Mapping

from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.hidden import covered
from orchestrator.domain.values import replace
from orchestrator.slack.looks import approval_step
from orchestrator.slack.text import Shown, facts, line, render


def label(card: Card) -> str:
    """What stands above them."""
    return "The facts" if approval_step(card) else "Arguments"


def discreet(card: Card) -> bool:
    """Whether the channel is shown none of them; the run's own questions have none to hide."""
    return card.approval.terms.discreet and not is_own(card.call)


def seen(card: Card) -> Shown:
    """All of them, safe to look at; what the tool keeps from view is covered, and a note says so."""
    hidden = [name for name in card.approval.terms.hidden if name in card.call.arguments]
    told = covered(card.call.arguments, hidden)
    about = told.get("facts") if approval_step(card) and set(told) == {"facts"} else None
    shown = facts(about) if isinstance(about, Mapping) else render(told)
    if not hidden:
        return shown
    note = f"Kept from view, but sealed and run as it is: {line(', '.join(hidden), 200)}."
    return replace(shown, notes=(*shown.notes, note))
