"""Read-only questions about long jobs: lists with keyset paging, one job, those of a run."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.jobs import Job, JobKind, JobStatus
from orchestrator.errors import NotFoundError
from orchestrator.store.jobs import job_t
from orchestrator.store.run_rows import call_t, run_t
from orchestrator.store.views import Page, Row, page

MOST_OF_RUN = 10_000
"""Jobs of one run that are shown; far above what its limits let it ask for."""

_SHOWN = [c for c in job_t.c if c.name not in ("request", "key", "readings")]
_MODEL = job_t.c.request["model"].as_string().label("model")
_JOBS = (
    sa.select(*_SHOWN, _MODEL, call_t.c.tool, call_t.c.turn, run_t.c.workflow)
    .join_from(job_t, call_t, job_t.c.call == call_t.c.id)
    .join(run_t, run_t.c.id == job_t.c.run_id)
)


def jobs(
    s: Session,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
    status: JobStatus | None = None,
    kind: JobKind | None = None,
    workflow: str | None = None,
) -> Page:
    """Jobs with the call and the run that wait for them, newest first; what was asked for is left out."""
    query = _JOBS
    if status is not None:
        query = query.where(job_t.c.status == status)
    if kind is not None:
        query = query.where(job_t.c.kind == kind)
    if workflow is not None:
        query = query.where(run_t.c.workflow == workflow)
    return page(s, query, job_t.c.created_at, job_t.c.id, limit, after)


def job(s: Session, job_id: str) -> Row:
    """One job. Raises `NotFoundError`."""
    row = s.connection().execute(_JOBS.where(job_t.c.id == job_id)).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no job {job_id}")
    return dict(row)


def of_run(s: Session, run_id: str) -> list[Row]:
    """The jobs of a run, call by call, each call's in the order of its wishes."""
    query = _JOBS.where(job_t.c.run_id == run_id).order_by(call_t.c.turn, call_t.c.position, job_t.c.number)
    return [dict(r) for r in s.connection().execute(query.limit(MOST_OF_RUN)).mappings()]


def by_call(s: Session, run_id: str) -> dict[str, list[Job]]:
    """How far the jobs of a run are, by call, in the order of the wishes; not what they ask for or made."""
    names = ("id", "call", "number", "kind", "status", "sent_at", "ended_at")
    query = sa.select(*(job_t.c[n] for n in names)).where(job_t.c.run_id == run_id)
    found: dict[str, list[Job]] = {}
    for row in s.connection().execute(query.order_by(job_t.c.number).limit(MOST_OF_RUN)).mappings():
        told = {n: row[n] for n in names if n != "call"}
        found.setdefault(row["call"], []).append(Job(**told, request={}))
    return found
