"""Whom a question is written to, and when: shares of working time, quiet hours, late and doubled events."""

from datetime import datetime, time, timedelta

import pytest
from support.clock import NOON
from support.conversation import ANNA, BEN, TERMS, Conversation, wish

from orchestrator.domain.asking import TO_ACT, own_question
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.calendar import EVERY_DAY, Calendar
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import ApprovalStatus, AtTimeout, Place, Terms, Vote
from orchestrator.domain.deadlines import AHEAD, OVERDUE, notify, reminders, undisturbed
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.escalation import MOST, groups, people, pictures, written_to
from orchestrator.domain.events import (
    ApprovalCopied,
    ApprovalExpired,
    ApprovalNotCopied,
    ApprovalPosted,
    ApprovalUndelivered,
    ApproversFound,
)
from orchestrator.domain.model import Policy, RunStatus
from orchestrator.domain.values import replace

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
DIRECT = replace(TERMS, dm_after=0.25)
MONDAY = NOON + DAY * 2
"""13:00 in Berlin; NOON is a Saturday."""
OFFICE = Calendar("Europe/Berlin", time(9), time(17))
QUIET = Calendar("UTC", time(22), time(7), EVERY_DAY)


def asked(terms: Terms = DIRECT, now: datetime = NOON, retention: timedelta = DAY * 55) -> Conversation:
    talk = Conversation(policy=Policy(retention=retention), now=now)
    return talk.asks(wish("c1", Ruling.ASK, tool="refund", terms=terms))


def spread_at(talk: Conversation) -> datetime | None:
    effect = talk.waiting.get(f"spread_approval:{talk.approval().id}")
    return effect.due_at if effect else None


# --- whom ---------------------------------------------------------------------------------------------


def test_whom_a_question_is_written_to() -> None:
    terms = replace(DIRECT, approvers=("U0A", "S0OPS", "api:ops", "U0B", "U0C", "U0D"), never=("U0C", "S0NO"))
    question = replace(asked(terms).approval(), votes=(Vote(replace(ANNA, id="U0B"), NOON),))
    members = {"S0OPS": ("U0A", "U0E", "U0F", "U0G"), "S0NO": ("U0F",)}
    assert groups(question) == ("S0OPS", "S0NO")
    assert people(question, ("U0E",), members) == ("U0A", "U0E", "U0G", "U0D")
    strict = replace(question, terms=replace(question.terms, four_eyes=True))
    assert people(strict, ("U0E",), members) == ("U0A", "U0G", "U0D")
    assert people(question, "U0E", {}) == ("U0A", "U0D")  # of no group who is in it can be read
    many = {"S0OPS": tuple(f"U0{n:03}" for n in range(50))}
    assert len(people(question, "", many)) == MOST


def test_without_direct_messages_only_those_it_was_escalated_to_by_name() -> None:
    terms = replace(TERMS, at_timeout=AtTimeout.ESCALATE, escalate_to=("U0ZOE", "S0BOSS", "api:ci"))
    talk = asked(terms)
    assert written_to(talk.approval()) == ()
    assert spread_at(talk) is None
    talk.now = talk.approval().expires_at
    talk.hear(ApprovalExpired(talk.approval().id))
    assert written_to(talk.approval()) == ("U0ZOE",)
    assert spread_at(talk) == talk.now


# --- once each ----------------------------------------------------------------------------------------


def copies(talk: Conversation) -> list[str]:
    kept = [e for e in talk.waiting.values() if e.kind is EffectKind.COPY_APPROVAL]
    return [e.subject.rsplit(".", 1)[1] for e in kept]


def test_each_person_gets_one_copy_whatever_comes_twice() -> None:
    talk = asked()
    of = talk.approval().id
    talk.hear(ApproversFound(of, (ANNA.id, ANNA.id, BEN.id)))
    assert copies(talk) == [ANNA.id, BEN.id]
    copied = ApprovalCopied(of, ANNA.id, "D0ANNA", "18.1")
    talk.hear(copied, copied, ApprovalNotCopied(of, BEN.id, "messages_tab_disabled"))
    assert talk.approval().copies == (Place("D0ANNA", "18.1", ANNA.id),)
    assert talk.notes[-1] == f"{BEN.id} cannot be written to: messages_tab_disabled"
    talk.waiting.clear()
    talk.hear(ApproversFound(of, (ANNA.id, "U0ZOE")))
    assert copies(talk) == ["U0ZOE"]
    twin = ApprovalCopied(of, ANNA.id, "D0ANNA", "18.2")  # a stray one is redrawn as well
    talk.hear(twin)
    assert [p.ts for p in talk.approval().copies] == ["18.1", "18.2"]


def test_a_decision_ends_the_ladder_and_a_late_copy_is_redrawn() -> None:
    talk = asked()
    of = talk.approval().id
    assert spread_at(talk) == NOON + DAY / 4
    talk.answers("c1", False)
    (turn,) = talk.turns
    assert f"spread_approval:{of}" not in talk.waiting
    live = asked()
    live.answers("c1", True)
    assert live.happens(ApproversFound(of, (ANNA.id,))).effects == ()
    late = live.happens(ApprovalCopied(of, ANNA.id, "D0ANNA", "18.1"))
    assert [e.kind for e in late.effects] == [EffectKind.UPDATE_APPROVAL]
    gone = talk.happens(ApprovalCopied(of, ANNA.id, "D0ANNA", "18.1"))
    assert (gone.run, turn.calls[0].approval is None) == (talk.run, False)


@pytest.mark.parametrize(("terms", "told"), [(TERMS, True), (replace(TERMS, dm_fallback=False), False)])
def test_what_no_channel_takes_goes_to_the_people_and_is_never_decided_by_that(
    terms: Terms, told: bool
) -> None:
    talk = asked(terms)
    of = talk.approval().id
    talk.hear(ApprovalUndelivered(of, "is_archived"))
    assert spread_at(talk) == (NOON if told else None)
    assert bool(written_to(talk.approval())) is told
    assert (talk.approval().open, talk.run.status) == (True, RunStatus.WAITING)
    talk.hear(ApprovalPosted(of, "C0OPS", "17.1"))  # seen after all
    assert written_to(talk.approval()) == ()


def test_the_pictures_of_a_card() -> None:
    talk = asked()
    card = Card(talk.approval(), talk.call("c1"), "run_1", "shop", ANNA, RunStatus.WAITING, thread="17.0")
    copied = replace(card, approval=replace(card.approval, copies=(Place("D1", "18.1"), Place("D2", "18.2"))))
    assert pictures(copied)[0] is copied
    assert [(p.approval.channel, p.approval.ts, p.thread) for p in pictures(copied)[1:]] == [
        ("D1", "18.1", ""),
        ("D2", "18.2", ""),
    ]
    posted = replace(copied, approval=replace(copied.approval, channel="C1", ts="17.1"))
    assert [p.approval.ts for p in pictures(posted)] == ["17.1", "18.1", "18.2"]
    assert pictures(posted)[0] is posted


# --- when ---------------------------------------------------------------------------------------------


def test_all_shares_are_of_the_working_time() -> None:
    """16 working hours from Monday 13:00: until Wednesday 13:00, half of it until Tuesday 13:00."""
    terms = replace(DIRECT, calendar=OFFICE, expires_after=HOUR * 16, reminders=(0.5,))
    talk = asked(terms, MONDAY)
    assert talk.approval().expires_at == MONDAY + DAY * 2
    assert reminders(talk.approval()) == ((1, MONDAY + DAY),)
    assert spread_at(talk) == MONDAY + HOUR * 4
    weekend = asked(terms, NOON)
    assert weekend.approval().expires_at == NOON + DAY * 3 + HOUR * 4


def test_a_second_time_is_of_working_time_too() -> None:
    terms = replace(TERMS, calendar=OFFICE, expires_after=HOUR * 8, reminders=(0.5,))
    terms = replace(terms, at_timeout=AtTimeout.ESCALATE, escalate_to=("U0ZOE",))
    talk = asked(terms, MONDAY)
    talk.now = talk.approval().expires_at + HOUR  # the timer was late
    talk.hear(ApprovalExpired(talk.approval().id))
    assert talk.approval().expires_at == MONDAY + DAY * 2 + HOUR
    assert reminders(talk.approval()) == ((2, MONDAY + DAY * 2 - HOUR * 3),)  # Wednesday, 10:00 in Berlin


def test_no_calendar_outlives_what_gemini_keeps() -> None:
    terms = replace(TERMS, calendar=OFFICE, expires_after=HOUR * 8)
    talk = asked(terms, NOON, retention=DAY)
    assert talk.approval().expires_at == NOON + DAY - TO_ACT  # on Sunday
    assert [at for _, at in reminders(talk.approval())] == [
        NOON + (DAY - TO_ACT) * 0.5,
        NOON + (DAY - TO_ACT) * 0.9,
    ]


def test_a_run_of_its_own_time_knows_no_calendar() -> None:
    talk = asked(replace(TERMS, calendar=OFFICE), MONDAY)
    run = replace(talk.run, recipe=replace(talk.run.recipe, terms=replace(TERMS, calendar=OFFICE)))
    call, _ = own_question(run, "run:restart", "1.1", {}, "", MONDAY, until=MONDAY + DAY * 3)
    assert call.approval is not None
    assert call.approval.expires_at == MONDAY + DAY * 3


NIGHT = NOON + HOUR * 10  # 22:00
MORNING = NOON + HOUR * 19  # 7:00


@pytest.mark.parametrize(
    ("at", "lapses", "told"),
    [
        (NIGHT - SECOND, DAY, NIGHT - SECOND),
        (NIGHT, DAY, MORNING),
        (NIGHT + SECOND, DAY, MORNING),
        (MORNING - SECOND, DAY, MORNING),
        (MORNING, DAY, MORNING),
        (MORNING + SECOND, DAY, MORNING + SECOND),
        # the end of the night is no use to a question that lapses with it, or before
        (NIGHT, HOUR * 19 + SECOND, MORNING),
        (NIGHT, HOUR * 19, NIGHT - AHEAD),
        (NIGHT, HOUR * 19 - SECOND, NIGHT - AHEAD),
        (NIGHT - SECOND, HOUR * 19, NIGHT - SECOND),
    ],
)
def test_nobody_is_disturbed_at_night(at: datetime, lapses: timedelta, told: datetime) -> None:
    terms = replace(TERMS, quiet_hours=QUIET, expires_after=lapses)
    question = asked(terms).approval()
    assert undisturbed(question, at) == told
    assert told < question.expires_at
    due = notify(question, "1", at).due_at
    assert due == max(at, told)  # what is said now cannot be said earlier


def test_a_question_of_the_night_is_reminded_of_in_the_night() -> None:
    """Quiet hours that were on when it was asked, and go on when it lapses, silence nothing for good."""
    talk = asked(replace(DIRECT, quiet_hours=QUIET, expires_after=HOUR * 2, reminders=(0.5,)), NIGHT + HOUR)
    assert reminders(talk.approval()) == ((1, NIGHT + HOUR * 2),)
    assert spread_at(talk) == NIGHT + HOUR * 1.5


def test_escalation_in_the_night_is_told_of_in_the_morning() -> None:
    terms = replace(TERMS, at_timeout=AtTimeout.ESCALATE, escalate_to=("U0ZOE",), quiet_hours=QUIET)
    talk = asked(replace(terms, expires_after=HOUR * 11))
    talk.now = talk.approval().expires_at
    talk.hear(ApprovalExpired(talk.approval().id))
    of = talk.approval().id
    assert talk.approval().escalated
    assert talk.due(EffectKind.NOTIFY_APPROVAL, f"{of}.{OVERDUE}") == MORNING
    assert spread_at(talk) == MORNING
    assert talk.answers("c1", True, by=replace(ANNA, id="U0ZOE")).refused is None  # they may, all the same


def test_a_withdrawn_question_is_shown_to_nobody_else() -> None:
    talk = asked()
    taken_back = replace(talk.approval(), status=ApprovalStatus.WITHDRAWN)
    talk.run = replace(talk.run, turn=talk.run.turn.with_call(replace(talk.call("c1"), approval=taken_back)))
    assert talk.happens(ApproversFound(taken_back.id, (ANNA.id,))).effects == ()
