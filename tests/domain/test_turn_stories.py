"""One interaction: sent, lost or adopted, read, and what its status means."""

from copy import deepcopy
from datetime import timedelta

import pytest
from support.clock import NOON
from support.conversation import ANNA, Conversation, seen, wish

from orchestrator.domain.creates import MOST_UNREAD
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    AttentionResolved,
    Choice,
    CreateClaimed,
    CreateDeferred,
    CreateGraceEnded,
    CreateRefused,
    CreateUncertain,
    InteractionMissing,
    InteractionSignalled,
    InteractionTooLarge,
    RunOverdue,
)
from orchestrator.domain.interaction_status import MEANING
from orchestrator.domain.model import Policy, Recipe, RunStatus, TurnStatus
from orchestrator.domain.pipeline import Step, StepKind, Thinker

SECOND = timedelta(seconds=1)


def test_a_run_without_calls_completes() -> None:
    talk = Conversation()
    assert talk.run.status is RunStatus.QUEUED
    assert talk.due(EffectKind.CREATE_INTERACTION, "1.1") == NOON
    assert talk.due(EffectKind.END_RUN, "run_1") == NOON + timedelta(days=7)
    talk.live()
    assert talk.run.status is RunStatus.RUNNING
    assert EffectKind.FETCH_INTERACTION in talk.kinds()
    talk.hear(seen("i1", "completed", output="done", usage={"total": 7}))
    assert (talk.run.status, talk.run.output, talk.run.usage) == (RunStatus.COMPLETED, "done", {"total": 7})
    assert talk.waiting == {}
    talk.hear(seen("i1", "completed", output="done", usage={"total": 7}))  # doubled
    talk.hear(seen("i1", "in_progress"))  # late
    assert talk.run.usage == {"total": 7}
    assert talk.waiting == {}


def test_what_went_wrong_with_an_answer_is_told_though_gemini_calls_it_completed() -> None:
    talk = Conversation().live()
    talk.hear(seen("i1", "completed", errors=("safety: kept back", "3: cut")))
    assert (talk.run.status, talk.run.output) == (RunStatus.COMPLETED, "")
    assert talk.run.reason == "safety: kept back; 3: cut"


def test_a_call_makes_a_turn_and_usage_adds_up() -> None:
    talk = Conversation().asks(wish("c1"))
    assert talk.run.turn.status is TurnStatus.ACTION
    talk.runs("c1")
    assert (talk.run.status, talk.run.turn.number, talk.run.turn.previous_id) == (
        RunStatus.RESUMING,
        2,
        "i1",
    )
    assert talk.due(EffectKind.CREATE_INTERACTION, "2.1") == NOON
    talk.live("i2").hear(seen("i2", "completed", turn=2, usage={"total": 5}))
    assert talk.run.status is RunStatus.COMPLETED
    assert talk.run.usage == {"total": 5}


def test_usage_of_a_turn_counts_once_however_often_it_is_read() -> None:
    talk = Conversation(policy=Policy(missing_readings=5)).live()
    for _ in range(3):  # it waits for an action and names no call yet
        talk.hear(seen("i1", "requires_action", usage={"total": 10}))
    talk.hear(seen("i1", "requires_action", wish("c1"), usage={"total": 10}))
    talk.hear(seen("i1", "requires_action", wish("c1"), usage={"total": 10}))
    talk.hear(seen("i1", "failed", usage={"total": 10}))
    assert talk.run.usage == {"total": 10}


@pytest.mark.parametrize("status", [*MEANING, "paused_by_moonlight"])
def test_every_status_of_a_live_interaction_has_its_row(status: str) -> None:
    talk = Conversation().live()
    talk.hear(seen("i1", status, wish("c1"), output="part", errors=("safety: no",), continuation="tok"))
    expected = {
        "queued": RunStatus.RUNNING,
        "in_progress": RunStatus.RUNNING,
        "requires_action": RunStatus.RUNNING,
        "completed": RunStatus.COMPLETED,
        "failed": RunStatus.FAILED,
        "cancelled": RunStatus.CANCELLED,
        "incomplete": RunStatus.FAILED,
        "budget_exceeded": RunStatus.FAILED,
        "requires_continuation": RunStatus.RESUMING,
        "paused_by_moonlight": RunStatus.RUNNING,
    }
    assert talk.run.status is expected[status]
    if talk.run.closed:
        assert talk.run.output == "part"
        assert talk.waiting == {}  # Gemini has ended it itself: nothing to cancel
    else:
        wakes = {EffectKind.FETCH_INTERACTION, EffectKind.EXECUTE_TOOL, EffectKind.CREATE_INTERACTION}
        assert wakes & talk.kinds(), "nobody would ever look again"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("failed", "safety: no"),
        ("incomplete", "incomplete: Gemini ended early"),
        ("budget_exceeded", "budget_exceeded: Gemini ended early"),
        ("cancelled", "cancelled at Gemini"),
    ],
)
def test_an_end_without_an_answer_says_why(status: str, text: str) -> None:
    talk = Conversation().live().hear(seen("i1", status, errors=("safety: no",)))
    assert text in talk.run.reason


def test_a_cut_answer_is_taken_up_with_its_token() -> None:
    talk = Conversation().live().hear(seen("i1", "requires_continuation", continuation="tok"))
    turn = talk.run.turn
    assert (turn.number, turn.previous_id, turn.continuation) == (2, "i1", "tok")
    talk.live("i2").asks(wish("c1"), interaction_id="i2").runs("c1")
    assert talk.run.turn.previous_id == "i2"
    assert talk.run.turn.continuation is None


def cut(talk: Conversation, *parts: str) -> Conversation:
    """An answer that was cut behind each of these."""
    for number, part in enumerate(parts, 1):
        there = seen(f"i{number}", "requires_continuation", output=part, continuation="tok", turn=number)
        talk.live(f"i{number}").hear(there)
    return talk.live(f"i{len(parts) + 1}")


@pytest.mark.parametrize(
    ("last", "whole"), [(" and ends.", "It begins, goes on and ends."), ("", "It begins, goes on")]
)
@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_what_was_cut_is_one_output_with_what_follows(status: str, last: str, whole: str) -> None:
    talk = cut(Conversation(), "It begins,", " goes on").hear(seen("i3", status, output=last, turn=3))
    assert talk.run.output == whole
    assert [t.said for t in talk.turns] == ["It begins,", " goes on"]


def test_a_model_that_says_it_all_again_is_taken_at_its_word() -> None:
    talk = cut(Conversation(), "It begins,").hear(
        seen("i2", "completed", output="It begins, and ends.", turn=2)
    )
    assert talk.run.output == "It begins, and ends."


def test_what_was_cut_before_a_call_is_no_part_of_the_answer() -> None:
    talk = cut(Conversation(), "I look it up").asks(wish("c1"), interaction_id="i2")
    talk.runs("c1")
    talk.live("i3").hear(seen("i3", "failed", turn=3))
    assert talk.run.output == ""


def test_a_step_hands_on_all_of_an_answer_that_was_cut() -> None:
    said = '{"a": 1}'
    form = {"type": "text", "mime_type": "application/json"}
    thinker = Thinker(model="gemini-3.8-flash", response_format=form)
    steps = tuple(Step(name, StepKind.AGENT, thinker, ("Go",)) for name in ("one", "two"))
    talk = Conversation(workflow=Recipe("w", steps=steps))
    talk = cut(talk, said[:4]).hear(seen("i2", "completed", output=said[4:], turn=2))
    assert (talk.run.outputs["one"], talk.run.output) == ({"a": 1}, "")


def test_a_cut_answer_without_a_token_fails() -> None:
    talk = Conversation().live().hear(seen("i1", "requires_continuation"))
    assert talk.run.status is RunStatus.FAILED
    assert "token" in talk.run.reason


def test_an_unknown_status_is_watched_and_reported_once() -> None:
    talk = Conversation(policy=Policy(strange_readings=3)).live()
    alarms = [talk.happens(seen("i1", "dreaming")).alarm for _ in range(6)]
    assert alarms == [False, False, True, False, False, False]
    assert talk.run.status is RunStatus.RUNNING
    talk.hear(seen("i1", "completed"))
    assert talk.run.status is RunStatus.COMPLETED


def test_a_known_status_in_between_starts_the_count_anew() -> None:
    talk = Conversation(policy=Policy(strange_readings=2)).live()
    alarms = [talk.happens(seen("i1", s)).alarm for s in ("dreaming", "in_progress", "dreaming", "dreaming")]
    assert alarms == [False, False, False, True]


# --- the create -----------------------------------------------------------------------


def test_a_busy_gemini_delays_the_same_attempt() -> None:
    talk = Conversation().sent().hear(CreateDeferred(1, 1, "busy"))
    assert (talk.run.turn.status, talk.run.turn.attempt) == (TurnStatus.INTENDED, 1)
    talk.live()
    assert talk.run.status is RunStatus.RUNNING


def test_a_refused_create_fails_the_run() -> None:
    talk = Conversation().sent().hear(CreateRefused(1, 1, "no such model"))
    assert talk.run.status is RunStatus.FAILED
    assert "no such model" in talk.run.reason
    assert talk.waiting == {}


def test_a_lost_create_shows_itself_and_is_adopted() -> None:
    talk = Conversation().sent().hear(CreateUncertain(1, 1, "reset"))
    assert talk.due(EffectKind.END_CREATE_GRACE, "1.1") == NOON + timedelta(seconds=30)
    talk.hear(seen("i1", "in_progress"))
    assert talk.run.turn.interaction_id == "i1"
    assert EffectKind.END_CREATE_GRACE not in talk.kinds()
    talk.hear(CreateGraceEnded(1, 1))  # a timer that was already being performed
    assert talk.run.turn.attempt == 1
    assert talk.run.status is RunStatus.RUNNING


def test_the_answer_that_comes_after_all_is_adopted() -> None:
    """A paused worker: another one has called its create lost, then its answer arrives."""
    talk = Conversation().sent().hear(CreateUncertain(1, 1), seen("i1", "requires_action", wish("c1")))
    assert talk.run.turn.status is TurnStatus.ACTION


def test_a_lost_create_is_replaced_and_its_late_orphan_cancelled() -> None:
    talk = Conversation().sent().hear(CreateUncertain(1, 1))
    talk.hear(CreateGraceEnded(1, 1))
    assert talk.run.turn.attempt == 2
    talk.live("i2")
    for orphan_says in ("in_progress", "requires_action", "dreaming", "in_progress"):
        talk.hear(seen("i1", orphan_says, wish("c9")))
        assert talk.waiting.pop("cancel_interaction:i1").due_at == talk.now
    assert talk.run.turn.interaction_id == "i2"
    assert talk.run.turn.calls == ()
    talk.hear(seen("i1", "cancelled"))
    assert EffectKind.CANCEL_INTERACTION not in talk.kinds()
    assert talk.run.status is RunStatus.RUNNING


def test_the_orphan_may_show_itself_before_its_replacement_is_sent() -> None:
    talk = Conversation().sent().hear(CreateUncertain(1, 1), CreateGraceEnded(1, 1))
    talk.hear(seen("i1", "in_progress"))
    assert talk.run.turn.interaction_id is None
    assert EffectKind.CANCEL_INTERACTION in talk.kinds()


def test_a_second_interaction_of_one_attempt_is_cancelled() -> None:
    talk = Conversation().live("i1").hear(seen("i9", "in_progress"))
    assert talk.run.turn.interaction_id == "i1"
    assert "cancel_interaction:i9" in talk.waiting


def test_each_further_lost_attempt_is_given_more_time() -> None:
    talk = Conversation()
    for attempt in (1, 2, 3):
        talk.sent().hear(CreateUncertain(1, attempt))
        due = talk.due(EffectKind.END_CREATE_GRACE, f"1.{attempt}")
        assert due == talk.now + timedelta(seconds=30) * attempt
        talk.hear(CreateGraceEnded(1, attempt))
    assert talk.run.turn.attempt == 4


def test_a_create_that_is_taken_again_and_again_by_answers_nobody_can_read_is_for_a_person() -> None:
    """Each of them may have been carried out, and paid for; an outage says no, or nothing."""
    talk = Conversation()
    for attempt in range(1, MOST_UNREAD + 1):
        assert talk.run.status is not RunStatus.ATTENTION
        answered = attempt != 2  # one whose answer only got lost counts as well, by then
        told = talk.sent().happens(CreateUncertain(1, attempt, "the answer is not JSON", answered))
        if attempt < MOST_UNREAD:
            talk.hear(CreateGraceEnded(1, attempt))
    assert told.alarm
    assert (talk.run.status, talk.run.turn.status) == (RunStatus.ATTENTION, TurnStatus.LOST)
    assert "not JSON" in talk.run.reason
    assert f"end_create_grace:1.{MOST_UNREAD}" not in talk.waiting
    late = deepcopy(talk).hear(seen("i9", "in_progress", attempt=MOST_UNREAD))
    assert (late.run.status, late.run.turn.interaction_id) == (RunStatus.RUNNING, "i9")
    talk.hear(AttentionResolved(Choice.RETRY, ANNA))
    assert (talk.run.status, talk.run.turn.attempt) == (RunStatus.QUEUED, MOST_UNREAD + 1)


def test_however_long_gemini_is_away_a_create_goes_on() -> None:
    talk = Conversation()
    for attempt in range(1, 3 * MOST_UNREAD):
        talk.sent().hear(CreateUncertain(1, attempt, "HTTP 503"), CreateGraceEnded(1, attempt))
    assert (talk.run.status, talk.run.turn.attempt) == (RunStatus.QUEUED, 3 * MOST_UNREAD)


def unread(minutes: float, attempt: int = 1) -> CreateGraceEnded:
    """The grace ends; the oldest webhook nobody has read came so long after noon."""
    return CreateGraceEnded(1, attempt, NOON + timedelta(minutes=minutes))


@pytest.mark.parametrize("asks", [False, True])
def test_a_lost_create_that_may_have_been_named_is_read_before_another_is_sent(asks: bool) -> None:
    talk = Conversation(policy=Policy(retry_lost_create=not asks)).sent().hear(CreateUncertain(1, 1))
    told = [talk.happens(unread(0.25), after=timedelta(seconds=30)) for _ in range(20)]
    assert [bool(d.note) for d in told] == [True] + [False] * 19, "said once"
    assert (talk.run.turn.status, talk.run.turn.attempt) == (TurnStatus.UNKNOWN, 1)
    assert talk.due(EffectKind.END_CREATE_GRACE, "1.1") == talk.now + timedelta(seconds=30)
    assert "create_interaction:1.2" not in talk.waiting
    adopted = deepcopy(talk).hear(seen("i1", "dreaming"))
    assert (adopted.run.turn.interaction_id, adopted.run.turn.readings) == ("i1", 1)
    assert EffectKind.END_CREATE_GRACE not in adopted.kinds()
    over = deepcopy(talk)
    over.now = over.run.deadline
    assert over.hear(RunOverdue(over.now)).run.status is RunStatus.FAILED
    talk.happens(CreateGraceEnded(1, 1), after=timedelta(seconds=30))
    assert talk.run.turn.status is (TurnStatus.LOST if asks else TurnStatus.INTENDED)
    assert talk.run.turn.readings == (1 if asks else 0)


def test_webhooks_of_others_that_are_just_being_read_hold_nothing_up() -> None:
    talk = Conversation().sent().hear(CreateUncertain(1, 1))
    talk.happens(unread(0.5), after=timedelta(minutes=0.5))
    assert talk.run.turn.attempt == 1, "it may be the one"
    early = deepcopy(talk)
    early.happens(unread(0.5), after=timedelta(minutes=0.5))
    assert early.run.turn.attempt == 1, "still nobody has read it"
    talk.happens(unread(0.99), after=timedelta(minutes=0.5))
    assert talk.run.turn.attempt == 2
    talk.sent().hear(CreateUncertain(1, 2)).happens(unread(1, attempt=1), after=timedelta(minutes=1))
    assert (talk.run.turn.status, talk.run.turn.attempt) == (TurnStatus.UNKNOWN, 2), "that one was replaced"
    talk.happens(unread(1.5, attempt=2))
    assert talk.run.turn.attempt == 2, "each attempt is waited for anew"


def lost(**more: bool) -> Conversation:
    talk = Conversation(policy=Policy(retry_lost_create=False))
    talk.sent().hear(CreateUncertain(1, 1, "reset"))
    assert talk.happens(CreateGraceEnded(1, 1)).alarm
    assert (talk.run.status, talk.run.turn.status) == (RunStatus.ATTENTION, TurnStatus.LOST)
    assert talk.run.reason
    return talk


def test_a_person_sends_a_lost_create_again() -> None:
    talk = lost().hear(AttentionResolved(Choice.RETRY, ANNA))
    assert (talk.run.status, talk.run.turn.attempt) == (RunStatus.QUEUED, 2)
    assert talk.happens(AttentionResolved(Choice.RETRY, ANNA)).refused is Refusal.NOT_NOW
    assert talk.run.turn.attempt == 2


def test_a_person_gives_a_lost_create_up() -> None:
    talk = lost().hear(AttentionResolved(Choice.GIVE_UP, ANNA))
    assert talk.run.status is RunStatus.FAILED
    assert "given up" in talk.run.reason


def test_a_lost_create_has_no_result_to_give() -> None:
    talk = lost()
    assert talk.happens(AttentionResolved(Choice.HAPPENED, ANNA)).refused is Refusal.NOT_NOW
    assert talk.run.status is RunStatus.ATTENTION


def test_a_lost_create_that_shows_itself_needs_no_person() -> None:
    talk = lost().hear(seen("i1", "in_progress"))
    assert talk.run.status is RunStatus.RUNNING
    assert talk.happens(AttentionResolved(Choice.RETRY, ANNA)).refused is Refusal.NOT_NOW


def test_events_of_another_attempt_are_not_heard() -> None:
    talk = Conversation().sent().hear(CreateUncertain(1, 1), CreateGraceEnded(1, 1))
    before = talk.run
    for late in (CreateUncertain(1, 1), CreateDeferred(1, 1), CreateRefused(1, 1), CreateGraceEnded(1, 1)):
        talk.hear(late)
    assert talk.happens(CreateClaimed(1, 1)).refused is Refusal.NOT_NOW
    assert talk.run == before


# --- readings and signals -------------------------------------------------------------


def test_a_signal_is_only_a_reason_to_read() -> None:
    talk = Conversation().live()
    before = talk.run
    for kind in ("interaction.completed", "interaction.failed", "interaction.cancelled", "interaction.new"):
        decision = talk.happens(InteractionSignalled("i1", kind), after=SECOND)
        assert decision.run == before
        assert [(e.kind, e.due_at) for e in decision.effects] == [(EffectKind.FETCH_INTERACTION, talk.now)]


def test_signals_about_other_interactions_wake_nothing() -> None:
    talk = Conversation().live()
    assert talk.happens(InteractionSignalled("i7", "interaction.completed")).effects == ()


def test_a_doubled_call_for_action_is_not_read_again() -> None:
    talk = Conversation().asks(wish("c1"))
    assert talk.happens(InteractionSignalled("i1", "interaction.requires_action")).effects == ()
    assert talk.happens(InteractionSignalled("i1", "interaction.failed")).effects != ()


def test_stale_readings_do_not_undo_calls() -> None:
    talk = Conversation().asks(wish("c1"))
    before = talk.run
    for status in ("queued", "in_progress", "requires_action", "requires_continuation", "dreaming"):
        talk.hear(seen("i1", status, wish("c2")))
    assert talk.run == before


def test_an_end_that_contradicts_open_calls_ends_the_run() -> None:
    talk = Conversation().asks(wish("c1")).hear(seen("i1", "failed", errors=("expired",)))
    assert talk.run.status is RunStatus.FAILED
    assert talk.call("c1").settled
    assert EffectKind.EXECUTE_TOOL not in talk.kinds()


def test_a_late_reading_of_a_link_of_the_chain_cancels_nothing() -> None:
    """A fetch of the first interaction is in flight while its last call settles."""
    talk = Conversation().asks(wish("c1"))
    talk.runs("c1")
    before = talk.run
    for status in ("requires_action", "in_progress", "completed", "failed"):
        talk.hear(seen("i1", status, wish("c1"), former=True))
    talk.live("i2").hear(seen("i2", "completed", turn=2))
    talk.hear(seen("i1", "requires_action", wish("c1"), former=True))
    assert before.turn.number == talk.run.turn.number == 2
    assert EffectKind.CANCEL_INTERACTION not in talk.kinds()


def test_an_orphan_of_an_earlier_turn_is_still_cancelled() -> None:
    talk = Conversation().sent().hear(CreateUncertain(1, 1), CreateGraceEnded(1, 1))
    talk.asks(wish("c1"), interaction_id="i2").runs("c1")
    talk.live("i3").hear(seen("i1", "in_progress"))
    assert "cancel_interaction:i1" in talk.waiting


def test_more_than_can_be_read_ends_the_run_unless_its_calls_are_known() -> None:
    talk = Conversation().live().hear(InteractionTooLarge("i9"))
    assert talk.run.status is RunStatus.RUNNING, "it is about another interaction"
    talk.hear(InteractionTooLarge("i1", "the answer is too large"))
    assert (talk.run.status, "more than can be read" in talk.run.reason) == (RunStatus.FAILED, True)
    assert "cancel_interaction:i1" in talk.waiting, "it may be at work still"
    asking = Conversation().asks(wish("c1")).hear(InteractionTooLarge("i1"))
    assert asking.run.turn.status is TurnStatus.ACTION
    assert EffectKind.FETCH_INTERACTION in asking.kinds()
    asking.runs("c1")
    assert asking.run.status is RunStatus.RESUMING


def test_missing_early_is_patience_and_for_good_is_an_end() -> None:
    talk = Conversation(policy=Policy(missing_readings=3)).live()
    talk.now += timedelta(minutes=1)
    talk.hear(InteractionMissing("i1"), InteractionMissing("i1"), seen("i1", "in_progress"))
    assert talk.run.turn.readings == 0
    for n in (1, 2):
        talk.hear(InteractionMissing("i1"))
        assert talk.run.turn.readings == n
        assert EffectKind.FETCH_INTERACTION in talk.kinds()
    talk.hear(InteractionMissing("i1"))
    assert talk.run.status is RunStatus.FAILED
    assert talk.waiting == {}
    talk.hear(InteractionMissing("i1"))


def test_missing_while_gemini_waits_for_us_counts_in_a_row_only() -> None:
    talk = Conversation(policy=Policy(missing_readings=2)).asks(wish("c1"))
    for _ in range(3):
        talk.hear(InteractionMissing("i1"), seen("i1", "requires_action", wish("c1")))
    assert talk.run.status is RunStatus.RUNNING
    talk.now += timedelta(minutes=1)
    talk.hear(InteractionMissing("i1"), InteractionMissing("i1"))
    assert talk.run.status is RunStatus.FAILED


def test_missing_is_not_counted_with_unknown_statuses() -> None:
    talk = Conversation(policy=Policy(missing_readings=2, strange_readings=99)).live()
    talk.hear(*[seen("i1", "dreaming")] * 5, InteractionMissing("i1"), seen("i1", "dreaming"))
    assert talk.run.status is RunStatus.RUNNING


def test_missing_of_another_interaction_means_nothing() -> None:
    talk = Conversation().live()
    before = talk.run
    talk.hear(*[InteractionMissing("i9")] * 10)
    assert talk.run == before


def test_the_watch_is_spread_and_deciding_stays_pure() -> None:
    policy = Policy(watch_every=timedelta(seconds=30))
    pauses = set()
    for n in range(50):
        talk = Conversation(policy=policy, now=NOON + SECOND * n).live()
        again = Conversation(policy=policy, now=NOON + SECOND * n).live()
        due = talk.due(EffectKind.FETCH_INTERACTION, "i1")
        assert due == again.due(EffectKind.FETCH_INTERACTION, "i1")
        pauses.add(due - talk.now)
    assert all(timedelta(seconds=21) <= p <= timedelta(seconds=30) for p in pauses)
    assert len(pauses) > 40


def test_an_action_without_calls_is_read_again_then_given_up() -> None:
    talk = Conversation(policy=Policy(missing_readings=3)).live()
    talk.hear(*[seen("i1", "requires_action")] * 2)
    assert talk.run.status is RunStatus.RUNNING
    talk.hear(seen("i1", "requires_action"))
    assert talk.run.status is RunStatus.FAILED
    assert "cancel_interaction:i1" in talk.waiting


@pytest.mark.parametrize("status", ["completed", "requires_action", "failed", "incomplete"])
def test_a_create_that_answers_without_what_came_of_it_is_read_first(status: str) -> None:
    talk = Conversation().hear(CreateClaimed(1, 1)).hear(seen("i1", status))
    assert (talk.run.status, talk.run.turn.status) == (RunStatus.RUNNING, TurnStatus.LIVE)
    assert talk.due(EffectKind.FETCH_INTERACTION, "i1") == NOON
    talk.hear(seen("i1", "completed", output="quick", usage={"total": 7}))
    assert (talk.run.status, talk.run.output, talk.run.usage) == (RunStatus.COMPLETED, "quick", {"total": 7})


def test_a_create_that_answers_whole_counts_at_once() -> None:
    talk = Conversation().hear(CreateClaimed(1, 1)).hear(seen("i1", "completed", output="quick"))
    assert (talk.run.status, talk.run.output) == (RunStatus.COMPLETED, "quick")
