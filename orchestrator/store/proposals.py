"""What a question was about before another one took its place.

A call's row has its newest arguments alone. What was proposed before stands in the run's record: in the first
reading that named the call, and in each edit that was taken.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.plain import JsonObject
from orchestrator.store.run_rows import event_t

_FIRST: Final = ("InteractionObserved", "StepBegun")
_KINDS: Final = (*_FIRST, "ApprovalEdited")


def arguments_of(s: Session, question: Mapping[str, Any]) -> JsonObject:
    """The arguments a question was put with.

    Args:
        question: Its row, with `arguments`, `call_id` and `turn` of its call, and in `asked_now` the
            question that is the call's newest.
    """
    proposed: JsonObject = question["arguments"]
    if question["asked_now"] == question["id"]:
        return proposed
    query = sa.select(event_t.c.kind, event_t.c.data).where(
        event_t.c.run_id == question["run_id"],
        event_t.c.kind.in_(_KINDS),
        event_t.c.refused.is_(None),
        event_t.c.at <= question["requested_at"],
    )
    known = False
    for kind, data in s.connection().execute(query.order_by(event_t.c.seq)):
        begun = kind in _FIRST
        if begun and (known or data.get("turn") != question["turn"]):
            continue
        for wish in _wishes(data):
            if wish.get("call_id") == question["call_id"]:
                proposed, known = wish.get("arguments") or {}, known or begun
    return proposed


def _wishes(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from data.get("assessments") or ()
    if data.get("assessment"):
        yield data["assessment"]
