"""What is done about long jobs: started once, looked for, read, their files brought here, stopped."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.effects import parse_cancel, parse_start
from orchestrator.domain.events import (
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
from orchestrator.domain.joblife import STILL_AT_WORK
from orchestrator.domain.jobs import (
    LISTED,
    Harvest,
    Job,
    JobKind,
    JobOrder,
    JobReading,
    JobStatus,
    signal_key,
)
from orchestrator.engine.commits import Commits
from orchestrator.engine.polling import Go
from orchestrator.engine.ports import JobsPort
from orchestrator.engine.tickets import Act
from orchestrator.errors import NotFoundError, RejectedError, StorageError, UnavailableError, UncertainError
from orchestrator.failure_streak import FailureStreak
from orchestrator.store import claims, jobs, parked, runs, sightings
from orchestrator.store.claims import Claimed
from orchestrator.store.sql.held import flush

LOOKS_FOR_FILES: Final = 7
"""How often files that are not there yet are asked for, over half a minute or so.

Source: Gemini API, "Errors": what has just been made may be a 404 for up to a minute.
"""
ASKED_FOR: Final = timedelta(hours=46)
"""How long after it can have been made a file that cannot be had is still asked for.

Source: Gemini API, "Video", "Files": what was made is kept for two days.
"""
SLOWEST: Final = {JobKind.BATCH: timedelta(hours=48)}
"""How long a job may take to make its files; the other kinds take minutes (Gemini API, "Batch API")."""
SEARCHES_BEHIND: Final = 5
"""How often a start that was under way when its run ended, or was replaced, is looked for, to be stopped."""
WATCHED: Final = frozenset({JobStatus.LIVE, JobStatus.UNKNOWN})


class NoJobs:
    """Implements `JobsPort` where nobody makes jobs."""

    async def start(self, order: JobOrder) -> JobReading:
        raise RejectedError("this service makes no long jobs", code="not_supported")

    async def fetch(self, kind: JobKind, remote: str) -> JobReading:
        raise UnavailableError("this process reads no long jobs")

    async def find(self, order: JobOrder) -> tuple[JobReading, ...]:
        return ()

    async def cancel(self, kind: JobKind, remote: str) -> None:
        raise UnavailableError("this process stops no long jobs")

    async def harvest(self, order: JobOrder, remote: str) -> Harvest:
        raise UnavailableError("this process stores no files")


class LongJobs:
    """Performs the effects about long jobs."""

    def __init__(self, commits: Commits, port: JobsPort) -> None:
        self._commit = commits
        self._port = port
        self._storing = FailureStreak("files_storing", traced=False)

    def start(self, s: Session, effect: Claimed) -> Act | None:
        """Write the intent down before the wire; None when there is nothing to send."""
        job_id, attempt = parse_start(effect.subject)
        job = _job(s, effect.run_id, job_id)
        if job is not None and (job.attempt, job.status) == (attempt, JobStatus.SENDING):
            # An earlier worker claimed it and went away: it may be on the wire. Never send it again.
            lost = JobUncertain(job_id, attempt, "the process ended while the request was being sent")
            self._commit.settle(s, effect, lost)
            return None
        applied = self._commit.apply(s, effect.run_id, JobClaimed(job_id, attempt))
        found = applied.run.turn.by_job(job_id)
        if applied.refused or found is None:
            claims.done(s, effect)
            return None
        return partial(self._send, effect, found[1])

    async def _send(self, effect: Claimed, job: Job) -> None:
        failpoints.hit("before_job")
        try:
            reading = await self._port.start(_order(effect.run_id, job))
        except UnavailableError as e:
            await self._commit.defer(effect, JobDeferred(job.id, job.attempt, str(e)), e)
        except UncertainError as e:
            await self._commit.conclude(effect, JobUncertain(job.id, job.attempt, str(e)))
        except RejectedError as e:
            await self._commit.conclude(effect, JobRefused(job.id, job.attempt, str(e)))
        else:
            failpoints.hit("after_job")
            await self._observed(effect, job, reading)

    async def _observed(self, effect: Claimed, job: Job, reading: JobReading) -> None:
        """What was read; webhooks that overtook it may tell of something newer."""
        searched = job.status is JobStatus.UNKNOWN
        seen = JobObserved(job.id, job.attempt, reading, searched)

        def commit(s: Session) -> tuple[str, None]:
            self._commit.settle(s, effect, seen)
            key = signal_key(reading.remote)
            early = [parked.take(s, name, effect.run_id) for name in (key, f"batch_{key}")]
            flush(s)
            if any(early):
                self._commit.apply(s, effect.run_id, JobSignalled(job.id))
            return effect.run_id, None

        await self._commit.outlast(commit, effect.run_id)

    def fetch(self, s: Session, effect: Claimed) -> Act | None:
        """Read a job whose reading still matters, or look for one whose start had no answer."""
        job = _job(s, effect.run_id, effect.subject)
        if job is None or job.status not in WATCHED or runs.closed(s, effect.run_id):
            claims.done(s, effect)
            return None
        room = self._commit.room(s, effect)
        if room is None:
            return None
        return partial(self._read, effect, job, room)

    async def _read(self, effect: Claimed, job: Job, room: Go) -> None:
        await self._commit.polling.wait(room)
        try:
            reading = await self._look(effect.run_id, job)
        except RejectedError as e:
            if e.code == "not_found" and job.remote is not None:
                await self._commit.conclude(effect, JobMissing(job.id, job.remote, str(e)))
            else:
                await self._commit.again(effect, str(e))
        except (UnavailableError, UncertainError) as e:
            await self._commit.again(effect, str(e), e)
        else:
            if reading is None:
                await self._commit.again(effect, "it has not shown itself yet")
            else:
                await self._observed(effect, job, reading)

    async def _look(self, run_id: str, job: Job) -> JobReading | None:
        if job.remote is None:
            return await self._search(run_id, job)
        return await self._port.fetch(job.kind, job.remote)

    async def _search(self, run_id: str, job: Job) -> JobReading | None:
        """What is there of the present attempt. What is of another one is stopped, never waited for."""
        found = await self._port.find(_order(run_id, job))
        mine = _of_attempt(found, job.attempt)
        others = [r for r in found if r is not mine and r.attempt != job.attempt]
        await self._stray(run_id, job, [r for r in others if mine or r.state in STILL_AT_WORK])
        return mine

    async def _stray(self, run_id: str, job: Job, found: Sequence[JobReading]) -> None:
        """Nobody waits for these: written down, and stopped where they are still at work."""

        def commit(s: Session) -> tuple[str, None]:
            with suppress(NotFoundError):  # the run was deleted meanwhile
                for reading in found:
                    self._commit.apply(s, run_id, JobObserved(job.id, reading.attempt, reading))
            return run_id, None

        if found:
            await self._commit.outlast(commit, run_id)

    def store(self, s: Session, effect: Claimed) -> Act | None:
        """Bring what it made here."""
        job = _job(s, effect.run_id, effect.subject)
        if job is None or job.status is not JobStatus.STORING or runs.closed(s, effect.run_id):
            claims.done(s, effect)
            return None
        return partial(self._harvest, effect, job)

    async def _harvest(self, effect: Claimed, job: Job) -> None:
        failpoints.hit("before_harvest")
        begun = self._storing.ever
        try:
            harvest = await self._port.harvest(_order(effect.run_id, job), job.remote or "")
        except (UnavailableError, UncertainError) as e:
            due = self._commit.later(effect, e)
            if effect.attempts < LOOKS_FOR_FILES or not _too_late(job, due):
                await self._put_off(effect, due, e)
                return
            harvest = Harvest((), trouble=f"not brought here before Gemini forgets it: {e}")
        except RejectedError as e:
            harvest = Harvest((), trouble=str(e))
        if harvest.files:
            self._storing.worked(begun)
        if harvest.absent and effect.attempts < LOOKS_FOR_FILES:
            await self._commit.again(effect, harvest.trouble or "a file is not there yet")
            return
        failpoints.hit("after_harvest")
        await self._commit.conclude(effect, JobHarvested(job.id, harvest))

    async def _put_off(self, effect: Claimed, due: datetime, error: Exception) -> None:
        """A folder that cannot be written to shows here only, and Gemini keeps the files for two days."""

        def commit(s: Session) -> None:
            claims.retry(s, effect, due, str(error))
            if isinstance(error, StorageError):
                unstored = sightings.Sighting(self._commit.now(), False, str(error))
                sightings.put(s, sightings.FILES, unstored)

        await self._commit.write(commit)
        if isinstance(error, StorageError):
            self._storing.failed(error, why=str(error), job=effect.subject)

    def cancel(self, s: Session, effect: Claimed) -> Act | None:
        """Stop it; whatever it is afterwards, nothing more is to be done about it."""
        job_id, remote = parse_cancel(effect.subject)
        job = _job(s, effect.run_id, job_id)
        if job is None:
            claims.done(s, effect)
            return None
        return partial(self._cancel, effect, job, remote)

    async def _cancel(self, effect: Claimed, job: Job, remote: str | None) -> None:
        try:
            if remote is not None:
                await self._port.cancel(job.kind, remote)
            elif not await self._stop_unnamed(effect.run_id, job) and effect.attempts < SEARCHES_BEHIND:
                await self._commit.again(effect, "its start has not shown itself yet")
                return
        except (UnavailableError, UncertainError) as e:
            await self._commit.again(effect, str(e), e)
        except RejectedError as e:
            await self._commit.write(claims.give_up, effect, str(e))
        else:
            await self._commit.done(effect)

    async def _stop_unnamed(self, run_id: str, job: Job) -> bool:
        """Look for starts that had no answer and that nobody waits for; whether there was one."""
        found = await self._port.find(_order(run_id, job))
        strays = [r for r in found if job.ended or not _awaited(r, job)]
        await self._stray(run_id, job, [r for r in strays if r.state in STILL_AT_WORK])
        return bool(strays)

    def end_grace(self, s: Session, effect: Claimed) -> Act | None:
        """A start without an answer had its time to show itself. What can be looked for is looked for once
        more: as long as nobody could look, nobody says that it is not there.
        """
        ended = JobGraceEnded(*parse_start(effect.subject))
        job = _job(s, effect.run_id, ended.job)
        if job is None or not _to_be_found(job, ended.attempt) or runs.closed(s, effect.run_id):
            self._commit.settle(s, effect, ended)
            return None
        room = self._commit.room(s, effect)
        if room is None:
            return None
        return partial(self._last_look, effect, job, ended, room)

    async def _last_look(self, effect: Claimed, job: Job, ended: JobGraceEnded, room: Go) -> None:
        await self._commit.polling.wait(room)
        try:
            reading = await self._search(effect.run_id, job)
        except (RejectedError, UnavailableError, UncertainError) as e:
            await self._commit.again(effect, str(e), e)
            return
        if reading is None:
            await self._commit.conclude(effect, ended)
        else:
            await self._observed(effect, job, reading)


def _to_be_found(job: Job, attempt: int) -> bool:
    """Whether Gemini lists what became of that attempt, and nothing has named it yet."""
    current = (job.attempt, job.status, job.remote) == (attempt, JobStatus.UNKNOWN, None)
    return current and job.kind in LISTED


def _of_attempt(found: Sequence[JobReading], attempt: int) -> JobReading | None:
    """The one that says it is of that attempt, else one that says of none: a release before began it."""
    return min((r for r in found if r.attempt in (0, attempt)), key=lambda r: not r.attempt, default=None)


def _awaited(reading: JobReading, job: Job) -> bool:
    """Whether it is what the call waits for, or may be: names of releases before tell no attempt."""
    if job.remote is not None:
        return reading.remote == job.remote
    return reading.attempt in (0, job.attempt)


def _too_late(job: Job, due: datetime) -> bool:
    """Whether its files are hardly there any more by then."""
    span = ASKED_FOR + SLOWEST.get(job.kind, timedelta(0))
    return job.sent_at is not None and due > job.sent_at + span


def _job(s: Session, run_id: str, job_id: str) -> Job | None:
    found = jobs.find(s, job_id)
    return found[1] if found is not None and found[0] == run_id else None


def _order(run_id: str, job: Job) -> JobOrder:
    return JobOrder(job.id, run_id, job.kind, job.attempt, job.request)
