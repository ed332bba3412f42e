"""What a question was about before another one took its place, and what people changed on the way.

A call's row has its newest arguments alone. What was proposed before stands in the run's record: in the first
reading that named the call, and in each edit that was taken.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.consent import Actor, Approval
from orchestrator.domain.edits import Edited
from orchestrator.domain.model import ToolCall
from orchestrator.domain.plain import JsonObject, exact
from orchestrator.domain.values import replace
from orchestrator.store.run_rows import call_t, event_t

_FIRST: Final = ("InteractionObserved", "StepBegun")
_KINDS: Final = (*_FIRST, "ApprovalEdited")


@dataclass(frozen=True, slots=True)
class _Proposal:
    """Arguments that were proposed; `by` is None for those of whoever wanted the call."""

    arguments: JsonObject
    hidden: frozenset[str]
    by: Actor | None
    at: datetime


def arguments_of(s: Session, question: Mapping[str, Any]) -> JsonObject:
    """The arguments a question was put with.

    Args:
        question: Its row, with `arguments`, `call_id` and `turn` of its call, and in `asked_now` the
            question that is the call's newest.
    """
    newest: JsonObject = question["arguments"]
    if question["asked_now"] == question["id"]:
        return newest
    proposals = _proposals(s, question)
    return proposals[-1].arguments if proposals else newest


def edited(s: Session, question: Mapping[str, Any]) -> Edited | None:
    """What people changed before that question was put; None where it is about what was proposed at first.

    Args:
        question: As for `arguments_of`, with the arguments it was put with.
    """
    if question["revision"] == 1:
        return None
    proposals = _proposals(s, question)
    changed = [p for p in proposals if p.by is not None]
    if not changed or len(changed) == len(proposals):
        return None
    proposed, hidden = proposals[0].arguments, frozenset[str]().union(*(p.hidden for p in proposals))
    if exact(proposed) == exact(question["arguments"]):
        return None
    return Edited(proposed, tuple(dict.fromkeys(p.by for p in changed if p.by)), changed[-1].at, hidden)


def as_asked(s: Session, run_id: str, call: ToolCall, approval: Approval) -> ToolCall:
    """The call with the arguments that a question was put with in whose place there is another by now."""
    proposals = _proposals(s, _question(s, run_id, call, approval))
    return replace(call, arguments=proposals[-1].arguments) if proposals else call


def edited_since(s: Session, run_id: str, call: ToolCall, approval: Approval) -> Edited | None:
    """As `edited`, of a call as that question was put with it."""
    if approval.revision == 1:
        return None
    return edited(s, {**_question(s, run_id, call, approval), "arguments": call.arguments})


def _question(s: Session, run_id: str, call: ToolCall, approval: Approval) -> dict[str, Any]:
    turn = s.connection().execute(sa.select(call_t.c.turn).where(call_t.c.id == call.id)).scalar()
    named = {"run_id": run_id, "call_id": call.call_id, "turn": turn}
    return {**named, "revision": approval.revision, "requested_at": approval.requested_at}


def _proposals(s: Session, question: Mapping[str, Any]) -> list[_Proposal]:
    """What was proposed up to that question, the first one first."""
    query = sa.select(event_t.c.kind, event_t.c.data, event_t.c.at).where(
        event_t.c.run_id == question["run_id"],
        event_t.c.kind.in_(_KINDS),
        event_t.c.refused.is_(None),
        event_t.c.at <= question["requested_at"],
    )
    known, found = False, list[_Proposal]()
    for kind, data, at in s.connection().execute(query.order_by(event_t.c.seq)):
        begun = kind in _FIRST
        if begun and (known or data.get("turn") != question["turn"]):
            continue
        for wish in _wishes(data):
            if wish.get("call_id") == question["call_id"]:
                # What came before is of a call of an earlier turn, which Gemini had given the same id.
                found = [] if begun else found
                known = known or begun
                found.append(_proposal(wish, None if begun else data.get("by"), at))
    return found


def _proposal(wish: Mapping[str, Any], by: Any, at: datetime) -> _Proposal:
    hidden = (wish.get("terms") or {}).get("hidden") or ()
    who = msgspec.convert(by, Actor) if by else None
    return _Proposal(wish.get("arguments") or {}, frozenset(hidden), who, at)


def _wishes(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from data.get("assessments") or ()
    if data.get("assessment"):
        yield data["assessment"]
