"""Long jobs: films and batches that calls wait for; and asking once more for what came to nothing.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct
from sqlalchemy.orm import Session

from orchestrator.domain.jobs import LISTED, JobKind, JobStatus
from orchestrator.store import job_views, views
from orchestrator.web.doors import Doors, Token
from orchestrator.web.paging import Cursor, Limit, Pages, own_id
from orchestrator.web.problems import problems
from orchestrator.web.runs import READ, TRIGGER, begun
from orchestrator.web.schemas.ground import Row, run_path, whole_text
from orchestrator.web.schemas.orders import Restart
from orchestrator.web.schemas.runs import RunOut

MOST_LISTED: Final = 100
"""Entries of a list among a job's facts, where it is one of many."""


class StoredFileOut(Struct, kw_only=True):
    """A file it made; `link` gives its bytes, null once they are gone."""

    path: str
    type: str
    bytes: int
    sha256: Annotated[str, Meta(description="64 hex digits.")]
    link: str | None


class JobOut(Struct, kw_only=True):
    """One job at Gemini. `remote` is its name there, `said` its last word, or why the job ended as it did.

    `number` is its place among those of its call, `attempt` counts starts: a batch's whose answer got lost is
    replaced; a film is `lost` then, unless an event names it while its call still waits. `counts` of a
    batch are Gemini's own until its answers are here, then as `facts` has them: `succeeded`, `failed`,
    `missing`, the keys of those, `usage` in tokens, and `without_content`, the reasons of those failed lines
    that have a response with nothing in it (`SAFETY`).
    """

    id: str
    run: str
    workflow: str
    call: str
    turn: int
    tool: str
    number: int
    kind: JobKind
    model: str | None
    status: JobStatus
    attempt: int
    remote: str | None
    said: str
    counts: dict[str, Any]
    files: list[StoredFileOut]
    files_gone_at: Annotated[datetime | None, Meta(description="When the files were removed as too old.")]
    facts: dict[str, Any]
    created_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None
    links: dict[str, str]


class JobPage(Struct, kw_only=True):
    """Newest first, lists among facts cut at 100 entries; `next` is the cursor of the next page."""

    items: list[JobOut]
    next: str | None


class JobList(Struct, kw_only=True):
    """All jobs of a run, call by call in the order they were wished for; facts as in a page."""

    items: list[JobOut]


@get("/jobs", opt=READ, summary="List long jobs", responses=problems(400))
async def list_jobs(
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    status: Annotated[JobStatus | None, QueryParameter()] = None,
    kind: Annotated[JobKind | None, QueryParameter()] = None,
    workflow: Annotated[str | None, QueryParameter(max_length=200, pattern="^[!-~]+$")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> JobPage:
    after = pages.begin(cursor)
    page = await doors.database.read(
        job_views.jobs, limit=limit, after=after, status=status, kind=kind, workflow=workflow
    )
    return JobPage(items=[_job(r, MOST_LISTED) for r in page.rows], next=pages.next(page.next))


@get("/jobs/{job_id:str}", opt=READ, summary="One long job", responses=problems(400, 404))
async def show_job(job_id: FromPath[str], doors: NamedDependency[Doors]) -> JobOut:
    return _job(await doors.database.read(job_views.job, own_id(job_id, "job")))


@get("/runs/{run_id:str}/jobs", opt=READ, summary="A run's long jobs", responses=problems(400, 404))
async def list_run_jobs(run_id: FromPath[str], doors: NamedDependency[Doors]) -> JobList:
    def job(s: Session, run_id: str) -> JobList:
        views.run(s, run_id)
        return JobList(items=[_job(r, MOST_LISTED) for r in job_views.of_run(s, run_id)])

    return await doors.database.read(job, own_id(run_id, "run"))


@post(
    "/jobs/{job_id:str}/resubmit",
    status_code=202,
    opt={**TRIGGER, "body": "optional"},
    summary="Ask once more for a batch's unanswered lines, or for lost films",
    responses={
        200: ResponseSpec(RunOut, generate_examples=False, description="It was resubmitted before."),
        **problems(400, 404, 409, 413, 415),
    },
)
async def resubmit_job(
    job_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[Restart | None] = None,
) -> Response[RunOut]:
    """For a batch that ended: the lines that failed or have no answer, exactly as they were, in a new run.
    For a film that is `lost`, once its call is settled: all lost films of that call, made anew.

    Its one call is asked about as policy says of `resubmit_batch` or `resubmit_video`. Doing this twice,
    for films by any one of the call, is doing it once.
    """
    started = await doors.intake.resubmit(own_id(job_id, "job"), caller.actor)
    return await begun(doors, started)


def _job(row: Row, most: int | None = None) -> JobOut:
    same = (
        *("id", "workflow", "call", "turn", "tool", "number", "kind", "model", "status", "attempt", "remote"),
        *("counts", "created_at", "sent_at", "ended_at", "files_gone_at"),
    )
    facts = {k: v[:most] if isinstance(v, list) else v for k, v in row["facts"].items()}
    return JobOut(
        **{k: row[k] for k in same},
        run=row["run_id"],
        said=whole_text(row["said"]),
        files=[_file(f, gone=row["files_gone_at"] is not None) for f in row["files"]],
        facts=whole_text(facts),
        links=_links(row),
    )


def _file(stored: Mapping[str, Any], *, gone: bool) -> StoredFileOut:
    same = {k: stored[k] for k in ("path", "type", "bytes", "sha256")}
    return StoredFileOut(**same, link=None if gone else f"/v1/files/{stored['path']}")


def _links(row: Row) -> dict[str, str]:
    own = f"/v1/jobs/{row['id']}"
    links = {"self": own, "run": run_path(row["run_id"])}
    again = row["kind"] in LISTED or row["status"] == JobStatus.LOST
    return {**links, "resubmit": f"{own}/resubmit"} if again else links
