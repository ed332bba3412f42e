"""Questions of unattended runs: asked at night, shown at their hour, their time counted from there."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from support.conversation import ANNA, DIGEST, TERMS, Conversation, recipe, seen, wish

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.collecting import message, parse, waits
from orchestrator.domain.consent import Approval, ApprovalStatus, Edits, Terms, Verdict
from orchestrator.domain.daily import Daily
from orchestrator.domain.effects import OF_NO_RUN, EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalExpired,
    ApprovalPosted,
    ApprovalUndelivered,
)
from orchestrator.domain.model import CallStatus, Policy
from orchestrator.domain.values import replace

HALF_PAST_SEVEN = Daily(time(7, 30), "Europe/Berlin")
NIGHT = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)  # 3 a.m. in Berlin
MORNING = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
NAME = message("C0OPS", MORNING)
HOUR = timedelta(hours=1)


def collecting(**more: Any) -> Terms:
    return replace(TERMS, collect=HALF_PAST_SEVEN, **more)


def asked(terms: Terms | None = None, now: datetime = NIGHT, policy: Policy | None = None) -> Conversation:
    flow = replace(recipe(), collect=HALF_PAST_SEVEN)
    talk = Conversation(now=now, workflow=flow, policy=policy).live()
    calls = [wish(c, Ruling.ASK, terms=terms or collecting()) for c in ("a", "b")]
    return talk.hear(seen("i1", "requires_action", *calls))


def shown(talk: Conversation, call_id: str = "a", at: datetime = MORNING) -> Approval:
    talk.now = at
    talk.happens(ApprovalPosted(talk.approval(call_id).id, "C0OPS", "1.1"))
    return talk.approval(call_id)


def yes(talk: Conversation, call_id: str = "a") -> ApprovalDecided:
    return ApprovalDecided(talk.approval(call_id).id, DIGEST, Verdict(True, ANNA, talk.now), ANNA.id)


def test_asked_at_night_it_waits_for_the_hour_and_only_for_that() -> None:
    talk = asked()
    posts = [e for e in talk.waiting.values() if e.kind in OF_NO_RUN]
    assert [(e.kind, e.subject, e.due_at) for e in posts] == [(EffectKind.POST_DIGEST, NAME, MORNING)]
    assert parse(NAME) == ("C0OPS", MORNING)
    assert talk.run.turn.batch is None  # nothing is posted for the turn alone
    not_yet = {EffectKind.REQUEST_APPROVAL, EffectKind.REMIND_APPROVAL, EffectKind.SPREAD_APPROVAL}
    assert not talk.kinds() & not_yet
    assert talk.approval("a").expires_at == talk.due(EffectKind.EXPIRE_APPROVAL, talk.approval("a").id)
    assert talk.approval("a").expires_at > NIGHT + timedelta(days=50)  # as long as an answer is of use


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=3)])
def test_its_time_runs_from_when_it_is_shown(late: timedelta) -> None:
    talk = asked(collecting(expires_after=4 * HOUR, dm_after=0.25, reminders=(0.5,)))
    approval = shown(talk, at=MORNING + late)
    begun = MORNING + late
    assert (approval.since, approval.expires_at) == (begun, begun + 4 * HOUR)
    assert talk.due(EffectKind.EXPIRE_APPROVAL, approval.id) == begun + 4 * HOUR
    assert talk.due(EffectKind.REMIND_APPROVAL, f"{approval.id}.1") == begun + 2 * HOUR
    assert talk.due(EffectKind.SPREAD_APPROVAL, approval.id) == begun + HOUR
    talk.now = begun + 4 * HOUR
    talk.happens(ApprovalExpired(approval.id))
    assert talk.approval("a").status is ApprovalStatus.EXPIRED


def test_never_beyond_what_gemini_keeps() -> None:
    policy = Policy(retention=timedelta(hours=10))
    approval = shown(asked(policy=policy))
    assert approval.expires_at == NIGHT + 9 * HOUR  # an hour is left to act
    at_once = asked(policy=Policy(retention=5 * HOUR))  # forgotten before anybody could see it
    assert at_once.approval("a").collected == ""
    assert EffectKind.REQUEST_APPROVAL in at_once.kinds()


def test_where_it_cannot_be_shown_its_time_runs_all_the_same() -> None:
    talk = asked(collecting(expires_after=HOUR))
    talk.now = MORNING
    talk.happens(ApprovalUndelivered(talk.approval("a").id, "no such channel"))
    assert talk.approval("a").expires_at == MORNING + HOUR
    assert talk.due(EffectKind.SPREAD_APPROVAL, talk.approval("a").id) == MORNING


def test_decided_before_by_another_door_it_is_over_and_the_message_hears_of_it() -> None:
    talk = asked()
    talk.happens(yes(talk), after=HOUR)
    assert talk.call("a").status is CallStatus.READY
    assert f"{EffectKind.UPDATE_DIGEST}:{NAME}" in talk.waiting
    assert f"{EffectKind.EXPIRE_APPROVAL}:{talk.approval('a').id}" not in talk.waiting


def test_what_the_message_shows_of_it_changes_once_for_every_change() -> None:
    talk = asked()
    shown(talk)
    assert f"{EffectKind.UPDATE_DIGEST}:{NAME}" not in talk.waiting  # that it is shown is no news there
    redrawn = talk.happens(yes(talk)).effects
    assert [e.subject for e in redrawn if e.kind is EffectKind.UPDATE_DIGEST] == [NAME]


def test_one_that_comes_too_late_goes_into_the_next() -> None:
    assert asked(now=MORNING).approval("a").collected == message("C0OPS", MORNING + timedelta(days=1))


def test_without_a_channel_it_is_asked_as_ever() -> None:
    talk = asked(collecting(channel=""))
    assert talk.approval("a").expires_at == NIGHT + TERMS.expires_after


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("2026-03-28T06:30", "2026-03-29T05:30"),  # the night is an hour shorter
        ("2026-10-24T05:30", "2026-10-25T06:30"),  # and an hour longer
        ("2026-10-25T06:29", "2026-10-25T06:30"),
        ("2026-10-25T06:30", "2026-10-26T06:30"),
    ],
)
def test_the_hour_is_that_of_the_people_also_when_clocks_change(after: str, due: str) -> None:
    since, until = (datetime.fromisoformat(f"{text}+00:00") for text in (after, due))
    assert HALF_PAST_SEVEN.following(since) == until


def test_days_without_a_message_and_an_hour_that_is_left_out() -> None:
    weekdays = replace(HALF_PAST_SEVEN, days=(0, 1, 2, 3, 4))
    friday = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    assert weekdays.following(friday) == datetime(2026, 11, 30, 6, 30, tzinfo=UTC)
    missing = Daily(time(2, 30), "Europe/Berlin")  # 2:30 does not come on 29 March 2026
    assert missing.following(datetime(2026, 3, 28, 12, 0, tzinfo=UTC)) == datetime(
        2026, 3, 29, 1, 30, tzinfo=UTC
    )


def test_whose_run_ends_before_the_hour_is_shown_at_once() -> None:
    for more in (4 * HOUR, 4.5 * HOUR):  # the run's own time is up at 6:00, or at the very hour
        flow = replace(recipe(max_duration=more), collect=HALF_PAST_SEVEN)
        talk = Conversation(now=NIGHT, workflow=flow).live()
        talk.hear(seen("i1", "requires_action", wish("a", Ruling.ASK, terms=collecting())))
        assert talk.approval("a").collected == ""
        assert talk.approval("a").expires_at == NIGHT + TERMS.expires_after
        assert EffectKind.REQUEST_APPROVAL in talk.kinds()
        assert EffectKind.POST_DIGEST not in talk.kinds()


def test_an_edit_of_one_that_could_not_be_shown_does_not_wait_for_another_hour() -> None:
    talk = asked(collecting(expires_after=4 * HOUR, edits=Edits.OTHER))
    talk.now = MORNING
    talk.happens(ApprovalUndelivered(talk.approval("a").id, "no such channel"))
    talk.now = MORNING + HOUR
    fresh = wish("a", Ruling.ASK, arguments={"n": 2}, digest="e" * 64, terms=collecting(edits=Edits.OTHER))
    talk.happens(ApprovalEdited(talk.approval("a").id, DIGEST, ANNA, talk.now, fresh, "", ANNA.id))
    anew = talk.approval("a")
    assert (anew.revision, anew.expires_at) == (2, MORNING + 4 * HOUR)
    assert not waits(anew)
    assert f"{EffectKind.REQUEST_APPROVAL}:{anew.id}" in talk.waiting


def test_an_edit_while_slack_is_away_stays_in_the_message_of_that_hour() -> None:
    talk = asked(collecting(edits=Edits.OTHER))
    talk.now = MORNING + HOUR  # nothing is shown yet
    fresh = wish("a", Ruling.ASK, arguments={"n": 2}, digest="e" * 64, terms=collecting(edits=Edits.OTHER))
    decision = talk.happens(ApprovalEdited(talk.approval("a").id, DIGEST, ANNA, talk.now, fresh, "", ANNA.id))
    assert waits(talk.approval("a"))
    assert talk.approval("a").collected == NAME
    assert NAME in {e.subject for e in decision.effects if e.kind is EffectKind.POST_DIGEST}
