"""The life of a long job: begun within its call's room, found again, read, stored; see the picture in `jobs`.

A job's end is its call's business: with the last one the call is settled, with what they all have brought.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.domain.asking import redraw
from orchestrator.domain.calls import settled
from orchestrator.domain.decision import Decision, Refusal, unheard, watch, watch_span, with_turn
from orchestrator.domain.effects import Effect, EffectKind, cancel_subject, start_subject
from orchestrator.domain.events import (
    CallWaits,
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
from orchestrator.domain.jobreports import results
from orchestrator.domain.jobs import (
    LISTED,
    NAMELESS,
    NOT_SENT,
    Harvest,
    Job,
    JobKind,
    JobState,
    JobStatus,
    Waiting,
    job_key,
)
from orchestrator.domain.model import CallStatus, OutcomeKind, Policy, Run, ToolCall
from orchestrator.domain.values import replace

MOST_JOBS: Final = 500
"""Jobs one call may want."""
MAX_SAID: Final = 1_000
"""Characters of what Gemini said about a job that are kept."""
SEARCH_AFTER: Final = timedelta(seconds=5)
"""From a start whose answer got lost to the first look for it."""
STILL_AT_WORK: Final = (JobState.LIVE, JobState.STRANGE)
NOBODY_FOUND_IT: Final = "the answer to its start got lost, and nobody found it"
LOST: Final = (
    "the answer to its start got lost and no event named it; it may have been made and billed, so it was not"
    " sent again; `orchestrator jobs resubmit` with its id makes it anew"
)
TOO_LATE: Final = "its call was settled without it; it was not stored"


def ordered(waiting: Waiting) -> str | None:
    """Why these cannot be made for one call; None where they can."""
    if not waiting.wishes:
        return "the tool asked for jobs and named none"
    if len(waiting.wishes) > MOST_JOBS:
        return f"the tool asked for {len(waiting.wishes)} jobs at once; {MOST_JOBS} are the most"
    return None


def waits(run: Run, event: CallWaits, policy: Policy, now: datetime) -> Decision:
    """The execution is over, its call goes on waiting: as many jobs as have room are to be started."""
    call = run.turn.call(event.call)
    doubted = (CallStatus.EXECUTING, CallStatus.IN_DOUBT)
    if call is None or call.claim != event.claim or call.status not in doubted:
        return unheard(run, f"jobs for {event.call} from an execution that no longer holds the call")
    if (why := ordered(Waiting(event.wishes))) is not None:
        return settled(run, call, OutcomeKind.FAILED, why, now)
    jobs = tuple(
        Job(job_key(call.id, n), n, wish.kind, wish.request) for n, wish in enumerate(event.wishes, 1)
    )
    call, effects = _begin(replace(call, status=CallStatus.AWAITING_JOB, jobs=jobs), policy, now)
    run = with_turn(run, run.turn.with_call(call))
    return Decision(run, (*effects, *redraw(call, now)))


def claimed(run: Run, event: JobClaimed, policy: Policy, now: datetime) -> Decision:
    found = _current(run, event.job, event.attempt, JobStatus.INTENDED)
    if found is None:
        return unheard(run, f"{event.job}, attempt {event.attempt}, is not to be sent", Refusal.NOT_NOW)
    return Decision(_put(run, *found, status=JobStatus.SENDING, sent_at=now))


def deferred(run: Run, event: JobDeferred, policy: Policy, now: datetime) -> Decision:
    """Back to the intent. The effect itself waits in the outbox, which owns the backoff."""
    found = _current(run, event.job, event.attempt, JobStatus.SENDING)
    if found is None:
        return _stale(run, event.job, event.attempt)
    return Decision(_put(run, *found, status=JobStatus.INTENDED, remote=None, said=event.why[:MAX_SAID]))


def uncertain(run: Run, event: JobUncertain, policy: Policy, now: datetime) -> Decision:
    """It is looked for, and its webhook may name it, or has done so, until its time is up."""
    found = _current(run, event.job, event.attempt, JobStatus.SENDING)
    if found is None:
        return _stale(run, event.job, event.attempt)
    timer = _grace(found[1], policy, now)
    look = Effect(EffectKind.FETCH_JOB, event.job, now) if found[1].remote else _search(found[1], now)
    run = _put(run, *found, status=JobStatus.UNKNOWN, said=event.why[:MAX_SAID])
    return Decision(run, (timer, look), note=f"answer lost: {event.why}")


def refused(run: Run, event: JobRefused, policy: Policy, now: datetime) -> Decision:
    found = _current(run, event.job, event.attempt, JobStatus.SENDING)
    if found is None:
        return _stale(run, event.job, event.attempt)
    return _end(run, *found, JobStatus.FAILED, f"Gemini refused the request: {event.why}", policy, now)


def grace_ended(run: Run, event: JobGraceEnded, policy: Policy, now: datetime) -> Decision:
    """Replace the attempt, or leave it at that. One that an event has named is to be read first."""
    found = _current(run, event.job, event.attempt, JobStatus.UNKNOWN)
    if found is None:
        return Decision(run)
    call, job = found
    if job.remote is not None:
        return Decision(run, (_grace(job, policy, now),))
    if not (policy.retry_lost_create if job.kind in LISTED else policy.retry_lost_film):
        why = NOBODY_FOUND_IT if job.kind in LISTED else LOST
        return _end(run, call, job, JobStatus.LOST, why, policy, now)
    again = {"attempt": job.attempt + 1, "remote": None, "sent_at": None}
    run = _put(run, call, job, status=JobStatus.INTENDED, **again)
    start = Effect(EffectKind.START_JOB, start_subject(job.id, job.attempt + 1), now)
    # The list may be behind, and nobody looks into it again once the next start has its answer.
    late = Effect(EffectKind.CANCEL_JOB, cancel_subject(job.id, None), now + policy.job_grace)
    effects = (start, late) if job.kind in LISTED else (start,)
    return Decision(run, effects, (f"{EffectKind.FETCH_JOB}:{job.id}",), note=f"attempt {job.attempt + 1}")


def signalled(run: Run, event: JobSignalled, policy: Policy, now: datetime) -> Decision:
    """A webhook is a hint to read now. A name it tells of a lost start is read, and believed only then.

    One that overtakes the answer is kept until that is there, or is lost. One that comes when the job was
    given up for lost is heard while its call still waits for others: the job may be had after all.
    """
    found = run.turn.by_job(event.job)
    if found is None:
        return too_late(run, event)
    call, job = found
    if event.attempt not in (0, job.attempt):
        return unheard(run, _former(event.remote, event.job, event.attempt))
    if job.status is JobStatus.LOST:
        return _named_late(run, call, job, event, policy, now)
    if job.status not in (*NAMELESS, JobStatus.LIVE):
        return Decision(run)
    if job.status in NAMELESS and event.remote:
        run = _put(run, call, job, remote=event.remote)
    if job.status is JobStatus.SENDING:
        return Decision(run)
    return Decision(run, (Effect(EffectKind.FETCH_JOB, job.id, now),))


def too_late(run: Run, event: JobSignalled) -> Decision:
    """Nobody waits for it any more; where a webhook named one that was lost, that is written down."""
    return unheard(run, f"{event.job} was named late, as {event.remote}: {TOO_LATE}" if event.remote else "")


def _named_late(
    run: Run, call: ToolCall, job: Job, event: JobSignalled, policy: Policy, now: datetime
) -> Decision:
    """Given up for lost, and now a webhook tells of it: its call waits for it again, as for any unknown."""
    if not event.remote or call.status is not CallStatus.AWAITING_JOB:
        return too_late(run, event)
    run = _put(run, call, job, status=JobStatus.UNKNOWN, remote=event.remote, ended_at=None)
    look = Effect(EffectKind.FETCH_JOB, job.id, now)
    effects = (_grace(job, policy, now), look, *redraw(call, now))
    return Decision(run, effects, note=f"{job.id} was named late")


def observed(run: Run, event: JobObserved, policy: Policy, now: datetime) -> Decision:
    """A reading. Late ones, of an attempt that was replaced, are stopped where that can be."""
    found = run.turn.by_job(event.job)
    if found is None:
        return behind_the_end(run, event, now)
    call, job = found
    reading = event.reading
    if event.attempt != job.attempt or job.status in NOT_SENT:
        return _replaced(run, job, event, now)
    lost = job.status is JobStatus.LOST and call.status is CallStatus.AWAITING_JOB
    if (job.ended and not lost) or job.status is JobStatus.STORING:
        return Decision(run)
    if _another(event):
        run = _put(run, call, job, remote=None)
        note = f"{reading.remote} is not {job.id}, whatever a webhook said"
        return Decision(run, () if lost else (_search(job, now),), note=note)
    if event.searched and reading.attempt not in (0, job.attempt):
        return _of_another_attempt(run, call, job, event, now)
    mine = replace(job, remote=reading.remote, ended_at=None)
    decision = _ROWS[reading.state](run, call, mine, event, policy, now)
    overtaken = job.status is JobStatus.SENDING and job.remote is not None
    if overtaken and reading.state in (JobState.LIVE, JobState.STRANGE):
        # A webhook about it came before this answer: it may tell of something newer.
        return replace(decision, effects=(Effect(EffectKind.FETCH_JOB, job.id, now),))
    return decision


def missing(run: Run, event: JobMissing, policy: Policy, now: datetime) -> Decision:
    """404: early on it may only be slow to appear, later it is gone. A name a webhook claimed is dropped."""
    found = run.turn.by_job(event.job)
    if found is None or found[1].remote != event.remote:
        return Decision(run)
    call, job = found
    if job.status is JobStatus.UNKNOWN:
        return Decision(_put(run, call, job, remote=None), (_search(job, now),))
    if job.status is not JobStatus.LIVE:
        return Decision(run)
    job = replace(job, readings=job.readings + 1)
    early = job.sent_at is None or now - job.sent_at < policy.create_grace * 2
    if job.readings >= policy.missing_readings and not early:
        return _end(run, call, job, JobStatus.FAILED, "Gemini no longer has this job", policy, now)
    pause = max(min(policy.watch_every, policy.create_grace) / 2, timedelta(seconds=1))
    return Decision(_put(run, call, job), (watch(run, job.id, pause, now, EffectKind.FETCH_JOB),))


def harvested(run: Run, event: JobHarvested, policy: Policy, now: datetime) -> Decision:
    found = run.turn.by_job(event.job)
    if found is None or found[1].status is not JobStatus.STORING:
        return unheard(run, f"{event.job} is not being stored")
    call, job = found
    harvest = event.harvest
    job = replace(job, files=harvest.files, facts=harvest.facts, counts=_counted_here(job, harvest))
    status = JobStatus.FAILED if harvest.trouble else JobStatus.SUCCEEDED
    return _end(run, call, job, status, harvest.trouble, policy, now)


def _counted_here(job: Job, harvest: Harvest) -> Mapping[str, int]:
    """A batch's, as its lines say: Gemini need not tell any, and counts an empty answer as a success."""
    if job.kind is not JobKind.BATCH or harvest.trouble or "succeeded" not in harvest.facts:
        return job.counts
    ours = {name: int(harvest.facts.get(name, 0)) for name in ("succeeded", "failed", "missing")}
    asked = job.counts.get("requests") or sum(ours.values())
    return {**job.counts, "requests": asked, "succeeded": ours["succeeded"], "failed": ours["failed"]}


def behind_the_end(run: Run, event: JobObserved, now: datetime) -> Decision:
    """The run ended, or went on, while the start was on the wire: what it made is stopped."""
    if _another(event) or event.reading.state not in STILL_AT_WORK:
        return Decision(run)
    note = f"{event.reading.remote} was still at work behind its call"
    return Decision(run, (_stop(event, now),), note=note)


def _replaced(run: Run, job: Job, event: JobObserved, now: datetime) -> Decision:
    """The answer of an attempt nobody waits for any more: what it began is stopped, unless it was adopted."""
    remote = event.reading.remote
    note = _former(remote, event.job, event.attempt)
    own = remote == job.remote or _another(event)
    if own or event.reading.state not in STILL_AT_WORK:
        return unheard(run, note)
    return Decision(run, (_stop(event, now),), note=note)


def _of_another_attempt(run: Run, call: ToolCall, job: Job, event: JobObserved, now: datetime) -> Decision:
    """A name that a webhook claimed is that of a replaced attempt: the present one is looked for further."""
    run, look = _put(run, call, job, remote=None), () if job.ended else (_search(job, now),)
    stop = (_stop(event, now),) if event.reading.state in STILL_AT_WORK else ()
    return Decision(run, (*look, *stop), note=_former(event.reading.remote, job.id, event.reading.attempt))


def _former(remote: str, job: str, attempt: int) -> str:
    which = f"attempt {attempt}" if attempt else "an attempt"
    return f"{remote} is {job} of {which}, which was replaced"


def _another(event: JobObserved) -> bool:
    """Whether what was read, by a name that a webhook claimed, says itself that it is no job of ours."""
    return event.searched and event.reading.job not in ("", event.job)


def _stop(event: JobObserved, now: datetime) -> Effect:
    return Effect(EffectKind.CANCEL_JOB, cancel_subject(event.job, event.reading.remote), now)


def _search(job: Job, now: datetime) -> Effect:
    return Effect(EffectKind.FETCH_JOB, job.id, now + SEARCH_AFTER)


# --- what a reading says -----------------------------------------------------------------------------------


def _live(run: Run, call: ToolCall, job: Job, event: JobObserved, policy: Policy, now: datetime) -> Decision:
    said = event.reading.said[:MAX_SAID]
    live = {"status": JobStatus.LIVE, "readings": 0, "said": said, "counts": dict(event.reading.counts)}
    drop = _no_grace(job)
    span = watch_span(job.sent_at, policy, now)
    run = _put(run, call, job, **live)
    return Decision(run, (watch(run, job.id, span, now, EffectKind.FETCH_JOB),), drop)


def _strange(
    run: Run, call: ToolCall, job: Job, event: JobObserved, policy: Policy, now: datetime
) -> Decision:
    """Not a state we know: it may well be alive, so keep reading, and tell somebody after a while."""
    readings = job.readings + 1
    alarm = readings == policy.strange_readings
    note = f"unknown state {event.reading.said[:64]!r} of {job.id}, read {readings} times" if alarm else ""
    run = _put(run, call, job, status=JobStatus.LIVE, readings=readings)
    look = watch(run, job.id, watch_span(job.sent_at, policy, now), now, EffectKind.FETCH_JOB)
    return Decision(run, (look,), _no_grace(job), note=note, alarm=alarm)


def _done(run: Run, call: ToolCall, job: Job, event: JobObserved, policy: Policy, now: datetime) -> Decision:
    run = _put(run, call, job, status=JobStatus.STORING, said="", counts=dict(event.reading.counts))
    drop = (*_no_grace(job), f"{EffectKind.FETCH_JOB}:{job.id}")
    return Decision(run, (Effect(EffectKind.STORE_JOB, job.id, now),), drop)


def _ended_there(status: JobStatus) -> "_Row":
    def row(
        run: Run, call: ToolCall, job: Job, event: JobObserved, policy: Policy, now: datetime
    ) -> Decision:
        said = event.reading.said or f"{status} at Gemini"
        return _end(run, call, replace(job, counts=dict(event.reading.counts)), status, said, policy, now)

    return row


_Row = Callable[[Run, ToolCall, Job, JobObserved, Policy, datetime], Decision]
_ROWS: Final[Mapping[JobState, _Row]] = {
    JobState.LIVE: _live,
    JobState.STRANGE: _strange,
    JobState.DONE: _done,
    JobState.FAILED: _ended_there(JobStatus.FAILED),
    JobState.CANCELLED: _ended_there(JobStatus.CANCELLED),
    JobState.EXPIRED: _ended_there(JobStatus.EXPIRED),
}


# --- moves -------------------------------------------------------------------------------------------------


def _end(
    run: Run, call: ToolCall, job: Job, status: JobStatus, said: str, policy: Policy, now: datetime
) -> Decision:
    """One is over: the next one begins, and with the last one so does what comes after the call."""
    job = replace(job, status=status, said=said[:MAX_SAID], ended_at=now)
    call = replace(call, jobs=tuple(job if j.id == job.id else j for j in call.jobs))
    drop = (*_no_grace(job), f"{EffectKind.FETCH_JOB}:{job.id}")
    if not all(j.ended for j in call.jobs):
        call, effects = _begin(call, policy, now)
        run = with_turn(run, run.turn.with_call(call))
        return Decision(run, (*effects, *redraw(call, now)), drop)
    made = any(j.status is JobStatus.SUCCEEDED for j in call.jobs)
    kind = OutcomeKind.SUCCEEDED if made else OutcomeKind.FAILED
    decision = settled(run, call, kind, results(call), now)
    return replace(decision, drop=(*decision.drop, *drop))


def _begin(call: ToolCall, policy: Policy, now: datetime) -> tuple[ToolCall, tuple[Effect, ...]]:
    """Start as many of those that wait as there is room for."""
    busy = sum(1 for j in call.jobs if not j.ended and j.status is not JobStatus.QUEUED)
    waiting = [j for j in call.jobs if j.status is JobStatus.QUEUED][: max(policy.jobs_at_once - busy, 0)]
    chosen = {j.id for j in waiting}
    jobs = tuple(replace(j, status=JobStatus.INTENDED) if j.id in chosen else j for j in call.jobs)
    effects = tuple(Effect(EffectKind.START_JOB, start_subject(j.id, j.attempt), now) for j in waiting)
    return replace(call, jobs=jobs), effects


def _put(run: Run, call: ToolCall, job: Job, **changes: Any) -> Run:
    job = replace(job, **changes)  # fields of `Job`, named by our own callers
    call = replace(call, jobs=tuple(job if j.id == job.id else j for j in call.jobs))
    return with_turn(run, run.turn.with_call(call))


def _current(run: Run, job: str, attempt: int, status: JobStatus) -> tuple[ToolCall, Job] | None:
    found = run.turn.by_job(job)
    return found if found and (found[1].attempt, found[1].status) == (attempt, status) else None


def _grace(job: Job, policy: Policy, now: datetime) -> Effect:
    subject = start_subject(job.id, job.attempt)
    return Effect(EffectKind.END_JOB_GRACE, subject, now + policy.job_grace)


def _stale(run: Run, job: str, attempt: int) -> Decision:
    return unheard(run, f"{job}, attempt {attempt}, is no longer being sent")


def _no_grace(job: Job) -> tuple[str, ...]:
    return (f"{EffectKind.END_JOB_GRACE}:{start_subject(job.id, job.attempt)}",)
