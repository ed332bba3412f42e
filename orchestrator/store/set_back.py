"""What was planned by a clock that has been set back since."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind
from orchestrator.store.outbox import effect_t
from orchestrator.store.sql.prepared import Prepared, words
from orchestrator.store.tables import EffectState

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


def keep_intervals(s: Session, now: datetime, back: timedelta) -> int:
    """Readings and retries that lie ahead come as soon as they would have; returns how many there are.

    Args:
        back: By how much the clock was set back.
    """
    rows = _AHEAD.rows(s, after=now)
    _PLAN.later_many(s, [{"of_id": r["id"], "due_at": max(now, r["due_at"] - back)} for r in rows])
    return len(rows)
