"""A question in time: reminders, what comes when nobody decides, and the warning before Gemini forgets."""

from datetime import timedelta
from typing import Any

import pytest
from support.clock import NOON
from support.conversation import ANNA, BEN, DIGEST, TERMS, Conversation, wish

from orchestrator.domain.asking import TO_ACT
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import (
    Actor,
    ApprovalStatus,
    AtTimeout,
    Edits,
    Place,
    Stage,
    Terms,
    Verdict,
    Vote,
)
from orchestrator.domain.deadlines import asked_now, in_slack, place_of, reminders, worth_saying
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalExpired,
    AttentionResolved,
    Choice,
    ForgettingNear,
    ReminderDue,
)
from orchestrator.domain.expiry import EXPIRED_TEXT
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind, Policy, RunStatus
from orchestrator.domain.values import replace

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
ZOE = Actor("U0ZOE", "zoe", "slack")
ESCALATED = replace(TERMS, at_timeout=AtTimeout.ESCALATE, escalate_to=(ZOE.id, "S0BOSSES"))
HELD = replace(TERMS, at_timeout=AtTimeout.ATTENTION)
DENIED = Outcome(OutcomeKind.EXPIRED, EXPIRED_TEXT)


def asked(terms: Terms = TERMS, retention: timedelta = DAY * 55) -> Conversation:
    policy = Policy(retention=retention)
    return Conversation(policy=policy).asks(wish("c1", Ruling.ASK, tool="refund", terms=terms))


def told(talk: Conversation) -> list[str]:
    """What people were to be told, in order."""
    return [e.subject.split(".")[1] for e in talk.waiting.values() if e.kind is EffectKind.NOTIFY_APPROVAL]


def over(talk: Conversation) -> None:
    """Its time is up."""
    talk.now = max(talk.now, talk.approval().expires_at)
    talk.hear(ApprovalExpired(talk.approval().id))


def left(talk: Conversation) -> Outcome | None:
    return talk.turns[-1].calls[0].outcome


# --- reminders ----------------------------------------------------------------------------------------


def test_nobody_is_reminded_of_what_slack_does_not_show() -> None:
    talk = asked(replace(TERMS, channel=""))
    of = talk.approval().id
    asked_for = {k: e.due_at - NOON for k, e in talk.waiting.items() if "_approval:" in k}
    assert asked_for == {f"expire_approval:{of}": DAY}
    talk.answers("c1", True)
    assert not [k for k in talk.waiting if "_approval:" in k]  # nothing to draw, its end is dropped


@pytest.mark.parametrize(
    "seen",
    [
        {"terms": TERMS},
        {"terms": replace(TERMS, channel="", dm_after=0.5)},
        {"terms": replace(ESCALATED, channel=""), "escalated": True},
        {"ts": "1.0"},
        {"copies": (Place("D0ANNA", "1.0", ANNA.id),)},
        {"trouble": "not_in_channel"},
    ],
)
def test_what_people_may_see_there_is_drawn(seen: dict[str, Any]) -> None:
    bare = asked(replace(TERMS, channel="")).approval()
    assert not in_slack(bare)
    assert in_slack(replace(bare, **seen))


def test_a_question_is_asked_with_all_its_timers() -> None:
    talk = asked(replace(TERMS, reminders=(0.9, 0.25, 1.0, 0.0)))
    of = talk.approval().id
    assert {k: e.due_at - NOON for k, e in talk.waiting.items() if "_approval:" in k} == {
        f"request_approval:{of}": timedelta(0),
        f"expire_approval:{of}": DAY,
        f"remind_approval:{of}.2": DAY / 4,
        f"remind_approval:{of}.3": DAY * 0.9,
    }
    assert EffectKind.REMIND_APPROVAL not in asked(replace(TERMS, reminders=())).kinds()


def test_shares_are_of_the_time_gemini_leaves() -> None:
    talk = asked(retention=DAY)
    assert talk.approval().expires_at == NOON + DAY - TO_ACT
    assert talk.due(EffectKind.REMIND_APPROVAL, f"{talk.approval().id}.1") == NOON + (DAY - TO_ACT) / 2


@pytest.mark.parametrize(("offset", "reminded"), [(-SECOND, 0), (timedelta(0), 1), (SECOND, 1)])
def test_a_reminder_comes_at_its_share_of_the_time_and_not_before(offset: timedelta, reminded: int) -> None:
    talk = asked()
    of = talk.approval().id
    talk.now = NOON + DAY / 2 + offset
    decision = talk.happens(ReminderDue(of, 1))
    assert talk.approval().reminded == reminded
    assert told(talk) == ["1"] * reminded
    if not reminded:
        assert talk.due(EffectKind.REMIND_APPROVAL, f"{of}.1") == NOON + DAY / 2
        assert [e.kind for e in decision.effects] == [EffectKind.REMIND_APPROVAL]


def test_doubled_and_reordered_reminders_say_nothing_more() -> None:
    talk = asked()
    of = talk.approval().id
    talk.now = NOON + DAY * 0.95
    talk.hear(ReminderDue(of, 2))
    before = talk.run
    for late in (ReminderDue(of, 2), ReminderDue(of, 1), ReminderDue(of, 3), ReminderDue("apr_x", 1)):
        assert talk.happens(late).effects == ()
    assert (talk.run, told(talk)) == (before, ["2"])


@pytest.mark.parametrize("approve", [True, False])
def test_nobody_is_reminded_of_a_decided_question(approve: bool) -> None:
    talk = asked()
    of = talk.approval().id
    talk.answers("c1", approve)
    assert not {EffectKind.REMIND_APPROVAL, EffectKind.EXPIRE_APPROVAL} & talk.kinds()
    assert talk.happens(ReminderDue(of, 1), after=DAY / 2).effects == ()


@pytest.mark.parametrize("reminder_first", [True, False])
def test_a_reminder_that_comes_with_the_expiry_is_none(reminder_first: bool) -> None:
    talk = asked()
    events = [ReminderDue(talk.approval().id, 2), ApprovalExpired(talk.approval().id)]
    talk.now = talk.approval().expires_at
    talk.hear(*(events if reminder_first else reversed(events)))
    assert (told(talk), left(talk)) == ([], DENIED)


def test_people_are_told_once_before_gemini_forgets() -> None:
    talk = asked(retention=DAY * 2)
    talk.happens(ForgettingNear("i1"), after=HOUR)
    talk.hear(ForgettingNear("i1"))
    assert told(talk) == ["forgetting"]
    talk.answers("c1", True)
    assert all(e.kind is not EffectKind.NOTIFY_APPROVAL for e in talk.happens(ForgettingNear("i1")).effects)


def test_what_is_still_worth_saying() -> None:
    talk = asked()
    open_, now = replace(talk.approval(), reminded=2), NOON + DAY * 0.95
    assert [worth_saying(open_, what, now) for what in ("1", "2", "3", "forgetting", "overdue")] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert not worth_saying(open_, "2", open_.expires_at)
    assert not worth_saying(replace(open_, status=ApprovalStatus.APPROVED), "forgetting", now)


# --- nobody decides -----------------------------------------------------------------------------------


def test_escalation_asks_others_too_once_and_then_lapses() -> None:
    talk = asked(ESCALATED)
    first = talk.approval()
    talk.now = NOON + DAY * 0.9
    talk.hear(ReminderDue(first.id, 2))
    over(talk)
    second = talk.approval()
    assert (second.id, second.open, second.escalated) == (first.id, True, True)
    assert second.expires_at == first.expires_at + DAY
    assert second.terms.approvers == (*TERMS.approvers, ZOE.id, "S0BOSSES")
    assert [(n, at - first.expires_at) for n, at in reminders(second)] == [(3, DAY / 2), (4, DAY * 0.9)]
    assert talk.due(EffectKind.REMIND_APPROVAL, f"{first.id}.3") == first.expires_at + DAY / 2
    assert [place_of(second, n) for n in ("2", "3", "4")] == [(2, 2), (1, 2), (2, 2)]
    assert told(talk) == ["2", "overdue"]
    assert f"update_approval:{first.id}" in talk.waiting
    assert talk.run.status is RunStatus.WAITING
    again = talk.happens(ApprovalExpired(first.id))  # doubled
    assert [(e.kind, e.due_at) for e in again.effects] == [(EffectKind.EXPIRE_APPROVAL, second.expires_at)]
    over(talk)
    assert left(talk) == DENIED


def test_who_was_escalated_to_decides_only_after_that() -> None:
    talk = asked(ESCALATED)
    assert talk.answers("c1", True, by=ZOE).refused is Refusal.NOT_ENTITLED
    over(talk)
    assert talk.answers("c1", True, by=ZOE).refused is None
    assert not {EffectKind.REMIND_APPROVAL, EffectKind.EXPIRE_APPROVAL} & talk.kinds()


@pytest.mark.parametrize("terms", [ESCALATED, HELD])
def test_an_answer_after_the_first_time_counts_whether_or_not_the_timer_was_first(terms: Terms) -> None:
    for timer_first in (True, False):
        talk = asked(terms)
        if timer_first:
            over(talk)
        talk.now = NOON + DAY + SECOND
        assert talk.answers("c1", True, by=BEN).refused is None
        assert talk.call("c1").status is CallStatus.READY
        assert talk.run.status is RunStatus.RUNNING
        assert not {EffectKind.REMIND_APPROVAL, EffectKind.EXPIRE_APPROVAL} & talk.kinds()


def test_a_wrong_answer_after_the_first_time_leaves_it_escalated() -> None:
    talk = asked(ESCALATED)
    talk.now = talk.approval().expires_at
    assert talk.answers("c1", True, digest="e" * 64).refused is Refusal.CHANGED
    assert talk.approval().escalated
    assert talk.due(EffectKind.EXPIRE_APPROVAL, talk.approval().id) == NOON + DAY * 2


def test_no_escalation_outlives_what_gemini_keeps() -> None:
    talk = asked(ESCALATED, retention=DAY * 1.5)
    over(talk)
    assert talk.approval().expires_at == NOON + DAY * 1.5 - TO_ACT
    assert all(e.due_at > NOON + DAY for e in talk.waiting.values() if e.kind is EffectKind.REMIND_APPROVAL)
    brief = asked(ESCALATED, retention=DAY)
    over(brief)
    assert left(brief) == DENIED  # there was no second time to give


def test_with_stages_others_join_the_present_one() -> None:
    stages = (Stage("risk", (ANNA.id,), 1), Stage("legal", (BEN.id, "U0EVE"), 2))
    vote = Vote(BEN, NOON, 1)
    talk = asked(replace(ESCALATED, approvers=(), stages=stages, never=("U0EVE",)))
    risked = replace(talk.approval(), votes=(Vote(ANNA, NOON, 0), vote))
    talk.run = replace(talk.run, turn=talk.run.turn.with_call(replace(talk.call("c1"), approval=risked)))
    assert asked_now(risked) == ()
    over(talk)
    joined = talk.approval().terms.stages
    assert joined == (stages[0], replace(stages[1], approvers=(BEN.id, "U0EVE", ZOE.id, "S0BOSSES")))
    assert asked_now(talk.approval()) == (ZOE.id, "S0BOSSES")


def held() -> Conversation:
    talk = asked(HELD)
    over(talk)
    return talk


def test_a_run_in_attention_can_still_be_decided() -> None:
    for answer, then in ((True, CallStatus.READY), (False, None)):
        talk = held()
        assert talk.run.status is RunStatus.ATTENTION
        assert "nobody decided about refund in time" in talk.run.reason
        assert (talk.approval().open, talk.call("c1").status) == (True, CallStatus.AWAITING_APPROVAL)
        assert talk.run.turn.forgotten_at is not None
        assert talk.approval().expires_at == talk.run.turn.forgotten_at - TO_ACT
        assert told(talk) == ["overdue"]
        assert reminders(talk.approval()) == ()
        assert EffectKind.REMIND_APPROVAL not in talk.kinds()
        talk.answers("c1", answer)
        assert talk.run.status in (RunStatus.RUNNING, RunStatus.RESUMING)
        assert talk.run.reason == ""
        assert then is None or talk.call("c1").status is then


def test_a_run_in_attention_lapses_while_the_model_can_still_be_told() -> None:
    talk = held()
    over(talk)
    assert left(talk) == DENIED
    assert talk.run.status is RunStatus.RESUMING


def test_a_person_has_it_asked_anew_or_gives_it_up() -> None:
    talk = held()
    first, call = talk.approval(), talk.call("c1").id
    assert talk.happens(AttentionResolved(Choice.HAPPENED, ANNA, call, "done")).refused is Refusal.NOT_NOW
    talk.hear(AttentionResolved(Choice.RETRY, ANNA, call))
    assert talk.approval().status is ApprovalStatus.WITHDRAWN
    assert f"expire_approval:{first.id}" not in talk.waiting
    assert talk.claims("c1", terms=HELD).refused is Refusal.NOT_NOW
    assert (talk.approval().revision, talk.approval().open, talk.approval().reminded) == (2, True, 0)
    assert talk.run.status is RunStatus.WAITING
    verdict = Verdict(True, ANNA, talk.now)
    assert talk.happens(ApprovalDecided(first.id, DIGEST, verdict, ANNA.id)).refused is Refusal.NOT_FOUND
    other = held()
    other.hear(AttentionResolved(Choice.GIVE_UP, ANNA, call))
    assert other.run.status is RunStatus.FAILED
    assert other.call("c1").outcome is not None


def test_only_what_waits_for_a_person_is_resolved() -> None:
    talk = asked(HELD)
    resolved = AttentionResolved(Choice.RETRY, ANNA, talk.call("c1").id)
    assert talk.happens(resolved).refused is Refusal.NOT_FOUND


@pytest.mark.parametrize("late", [timedelta(0), HOUR])
def test_an_edit_of_an_escalated_question_wins_no_more_time(late: timedelta) -> None:
    """Before the timer came round, or after it: the escalation stands, and those it went to stay asked."""
    terms = replace(ESCALATED, edits=Edits.SAME, quorum=2)
    talk = asked(terms)
    talk.now = NOON + DAY
    if late:
        over(talk)
    talk.now += late
    first = talk.approval()
    fresh = wish("c1", Ruling.ASK, tool="refund", digest="e" * 64, arguments={"n": 2}, terms=terms)
    edit = ApprovalEdited(first.id, first.digest, ANNA, talk.now, fresh, "", ANNA.id)
    assert talk.happens(edit).refused is None
    second = talk.approval()
    assert (second.revision, second.escalated, len(second.votes)) == (2, True, 1)
    assert second.expires_at == NOON + DAY * 2
    assert ZOE.id in second.terms.approvers
    assert f"expire_approval:{first.id}" not in talk.waiting
    assert talk.due(EffectKind.EXPIRE_APPROVAL, second.id) == second.expires_at
    over(talk)
    assert left(talk) == DENIED
