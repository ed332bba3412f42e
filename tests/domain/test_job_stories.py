"""Long jobs: begun within their room, once; found again, read, stored; and what their call makes of them."""

import json
from datetime import timedelta

import pytest
from support.conversation import ANNA, Conversation, wish
from support.films import FILE, FILM, MADE, film, filming, job, live, made, read

from orchestrator.domain.announcements import announce
from orchestrator.domain.callbacks import Callback, News
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    CallWaits,
    CancelRequested,
    Event,
    JobClaimed,
    JobDeferred,
    JobGraceEnded,
    JobHarvested,
    JobMissing,
    JobObserved,
    JobRefused,
    JobSignalled,
    JobUncertain,
)
from orchestrator.domain.joblife import MOST_JOBS
from orchestrator.domain.jobreports import progress
from orchestrator.domain.jobs import Harvest, JobKind, JobReading, JobState, JobStatus, signal_key
from orchestrator.domain.model import CallStatus, OutcomeKind, RunStatus, TurnStatus
from orchestrator.domain.values import replace


def starts(talk: Conversation) -> list[str]:
    """The jobs whose start is asked for and not claimed yet, by their numbers."""
    ids = {film(n): str(n) for n in range(1, 51)}
    asked = (e for e in talk.waiting.values() if e.kind is EffectKind.START_JOB)
    return sorted((f"{ids[j]}.{a}" for j, _, a in (e.subject.partition(".") for e in asked)), key=float)


def claims(talk: Conversation, number: int, attempt: int = 1) -> None:
    """A worker comes to send it; its effect is done with that."""
    talk.waiting.pop(f"{EffectKind.START_JOB}:{film(number)}.{attempt}", None)
    talk.hear(JobClaimed(film(number), attempt))


def test_a_call_waits_for_its_jobs_and_is_settled_with_the_last_of_them() -> None:
    talk = filming(2)
    assert talk.call("c1").status is CallStatus.AWAITING_JOB
    assert talk.run.status is RunStatus.RUNNING
    made(talk, 2)
    assert progress(talk.call("c1")) == "1 of 2 jobs done"
    made(talk, 1)
    call = talk.turns[0].calls[0]
    assert call.outcome is not None
    assert call.outcome.kind is OutcomeKind.SUCCEEDED
    assert call.outcome.result["succeeded"] == 2  # type: ignore[index, call-overload]
    assert call.outcome.result["jobs"][0]["files"][0]["sha256"] == FILE.sha256  # type: ignore[index, call-overload]
    assert talk.run.turn.number == 2


def test_only_so_many_are_under_way_at_once() -> None:
    talk = filming(5, jobs_at_once=2)
    assert starts(talk) == ["1.1", "2.1"]
    claims(talk, 1)
    talk.hear(read(1), read(1, JobState.DONE))
    assert starts(talk) == ["2.1"]  # it is still being stored
    talk.hear(JobHarvested(film(1), MADE))
    assert starts(talk) == ["2.1", "3.1"]


def test_everything_twice_and_late_is_once() -> None:
    talk = live(filming(2), 1)
    talk.hear(JobClaimed(film(1), 1))
    assert job(talk, 1).status is JobStatus.LIVE
    talk.hear(read(1, JobState.DONE), read(1, JobState.DONE), read(1), JobSignalled(film(1)))
    assert job(talk, 1).status is JobStatus.STORING
    talk.hear(JobHarvested(film(1), MADE), JobHarvested(film(1), Harvest((), trouble="gone")), read(1))
    assert job(talk, 1).files == (FILE,)
    assert job(talk, 1).status is JobStatus.SUCCEEDED


def test_a_busy_gemini_puts_a_start_off_and_a_refusal_ends_it() -> None:
    talk = filming(2)
    talk.hear(JobClaimed(film(1), 1), JobDeferred(film(1), 1, "429"), JobClaimed(film(1), 1))
    assert job(talk, 1).status is JobStatus.SENDING
    talk.hear(JobRefused(film(1), 1, "the prompt is empty"), JobRefused(film(1), 1, "again"))
    assert (job(talk, 1).status, job(talk, 1).said) == (
        JobStatus.FAILED,
        "Gemini refused the request: the prompt is empty",
    )


def test_a_start_whose_answer_got_lost_is_found_by_a_search_or_its_webhook() -> None:
    talk = filming(1).hear(JobClaimed(film(1), 1), JobUncertain(film(1), 1, "reset"))
    assert f"{EffectKind.FETCH_JOB}:{film(1)}" in talk.waiting
    talk.hear(JobSignalled(film(1), "models/veo-3.1/operations/op1"))
    assert job(talk, 1).status is JobStatus.UNKNOWN  # believed only when it is read
    talk.hear(read(1, searched=True))
    assert (job(talk, 1).status, job(talk, 1).remote) == (JobStatus.LIVE, "models/veo-3.1/operations/op1")
    assert f"{EffectKind.END_JOB_GRACE}:{film(1)}.1" not in talk.waiting
    talk.hear(JobGraceEnded(film(1), 1))
    assert job(talk, 1).attempt == 1


def test_a_name_that_is_another_jobs_is_not_believed() -> None:
    talk = filming(1).hear(JobClaimed(film(1), 1), JobUncertain(film(1), 1, "reset"))
    talk.hear(JobSignalled(film(1), "models/veo-3.1/operations/op9"))
    foreign = JobReading("models/veo-3.1/operations/op9", JobState.DONE, job="job_of_somebody")
    talk.hear(JobObserved(film(1), 1, foreign, searched=True))
    assert (job(talk, 1).status, job(talk, 1).remote) == (JobStatus.UNKNOWN, None)
    talk.hear(JobSignalled(film(1), "models/veo-3.1/operations/op8"))
    talk.hear(JobMissing(film(1), "models/veo-3.1/operations/op8"))
    assert job(talk, 1).remote is None


def test_one_nobody_finds_is_sent_again_where_that_is_wanted_and_the_lost_attempt_never_counts() -> None:
    talk = filming(1, retry_lost_film=True)
    talk.hear(JobClaimed(film(1), 1), JobUncertain(film(1), 1, "reset"))
    talk.hear(JobGraceEnded(film(1), 1), JobGraceEnded(film(1), 1))
    assert job(talk, 1).attempt == 2
    assert starts(talk)[-1] == "1.2"
    talk.hear(read(1, JobState.DONE))
    assert job(talk, 1).status is JobStatus.INTENDED


def test_what_can_be_looked_for_is_sent_again_and_a_film_only_where_that_is_wanted() -> None:
    for kind, again, policy in (
        (JobKind.BATCH, True, {}),
        (JobKind.BATCH, False, {"retry_lost_create": False, "retry_lost_film": True}),
        (JobKind.VIDEO, False, {}),
        (JobKind.VIDEO, True, {"retry_lost_film": True, "retry_lost_create": False}),
        (JobKind.VIDEO_INTERACTION, False, {}),
    ):
        talk = lost(filming(2, kind=kind, **policy), 1)
        assert job(talk, 1).status is (JobStatus.INTENDED if again else JobStatus.LOST)
        assert ("1.2" in starts(talk)) is again


def lost(talk: Conversation, *numbers: int) -> Conversation:
    """Their starts had no answer, and nothing named them in their time."""
    for number in numbers:
        claims(talk, number)
        talk.hear(JobUncertain(film(number), 1, "reset"), JobGraceEnded(film(number), 1))
    return talk


def test_a_lost_film_leaves_its_room_to_the_others_and_says_what_a_person_can_do() -> None:
    talk = lost(filming(3, jobs_at_once=1), 1)
    assert starts(talk) == ["2.1"]
    assert f"{EffectKind.FETCH_JOB}:{film(1)}" not in talk.waiting
    made(talk, 2, 3)
    [call] = talk.turns[0].calls
    assert call.outcome is not None
    assert call.outcome.kind is OutcomeKind.SUCCEEDED
    [told, *_] = call.outcome.result["jobs"]  # type: ignore[index, call-overload]
    assert (told["status"], "not sent again" in told["error"]) == ("lost", True)
    assert "orchestrator jobs resubmit" in told["error"]
    nothing = lost(filming(1), 1)
    assert nothing.turns[0].calls[0].outcome is not None
    assert nothing.turns[0].calls[0].outcome.kind is OutcomeKind.FAILED


REMOTE = "models/veo-3.1/operations/op1"


def test_an_event_that_comes_after_the_grace_brings_a_lost_film_back_while_its_call_waits() -> None:
    talk = lost(live(filming(2), 2), 1)
    named = JobSignalled(film(1), REMOTE)
    talk.hear(named, named)  # doubled
    assert (job(talk, 1).status, job(talk, 1).ended_at) == (JobStatus.UNKNOWN, None)
    assert talk.due(EffectKind.FETCH_JOB, film(1)) == talk.now
    made(talk, 2)
    assert talk.call("c1").status is CallStatus.AWAITING_JOB, "it is looked at before the call is settled"
    talk.hear(JobGraceEnded(film(1), 1))
    assert job(talk, 1).status is JobStatus.UNKNOWN, "what was named is read first, however long that takes"
    done = read(1, JobState.DONE, searched=True)
    talk.hear(done, done, named)
    assert job(talk, 1).status is JobStatus.STORING
    talk.hear(JobHarvested(film(1), MADE), JobHarvested(film(1), MADE), done, named)
    [call] = talk.turns[0].calls
    assert call.outcome is not None
    assert call.outcome.result["succeeded"] == 2  # type: ignore[index, call-overload]
    assert (call.jobs[0].attempt, call.jobs[0].files) == (1, (FILE,))


def test_a_late_name_that_is_another_films_leaves_it_lost() -> None:
    for false in (
        JobMissing(film(1), REMOTE),
        JobObserved(film(1), 1, JobReading(REMOTE, JobState.DONE, job="job_other"), searched=True),
    ):
        talk = lost(live(filming(2), 2), 1).hear(JobSignalled(film(1), REMOTE), false)
        talk.hear(JobGraceEnded(film(1), 1))
        assert (job(talk, 1).status, job(talk, 1).remote) == (JobStatus.LOST, None)
        made(talk, 2)
        assert talk.turns[0].calls[0].jobs[0].status is JobStatus.LOST


def test_the_answer_itself_may_come_late_and_out_of_order() -> None:
    talk = lost(live(filming(2), 2), 1).hear(read(1, JobState.DONE), JobSignalled(film(1), REMOTE), read(1))
    assert (job(talk, 1).status, job(talk, 1).remote) == (JobStatus.STORING, REMOTE)
    failed = lost(live(filming(2), 2), 1).hear(read(1, JobState.FAILED, said="kept back"))
    assert (job(failed, 1).status, job(failed, 1).said) == (JobStatus.FAILED, "kept back")


def test_what_is_named_after_its_call_was_settled_is_written_down_and_no_more() -> None:
    named = JobSignalled(film(1), REMOTE)
    over = made(lost(filming(2), 1), 2)
    assert over.run.turn.number == 2
    side = Conversation().asks(wish("c1"), wish("c2"))  # its call is settled, and its turn goes on
    side.claims("c1")
    side.hear(CallWaits(side.call("c1").id, "k1", (FILM,)))
    lost(side, 1)
    assert side.call("c1").settled
    ended = lost(live(filming(2), 2), 1).hear(CancelRequested(ANNA))
    for talk in (over, side, ended):
        before, waiting = talk.run, dict(talk.waiting)
        notes = [talk.happens(named).note, talk.happens(named).note]
        talk.hear(read(1, JobState.DONE), JobSignalled(film(1)))
        assert (talk.run, talk.waiting) == (before, waiting)
        assert all(REMOTE in note and "not stored" in note for note in notes)


def test_callers_are_told_of_a_lost_film_once_and_not_before_that_is_sure() -> None:
    address = Callback("https://a.example/", (News.JOB_FINISHED,), own=True)

    def told(talk: Conversation, event: Event) -> list[str]:
        before = replace(talk.run, recipe=replace(talk.run.recipe, callbacks=(address,)))
        said = announce(before, talk.happens(event), talk.now)
        return [json.loads(a.body)["data"]["status"] for a in said]

    talk = live(filming(2), 2)
    claims(talk, 1)
    talk.hear(JobUncertain(film(1), 1, "reset"))
    assert told(talk, JobGraceEnded(film(1), 1)) == []
    assert told(talk, JobSignalled(film(1), REMOTE)) == []
    assert told(talk, JobMissing(film(1), REMOTE)) == []
    assert told(talk, JobGraceEnded(film(1), 1)) == []
    talk.hear(read(2, JobState.DONE))
    assert sorted(told(talk, JobHarvested(film(2), MADE))) == ["lost", "succeeded"]
    back = lost(live(filming(2), 2), 1).hear(JobSignalled(film(1), REMOTE), read(1, JobState.DONE))
    assert told(back, JobHarvested(film(1), MADE)) == ["succeeded"]


def test_one_that_failed_leaves_the_others_and_all_failed_is_a_failure() -> None:
    talk = live(filming(2), 1, 2)
    talk.hear(read(1, JobState.FAILED, said="boom"))
    made(talk.hear(read(2, JobState.DONE)), 2)
    outcome = talk.turns[0].calls[0].outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert [j["status"] for j in outcome.result["jobs"]] == ["failed", "succeeded"]  # type: ignore[index, call-overload]
    assert outcome.result["jobs"][0]["error"] == "boom"  # type: ignore[index, call-overload]
    talk = live(filming(2), 1, 2)
    talk.hear(read(1, JobState.EXPIRED), read(2, JobState.CANCELLED))
    assert talk.turns[0].calls[0].outcome is not None
    assert talk.turns[0].calls[0].outcome.kind is OutcomeKind.FAILED


def test_what_cannot_be_used_failed() -> None:
    talk = live(filming(1), 1).hear(read(1, JobState.DONE))
    talk.hear(JobHarvested(film(1), Harvest((), trouble="filtered")))
    result = talk.turns[0].calls[0].outcome
    assert result is not None
    assert result.kind is OutcomeKind.FAILED


def test_a_404_early_is_waited_out_and_later_is_the_end() -> None:
    talk = live(filming(1), 1)
    remote = "models/veo-3.1/operations/op1"
    talk.hear(*[JobMissing(film(1), remote)] * 8)
    assert job(talk, 1).status is JobStatus.LIVE
    talk.happens(JobMissing(film(1), remote), after=timedelta(hours=1))
    assert talk.turns[0].calls[0].jobs[0].said == "Gemini no longer has this job"


def test_an_unknown_state_is_watched_and_told_of() -> None:
    talk = live(filming(1), 1)
    alarms = [talk.happens(read(1, JobState.STRANGE, said="dreaming")).alarm for _ in range(12)]
    assert alarms.count(True) == 1
    assert job(talk, 1).status is JobStatus.LIVE


def test_a_cancel_stops_what_was_begun_and_begins_nothing_more() -> None:
    talk = live(filming(3, jobs_at_once=2), 1).hear(CancelRequested(ANNA))
    assert [j.status for j in talk.call("c1").jobs] == [JobStatus.CANCELLED] * 3
    kept = [e.subject for e in talk.waiting.values() if e.kind is EffectKind.CANCEL_JOB]
    assert kept == [f"{film(1)}.models/veo-3.1/operations/op1"]
    before = talk.run
    talk.hear(read(1, JobState.DONE), JobHarvested(film(1), MADE), JobSignalled(film(1)))
    assert talk.run == before
    assert talk.happens(JobClaimed(film(2), 1)).refused


def test_a_start_that_was_on_the_wire_at_the_cancel_is_stopped_when_it_shows_itself() -> None:
    talk = filming(1).hear(JobClaimed(film(1), 1), CancelRequested(ANNA), read(1))
    assert f"{EffectKind.CANCEL_JOB}:{film(1)}.models/veo-3.1/operations/op1" in talk.waiting
    assert talk.run.status is RunStatus.CANCELLED


def test_too_many_jobs_and_none_at_all_are_a_failed_call() -> None:
    for wishes in ((), (FILM,) * (MOST_JOBS + 1)):
        talk = Conversation().asks(wish("c1"))
        talk.claims("c1")
        talk.hear(CallWaits(talk.call("c1").id, "k1", wishes))
        assert talk.run.turn.number == 2
        assert talk.turns[0].calls[0].outcome is not None
        assert talk.turns[0].calls[0].outcome.kind is OutcomeKind.FAILED
    most = Conversation().asks(wish("c1"))
    most.claims("c1")
    most.hear(CallWaits(most.call("c1").id, "k1", (FILM,) * MOST_JOBS))
    assert len(most.call("c1").jobs) == MOST_JOBS


def test_an_execution_that_lost_its_claim_wishes_nothing() -> None:
    talk = Conversation().asks(wish("c1"))
    talk.claims("c1")
    talk.hear(CallWaits(talk.call("c1").id, "k9", (FILM,)))
    assert talk.call("c1").status is CallStatus.EXECUTING
    assert talk.run.turn.status is TurnStatus.ACTION


def test_an_event_calls_a_batch_by_another_name_than_its_resource() -> None:
    assert signal_key("batches/123") == signal_key("batch_123") == signal_key("123")
    assert signal_key("models/veo/operations/op1") == "op1"


def test_a_webhook_that_overtakes_the_answer_is_kept_until_that_is_there_or_is_lost() -> None:
    def fetches(talk: Conversation) -> list[bool]:
        return [e.due_at <= talk.now for e in talk.waiting.values() if e.kind is EffectKind.FETCH_JOB]

    remote = read(1).reading.remote
    talk = filming(2)
    claims(talk, 1)
    talk.hear(JobSignalled(film(1), remote))
    assert fetches(talk) == []
    talk.hear(JobUncertain(film(1), 1, "reset"))
    assert (job(talk, 1).remote, fetches(talk)) == (remote, [True])
    answered = filming(2)
    claims(answered, 1)
    answered.hear(JobSignalled(film(1), remote), read(1))
    assert (job(answered, 1).status, fetches(answered)) == (JobStatus.LIVE, [True])
    put_off = filming(2)
    claims(put_off, 1)
    put_off.hear(JobSignalled(film(1), remote), JobDeferred(film(1), 1, "busy"))
    assert job(put_off, 1).remote is None


def test_the_late_answer_of_an_attempt_that_was_replaced_is_stopped_unless_it_was_adopted() -> None:
    talk = filming(1, retry_lost_film=True).hear(JobClaimed(film(1), 1), JobUncertain(film(1), 1, "reset"))
    talk.hear(JobGraceEnded(film(1), 1), JobClaimed(film(1), 2))
    first, second = (JobReading(f"models/veo-3.1/operations/op{n}", JobState.LIVE) for n in (1, 2))
    talk.hear(JobObserved(film(1), 2, second))
    talk.hear(JobObserved(film(1), 1, first), JobObserved(film(1), 1, second))
    assert [e.subject for e in talk.waiting.values() if e.kind is EffectKind.CANCEL_JOB] == [
        f"{film(1)}.models/veo-3.1/operations/op1"
    ]
    assert job(talk, 1).remote == second.remote


@pytest.mark.parametrize("state", [JobState.LIVE, JobState.DONE])
def test_what_says_itself_that_it_is_of_a_replaced_attempt_is_not_adopted_but_stopped(
    state: JobState,
) -> None:
    talk = filming(1, retry_lost_film=True).hear(JobClaimed(film(1), 1), JobUncertain(film(1), 1, "reset"))
    talk.hear(JobGraceEnded(film(1), 1), JobClaimed(film(1), 2), JobUncertain(film(1), 2, "reset"))
    remote = "models/veo-3.1/operations/op1"
    talk.hear(JobSignalled(film(1), remote))  # the event does not say of which attempt
    talk.waiting.pop(f"{EffectKind.FETCH_JOB}:{film(1)}")  # it is read
    talk.hear(JobObserved(film(1), 2, JobReading(remote, state, job=film(1), attempt=1), searched=True))
    assert (job(talk, 1).status, job(talk, 1).remote) == (JobStatus.UNKNOWN, None)
    assert talk.due(EffectKind.FETCH_JOB, film(1)) > talk.now
    stopped = [e.subject for e in talk.waiting.values() if e.kind is EffectKind.CANCEL_JOB]
    assert stopped == ([f"{film(1)}.{remote}"] if state is JobState.LIVE else [])
    mine = JobReading("models/veo-3.1/operations/op2", JobState.LIVE, job=film(1), attempt=2)
    talk.hear(JobObserved(film(1), 2, mine, searched=True))
    assert (job(talk, 1).status, job(talk, 1).remote) == (JobStatus.LIVE, mine.remote)


def test_a_false_name_does_not_end_the_search_and_nothing_of_it_is_stopped() -> None:
    other = "models/veo-3.1/operations/other"
    for false in (
        JobMissing(film(1), other),
        JobObserved(film(1), 1, JobReading(other, JobState.LIVE, job="job_other"), searched=True),
    ):
        talk = filming(1).hear(JobClaimed(film(1), 1), JobUncertain(film(1), 1, "reset"))
        talk.hear(JobSignalled(film(1), other))
        talk.waiting.pop(f"{EffectKind.FETCH_JOB}:{film(1)}")  # it is read
        talk.hear(false)
        assert job(talk, 1).remote is None
        assert talk.due(EffectKind.FETCH_JOB, film(1)) > talk.now
        talk.hear(JobSignalled(film(1), other), CancelRequested(ANNA))
        assert [e.subject for e in talk.waiting.values() if e.kind is EffectKind.CANCEL_JOB] == [film(1)]
        talk.hear(false)
        assert [e.subject for e in talk.waiting.values() if e.kind is EffectKind.CANCEL_JOB] == [film(1)]
