"""The arguments of a call as people may see them in Slack. No I/O."""

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.hidden import covered
from orchestrator.domain.values import replace
from orchestrator.slack.looks import approval_step
from orchestrator.slack.text import Shown, facts, first_of, least_of, line, render


def label(card: Card) -> str:
    """What stands above them."""
    return "The facts" if approval_step(card) else "Arguments"


def discreet(card: Card) -> bool:
    """Whether the channel is shown none of them; the run's own questions have none to hide."""
    return card.approval.terms.discreet and not is_own(card.call)


def least(card: Card) -> int:
    """How many bytes of a view's JSON they take at least, told without drawing them."""
    return 0 if approval_step(card) else least_of(_told(card))  # facts are written as text, which is shorter


def beginning(card: Card, most: int) -> str:
    """Their first characters in one line; empty where they cannot be shown."""
    return first_of(_told(card), most)


def _hidden(card: Card) -> list[str]:
    return [name for name in card.approval.terms.hidden if name in card.call.arguments]


def _told(card: Card) -> dict[str, Any]:
    return covered(card.call.arguments, _hidden(card))


def seen(card: Card) -> Shown:
    """All of them, safe to look at; what the tool keeps from view is covered, and a note says so."""
    hidden, told = _hidden(card), _told(card)
    about = told.get("facts") if approval_step(card) and set(told) == {"facts"} else None
    shown = facts(about) if isinstance(about, Mapping) else render(told)
    if not hidden:
        return shown
    note = f"Kept from view, but sealed and run as it is: {line(', '.join(hidden), 200)}."
    return replace(shown, notes=(*shown.notes, note))
