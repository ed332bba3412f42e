"""Rows ↔ values of the long jobs that calls wait for. They are saved with their run, never beside it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.jobs import MAX_REMOTE, Job, JobKind, JobStatus, StoredFile, signal_key
from orchestrator.domain.model import CallStatus
from orchestrator.store.sql.encoding import prepare
from orchestrator.store.sql.prepared import Prepared, listed, words
from orchestrator.store.sql.races import StaleRowError
from orchestrator.store.tables import ID, JSON, CallRow, enum_column, table

prepare(tuple[StoredFile, ...])


class JobRow(SQLModel, table=True):
    """One long job of a call. `key` is what events call it, empty while its name is not known.

    From `files_gone_at` on its files are not there any more; see `retention`, which alone sets it.
    """

    __tablename__ = "job"
    __table_args__: ClassVar[Any] = (
        sa.Index("ix_job_run", "run_id", "number"),
        sa.Index("ix_job_call", "call"),
        sa.Index("ix_job_key", "key"),
        sa.Index(
            "ix_job_starting",
            "id",
            sqlite_where=sa.text("status IN ('sending', 'unknown')"),
            postgresql_where=sa.text("status IN ('sending', 'unknown')"),
        ),
        sa.Index(
            "ix_job_kept",
            "run_id",
            sqlite_where=sa.text("files_gone_at IS NULL"),
            postgresql_where=sa.text("files_gone_at IS NULL"),
        ),
        sa.Index("ix_job_created", "created_at", "id"),
        sa.Index("ix_job_status", "status", "created_at", "id"),
    )
    id: str = Field(primary_key=True, max_length=ID)
    run_id: str = Field(max_length=ID, foreign_key="run.id", ondelete="CASCADE")
    call: str = Field(max_length=ID, foreign_key="call.id", ondelete="CASCADE")
    number: int
    kind: JobKind = Field(sa_type=enum_column(JobKind, "kind"))
    request: dict[str, Any] = Field(sa_type=JSON)
    status: JobStatus = Field(sa_type=enum_column(JobStatus, "status"))
    attempt: int
    remote: str | None = Field(default=None, max_length=MAX_REMOTE)
    key: str = Field(max_length=MAX_REMOTE)
    said: str = Field(sa_type=sa.Text)
    readings: int
    sent_at: datetime | None = None
    counts: dict[str, Any] = Field(sa_type=JSON)
    files: list[Any] = Field(sa_type=JSON)
    facts: dict[str, Any] = Field(sa_type=JSON)
    ended_at: datetime | None = None
    created_at: datetime
    files_gone_at: datetime | None = None


job_t = table(JobRow)
call_t = table(CallRow)

_FIXED = ("id", "run_id", "call", "number", "kind", "request", "created_at", "files_gone_at")

_OF_CALLS = Prepared(
    lambda dialect: (
        sa.select(job_t).where(job_t.c.call.in_(listed(dialect, "calls"))).order_by(job_t.c.number)
    )
)
_JOB = Prepared(sa.select(job_t).where(job_t.c.id == sa.bindparam("of_job")))
_STATUS_OF_CALL = Prepared(sa.select(call_t.c.status).where(call_t.c.id == sa.bindparam("of_call")))
_OF_RUN = Prepared(
    sa.select(job_t).where(job_t.c.run_id == sa.bindparam("of_run")).order_by(job_t.c.call, job_t.c.number)
)
_NAMED = Prepared(
    lambda dialect: sa.select(job_t.c.id, job_t.c.run_id, job_t.c.key).where(
        job_t.c.key.in_(listed(dialect, "keys"))
    )
)
_STARTING = Prepared(sa.select(job_t.c.id).where(job_t.c.status.in_(words(("sending", "unknown")))).limit(1))
_NEW = Prepared(job_t.insert(), [c.name for c in job_t.c if c.name != "files_gone_at"])
_MOVE = Prepared(
    job_t.update().where(job_t.c.id == sa.bindparam("of_job"), job_t.c.status == sa.bindparam("of_status")),
    [c.name for c in job_t.c if c.name not in _FIXED],
)


def of_calls(s: Session, calls: Collection[str]) -> dict[str, tuple[Job, ...]]:
    """The jobs of those calls, each call's in the order of its wishes."""
    found: dict[str, list[Job]] = {}
    for row in _OF_CALLS.rows(s, calls=list(calls)):
        found.setdefault(row["call"], []).append(value(row))
    return {call: tuple(jobs) for call, jobs in found.items()}


def save(
    s: Session, run_id: str, call: str, before: Sequence[Job], after: Sequence[Job], now: datetime
) -> None:
    """Write what changed. Raises `StaleRowError` when a job is no longer what was read."""
    known = {job.id: job for job in before}
    for job in after:
        old = known.get(job.id)
        if old is None:
            fixed = {"id": job.id, "run_id": run_id, "call": call, "number": job.number, "kind": job.kind}
            _NEW.run(s, **fixed, request=dict(job.request), created_at=now, **_row(job))
        elif old != job and _MOVE.run(s, of_job=job.id, of_status=old.status, **_row(job)) != 1:
            raise StaleRowError(f"job {job.id} in {old.status} is no longer what was read")


def find(s: Session, job: str) -> tuple[str, Job] | None:
    """One job, and the id of its run."""
    row = _JOB.first(s, of_job=job)
    return (row["run_id"], value(row)) if row else None


def among(s: Session, job: str) -> tuple[Job, str, bool, tuple[Job, ...]] | None:
    """One job; its call, and whether that is settled; all jobs of that call, in the order of its wishes."""
    row = _JOB.first(s, of_job=job)
    if row is None:
        return None
    settled: bool = _STATUS_OF_CALL.value(s, of_call=row["call"]) == CallStatus.SETTLED
    return value(row), row["call"], settled, of_calls(s, [row["call"]])[row["call"]]


def of_run(s: Session, run_id: str) -> tuple[tuple[str, Job], ...]:
    """All jobs of a run, each with the id of its call."""
    return tuple((row["call"], value(row)) for row in _OF_RUN.rows(s, of_run=run_id))


def named(s: Session, subjects: Collection[str]) -> Mapping[str, tuple[str, str]]:
    """Of what events call them, the jobs that are ours: job and run by that name."""
    keys = {subject: signal_key(subject) for subject in subjects if subject}
    if not keys:
        return {}
    known = {
        row["key"]: (row["id"], row["run_id"]) for row in _NAMED.rows(s, keys=sorted(set(keys.values())))
    }
    return {subject: known[key] for subject, key in keys.items() if key in known}


def starting(s: Session) -> bool:
    """Whether any job's start is under way, or its answer lost: only then may an unknown one be ours."""
    return _STARTING.first(s) is not None


def value(row: Any) -> Job:
    """A job's row as a value; one whose files are gone has none."""
    files = () if row["files_gone_at"] else row["files"]
    return Job(
        id=row["id"],
        number=row["number"],
        kind=JobKind(row["kind"]),
        request=row["request"],
        status=JobStatus(row["status"]),
        attempt=row["attempt"],
        remote=row["remote"],
        said=row["said"],
        readings=row["readings"],
        sent_at=row["sent_at"],
        counts=row["counts"],
        files=msgspec.convert(files, tuple[StoredFile, ...]) if files else (),
        facts=row["facts"],
        ended_at=row["ended_at"],
    )


def _row(job: Job) -> dict[str, Any]:
    return {
        "status": job.status,
        "attempt": job.attempt,
        "remote": job.remote,
        "key": signal_key(job.remote) if job.remote else "",
        "said": job.said,
        "readings": job.readings,
        "sent_at": job.sent_at,
        "counts": dict(job.counts),
        "files": msgspec.to_builtins(job.files),
        "facts": dict(job.facts),
        "ended_at": job.ended_at,
    }
