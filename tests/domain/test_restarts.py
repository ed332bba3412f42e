"""A run that Gemini does not go on with asks people whether another one takes its work up."""

from datetime import timedelta
from typing import Any

import pytest
from support.conversation import ANNA, BEN, TERMS, Conversation, recipe, seen, wish

from orchestrator.domain.asking import GO_ON, RESTART, is_own
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import ApprovalStatus, Verdict
from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalExpired,
    AttentionResolved,
    CancelRequested,
    Choice,
    CreateClaimed,
    CreateRefused,
    Event,
    RunOverdue,
    TakenUp,
)
from orchestrator.domain.model import CallStatus, OutcomeKind, RunStatus, ToolCall, TurnStatus
from orchestrator.domain.pauses import MAX_WHY
from orchestrator.domain.values import replace

WHY = "HTTP 400: function results do not match"


def resuming(**limits: Any) -> Conversation:
    """A run whose results are on their way."""
    talk = Conversation(workflow=replace(recipe(**limits), terms=TERMS)).asks(wish("c1"))
    talk.runs("c1")
    return talk.sent()


def refused() -> Conversation:
    return resuming().hear(CreateRefused(2, 1, WHY, "invalid_request", 1))


def asked(talk: Conversation) -> ToolCall:
    """The newest question about a restart."""
    return [c for c in talk.run.turn.calls if is_own(c) and c.tool == RESTART][-1]


def says(talk: Conversation, approve: bool, reason: str = "") -> Decision:
    approval = asked(talk).approval
    assert approval is not None
    verdict = Verdict(approve, BEN, talk.now, reason)
    return talk.happens(ApprovalDecided(approval.id, approval.digest, verdict, BEN.id))


def standing(talk: Conversation) -> ApprovalStatus:
    approval = asked(talk).approval
    assert approval is not None
    return approval.status


def taken_back(talk: Conversation) -> bool:
    """The question is closed, shown so, and nothing of it is still to come."""
    approval = asked(talk).approval
    assert approval is not None
    left = {e.kind for e in talk.waiting.values() if e.subject == approval.id}
    assert EffectKind.UPDATE_APPROVAL in left
    assert EffectKind.EXPIRE_APPROVAL not in left or talk.run.closed
    assert EffectKind.RESTART_RUN not in left
    return approval.status is ApprovalStatus.WITHDRAWN and asked(talk).settled


def test_people_are_asked_and_told_the_plain_facts() -> None:
    talk = refused()
    assert (talk.run.status, talk.run.turn.status) == (RunStatus.ATTENTION, TurnStatus.REFUSED)
    question = asked(talk)
    assert question.arguments == {"gemini_said": WHY, "turn": 2, "calls_made": 1}
    assert question.approval is not None
    assert question.approval.terms.approvers == TERMS.approvers
    assert talk.due(EffectKind.REQUEST_APPROVAL, question.approval.id) == talk.now
    assert question.approval.expires_at == talk.run.deadline
    long = resuming().hear(CreateRefused(2, 1, "x" * 5_000, "invalid_request"))
    assert asked(long).arguments["gemini_said"] == "x" * MAX_WHY


@pytest.mark.parametrize("terms", [None, replace(TERMS, approvers=())])
def test_without_anybody_to_ask_it_waits_as_before(terms: Any) -> None:
    talk = resuming()
    talk.run = replace(talk.run, recipe=replace(talk.run.recipe, terms=terms))
    decision = talk.happens(CreateRefused(2, 1, WHY, "invalid_request"))
    assert (talk.run.status, talk.run.turn.calls, decision.effects) == (RunStatus.ATTENTION, (), ())
    assert decision.alarm


def test_a_yes_is_for_a_worker_and_the_run_waits_for_it() -> None:
    talk = refused()
    says(talk, True)
    approval = asked(talk).approval
    assert approval is not None
    assert approval.verdict is not None
    assert (talk.run.status, talk.run.turn.status) == (RunStatus.ATTENTION, TurnStatus.REFUSED)
    assert (approval.status, approval.verdict.by) == (ApprovalStatus.APPROVED, BEN)
    assert talk.due(EffectKind.RESTART_RUN, approval.id) == talk.now
    assert f"expire_approval:{approval.id}" not in talk.waiting
    assert WHY in talk.run.reason
    assert says(talk, False).refused is Refusal.ALREADY_DECIDED
    talk.hear(TakenUp(BEN, "run_2"))
    assert talk.run.status is RunStatus.FAILED
    assert "taken up again as run_2 by anna" not in talk.run.reason
    assert "taken up again as run_2 by ben" in talk.run.reason
    assert standing(talk) is ApprovalStatus.APPROVED
    assert talk.due(EffectKind.UPDATE_APPROVAL, approval.id) == talk.now
    assert EffectKind.RESTART_RUN not in talk.kinds()


def test_a_no_ends_the_run_and_says_by_whom() -> None:
    talk = refused()
    says(talk, False, "not worth it")
    assert talk.run.status is RunStatus.FAILED
    assert talk.run.reason.startswith("given up by ben: not worth it; before that: ")
    assert WHY in talk.run.reason
    assert asked(talk).outcome is not None
    assert EffectKind.RESTART_RUN not in talk.kinds()


def test_it_is_open_for_as_long_as_the_run_may_take_and_no_longer() -> None:
    talk = refused()
    approval = asked(talk).approval
    assert approval is not None
    talk.happens(ApprovalExpired(approval.id), after=TERMS.expires_after * 3)  # long past what the terms say
    assert (standing(talk), talk.run.status) == (ApprovalStatus.PENDING, RunStatus.ATTENTION)
    before_its_end = talk.run
    talk.now = talk.run.deadline
    talk.hear(ApprovalExpired(approval.id))
    assert (standing(talk), talk.run.status) == (ApprovalStatus.EXPIRED, RunStatus.ATTENTION)
    assert says(talk, True).refused is Refusal.ALREADY_DECIDED
    talk.hear(RunOverdue(talk.now))
    assert talk.run.status is RunStatus.FAILED
    assert "not ended within" in talk.run.reason
    talk.run = before_its_end  # the run's own timer may be the first of the two
    talk.hear(RunOverdue(talk.now), ApprovalExpired(approval.id))
    assert (talk.run.status, standing(talk)) == (RunStatus.FAILED, ApprovalStatus.WITHDRAWN)


@pytest.mark.parametrize("wanted", [False, True], ids=["asked", "wanted"])
@pytest.mark.parametrize(
    "event",
    [AttentionResolved(Choice.RETRY, ANNA), seen("i2", "in_progress", turn=2)],
    ids=["sent again", "shown after all"],
)
def test_going_on_after_all_takes_the_question_back(event: Event, wanted: bool) -> None:
    talk = refused()
    if wanted:
        says(talk, True)
    talk.hear(event)
    assert taken_back(talk)
    assert talk.run.status in (RunStatus.RESUMING, RunStatus.RUNNING)
    outcome = asked(talk).outcome
    assert outcome is not None
    assert outcome.kind is (OutcomeKind.SUCCEEDED if wanted else OutcomeKind.WITHDRAWN)
    assert says(talk, True).refused is Refusal.ALREADY_DECIDED


@pytest.mark.parametrize(
    "event",
    [
        CancelRequested(ANNA),
        TakenUp(ANNA, "run_2"),
        AttentionResolved(Choice.GIVE_UP, ANNA),
        seen("i2", "completed", turn=2, output="done"),
    ],
    ids=["cancelled", "taken up", "given up", "completed"],
)
def test_the_end_of_the_run_takes_the_question_back(event: Event) -> None:
    talk = refused().hear(event)
    assert talk.run.closed
    assert taken_back(talk)
    assert talk.kinds() <= {EffectKind.UPDATE_APPROVAL, EffectKind.REQUEST_APPROVAL}
    assert says(talk, True).refused is Refusal.RUN_ENDED


def test_a_cancel_wins_over_a_restart_nobody_has_made_yet() -> None:
    talk = refused()
    says(talk, True)
    talk.hear(CancelRequested(ANNA))
    assert talk.run.status is RunStatus.CANCELLED
    assert EffectKind.RESTART_RUN not in talk.kinds()
    assert talk.happens(TakenUp(BEN, "run_2")).refused is Refusal.RUN_ENDED


def test_each_refused_attempt_asks_anew_and_an_old_answer_is_for_none_of_them() -> None:
    talk = refused()
    first = asked(talk)
    says(talk, True)
    talk.hear(AttentionResolved(Choice.RETRY, ANNA), CreateClaimed(2, 2))
    assert (talk.run.status, talk.run.turn.calls) == (RunStatus.RESUMING, (asked(talk),))
    talk.hear(CreateRefused(2, 2, WHY, "invalid_request", 1))
    assert asked(talk).id != first.id
    assert [c.settled for c in talk.run.turn.calls] == [True, False]
    assert talk.run.status is RunStatus.ATTENTION
    assert EffectKind.RESTART_RUN not in talk.kinds()


def test_an_old_question_is_no_call_of_the_turn_it_stands_in() -> None:
    talk = resuming(max_calls_per_turn=1).hear(CreateRefused(2, 1, WHY, "invalid_request", 1))
    talk.hear(AttentionResolved(Choice.RETRY, ANNA)).live("i2")
    talk.asks(wish("c2", Ruling.ASK), interaction_id="i2")
    assert [(c.tool, c.status) for c in talk.run.turn.calls] == [
        (RESTART, CallStatus.SETTLED),
        ("lookup", CallStatus.AWAITING_APPROVAL),
    ]
    assert talk.run.status is RunStatus.WAITING
    talk.answers("c2", True)
    talk.runs("c2")
    assert (talk.run.turn.number, talk.run.turn.previous_id, talk.run.turn.calls) == (3, "i2", ())


def test_a_cut_answer_keeps_its_token_beside_an_old_question() -> None:
    talk = resuming(max_tokens=100).hear(CreateRefused(2, 1, WHY, "invalid_request", 1))
    talk.hear(AttentionResolved(Choice.RETRY, ANNA)).live("i2")
    cut = seen(
        "i2", "requires_continuation", turn=2, attempt=2, continuation="tok", usage={"total_tokens": 100}
    )
    talk.hear(cut)
    assert [c.tool for c in talk.run.turn.calls] == [RESTART, GO_ON]
    approval = talk.run.turn.calls[1].approval
    assert approval is not None
    talk.happens(ApprovalDecided(approval.id, approval.digest, Verdict(True, BEN, talk.now), BEN.id))
    assert (talk.run.turn.number, talk.run.turn.continuation) == (3, "tok")


def test_only_who_may_decide_restarts_it_and_only_what_was_shown() -> None:
    talk = refused()
    approval = asked(talk).approval
    assert approval is not None
    yes = Verdict(True, BEN, talk.now)
    stranger = talk.happens(ApprovalDecided(approval.id, approval.digest, yes, "U0EVE"))
    other = talk.happens(ApprovalDecided(approval.id, "e" * 64, yes, BEN.id))
    back = replace(yes, approve=False, refine=True, reason="otherwise")
    sent_back = talk.happens(ApprovalDecided(approval.id, approval.digest, back, BEN.id))
    refusals = [d.refused for d in (stranger, other, sent_back)]
    assert refusals == [Refusal.NOT_ENTITLED, Refusal.CHANGED, Refusal.NOT_NOW]
    assert standing(talk) is ApprovalStatus.PENDING
    assert timedelta(0) < approval.expires_at - talk.now
