"""A request to people who all have enough of them is denied; one of them with room is enough."""

from typing import Any

import pytest
from support.conversation import ANNA, BEN, TERMS, Conversation, wish

from orchestrator.domain.approver_load import put_to, relieved
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import ApprovalStatus, Preview, Stage, Terms
from orchestrator.domain.events import AttentionResolved, CallClaimed, CallPreviewed, Choice
from orchestrator.domain.model import CallStatus, OutcomeKind, Policy, RunStatus
from orchestrator.domain.values import replace

FEW = Policy(max_open_per_approver=3)
TWO = Terms((ANNA.id, BEN.id))


def asking(call: str = "c1", terms: Terms = TWO, **open_now: int) -> Assessment:
    """A gated wish, with how much is asked of each already."""
    counts = {"U0ANNA": 0, "U0BEN": 0, "S0OPS": 0, **open_now}
    return wish(
        call, Ruling.ASK, terms=terms, asked={e: counts.get(e, 0) for e in put_to(gated(call, terms))}
    )


def gated(call: str, terms: Terms) -> Assessment:
    return wish(call, Ruling.ASK, terms=terms)


@pytest.mark.parametrize(
    ("terms", "open_now", "asked"),
    [
        (TWO, {"U0ANNA": 2, "U0BEN": 2}, True),
        (TWO, {"U0ANNA": 3, "U0BEN": 2}, True),
        (TWO, {"U0ANNA": 3, "U0BEN": 3}, False),
        (TWO, {"U0ANNA": 9, "U0BEN": 4}, False),
        (replace(TWO, never=(BEN.id,)), {"U0ANNA": 3}, False),  # BEN may not anyway
        (replace(TWO, four_eyes=True), {"U0BEN": 3}, False),  # ANNA asked for the run
        (replace(TWO, approvers=("S0OPS",)), {"S0OPS": 3}, False),
        (Terms((), stages=(Stage("risk", (BEN.id,)), Stage("legal", (ANNA.id,)))), {"U0ANNA": 9}, True),
    ],
)
def test_at_the_limit_of_everybody_who_could_decide(terms: Terms, open_now: Any, asked: bool) -> None:
    talk = Conversation(policy=FEW).asks(asking(terms=terms, **open_now))
    outcome = talk.run.turn.calls[0].outcome if talk.run.turn.calls else None
    if asked:
        assert talk.call("c1").status is CallStatus.AWAITING_APPROVAL
        return
    call = talk.turns[-1].calls[0]
    assert outcome is None
    assert call.outcome is not None
    assert call.outcome.kind is OutcomeKind.DENIED
    assert "wait for their answers" in str(call.outcome.result)
    assert call.approval is None
    assert talk.run.status is RunStatus.RESUMING


def test_what_is_asked_in_the_same_moment_counts_too() -> None:
    wishes = [asking(f"c{n}", U0ANNA=1, U0BEN=1) for n in range(3)]
    talk = Conversation(policy=FEW).asks(*wishes)
    statuses = [c.status for c in talk.run.turn.calls]
    assert statuses == [CallStatus.AWAITING_APPROVAL, CallStatus.AWAITING_APPROVAL, CallStatus.SETTLED]


def test_nobody_counted_is_no_limit_and_what_is_not_asked_about_is_not_denied() -> None:
    free, unknown = wish("c1"), replace(asking(U0ANNA=9, U0BEN=9), asked={})
    assert [relieved(w, (ANNA.id,), 1) for w in (free, unknown)] == [free, unknown]
    assert put_to(free) == ()


def test_a_call_that_is_worked_out_first_or_put_anew_passes_the_same_limit() -> None:
    seen = asking(U0ANNA=1, U0BEN=1)
    talk = Conversation(policy=FEW).asks(replace(seen, previews=True))
    call = talk.call("c1")
    full = replace(asking(U0ANNA=3, U0BEN=3), previews=True, preview=Preview("less"))
    talk.happens(CallPreviewed(call.id, call.arguments, full))
    assert talk.turns[-1].calls[0].outcome is not None
    again = Conversation(policy=FEW).asks(asking(terms=replace(TERMS, approvers=TWO.approvers)))
    first = again.call("c1").approval
    assert first is not None
    lapsed = replace(again.call("c1"), approval=replace(first, status=ApprovalStatus.WITHDRAWN))
    again.run = replace(again.run, turn=again.run.turn.with_call(replace(lapsed, status=CallStatus.READY)))
    again.run = replace(again.run, status=RunStatus.RUNNING)
    again.happens(CallClaimed(lapsed.id, "k1", asking(U0ANNA=3, U0BEN=3)))
    assert again.turns[-1].calls[0].outcome is not None
    assert again.happens(AttentionResolved(Choice.RETRY, ANNA, lapsed.id)).refused is not None


def test_an_edit_or_a_drift_is_no_new_request() -> None:
    talk = Conversation(policy=FEW).asks(asking(terms=TERMS))
    assert talk.answers("c1", True).refused is None
    full = dict.fromkeys(TERMS.approvers, 9)
    talk.claims("c1", asked=full, terms=TERMS)
    assert talk.call("c1").status is CallStatus.EXECUTING
