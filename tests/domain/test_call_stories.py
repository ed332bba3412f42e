"""One function call: admitted, asked about, gated, run, settled exactly once."""

from datetime import timedelta

import pytest
from support.conversation import ANNA, BEN, DIGEST, OK, TERMS, Conversation, seen, wish

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.calls import LAPSED_TEXT
from orchestrator.domain.consent import Actor, ApprovalStatus, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalPosted,
    ApprovalUndelivered,
    AttentionResolved,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallDoubted,
    CallFinished,
    Choice,
)
from orchestrator.domain.expiry import EXPIRED_TEXT
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind, Run, RunStatus
from orchestrator.domain.values import replace

SECOND = timedelta(seconds=1)
FAILED = Outcome(OutcomeKind.FAILED, "out of stock")


def gated(*others: str) -> Conversation:
    return Conversation().asks(wish("c1", Ruling.ASK, tool="refund"), *(wish(o) for o in others))


def left(talk: Conversation, call_id: str = "c1") -> Outcome:
    """The one result with which the call's turn was left behind."""
    outcome = next(c for c in talk.turns[-1].calls if c.call_id == call_id).outcome
    assert outcome is not None
    return outcome


# --- without people -------------------------------------------------------------------


def test_a_free_call_runs_and_its_result_goes_on() -> None:
    talk = Conversation().asks(wish("c1"))
    key = talk.call("c1").id
    assert talk.due(EffectKind.EXECUTE_TOOL, key) == talk.now
    talk.claims("c1")
    assert talk.call("c1").status is CallStatus.EXECUTING
    assert talk.happens(CallClaimed(key, "k2", wish("c1"))).refused is Refusal.NOT_NOW  # doubled
    talk.hear(CallFinished(key, "k2", FAILED))  # not the execution that holds it
    assert talk.call("c1").status is CallStatus.EXECUTING
    talk.hear(CallFinished(key, "k1", OK))
    assert left(talk) == OK
    before = talk.run
    talk.hear(CallFinished(key, "k1", FAILED))  # late
    assert talk.run == before


@pytest.mark.parametrize(
    ("ruling", "kind"),
    [
        (Ruling.DENY, OutcomeKind.DENIED),
        (Ruling.UNKNOWN, OutcomeKind.FAILED),
        (Ruling.INVALID, OutcomeKind.FAILED),
    ],
)
def test_a_call_that_may_not_run_is_answered_at_once(ruling: Ruling, kind: OutcomeKind) -> None:
    talk = Conversation().asks(wish("c1", ruling, reason="because"))
    assert left(talk) == Outcome(kind, "because")
    assert EffectKind.EXECUTE_TOOL not in talk.kinds()
    assert talk.run.bad_calls == (0 if ruling is Ruling.DENY else 1)


def test_a_policy_that_says_no_at_the_gate_wins() -> None:
    talk = Conversation().asks(wish("c1"))
    talk.claims("c1", ruling=Ruling.DENY, reason="switched off")
    assert left(talk) == Outcome(OutcomeKind.DENIED, "switched off")


def test_a_policy_that_asks_at_the_gate_is_obeyed() -> None:
    talk = Conversation().asks(wish("c1"))
    decision = talk.claims("c1", ruling=Ruling.ASK, terms=TERMS)
    assert decision.refused is Refusal.NOT_NOW
    assert talk.run.status is RunStatus.WAITING
    assert talk.approval().open
    talk.answers("c1", True)
    talk.runs("c1")
    assert left(talk) == OK


def test_calls_side_by_side_go_on_together() -> None:
    talk = Conversation().asks(
        wish("free"),
        wish("asked", Ruling.ASK),
        wish("denied", Ruling.DENY),
        wish("odd", Ruling.UNKNOWN),
        wish("second", Ruling.ASK),
    )
    assert talk.run.status is RunStatus.WAITING
    talk.runs("free")
    talk.answers("second", False)
    assert talk.run.turn.number == 1
    talk.answers("asked", True)
    assert talk.run.status is RunStatus.RUNNING
    talk.runs("asked", "k9")
    assert [(c.call_id, c.outcome and c.outcome.kind) for c in talk.turns[-1].calls] == [
        ("free", OutcomeKind.SUCCEEDED),
        ("asked", OutcomeKind.SUCCEEDED),
        ("denied", OutcomeKind.DENIED),
        ("odd", OutcomeKind.FAILED),
        ("second", OutcomeKind.REJECTED),
    ]


def test_a_call_without_room_waits_and_starts_later() -> None:
    talk = Conversation().asks(wish("c1"))
    talk.claims("c1")
    talk.hear(CallDeferred(talk.call("c1").id, "k1", "no room"))
    assert (talk.call("c1").status, talk.call("c1").claim) == (CallStatus.READY, None)
    talk.hear(CallFinished(talk.call("c1").id, "k1", OK))  # it never began
    assert talk.call("c1").status is CallStatus.READY
    talk.runs("c1", "k2")
    talk.hear(CallDeferred(talk.turns[-1].calls[0].id, "k2", "late"))
    assert left(talk) == OK


def test_the_same_call_named_twice_is_one_call() -> None:
    talk = Conversation().asks(wish("c1"), wish("c1"))
    assert len(talk.run.turn.calls) == 1
    talk.runs("c1")
    assert talk.run.turn.number == 2


# --- asking people --------------------------------------------------------------------


def test_approve_then_run() -> None:
    talk = gated()
    asked = talk.approval()
    assert talk.run.status is RunStatus.WAITING
    assert asked.expires_at == talk.now + TERMS.expires_after
    assert {f"request_approval:{asked.id}", f"expire_approval:{asked.id}"} <= set(talk.waiting)
    assert talk.happens(CallClaimed(talk.call("c1").id, "k0", wish("c1", Ruling.ASK))).refused
    assert talk.call("c1").status is CallStatus.AWAITING_APPROVAL
    talk.answers("c1", True)
    assert (talk.approval().status, talk.run.status) == (ApprovalStatus.APPROVED, RunStatus.RUNNING)
    assert talk.approval().start_by == talk.now + TERMS.start_within
    assert f"expire_approval:{asked.id}" not in talk.waiting
    assert f"update_approval:{asked.id}" in talk.waiting
    talk.runs("c1")
    assert left(talk) == OK


def test_reject_tells_the_model_once_with_the_persons_words() -> None:
    talk = gated()
    talk.answers("c1", False, reason="too much")
    assert left(talk).kind is OutcomeKind.REJECTED
    assert left(talk).is_error
    assert '"too much"' in str(left(talk).result)
    assert EffectKind.EXECUTE_TOOL not in talk.kinds()


@pytest.mark.parametrize("first", [True, False])
def test_the_first_decision_stands(first: bool) -> None:
    talk = gated("c2")
    talk.answers("c1", first, by=ANNA)
    stands = talk.approval()
    second = talk.answers("c1", not first, by=BEN)
    assert second.refused is Refusal.ALREADY_DECIDED
    assert "anna" in second.note
    assert talk.approval() == stands
    assert talk.happens(ApprovalExpired(stands.id), after=timedelta(days=3)).effects == ()
    assert talk.approval() == stands


@pytest.mark.parametrize(("offset", "expired"), [(-SECOND, False), (timedelta(0), True), (SECOND, True)])
def test_a_decision_counts_until_its_last_moment(offset: timedelta, expired: bool) -> None:
    talk = gated()
    asked = talk.approval()
    talk.now = asked.expires_at + offset
    decision = talk.answers("c1", True)
    assert (decision.refused is Refusal.EXPIRED) is expired
    if expired:
        assert left(talk) == Outcome(OutcomeKind.EXPIRED, EXPIRED_TEXT)
    else:
        assert talk.call("c1").status is CallStatus.READY


@pytest.mark.parametrize(("offset", "expired"), [(-SECOND, False), (timedelta(0), True), (SECOND, True)])
def test_the_timer_expires_a_question_not_before_its_time(offset: timedelta, expired: bool) -> None:
    talk = gated()
    asked = talk.approval()
    talk.now = asked.expires_at + offset
    talk.hear(ApprovalExpired(asked.id))
    if expired:
        assert left(talk).kind is OutcomeKind.EXPIRED
        verdict = Verdict(True, ANNA, talk.now)
        late = talk.happens(ApprovalDecided(asked.id, DIGEST, verdict, ANNA.id))
        assert late.refused is Refusal.NOT_FOUND
    else:
        assert talk.approval().open
        assert talk.due(EffectKind.EXPIRE_APPROVAL, asked.id) == asked.expires_at


@pytest.mark.parametrize(("offset", "lapsed"), [(-SECOND, False), (timedelta(0), False), (SECOND, True)])
def test_an_approval_lapses_when_the_start_comes_too_late(offset: timedelta, lapsed: bool) -> None:
    talk = gated()
    talk.answers("c1", True)
    start_by = talk.approval().start_by
    assert start_by is not None
    talk.now = start_by + offset
    talk.claims("c1")
    if lapsed:
        assert left(talk) == Outcome(OutcomeKind.EXPIRED, LAPSED_TEXT)
    else:
        assert talk.call("c1").status is CallStatus.EXECUTING


def test_only_the_entitled_decide() -> None:
    talk = gated()
    stranger = talk.answers("c1", True, by=Actor("U0EVE"))
    assert stranger.refused is Refusal.NOT_ENTITLED
    assert talk.answers("c1", True, by=Actor("ci", "ci", "api"), entitled_as="api:other").refused
    assert talk.approval().open
    assert talk.answers("c1", True, by=Actor("ops", "ops", "api"), entitled_as="api:ops").refused is None


@pytest.mark.parametrize("shown", ["", "d" * 15, "e" * 64, "d" * 63 + "e", "d" * 65])
def test_another_digest_is_another_question(shown: str) -> None:
    talk = gated()
    assert talk.answers("c1", True, digest=shown).refused is Refusal.CHANGED
    assert talk.approval().open


@pytest.mark.parametrize("length", [16, 17, 64])
def test_a_long_enough_prefix_of_the_digest_names_the_question(length: int) -> None:
    talk = gated()
    assert talk.answers("c1", True, digest=DIGEST[:length]).refused is None


def test_questions_of_another_turn_or_run_are_not_found() -> None:
    talk = gated()
    spent = talk.approval().id
    talk.answers("c1", False)
    verdict = Verdict(True, ANNA, talk.now)
    for unknown in (spent, "apr_nobody"):
        decision = talk.happens(ApprovalDecided(unknown, DIGEST, verdict, ANNA.id))
        assert decision.refused is Refusal.NOT_FOUND


def test_what_was_approved_is_what_runs() -> None:
    talk = gated()
    talk.answers("c1", True)
    decision = talk.claims("c1", digest="e" * 64)
    assert (decision.refused, decision.alarm) == (Refusal.CHANGED, True)
    assert talk.run.status is RunStatus.ATTENTION
    assert talk.approval().status is ApprovalStatus.WITHDRAWN
    assert "nothing was run" in talk.run.reason
    talk.hear(CallFinished(talk.call("c1").id, "k1", OK))  # nobody ran it
    assert talk.call("c1").status is CallStatus.IN_DOUBT


def test_a_changed_call_is_asked_anew_before_it_runs() -> None:
    talk = gated()
    talk.answers("c1", True)
    first = talk.approval()
    talk.claims("c1", digest="e" * 64)
    talk.hear(AttentionResolved(Choice.RETRY, ANNA, talk.call("c1").id))
    talk.claims("c1", "k2", ruling=Ruling.ASK, digest="e" * 64, terms=TERMS)
    second = talk.approval()
    assert (second.revision, second.digest, second.status) == (2, "e" * 64, ApprovalStatus.PENDING)
    assert second.id != first.id
    verdict = Verdict(True, ANNA, talk.now)
    spent = talk.happens(ApprovalDecided(first.id, DIGEST, verdict, ANNA.id))
    assert spent.refused is Refusal.NOT_FOUND
    talk.answers("c1", True)
    talk.claims("c1", "k3", digest="e" * 64)
    assert talk.call("c1").status is CallStatus.EXECUTING


@pytest.mark.parametrize("forged", ["rejected", "no verdict", "pending", "verdict says no"])
def test_the_gate_needs_a_sound_approval_whatever_the_rows_say(forged: str) -> None:
    talk = gated()
    talk.answers("c1", True)
    granted = talk.approval()
    spoilt = {
        "rejected": replace(granted, status=ApprovalStatus.REJECTED),
        "no verdict": replace(granted, verdict=None),
        "pending": replace(granted, status=ApprovalStatus.PENDING),
        "verdict says no": replace(granted, verdict=Verdict(False, ANNA, talk.now)),
    }[forged]
    talk.run = replace(talk.run, turn=talk.run.turn.with_call(replace(talk.call("c1"), approval=spoilt)))
    assert talk.claims("c1").refused is Refusal.CHANGED
    assert talk.call("c1").status is CallStatus.IN_DOUBT


def test_where_people_see_it_and_where_they_cannot() -> None:
    talk = gated()
    asked = talk.approval()
    assert talk.happens(ApprovalPosted(asked.id, "C1", "17.1")).effects == ()
    assert (talk.approval().channel, talk.approval().ts) == ("C1", "17.1")
    before = talk.run
    talk.hear(ApprovalPosted(asked.id, "C1", "17.1"))  # doubled
    assert talk.run == before
    assert talk.happens(ApprovalUndelivered(asked.id, "channel_not_found")).alarm
    assert talk.approval().open
    assert talk.approval().trouble == "channel_not_found"


def test_a_question_decided_while_it_was_posted_is_redrawn() -> None:
    talk = gated()
    talk.answers("c1", True)
    decision = talk.happens(ApprovalPosted(talk.approval().id, "C1", "17.1"))
    assert [e.kind for e in decision.effects] == [EffectKind.UPDATE_APPROVAL]


def test_news_about_unknown_questions_changes_nothing() -> None:
    talk = gated()
    before = talk.run
    talk.hear(ApprovalPosted("apr_x", "C", "1"), ApprovalUndelivered("apr_x", "no"), ApprovalExpired("apr_x"))
    assert talk.run == before


# --- cut off --------------------------------------------------------------------------


def cut(**more: bool) -> Conversation:
    talk = Conversation().asks(wish("c1", tool="refund", **more), wish("c2"))
    talk.claims("c1", idempotent=more.get("idempotent", False))
    talk.hear(CallCutOff(talk.call("c1").id, "k1", "the process ended"))
    return talk


def test_a_turn_of_which_a_call_is_gone_waits_for_a_person_whatever_is_read_of_it() -> None:
    talk = Conversation().asks(wish("c1"), wish("c2"))
    talk.hear(CallDoubted("call_gone", ("it is not where it was",)))
    assert talk.run.status is RunStatus.ATTENTION
    talk.runs("c1")
    talk.runs("c2")
    before = talk.run
    talk.happens(seen("i1", "requires_action", wish("c1"), wish("c2")))
    talk.happens(seen("i1", "completed"))
    assert (talk.run, talk.turns) == (before, [])
    refused = talk.happens(AttentionResolved(Choice.RETRY, ANNA, ""))
    assert refused.refused is Refusal.NOT_NOW
    ended = talk.happens(AttentionResolved(Choice.GIVE_UP, ANNA, ""))
    assert ended.run.status is RunStatus.FAILED
    assert EffectKind.CANCEL_INTERACTION in {e.kind for e in ended.effects}


def test_whether_a_call_may_run_anew_is_what_its_tool_says_when_it_begins() -> None:
    """Not what somebody has written into its row, by which it would run twice."""
    talk = Conversation().asks(wish("c1", tool="refund", idempotent=True), wish("c2"))
    talk.claims("c1", idempotent=False)
    talk.hear(CallCutOff(talk.call("c1").id, "k1", "the process ended"))
    assert talk.call("c1").status is CallStatus.IN_DOUBT


def test_an_idempotent_call_runs_anew_under_its_key() -> None:
    talk = cut(idempotent=True)
    call = talk.call("c1")
    assert (call.status, call.claim) == (CallStatus.READY, None)
    assert f"execute_tool:{call.id}" in talk.waiting
    talk.hear(CallFinished(call.id, "k1", FAILED))  # the first execution was alive after all
    assert talk.call("c1").status is CallStatus.READY
    talk.runs("c1", "k2")
    assert talk.call("c1").outcome == OK


def test_any_other_call_that_was_cut_off_needs_a_person() -> None:
    talk = cut()
    assert talk.run.status is RunStatus.ATTENTION
    assert "refund" in talk.run.reason
    assert f"execute_tool:{talk.call('c2').id}" in talk.waiting
    reason = talk.run.reason
    talk.runs("c2", "k2")
    assert (talk.run.status, talk.run.reason) == (RunStatus.ATTENTION, reason)
    before = talk.run
    talk.hear(CallCutOff(talk.call("c1").id, "k1", "again"))
    assert talk.run == before
    assert talk.happens(CallClaimed(talk.call("c1").id, "k3", wish("c1"))).refused
    assert talk.run == before


def test_a_result_that_comes_after_all_settles_the_doubt() -> None:
    talk = cut()
    talk.finishes("c1")
    assert (talk.call("c1").outcome, talk.run.status, talk.run.reason) == (OK, RunStatus.RUNNING, "")


def test_doubt_settled_by_its_result() -> None:
    talk = cut()
    talk.hear(AttentionResolved(Choice.HAPPENED, ANNA, talk.call("c1").id, "refund 77"))
    assert talk.call("c1").outcome == Outcome(OutcomeKind.SUCCEEDED, "refund 77")
    again = talk.happens(AttentionResolved(Choice.RETRY, ANNA, talk.call("c1").id))
    assert again.refused is Refusal.NOT_FOUND


def test_doubt_settled_by_another_start() -> None:
    talk = cut()
    talk.hear(AttentionResolved(Choice.RETRY, ANNA, talk.call("c1").id))
    assert talk.run.status is RunStatus.RUNNING
    talk.hear(CallFinished(talk.call("c1").id, "k1", FAILED))
    assert talk.call("c1").status is CallStatus.READY
    talk.runs("c1", "k2")
    assert talk.call("c1").outcome == OK


def test_doubt_settled_by_giving_up() -> None:
    talk = cut()
    talk.hear(AttentionResolved(Choice.GIVE_UP, ANNA, talk.call("c1").id))
    assert talk.run.status is RunStatus.FAILED
    assert "given up" in talk.run.reason
    assert "cancel_interaction:i1" in talk.waiting


def test_a_retried_gated_call_gets_its_time_to_start_anew() -> None:
    talk = gated("c2")
    talk.answers("c1", True)
    talk.claims("c1")
    talk.hear(CallCutOff(talk.call("c1").id, "k1", "crash"))
    talk.now += TERMS.start_within * 3
    talk.hear(AttentionResolved(Choice.RETRY, ANNA, talk.call("c1").id))
    talk.claims("c1", "k2")
    assert talk.call("c1").status is CallStatus.EXECUTING


def test_doubt_about_nothing_is_refused() -> None:
    talk = Conversation().asks(wish("c1"))
    for choice in Choice:
        assert talk.happens(AttentionResolved(choice, ANNA, talk.call("c1").id)).refused
        assert talk.happens(AttentionResolved(choice, ANNA, "call_x")).refused
        assert talk.happens(AttentionResolved(choice, ANNA)).refused


def test_results_belong_to_one_interaction() -> None:
    """The same call id in the next turn is another call, with another key."""
    talk = Conversation().asks(wish("c1"))
    first = talk.call("c1").id
    talk.runs("c1")
    talk.live("i2").asks(wish("c1"), interaction_id="i2")
    assert talk.call("c1").id != first
    before: Run = talk.run
    talk.hear(CallFinished(first, "k1", FAILED), seen("i1", "requires_action", wish("c1"), former=True))
    assert talk.run == before
