"""Who stands in line for one place: effects that wait for their turn there, or have it.

Whoever comes later waits for whoever was asked for before, and whoever makes room calls the first. A place in
Slack is free again at a time, one row of the budgets, shared by all processes; of a tool or a workflow it is
counted what goes on (`occupancy`).

A transaction holds a line it has asked in until it ends, and asks in the order of their names: else two could
wait for each other. What comes to its line too late is left for another transaction.
"""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind, Urgency
from orchestrator.store import budget, outbox
from orchestrator.store.claims import Claimed
from orchestrator.store.group_commit import leave_group
from orchestrator.store.outbox import effect_t
from orchestrator.store.sql.held import on_sqlite
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.tables import EffectState

MOST_CALLED: Final = 32
"""At once; whoever of them begins calls the next."""
_ANYBODY: Final = (1 << 63) - 1
_HELD: Final = "lines held"
_NAME: Final = 64  # characters of a budget's name

_IN_LINE = sa.and_(effect_t.c.line == sa.bindparam("of_line"), sa.text("effect.line <> ''"))
_WAITS = effect_t.c.state == EffectState.PENDING
_PUT_OFF = sa.and_(_WAITS, effect_t.c.urgency == int(Urgency.NEXT))
_SOON = effect_t.c.due_at <= sa.bindparam("at", type_=effect_t.c.due_at.type)
_EARLIER = effect_t.c.id < sa.bindparam("of_effect", type_=sa.BigInteger)

_LOCK = Prepared(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(sa.bindparam("name")))))
_STAND = Prepared(effect_t.update().where(effect_t.c.id == sa.bindparam("of_effect")), ["line"])
_WRITES = Prepared(
    sa.select(sa.func.count()).where(
        _IN_LINE, effect_t.c.state == EffectState.CLAIMED, effect_t.c.id != sa.bindparam("of_effect")
    )
)
_BEFORE = Prepared(sa.select(sa.func.count()).where(_IN_LINE, _WAITS, _SOON, _EARLIER))
_LAST_DUE = Prepared(sa.select(sa.func.max(effect_t.c.due_at)).where(_IN_LINE, _WAITS))
_AHEAD = Prepared(sa.select(sa.func.count()).where(_IN_LINE, _PUT_OFF, _EARLIER))
_FOREMOST = (
    sa.select(effect_t.c.id, effect_t.c.run_id, effect_t.c.kind, effect_t.c.subject, effect_t.c.due_at)
    .where(_IN_LINE, _PUT_OFF, _EARLIER)
    .order_by(effect_t.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_FIRST = Prepared(_FOREMOST)
_FIRST_AT_REST = Prepared(_FOREMOST.with_for_update(skip_locked=True))
_CALL = Prepared(
    effect_t.update().where(effect_t.c.id == sa.bindparam("of_effect"), _PUT_OFF),
    ["due_at"],
)
_LINE_OF = Prepared(sa.select(effect_t.c.line).where(effect_t.c.id == sa.bindparam("of_effect")))


def in_order(s: Session, line: str) -> bool:
    """Whether this transaction may still wait for that line. SQLite has one writer, who waits for nobody.

    Raises:
        StaleRowError: Not in this transaction, which others share.
    """
    if on_sqlite(s):
        return True
    held: list[str] = s.info.setdefault(_HELD, [])
    if line not in held:
        if held and line < held[-1]:
            leave_group(s)  # where it may be that it only comes behind another's
            return False
        held.append(line)
    return True


def alone(s: Session, line: str) -> bool:
    """Let no other transaction ask for a place there until this one ends; False if not `in_order`."""
    if not in_order(s, line):
        return False
    if not on_sqlite(s):
        _LOCK.first(s, name=f"orchestrator:{line}")
    return True


def stand(s: Session, effect: Claimed, line: str) -> None:
    """From here on it stands there, until it is done or nobody wants it any more."""
    _STAND.run(s, of_effect=effect.id, line=line)


def writing(s: Session, effect: Claimed, line: str) -> bool:
    """Whether another one of the line is being performed."""
    return bool(_WRITES.value(s, of_line=line, of_effect=effect.id))


def before(s: Session, effect: Claimed, line: str, until: datetime) -> int:
    """How many that were asked for earlier wait there and are due by then; also those that had their turn."""
    return int(_BEFORE.value(s, of_line=line, of_effect=effect.id, at=until) or 0)


def last_due(s: Session, line: str) -> datetime | None:
    """When the last is due that waits there; None if nobody does."""
    due: datetime | None = _LAST_DUE.value(s, of_line=line)
    return due


def ahead(s: Session, effect: Claimed, line: str) -> int:
    """How many that were asked for earlier were put off there, and have not had their turn."""
    return int(_AHEAD.value(s, of_line=line, of_effect=effect.id) or 0)


def of(s: Session, effect: Claimed) -> str:
    """The line it stands in; empty for none."""
    return _LINE_OF.value(s, of_effect=effect.id) or ""


def call(s: Session, line: str, most: int, now: datetime, ahead_of: Claimed | None = None) -> None:
    """The first so many that were put off there, of those ahead of that one, need not wait any longer.

    Whoever is being claimed at this moment need not be called, and may wait for who calls here.
    """
    _call(s, _FIRST_AT_REST, line, min(most, MOST_CALLED), now, ahead_of.id if ahead_of else _ANYBODY)


def call_next(s: Session, line: str, now: datetime, spare: timedelta) -> None:
    """Whoever was put off first need not wait any longer than the place itself does.

    Also who is just being told to wait, by somebody who does not know yet that the place was left.

    Args:
        spare: How far ahead messages may be taken.
    """
    spent = budget.seen(s, _name(line)) or now
    _call(s, _FIRST, line, 1, max(now, spent - spare), _ANYBODY)


def _call(s: Session, who: Prepared, line: str, most: int, due_at: datetime, ahead_of: int) -> None:
    for row in who.rows(s, of_line=line, most=most, of_effect=ahead_of):
        if row["due_at"] > due_at and _CALL.run(s, of_effect=row["id"], due_at=due_at) == 1:
            outbox.note(s, [outbox.Asked(row["run_id"], EffectKind(row["kind"]), row["subject"], due_at)])


def spent_until(s: Session, line: str, now: datetime) -> datetime:
    """Up to when the place is taken; nobody else changes that before this transaction ends."""
    return budget.spent_until(s, _name(line), now)


def taken(s: Session, line: str, until: datetime) -> None:
    """It is taken up to there."""
    budget.spend(s, _name(line), until)


def _name(line: str) -> str:
    return f"slack:{line}"[:_NAME]
