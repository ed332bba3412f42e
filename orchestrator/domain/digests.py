"""The message over the questions of unattended runs: which of them belong together, and when it has changed.

Only the showing is shared, over many runs. Each question keeps its own digest, decision, entry in the audit
and card, which stands in the thread of the message. What may be answered in one go is what is alike: the
same tool of the same workflow, asked of the same people under terms that allow it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from orchestrator.domain.asking import is_own
from orchestrator.domain.batches import people
from orchestrator.domain.cards import Card, DigestCard
from orchestrator.domain.collecting import parse, waits
from orchestrator.domain.decision import Decision
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.human import is_question
from orchestrator.domain.model import Run, ToolCall
from orchestrator.domain.values import replace

Kind = tuple[object, ...]
"""What questions have in common that are shown, and may be answered, together."""

ALL_DECIDED: Final = "all were decided before"


def kind(card: Card) -> Kind:
    """Questions of equal kinds stand together."""
    return card.workflow, card.call.tool, *people(card.approval)


def groups(cards: Iterable[Card]) -> tuple[tuple[Card, ...], ...]:
    """The questions by their kind, in the order in which the first of each was asked."""
    found: dict[Kind, list[Card]] = {}
    for card in cards:
        found.setdefault(kind(card), []).append(card)
    return tuple(map(tuple, found.values()))


def together(card: Card) -> bool:
    """Whether a question may be answered in one go with others of its kind."""
    return card.approval.terms.together and not is_question(card.call) and not is_own(card.call)


def alike(card: Card, cards: Sequence[Card]) -> tuple[Card, ...]:
    """Those of its kind that are open and may be answered in one go, itself among them if it is one."""
    same = (c for c in cards if kind(c) == kind(card) and c.approval.open)
    return tuple(c for c in same if together(c))


def followed(before: Run, decision: Decision, now: datetime) -> Decision:
    """The decision, with what it means for digest messages.

    Those its new questions wait for are to be posted at their hour, and every one is drawn anew in which a
    question of the run looks otherwise; in one order, as other runs' transactions name them too.
    """
    ended = decision.run.closed != before.closed
    if decision.run.turn is before.turn and not ended:
        return decision
    known = {c.id: c for c in before.turn.calls}
    wished: set[str] = set()
    changed: set[str] = set()
    for call in _calls(decision):
        old = known.get(call.id)
        if call is old and not ended:
            continue
        if call.approval and waits(call.approval) and not (old and old.approval == call.approval):
            wished.add(call.approval.collected)
        if old is not None and (ended or _face(old) != _face(call)):
            changed.update(_messages((old, call)))
    effects = (
        *(Effect(EffectKind.POST_DIGEST, name, parse(name)[1]) for name in sorted(wished)),
        *(Effect(EffectKind.UPDATE_DIGEST, name, now) for name in sorted(changed)),
    )
    return replace(decision, effects=(*decision.effects, *effects)) if effects else decision


def _calls(decision: Decision) -> tuple[ToolCall, ...]:
    left = decision.left.calls if decision.left else ()
    return (*left, *decision.run.turn.calls)


def _messages(calls: Sequence[ToolCall]) -> Iterable[str]:
    """Those in which questions about the calls are shown, or will be."""
    return (c.approval.collected for c in calls if c.approval is not None and c.approval.collected)


def _face(call: ToolCall) -> Mapping[str, object]:
    """What the message shows of a call."""
    approval = call.approval
    if approval is None:
        return {}
    votes = tuple((vote.by.id, vote.stage) for vote in approval.votes)
    asked = (approval.id, approval.status, votes, approval.terms.steps)
    return {"call": (call.status, call.outcome and call.outcome.kind), "asked": asked}


def waiting(digest: DigestCard) -> bool:
    """Whether anything in the message is still to be decided."""
    return any(card.approval.open for card in digest.cards)
