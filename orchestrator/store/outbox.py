"""What must be done. The row is the truth: claimed under a lease and a token, settled under the same."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from orchestrator.domain.effects import SURVIVES_CLOSING, Effect, EffectKind
from orchestrator.store.tables import EffectRow, EffectState, table

effect_t = table(EffectRow)


@dataclass(frozen=True, slots=True)
class Claimed:
    """An effect that is ours to perform until `lease_until`, under `token`."""

    id: int
    run_id: str
    kind: EffectKind
    subject: str
    attempts: int
    wanted: int
    token: str
    error: str


def add(s: Session, run_id: str, effects: Sequence[Effect]) -> None:
    """Ask for effects. One that already waits keeps the earlier time; one being performed is wanted again."""
    insert_into = postgresql.insert if s.get_bind().dialect.name == "postgresql" else sqlite.insert
    for effect in effects:
        stmt = insert_into(effect_t).values(
            run_id=run_id,
            key=effect.key,
            kind=effect.kind,
            subject=effect.subject,
            due_at=effect.due_at,
            state=EffectState.PENDING,
            wanted=1,
            attempts=0,
            error="",
        )
        busy = effect_t.c.state == EffectState.CLAIMED
        asked = sa.or_(busy, effect_t.c.state == EffectState.PENDING)
        earlier = sa.and_(asked, effect_t.c.due_at < stmt.excluded.due_at)
        s.connection().execute(
            stmt.on_conflict_do_update(
                index_elements=["run_id", "key"],
                set_={
                    "due_at": sa.case((earlier, effect_t.c.due_at), else_=stmt.excluded.due_at),
                    "state": sa.case((busy, EffectState.CLAIMED), else_=EffectState.PENDING),
                    "attempts": sa.case((busy, effect_t.c.attempts), else_=0),
                    "wanted": effect_t.c.wanted + 1,
                },
            )
        )


def drop(s: Session, run_id: str, keys: Collection[str]) -> None:
    """Nobody wants these any more. One that is being performed ends by itself, at the gate."""
    if keys:
        _drop(s, run_id, effect_t.c.key.in_(keys))


def drop_all(s: Session, run_id: str) -> None:
    """The run has ended: all that would act for it is dropped, tidying up is not."""
    _drop(s, run_id, effect_t.c.kind.not_in(SURVIVES_CLOSING))


def _drop(s: Session, run_id: str, which: sa.ColumnElement[bool]) -> None:
    s.connection().execute(
        effect_t.update()
        .where(effect_t.c.run_id == run_id, effect_t.c.state == EffectState.PENDING, which)
        .values(state=EffectState.DROPPED)
    )


_DUE = (
    sa.select(effect_t.c.id, effect_t.c.kind)
    .where(
        effect_t.c.state == EffectState.PENDING,
        effect_t.c.due_at <= sa.bindparam("now"),
        effect_t.c.kind.in_(sa.bindparam("kinds", expanding=True)),
    )
    .order_by(effect_t.c.due_at)
    .limit(sa.bindparam("most"))
)
_STALE = (
    sa.select(effect_t.c.id, effect_t.c.kind)
    .where(
        effect_t.c.state == EffectState.CLAIMED,
        effect_t.c.lease_until <= sa.bindparam("now"),
        effect_t.c.kind.in_(sa.bindparam("kinds", expanding=True)),
    )
    .order_by(effect_t.c.lease_until)
    .limit(sa.bindparam("most"))
)
_NEXT = sa.select(sa.func.min(effect_t.c.due_at)).where(effect_t.c.state == EffectState.PENDING)
_NEXT_LEASE = sa.select(sa.func.min(effect_t.c.lease_until)).where(effect_t.c.state == EffectState.CLAIMED)


def due(s: Session, now: datetime, most: int, kinds: Collection[EffectKind]) -> list[tuple[int, EffectKind]]:
    """What of those kinds waits to be done now, the abandoned ones first."""
    found: list[tuple[int, EffectKind]] = []
    for query in (_STALE, _DUE):
        rows = s.connection().execute(query, {"now": now, "most": most, "kinds": list(kinds)}).all()
        found += [(row[0], EffectKind(row[1])) for row in rows]
    return found


def next_due(s: Session) -> datetime | None:
    """When a sleeping worker must look again."""
    times = [t for q in (_NEXT, _NEXT_LEASE) if (t := s.connection().execute(q).scalar_one()) is not None]
    return min(times, default=None)


def claim(s: Session, ids: Collection[int], now: datetime, lease: timedelta) -> list[Claimed]:
    """Take those effects that are still free, each under a token nobody had before."""
    free = sa.or_(
        effect_t.c.state == EffectState.PENDING,
        sa.and_(effect_t.c.state == EffectState.CLAIMED, effect_t.c.lease_until <= now),
    )
    return _claim(s, sa.and_(effect_t.c.id.in_(ids), free), now, lease)


def claim_next(
    s: Session, run_id: str, kinds: Collection[EffectKind], now: datetime, lease: timedelta
) -> list[Claimed]:
    """Take what this run has due now, in the very transaction that made it due."""
    due = sa.and_(
        effect_t.c.run_id == run_id,
        effect_t.c.state == EffectState.PENDING,
        effect_t.c.due_at <= now,
        effect_t.c.kind.in_(kinds),
    )
    return _claim(s, due, now, lease) if kinds else []


def _claim(s: Session, which: sa.ColumnElement[bool], now: datetime, lease: timedelta) -> list[Claimed]:
    token = secrets.token_hex(12)
    rows = s.connection().execute(
        effect_t.update()
        .where(which)
        .values(
            state=EffectState.CLAIMED,
            claim=token,
            lease_until=now + lease,
            attempts=effect_t.c.attempts + 1,
        )
        .returning(effect_t)
    )
    return [
        Claimed(
            id=r["id"],
            run_id=r["run_id"],
            kind=EffectKind(r["kind"]),
            subject=r["subject"],
            attempts=r["attempts"],
            wanted=r["wanted"],
            token=token,
            error=r["error"],
        )
        for r in rows.mappings()
    ]


def renew(s: Session, effect: Claimed, now: datetime, lease: timedelta) -> bool:
    """Hold on to it a while longer; False when it is no longer ours."""
    return _settle(s, effect, lease_until=now + lease)


def done(s: Session, effect: Claimed) -> bool:
    """It is done; unless it was wanted once more meanwhile, then it waits again."""
    again = effect_t.c.wanted > effect.wanted
    state = sa.case((again, EffectState.PENDING), else_=EffectState.DONE)
    return _settle(s, effect, state=state, claim=None, lease_until=None, error="", attempts=0)


def retry(s: Session, effect: Claimed, due_at: datetime, error: str) -> bool:
    """Not now; again at `due_at`."""
    return _settle(
        s,
        effect,
        state=EffectState.PENDING,
        claim=None,
        lease_until=None,
        due_at=due_at,
        error=error[:1000],
    )


def bury(s: Session, effect: Claimed, error: str) -> bool:
    """It will never work; kept for a person to see."""
    return _settle(s, effect, state=EffectState.DEAD, claim=None, lease_until=None, error=error[:1000])


def _settle(s: Session, effect: Claimed, **values: object) -> bool:
    changed = s.connection().execute(
        effect_t.update().where(effect_t.c.id == effect.id, effect_t.c.claim == effect.token).values(**values)
    )
    return changed.rowcount == 1


def release_all(s: Session, now: datetime) -> int:
    """At the start of the only process: whoever held a claim is gone."""
    return (
        s.connection()
        .execute(
            effect_t.update()
            .where(effect_t.c.state == EffectState.CLAIMED)
            .values(state=EffectState.PENDING, claim=None, lease_until=None, due_at=now)
        )
        .rowcount
    )
