"""What starts runs besides callers: how each stands, what happened, and firing one by hand.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct
from sqlalchemy.orm import Session

from orchestrator.domain.triggers import KEEPS_FAILING
from orchestrator.engine.armed import Armed, Cron, Feed, Fired
from orchestrator.errors import NotFoundError
from orchestrator.store import triggers
from orchestrator.web.doors import Doors, Token, TriggerDoor
from orchestrator.web.paging import Limit, Pages
from orchestrator.web.problems import problems
from orchestrator.web.runs import OPERATE, READ
from orchestrator.web.schemas.ground import Row, run_path

NEXT_SHOWN: Final = 5
_KEYS: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
_Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`next` of the page before.")]


class TriggerOut(Struct, kw_only=True):
    """How a trigger stands.

    `kind` is `cron`, `feed` or `webhook`, `waits_for` says for what. `next_at` is None for a webhook, and
    before the first look. `failures` counts those in a row, `error` is the newest; `failing` from three on.
    """

    name: str
    kind: str
    workflow: str
    waits_for: str
    next_at: datetime | None
    failing: bool
    failures: int
    error: str
    links: dict[str, str]


class OccurrenceOut(Struct, kw_only=True):
    """One occurrence. `verdict` is `started`, `refused` (its data did not fit; see `note`) or `skipped`.

    `again` counts how often it came once more, `conflicts` how often of those with another body.
    """

    key: str
    at: datetime
    verdict: str
    run: str | None
    note: str
    again: int
    conflicts: int
    links: dict[str, str]


class TriggerDetail(TriggerOut, kw_only=True):
    """With the next times of a cron trigger, and what happened, the newest first."""

    times: list[datetime]
    occurrences: list[OccurrenceOut]
    next: str | None


class TriggerList(Struct, kw_only=True):
    items: list[TriggerOut]


class FireOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """A trigger is to fire now. `event` is what its mapping sees as `entry` or `body`."""

    event: Any = None


class FiredOut(Struct, kw_only=True):
    """What an occurrence came to; `known` where it had come before.

    `verdict` is None where a feed is only going to be read.
    """

    occurrence: str
    verdict: str | None
    run: str | None
    note: str


@get("/triggers", opt=READ, summary="List triggers", responses=problems(400))
async def list_triggers(doors: NamedDependency[Doors]) -> TriggerList:
    armed = _door(doors).triggers.armed if doors.triggers else {}
    rows = await doors.database.read(triggers.every)
    return TriggerList(items=[TriggerOut(**_standing(a, rows.get(name))) for name, a in armed.items()])


@get("/triggers/{name:str}", opt=READ, summary="One trigger and what happened", responses=problems(400, 404))
async def show_trigger(
    name: FromPath[str],
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    limit: Limit = 20,
    cursor: _Cursor = None,
) -> TriggerDetail:
    armed = _door(doors).triggers.find(name)
    begin = pages.begin(cursor, _KEYS)

    def job(s: Session) -> TriggerDetail:
        page = triggers.occurrences(s, name, limit=limit, after=begin)
        row = triggers.read(s, name)
        return TriggerDetail(
            **_standing(armed, row),
            times=_upcoming(armed, doors.clock()),
            occurrences=[_occurrence(r) for r in page.rows],
            next=pages.next(page.next),
        )

    return await doors.database.read(job)


@post(
    "/triggers/{name:str}/fire",
    status_code=200,
    opt={**OPERATE, "body": "optional"},
    summary="Fire a trigger now",
    responses=problems(400, 404, 409, 413, 415),
)
async def fire_trigger(
    name: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[FireOrder | None] = None,
) -> FiredOut:
    """Its run is the caller's. A feed without an `event` is read now."""
    fired = await _door(doors).triggers.fire(name, caller.actor, data.event if data else None)
    doors.wake()
    return fired_out(fired)


def _door(doors: Doors) -> TriggerDoor:
    if doors.triggers is None:
        raise NotFoundError("there is no trigger of that name")
    return doors.triggers


def fired_out(fired: Fired) -> FiredOut:
    """What an occurrence came to, as it is told."""
    verdict = fired.verdict.value if fired.verdict else None
    return FiredOut(occurrence=fired.key, verdict=verdict, run=fired.run_id, note=fired.note)


def _kind(armed: Armed) -> str:
    match armed.source:
        case Cron():
            return "cron"
        case Feed():
            return "feed"
        case _:
            return "webhook"


def _standing(armed: Armed, row: Row | None) -> dict[str, Any]:
    own = f"/v1/triggers/{armed.name}"
    failures: int = row["failures"] if row else 0
    return {
        "name": armed.name,
        "kind": _kind(armed),
        "workflow": armed.recipe.workflow,
        "waits_for": armed.told,
        "next_at": row["next_at"] if row else None,
        "failing": failures >= KEEPS_FAILING,
        "failures": failures,
        "error": row["error"] if row else "",
        "links": {"self": own, "fire": f"{own}/fire", "workflow": f"/v1/workflows/{armed.recipe.workflow}"},
    }


def _upcoming(armed: Armed, now: datetime) -> list[datetime]:
    """The next times of a cron trigger, in UTC; none of any other."""
    found: list[datetime] = []
    if isinstance(armed.source, Cron):
        for _ in range(NEXT_SHOWN):
            found.append(armed.source.schedule.after(found[-1] if found else now))
    return found


def _occurrence(row: Row) -> OccurrenceOut:
    same = {k: row[k] for k in ("key", "at", "verdict", "note", "again", "conflicts")}
    run: str | None = row["run_id"]
    return OccurrenceOut(run=run, links={"run": run_path(run)} if run else {}, **same)
