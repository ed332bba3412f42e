"""What was planned by a clock that has been set back since."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind
from orchestrator.store import sightings
from orchestrator.store.outbox import effect_t
from orchestrator.store.sightings import Sighting, sighting_t
from orchestrator.store.sql.prepared import Prepared, words
from orchestrator.store.tables import EffectState

CLOCK: Final = "clock"
"""The sighting of how far the clock has come that processes share."""
READINGS: Final = (EffectKind.FETCH_INTERACTION, EffectKind.FETCH_JOB)
"""Due so long after the last one, as a retry is due so long after the try that failed.

All else that waits is due at a time of its own, such as one that people were told.
"""

_PENDING = effect_t.c.state == EffectState.PENDING
_AHEAD = Prepared(
    sa.select(effect_t.c.id, effect_t.c.due_at).where(
        _PENDING,
        sa.or_(effect_t.c.kind.in_(words(READINGS)), effect_t.c.attempts > 0),
        effect_t.c.due_at > sa.bindparam("after", type_=effect_t.c.due_at.type),
    )
)
_PLAN = Prepared(
    effect_t.update().where(effect_t.c.id == sa.bindparam("of_id"), _PENDING), columns=("due_at",)
)
_HELD = Prepared(
    sa.select(effect_t.c.id, effect_t.c.lease_until).where(
        effect_t.c.state == EffectState.CLAIMED,
        effect_t.c.lease_until > sa.bindparam("after", type_=effect_t.c.lease_until.type),
    )
)
_HOLD = Prepared(
    effect_t.update().where(
        effect_t.c.id == sa.bindparam("of_id"),
        effect_t.c.state == EffectState.CLAIMED,
        effect_t.c.lease_until == sa.bindparam("was", type_=effect_t.c.lease_until.type),
    ),
    columns=("lease_until",),
)
_TURN = Prepared(
    sighting_t.update().where(
        sighting_t.c.name == CLOCK, sighting_t.c.at == sa.bindparam("was", type_=sighting_t.c.at.type)
    ),
    columns=("at",),
)


def keep_intervals(s: Session, now: datetime, back: timedelta) -> int:
    """Readings and retries that lie ahead come as soon as they would have; returns how many there are.

    Args:
        back: By how much the clock was set back.
    """
    rows = _AHEAD.rows(s, after=now)
    _PLAN.later_many(s, [{"of_id": r["id"], "due_at": max(now, r["due_at"] - back)} for r in rows])
    return len(rows)


def behind(s: Session, moment: datetime) -> timedelta:
    """How far the clock that processes share has fallen behind where one of them saw it, which is noted here.

    Args:
        moment: What that clock says.
    """
    seen = sightings.last(s, CLOCK)
    if seen is not None and seen.at > moment:
        return seen.at - moment
    sightings.put(s, CLOCK, Sighting(moment, True, ""))
    return timedelta(0)


def go_on(s: Session, moment: datetime, lease: timedelta) -> timedelta:
    """`keep_intervals` for all processes: of those that ask at once one does it, the others are told zero.

    What somebody holds for longer than any lease was taken before: he holds it as long as he would have.
    """
    seen = sightings.last(s, CLOCK)
    if seen is None or seen.at <= moment or not _TURN.run(s, was=seen.at, at=moment):
        return timedelta(0)
    back = seen.at - moment
    keep_intervals(s, moment, back)
    held = _HELD.rows(s, after=moment + lease)
    ends = ({"of_id": r["id"], "was": r["lease_until"], "lease_until": r["lease_until"] - back} for r in held)
    _HOLD.later_many(s, list(ends))
    return back
