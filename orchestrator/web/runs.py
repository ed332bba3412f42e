"""Runs: start, look, stop, settle.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from sqlalchemy.orm import Session

from orchestrator.domain import resubmission
from orchestrator.domain.decision import needs_a_person
from orchestrator.domain.events import Choice
from orchestrator.domain.jobs import Job
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.engine.restarting import Started
from orchestrator.errors import ConflictError, InvalidError, NotFoundError
from orchestrator.store import job_views, runs, views
from orchestrator.web.callback_wishes import with_own
from orchestrator.web.doors import Doors, Token, WorkflowInfo
from orchestrator.web.paging import Cursor, Limit, Pages, own_id, shown_each
from orchestrator.web.problems import problems, shown
from orchestrator.web.schemas.approvals import ApprovalPage, approval_out
from orchestrator.web.schemas.calls import CallList, CallOut, call_out
from orchestrator.web.schemas.ground import Hidden, run_path
from orchestrator.web.schemas.orders import CancelOrder, NewRun, Resolution, Restart
from orchestrator.web.schemas.record import EventPage, event_out
from orchestrator.web.schemas.runs import (
    RunDetail,
    RunOut,
    RunPage,
    run_detail,
    run_out,
    run_summary,
    turn_out,
)
from orchestrator.web.stream import LastEventId, Streams, wanted

TRIGGER: Final = {"scope": "trigger", "owner": "api"}
READ: Final = {"scope": "read", "owner": "api"}
OPERATE: Final = {"scope": "operate", "owner": "api"}

MOST_QUESTIONS: Final = 10_000
"""Of one run, to go with its calls; far above what its limits let it ask."""

Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="The same key and the same request give the same run; as in the body.",
    ),
]


@post(
    "/workflows/{name:str}/runs",
    status_code=202,
    opt=TRIGGER,
    summary="Start a run",
    responses={
        200: ResponseSpec(RunOut, generate_examples=False, description="An earlier request made it."),
        **problems(400, 404, 409, 413, 415),
    },
)
async def start_run(
    name: FromPath[str],
    data: JSONBody[NewRun],
    request: Request[Any, Any, Any],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    idempotency_key: Key = None,
) -> Response[RunOut]:
    """The run is written down when this answers; it starts by itself."""
    workflow = known_workflow(doors, name)
    key = _one_key(request.headers.getall("idempotency-key", []), data.idempotency_key)
    text = workflow.render(data.input)
    recipe = with_own(workflow.recipe, data.callback, doors.callbacks)
    started = await doors.intake.start(
        recipe, text, caller.actor, owner=caller.name, idempotency_key=key or None
    )
    return await begun(doors, started)


def known_workflow(doors: Doors, name: str) -> WorkflowInfo:
    """Names are keys of a table made at the start, nothing else. Raises `NotFoundError`."""
    if (workflow := doors.workflows.get(name)) is None:
        raise NotFoundError(f"there is no workflow {shown(name)}")
    return workflow


def _one_key(headers: list[str], field: str) -> str:
    """Header and field say the same thing; where both speak they must agree."""
    keys = {*headers, *([field] if field else [])}
    if len(headers) > 1 or len(keys) > 1:
        raise InvalidError(
            "the Idempotency-Key header and idempotency_key differ", [("idempotency_key", "is given twice")]
        )
    key = keys.pop() if keys else ""
    if headers and not (0 < len(key) <= 200 and all("!" <= ch <= "~" for ch in key)):
        raise InvalidError("the Idempotency-Key header must have 1 to 200 visible ASCII characters")
    return key


async def begun(doors: Doors, started: Started) -> Response[RunOut]:
    """A run that was asked for, and where it is: 202 for a new one, 200 where an earlier request made it."""
    status = 202 if started.fresh else 200
    location = {"Location": run_path(started.run_id)}
    return Response(await _run(doors, started.run_id), status_code=status, headers=location)


async def _run(doors: Doors, run_id: str) -> RunOut:
    return run_out(await doors.database.read(views.run, run_id))


@get("/runs", opt=READ, summary="List runs", responses=problems(400))
async def list_runs(
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    status: Annotated[RunStatus | None, QueryParameter()] = None,
    workflow: Annotated[str | None, QueryParameter(max_length=200, pattern="^[!-~]+$")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> RunPage:
    after = pages.begin(cursor)
    page = await doors.database.read(views.runs, limit=limit, after=after, status=status, workflow=workflow)
    return RunPage(items=shown_each(run_summary, page.rows), next=pages.next(page.next))


@get("/runs/{run_id:str}", opt=READ, summary="One run with its turns and calls", responses=problems(400, 404))
async def show_run(run_id: FromPath[str], doors: NamedDependency[Doors]) -> RunDetail:
    return await doors.database.read(_detail, own_id(run_id, "run"), doors.hidden)


def _detail(s: Session, run_id: str, hidden: Hidden) -> RunDetail:
    row, made = views.run(s, run_id), job_views.by_call(s, run_id)
    turns = [turn_out(t) for t in views.turns(s, run_id)]
    return run_detail(row, turns, _calls(s, run_id, made, hidden), made)


def _calls(s: Session, run_id: str, jobs: Mapping[str, Sequence[Job]], hidden: Hidden) -> list[CallOut]:
    asked = {a["id"]: a for a in views.approvals(s, limit=MOST_QUESTIONS, run_id=run_id).rows}
    return [
        call_out(c, asked.get(c["approval"]), jobs.get(c["id"], ()), hidden) for c in views.calls(s, run_id)
    ]


@get("/runs/{run_id:str}/calls", opt=READ, summary="A run's function calls", responses=problems(400, 404))
async def list_calls(run_id: FromPath[str], doors: NamedDependency[Doors]) -> CallList:
    def job(s: Session, run_id: str) -> CallList:
        views.run(s, run_id)
        return CallList(items=_calls(s, run_id, job_views.by_call(s, run_id), doors.hidden))

    return await doors.database.read(job, own_id(run_id, "run"))


@get("/runs/{run_id:str}/events", opt=READ, summary="A run's record", responses=problems(400, 404))
async def list_events(
    run_id: FromPath[str],
    request: Request[Any, Any, Any],
    doors: NamedDependency[Doors],
    streams: NamedDependency[Streams],
    caller: NamedDependency[Token],
    after: Annotated[
        int, QueryParameter(ge=0, le=2**31 - 1, description="Sequence number to go on from.")
    ] = 0,
    limit: Limit = 100,
    last_event_id: LastEventId = None,  # for the document; a header given twice shows only in the request
) -> Response[EventPage]:
    """A page of it; or, asked for as `text/event-stream`, all of it as it is written.

    A page of large entries has fewer than `limit`; `next` says whether more follow.

    Of a stream each `entry` event is one item of the page, its id is the item's `seq`. `end` comes last,
    once the run is closed. A stream that stops without it is gone on with by `Last-Event-ID`.
    """
    if wanted(request):
        return await streams.start(own_id(run_id, "run"), request, after, caller)

    def job(s: Session, run_id: str) -> EventPage:
        _, record = views.record(s, run_id, after=after, limit=limit)
        items = [event_out(e, doors.hidden) for e in record.rows]
        return EventPage(items=items, next=items[-1].seq if record.more else None)

    return Response(await doors.database.read(job, own_id(run_id, "run")))


@get("/runs/{run_id:str}/approvals", opt=READ, summary="A run's approvals", responses=problems(400, 404))
async def list_run_approvals(
    run_id: FromPath[str],
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    limit: Limit = 20,
    cursor: Cursor = None,
) -> ApprovalPage:
    begin = pages.begin(cursor)

    def job(s: Session, run_id: str) -> ApprovalPage:
        views.run(s, run_id)
        page = views.approvals(s, limit=limit, after=begin, run_id=run_id)
        return ApprovalPage(
            items=shown_each(partial(approval_out, hidden=doors.hidden), page.rows),
            next=pages.next(page.next),
        )

    return await doors.database.read(job, own_id(run_id, "run"))


@post(
    "/runs/{run_id:str}/cancel",
    status_code=200,
    opt={**OPERATE, "body": "optional"},
    summary="Stop a run",
    responses=problems(400, 404, 409, 413, 415),
)
async def cancel_run(
    run_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[CancelOrder | None] = None,
) -> RunOut:
    """From this answer on nothing starts for the run. Stopping it twice is stopping it once."""
    reason = data.reason if data else ""
    await doors.intake.cancel(own_id(run_id, "run"), caller.actor, reason)
    return await _run(doors, run_id)


@post(
    "/runs/{run_id:str}/resolve",
    status_code=200,
    opt=OPERATE,
    summary="Settle what a run in attention waits for",
    responses=problems(400, 404, 409, 413, 415),
)
async def resolve_run(
    run_id: FromPath[str],
    data: JSONBody[Resolution],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
) -> RunOut:
    """For a run in `attention`: it happened, run (or send) it again, or give the run up.

    A call in doubt, or a create that got lost or was refused; `restart` is another way out.
    """
    if data.result and data.choice is not Choice.HAPPENED:
        raise InvalidError("a result goes with happened", [("result", "belongs to the choice happened")])
    call = data.call or await doors.database.read(_in_doubt, own_id(run_id, "run"))
    await doors.intake.resolve(run_id, data.choice, caller.actor, call=call, result=data.result)
    return await _run(doors, run_id)


@post(
    "/runs/{run_id:str}/restart",
    status_code=202,
    opt={**OPERATE, "body": "optional"},
    summary="Take a run's work up in a new one",
    responses={
        200: ResponseSpec(RunOut, generate_examples=False, description="It was restarted before."),
        **problems(400, 404, 409, 413, 415),
    },
)
async def restart_run(
    run_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[Restart | None] = None,
) -> Response[RunOut]:
    """For a run that failed, was cancelled, or waits for a person and is then closed.

    The new run is told the earlier request and what was done, so that it need not be done again. Doing
    this twice is doing it once.
    """
    row = await doors.database.read(views.run, own_id(run_id, "run"))
    if row["workflow"] in resubmission.WORKFLOWS:  # all of it was fixed when it was asked for
        recipe = await doors.database.read(_own_recipe, run_id)
    else:
        recipe = known_workflow(doors, row["workflow"]).recipe
    started = await doors.intake.restart(run_id, recipe, caller.actor)
    return await begun(doors, started)


def _own_recipe(s: Session, run_id: str) -> Recipe:
    return runs.load(s, run_id).recipe


def _in_doubt(s: Session, run_id: str) -> str:
    """The one call that needs a person, or empty where there is none: then a lost create is meant."""
    views.run(s, run_id)
    doubtful = [c.id for c in runs.load(s, run_id).turn.calls if needs_a_person(c)]
    if len(doubtful) > 1:
        raise ConflictError(f"name the call: {', '.join(doubtful)} wait for it")
    return doubtful[0] if doubtful else ""
