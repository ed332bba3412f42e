"""Effects that people look after: what was given up, what waits, what is under way.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

import structlog
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from orchestrator.domain.effects import EffectKind
from orchestrator.errors import NotFoundError
from orchestrator.store import deadletters
from orchestrator.store.outbox import PREFIX
from orchestrator.web.doors import Doors, Token
from orchestrator.web.paging import Cursor, Limit, Pages
from orchestrator.web.problems import problems
from orchestrator.web.runs import OPERATE, READ
from orchestrator.web.schemas.ground import Links, Row, run_path
from orchestrator.web.schemas.orders import CancelOrder

log = structlog.get_logger(__name__)

_NUMBER: Final = re.compile(rf"{PREFIX}([1-9][0-9]{{0,17}})", re.ASCII)
"""At most 18 digits: what every database can compare."""

_MAY_GO: Final = {**OPERATE, "body": "optional"}


class EffectOut(Struct, kw_only=True):
    """Something that must be done. `run` is None for a look at an interaction nobody knows."""

    id: str
    run: str | None
    kind: EffectKind
    subject: str
    state: str
    due_at: datetime
    attempts: int
    lease_until: datetime | None
    error: str
    links: Links


class EffectPage(Struct, kw_only=True):
    """What waits by its time, the soonest first; else newest first. `next` is the next page's cursor."""

    items: list[EffectOut]
    next: str | None


@get("/effects", opt=READ, summary="List effects", responses=problems(400))
async def list_effects(
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    which: Annotated[
        deadletters.Shown,
        QueryParameter(name="state", description="`dead` ones were given up; they wait for a person."),
    ] = "dead",
    run: Annotated[str | None, QueryParameter(max_length=64, pattern="^[A-Za-z0-9_-]+$")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> EffectPage:
    """What waits comes by its time, the soonest first; the others newest first."""
    begin = pages.begin(cursor)
    page = await doors.database.read(
        deadletters.effects,
        state=which,
        limit=limit,
        after=(begin[0], _number(begin[1])) if begin else None,
        run_id=run,
    )
    after = pages.next((page.next[0], f"{PREFIX}{page.next[1]}")) if page.next else None
    return EffectPage(items=[effect_out(r) for r in page.rows], next=after)


@post(
    "/effects/{effect_id:str}/retry",
    status_code=200,
    opt=_MAY_GO,
    summary="Try an effect again now",
    responses=problems(400, 404, 409, 413, 415),
)
async def retry_effect(
    effect_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[CancelOrder | None] = None,
) -> EffectOut:
    """One that was given up, or one that waits for its time; but a timer keeps its time."""
    told = await _act(deadletters.retry, "effect_retried", effect_id, doors, caller, data)
    doors.wake()
    return told


@post(
    "/effects/{effect_id:str}/drop",
    status_code=200,
    opt=_MAY_GO,
    summary="Give an effect up",
    responses=problems(400, 404, 409, 413, 415),
)
async def drop_effect(
    effect_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[CancelOrder | None] = None,
) -> EffectOut:
    """One that is dead or waits; but nothing that a live run would then wait for in vain."""
    return await _act(deadletters.drop, "effect_dropped", effect_id, doors, caller, data)


async def _act(
    job: Callable[..., Row],
    event: str,
    effect_id: str,
    doors: Doors,
    caller: Token,
    data: CancelOrder | None,
) -> EffectOut:
    reason = data.reason if data else ""
    row = await doors.database.write(job, _number(effect_id), caller.actor, reason, doors.clock())
    log.info(event, effect=effect_id, kind=row["kind"], run_id=row["run_id"], by=caller.actor.id)
    return effect_out(row)


def _number(effect_id: str) -> int:
    """Raises `NotFoundError` for what cannot be one of ours."""
    match = _NUMBER.fullmatch(effect_id)
    if match is None:
        raise NotFoundError("there is no effect of that id")
    return int(match[1])


def effect_out(row: Row) -> EffectOut:
    """A row as it is shown; the claim's token is not."""
    own = f"/v1/effects/{PREFIX}{row['id']}"
    links = {"retry": f"{own}/retry", "drop": f"{own}/drop"}
    run_id: str = row["run_id"]
    lease: datetime | None = row["lease_until"]
    same: dict[str, Any] = {k: row[k] for k in ("subject", "due_at", "attempts", "error")}
    return EffectOut(
        id=f"{PREFIX}{row['id']}",
        run=run_id or None,
        kind=EffectKind(row["kind"]),
        state=row["state"].value,
        lease_until=lease,
        links={**links, "run": run_path(run_id)} if run_id else links,
        **same,
    )
