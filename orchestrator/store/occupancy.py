"""How many calls and runs are under way, over all processes. Each question reads a partial index."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.model import CallStatus, Run, TurnStatus
from orchestrator.store.run_rows import call_t, run_t, turn_t
from orchestrator.store.sql.prepared import Prepared, words

_EXECUTING = Prepared(
    sa.select(sa.func.count())
    .select_from(call_t)
    .where(call_t.c.status.in_(words([CallStatus.EXECUTING])), call_t.c.tool == sa.bindparam("of_tool"))
)
_NTH_START = Prepared(
    sa.select(call_t.c.started_at)
    .where(
        call_t.c.tool == sa.bindparam("of_tool"),
        call_t.c.started_at <= sa.bindparam("latest", type_=call_t.c.started_at.type),
    )
    .order_by(call_t.c.started_at.desc())
    .limit(1)
    .offset(sa.bindparam("before_it", type_=sa.Integer))
)
_BEGUN = Prepared(
    sa.select(sa.func.count())
    .select_from(run_t)
    .join(turn_t, sa.and_(turn_t.c.run_id == run_t.c.id, turn_t.c.number == run_t.c.turn))
    .where(
        run_t.c.workflow == sa.bindparam("of_workflow"),
        run_t.c.closed_at.is_(None),
        # What is sent again was begun before, and is asked for no place.
        sa.or_(
            turn_t.c.number > 1,
            turn_t.c.attempt > 1,
            turn_t.c.status.not_in(words([TurnStatus.INTENDED])),
        ),
    )
)
_OPEN_TURNS = Prepared(
    sa.select(turn_t.c.status, sa.func.count().label("count"))
    .where(turn_t.c.status.in_(words([TurnStatus.LIVE, TurnStatus.ACTION])))
    .group_by(turn_t.c.status)
)

_MOVED: Final = "moved"


def moved(s: Session, before: Run, after: Run) -> None:
    """A step of that run was taken in this transaction: it may have left a place."""
    s.info.setdefault(_MOVED, []).append((before, after))


def movements(s: Session) -> list[tuple[Run, Run]]:
    """The steps that were taken, each as the run was before and after; said once."""
    found: list[tuple[Run, Run]] = s.info.pop(_MOVED, [])
    return found


def executing(s: Session, tool: str) -> int:
    """How many calls of a tool run now."""
    count: int = _EXECUTING.value(s, of_tool=tool)
    return count


def nth_start(s: Session, tool: str, n: int, latest: datetime) -> datetime | None:
    """When the n-th last call of a tool was started by then, None if there were fewer."""
    started: datetime | None = _NTH_START.value(s, of_tool=tool, before_it=n - 1, latest=latest)
    return started


def begun(s: Session, workflow: str) -> int:
    """How many runs of a workflow have begun and not ended."""
    count: int = _BEGUN.value(s, of_workflow=workflow)
    return count


def open_turns(s: Session) -> tuple[int, int]:
    """How many interactions Gemini works on, and how many wait for us."""
    counts = {r["status"]: r["count"] for r in _OPEN_TURNS.rows(s)}
    return counts.get(TurnStatus.LIVE, 0), counts.get(TurnStatus.ACTION, 0)
