"""Who stands in line to write to one place in Slack: effects that wait for their turn, or have it.

Whoever comes later waits for whoever came before, and nobody writes before the place is free again. When that
is, is one row of the budgets for each place, shared by all processes.
"""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind, Urgency
from orchestrator.store import budget, outbox
from orchestrator.store.claims import Claimed
from orchestrator.store.outbox import effect_t
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import EffectState

_NAME: Final = 64  # characters of a budget's name

_IN_LINE = sa.and_(effect_t.c.line == sa.bindparam("of_line"), sa.text("effect.line <> ''"))
_WAITS = effect_t.c.state == EffectState.PENDING
_SOON = effect_t.c.due_at <= sa.bindparam("at", type_=effect_t.c.due_at.type)
_EARLIER = effect_t.c.id < sa.bindparam("of_effect")

_STAND = Prepared(effect_t.update().where(effect_t.c.id == sa.bindparam("of_effect")), ["line"])
_WRITES = Prepared(
    sa.select(sa.func.count()).where(
        _IN_LINE, effect_t.c.state == EffectState.CLAIMED, effect_t.c.id != sa.bindparam("of_effect")
    )
)
_BEFORE = Prepared(sa.select(sa.func.count()).where(_IN_LINE, _WAITS, _SOON, _EARLIER))
_PUT_OFF = sa.and_(_WAITS, effect_t.c.urgency == int(Urgency.NEXT))
_FIRST = Prepared(
    sa.select(effect_t.c.id, effect_t.c.run_id, effect_t.c.kind, effect_t.c.subject, effect_t.c.due_at)
    .where(_IN_LINE, _PUT_OFF)
    .order_by(effect_t.c.id)
    .limit(1)
)
_CALL = Prepared(
    effect_t.update().where(effect_t.c.id == sa.bindparam("of_effect"), _PUT_OFF),
    ["due_at"],
)
_LINE_OF = Prepared(sa.select(effect_t.c.line).where(effect_t.c.id == sa.bindparam("of_effect")))
_SPENT = Prepared(
    sa.select(budget.budget_t.c.spent_until).where(budget.budget_t.c.name == sa.bindparam("of_name"))
)


def stand(s: Session, effect: Claimed, line: str) -> None:
    """From here on it stands there, until it is done or nobody wants it any more."""
    _STAND.run(s, of_effect=effect.id, line=line)


def writing(s: Session, effect: Claimed, line: str) -> bool:
    """Whether another one of the line is being performed."""
    return bool(_WRITES.value(s, of_line=line, of_effect=effect.id))


def before(s: Session, effect: Claimed, line: str, until: datetime) -> int:
    """How many that were asked for earlier wait there and are due by then."""
    return int(_BEFORE.value(s, of_line=line, of_effect=effect.id, at=until) or 0)


def of(s: Session, effect: Claimed) -> str:
    """The line it stands in; empty for none."""
    return _LINE_OF.value(s, of_effect=effect.id) or ""


def call_next(s: Session, line: str, now: datetime, spare: timedelta) -> None:
    """Whoever was put off first need not wait any longer than the place itself does.

    Args:
        spare: How far ahead messages may be taken.
    """
    spent: datetime = _SPENT.value(s, of_name=_name(line)) or now
    due_at = max(now, spent - spare)
    row = _FIRST.first(s, of_line=line)
    if row is not None and row["due_at"] > due_at and _CALL.run(s, of_effect=row["id"], due_at=due_at) == 1:
        outbox.note(s, [outbox.Asked(row["run_id"], EffectKind(row["kind"]), row["subject"], due_at)])


def spent_until(s: Session, line: str, now: datetime) -> datetime:
    """Up to when the place is taken; nobody else changes that before this transaction ends."""
    return budget.spent_until(s, _name(line), now)


def taken(s: Session, line: str, until: datetime) -> None:
    """It is taken up to there."""
    budget.spend(s, _name(line), until)


def _name(line: str) -> str:
    return f"slack:{line}"[:_NAME]
