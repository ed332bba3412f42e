"""How much is going on over all processes, and who stands in line. Each question reads a partial index."""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind, Urgency
from orchestrator.domain.model import CallStatus, Run, TurnStatus
from orchestrator.store import claims, lines, outbox
from orchestrator.store.claims import Claimed
from orchestrator.store.outbox import effect_t
from orchestrator.store.prepared import Prepared, hold, words
from orchestrator.store.run_rows import call_t, run_t, turn_t
from orchestrator.store.tables import ID, EffectState

_LOCK = Prepared(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(sa.bindparam("name")))))
_EXECUTING = Prepared(
    sa.select(sa.func.count())
    .select_from(call_t)
    .where(call_t.c.status.in_(words([CallStatus.EXECUTING])), call_t.c.tool == sa.bindparam("of_tool"))
)
_NTH_START = Prepared(
    sa.select(call_t.c.started_at)
    .where(call_t.c.tool == sa.bindparam("of_tool"), call_t.c.started_at.is_not(None))
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

_STANDING = sa.and_(
    effect_t.c.line == sa.bindparam("of_line"),
    sa.text("effect.line <> ''"),
    effect_t.c.state == EffectState.PENDING,
    effect_t.c.urgency == int(Urgency.NEXT),
)
_AHEAD = Prepared(
    sa.select(sa.func.count()).where(
        _STANDING, effect_t.c.id < sa.bindparam("of_effect", type_=sa.BigInteger)
    )
)


def _first(dialect: str) -> sa.Select[Any]:
    found = (
        sa.select(effect_t.c.id, effect_t.c.run_id, effect_t.c.kind, effect_t.c.subject, effect_t.c.due_at)
        .where(_STANDING, effect_t.c.id < sa.bindparam("ahead_of", type_=sa.BigInteger))
        .order_by(effect_t.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
    )
    # Whoever is being claimed at this moment need not be called.
    return found.with_for_update(skip_locked=True) if dialect == "postgresql" else found


_FIRST = Prepared(_first)
_CALL = Prepared(
    effect_t.update().where(
        effect_t.c.id == sa.bindparam("of_effect"), effect_t.c.state == EffectState.PENDING
    ),
    ["due_at"],
)
_ANYBODY: Final = (1 << 63) - 1
MOST_CALLED: Final = 32
"""At once; whoever of them begins calls the next."""
_MOVED: Final = "moved"


def moved(s: Session, before: Run, after: Run) -> None:
    """A step of that run was taken in this transaction: it may have left a place."""
    s.info.setdefault(_MOVED, []).append((before, after))


def movements(s: Session) -> list[tuple[Run, Run]]:
    """The steps that were taken, each as the run was before and after; said once."""
    found: list[tuple[Run, Run]] = s.info.pop(_MOVED, [])
    return found


def stand(s: Session, effect: Claimed, line: str, until: datetime, why: str) -> None:
    """It waits there, behind those that were asked for before it, and looks again at that time."""
    lines.stand(s, effect, line[:ID])
    claims.put_off(s, effect, until, Urgency.NEXT, why)


def ahead(s: Session, effect: int, line: str) -> int:
    """How many that were asked for earlier stand there."""
    count: int = _AHEAD.value(s, of_line=line[:ID], of_effect=effect)
    return count


def call(s: Session, line: str, most: int, now: datetime, ahead_of: int = _ANYBODY) -> None:
    """The first so many there, of those ahead of that effect, need not wait any longer."""
    for row in _FIRST.rows(s, of_line=line[:ID], most=min(most, MOST_CALLED), ahead_of=ahead_of):
        if row["due_at"] > now and _CALL.run(s, of_effect=row["id"], due_at=now) == 1:
            outbox.note(s, [outbox.Asked(row["run_id"], EffectKind(row["kind"]), row["subject"], now)])


def alone(s: Session, name: str) -> None:
    """Let no other transaction count under that name until this one ends. SQLite has one writer anyway."""
    if hold(s).dialect.name == "postgresql":
        _LOCK.first(s, name=f"orchestrator:{name}")


def executing(s: Session, tool: str) -> int:
    """How many calls of a tool run now."""
    count: int = _EXECUTING.value(s, of_tool=tool)
    return count


def nth_start(s: Session, tool: str, n: int) -> datetime | None:
    """When the n-th last call of a tool was started, None if there were fewer."""
    started: datetime | None = _NTH_START.value(s, of_tool=tool, before_it=n - 1)
    return started


def begun(s: Session, workflow: str) -> int:
    """How many runs of a workflow have begun and not ended."""
    count: int = _BEGUN.value(s, of_workflow=workflow)
    return count


def open_turns(s: Session) -> tuple[int, int]:
    """How many interactions Gemini works on, and how many wait for us."""
    counts = {r["status"]: r["count"] for r in _OPEN_TURNS.rows(s)}
    return counts.get(TurnStatus.LIVE, 0), counts.get(TurnStatus.ACTION, 0)
