"""What is done of what must be: claimed under a lease and a token, settled under the same."""

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind, Urgency, key_of
from orchestrator.domain.values import Value
from orchestrator.store import outbox
from orchestrator.store.outbox import Asked, effect_t
from orchestrator.store.sql.oldest import oldest
from orchestrator.store.sql.prepared import Prepared, words
from orchestrator.store.sql.spelled import Row
from orchestrator.store.tables import EffectState

log = structlog.get_logger(__name__)


class Hold(NamedTuple):
    """How claims hold now: whose lease was over by `over` is gone, one made now holds `until`."""

    over: datetime
    until: datetime

    @classmethod
    def at(cls, now: datetime, lease: timedelta) -> "Hold":
        """Where all go by one clock."""
        return cls(now, now + lease)


class Claimed(Value):
    """An effect that is ours to perform until `lease_until`, under `token`."""

    id: int
    run_id: str
    kind: EffectKind
    subject: str
    attempts: int
    wanted: int
    token: str
    until: datetime
    error: str
    urgency: Urgency


_ALL: Final = frozenset(EffectKind)


@lru_cache
def _due(kinds: frozenset[EffectKind]) -> tuple[Prepared, Prepared]:
    """The abandoned ones of those kinds, and those that wait."""
    return _waiting(EffectState.CLAIMED, effect_t.c.lease_until, kinds), _waiting(
        EffectState.PENDING, effect_t.c.due_at, kinds
    )


def _waiting(state: EffectState, since: sa.ColumnElement[Any], kinds: frozenset[EffectKind]) -> Prepared:
    return Prepared(
        sa.select(effect_t.c.id, effect_t.c.kind)
        .where(
            effect_t.c.state == state,
            since <= sa.bindparam("at", type_=since.type),
            effect_t.c.kind.in_(words(kinds)),
        )
        # Who only begins to stand in line is not in the way of anybody.
        .order_by(sa.case((effect_t.c.urgency == int(Urgency.WATCH), 1), else_=0), since, effect_t.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
    )


@lru_cache
def _next(kinds: frozenset[EffectKind]) -> tuple[Prepared, Prepared]:
    """When the first of those kinds is abandoned, and when the first is due."""
    return _earliest(EffectState.CLAIMED, effect_t.c.lease_until, kinds), _earliest(
        EffectState.PENDING, effect_t.c.due_at, kinds
    )


def _earliest(state: EffectState, since: sa.ColumnElement[Any], kinds: frozenset[EffectKind]) -> Prepared:
    of_those = sa.true() if kinds >= _ALL else effect_t.c.kind.in_(words(kinds))
    return Prepared(
        sa.select(since.label("at")).where(effect_t.c.state == state, of_those).order_by(since).limit(1)
    )


def due(
    s: Session,
    now: datetime,
    most: int,
    kinds: Collection[EffectKind],
    overdue: timedelta = timedelta(0),
    over: datetime | None = None,
) -> list[tuple[int, EffectKind]]:
    """What of those kinds was abandoned, and what waits to be done for at least `overdue`.

    Args:
        over: As in `Hold`; by default `now`.
    """
    if not kinds:
        return []
    abandoned, waiting = _due(frozenset(kinds))
    found: list[Row] = []
    abandoned.learn(s, found.extend, at=over or now, most=most)
    found += waiting.rows(s, at=now - overdue, most=most)
    return [(r["id"], EffectKind(r["kind"])) for r in found]


def next_due(
    s: Session, kinds: Collection[EffectKind] = _ALL, behind: timedelta = timedelta(0)
) -> datetime | None:
    """When a sleeping worker that has room for those kinds must look again.

    Args:
        behind: So long after its end a lease counts as over.
    """
    if not kinds:
        return None
    abandoned, waiting = _next(frozenset(kinds))
    found: list[Row] = []
    abandoned.learn(s, found.extend)
    dues = [row["at"] for row in waiting.rows(s) if row["at"] is not None]
    leases = [row["at"] + behind for row in found if row["at"] is not None]  # learned by now
    return min((*dues, *leases), default=None)


_TAKEN: Final = {
    "state": EffectState.CLAIMED,
    "claim": sa.bindparam("token"),
    "lease_until": sa.bindparam("until", type_=effect_t.c.lease_until.type),
    "attempts": effect_t.c.attempts + 1,
}
_FREE = sa.or_(
    effect_t.c.state == EffectState.PENDING,
    sa.and_(
        effect_t.c.state == EffectState.CLAIMED,
        effect_t.c.lease_until <= sa.bindparam("over", type_=effect_t.c.lease_until.type),
    ),
)
_CLAIM = Prepared(
    effect_t.update()
    .where(effect_t.c.id == sa.bindparam("of_effect"), _FREE)
    .values(_TAKEN)
    .returning(effect_t)
)
_CLAIM_KEY = Prepared(
    effect_t.update()
    .where(
        effect_t.c.run_id == sa.bindparam("of_run"),
        effect_t.c.key == sa.bindparam("of_key"),
        effect_t.c.due_at <= sa.bindparam("at", type_=effect_t.c.due_at.type),
        _FREE,
    )
    .values(_TAKEN)
    # Whoever names it knows the rest.
    .returning(*(effect_t.c[name] for name in ("id", "attempts", "wanted", "error", "urgency")))
)


Which = int | tuple[str, str]
"""An effect by its number, or by run and key."""


def claim(s: Session, which: Which, now: datetime, hold: Hold) -> Claimed | None:
    """Take an effect that is due or abandoned, under a token nobody had before; None if it is not free."""
    token = secrets.token_hex(12)
    held: dict[str, Any] = {**hold._asdict(), "token": token}
    if isinstance(which, int):
        row = _CLAIM.first(s, **held, of_effect=which)
        run_id, key = (row["run_id"], row["key"]) if row else ("", "")
    else:
        run_id, key = which
        row = _CLAIM_KEY.first(s, **held, of_run=run_id, of_key=key, at=now)
    if row is None:
        return None
    outbox.took(s, run_id, key, token)
    return _claimed(row, run_id, key, token, hold.until)


def _claimed(row: Row, run_id: str, key: str, token: str, until: datetime) -> Claimed:
    kind, _, subject = key.partition(":")
    return Claimed(
        id=row["id"],
        run_id=run_id,
        kind=EffectKind(kind),
        subject=subject,
        attempts=row["attempts"],
        wanted=row["wanted"],
        token=token,
        until=until,
        error=row["error"],
        urgency=Urgency(row["urgency"]),
    )


_OURS = sa.and_(effect_t.c.id == sa.bindparam("of_effect"), effect_t.c.claim == sa.bindparam("token"))
_FREED: Final = {"claim": None, "lease_until": None}
_RENEW = Prepared(effect_t.update().where(_OURS), ["lease_until"])
_AGAIN = effect_t.c.wanted > sa.bindparam("seen", type_=sa.Integer)
_OVER: Final = {"error": "", "attempts": 0, "line": "", **_FREED}
_DONE = Prepared(
    effect_t.update()
    .where(_OURS)
    .values(state=sa.case((_AGAIN, EffectState.PENDING), else_=EffectState.DONE), **_OVER)
    .returning(effect_t.c.state, effect_t.c.due_at)
)
_DONE_HERE = Prepared(effect_t.update().where(_OURS).values(state=EffectState.DONE, **_OVER))
_RETRY = Prepared(
    effect_t.update()
    .where(_OURS)
    .values(
        state=EffectState.PENDING,
        due_at=sa.bindparam("at", type_=effect_t.c.due_at.type),
        error=sa.bindparam("why"),
        attempts=effect_t.c.attempts - sa.bindparam("uncounted", type_=sa.Integer),
        # Who has had his turn and failed begins anew.
        urgency=sa.case(
            (effect_t.c.urgency <= int(Urgency.TURN), int(Urgency.WATCH)), else_=int(Urgency.ASKED)
        ),
        **_FREED,
    )
)
_PUT_OFF = Prepared(
    effect_t.update()
    .where(_OURS)
    .values(
        state=EffectState.PENDING,
        due_at=sa.bindparam("at", type_=effect_t.c.due_at.type),
        urgency=sa.bindparam("then", type_=sa.Integer),
        error=sa.bindparam("why"),
        attempts=effect_t.c.attempts - 1,
        **_FREED,
    )
)
_LEAVE = Prepared(
    effect_t.update()
    .where(_OURS)
    .values(state=EffectState.PENDING, attempts=effect_t.c.attempts - 1, **_FREED)
    .returning(effect_t.c.due_at)
)
_BURY = Prepared(
    effect_t.update()
    .where(_OURS)
    .values(state=EffectState.DEAD, error=sa.bindparam("why"), line="", **_FREED)
)


def renew(s: Session, effect: Claimed, until: datetime) -> bool:
    """Hold on to it until then; False when it is no longer ours."""
    return _RENEW.run(s, of_effect=effect.id, token=effect.token, lease_until=until) == 1


_PRUNE = oldest(
    effect_t,
    effect_t.c.id,
    sa.and_(
        effect_t.c.run_id == "",
        effect_t.c.state.in_(words((EffectState.DONE, EffectState.DROPPED))),
        effect_t.c.due_at < sa.bindparam("before", type_=effect_t.c.due_at.type),
    ),
    effect_t.c.due_at,
)


def prune(s: Session, before: datetime, most: int) -> int:
    """Forget what was done before that time and belongs to no run, so many at most; a run's effects are
    kept with it.
    """
    return _PRUNE.run(s, before=before, most=most)


def done(s: Session, effect: Claimed) -> bool:
    """It is done; unless it was wanted once more meanwhile, then it waits again."""
    if outbox.took_here(s, effect.run_id, key_of(effect.kind, effect.subject)) == effect.token:
        _DONE_HERE.later(s, of_effect=effect.id, token=effect.token)  # its row is locked since
        return True
    row = _DONE.first(s, of_effect=effect.id, token=effect.token, seen=effect.wanted)
    if row is not None and row["state"] is EffectState.PENDING:
        outbox.note(s, [Asked(effect.run_id, effect.kind, effect.subject, row["due_at"])])
    return row is not None


def retry(s: Session, effect: Claimed, due_at: datetime, error: str, *, counts: bool = True) -> bool:
    """Not now; again at `due_at`. Only what has certainly done nothing need not count as an attempt."""
    sent = {"at": due_at, "why": error[:1000], "uncounted": int(not counts)}
    ours = _RETRY.run(s, of_effect=effect.id, token=effect.token, **sent) == 1
    if ours:
        outbox.note(s, [Asked(effect.run_id, effect.kind, effect.subject, due_at)])
    return ours


def put_off(s: Session, effect: Claimed, due_at: datetime, then: Urgency, why: str = "") -> None:
    """There is no room for it before that; it was not tried, and counts as before."""
    said = (why or effect.error)[:1000]
    if _PUT_OFF.run(s, of_effect=effect.id, token=effect.token, at=due_at, then=int(then), why=said) == 1:
        outbox.note(s, [Asked(effect.run_id, effect.kind, effect.subject, due_at)])


def leave(s: Session, effect: Claimed) -> None:
    """Not in this transaction: it was not tried, and is due as it was."""
    if (row := _LEAVE.first(s, of_effect=effect.id, token=effect.token)) is not None:
        outbox.note(s, [Asked(effect.run_id, effect.kind, effect.subject, row["due_at"])])


def give_up(s: Session, effect: Claimed, error: str) -> bool:
    """It will never work; kept for a person to see, who is told in the log."""
    ours = _BURY.run(s, of_effect=effect.id, token=effect.token, why=error[:1000]) == 1
    if ours:
        log.warning(
            "effect_given_up",
            effect=f"{outbox.PREFIX}{effect.id}",
            kind=effect.kind,
            run_id=effect.run_id,
            why=error[:1000],
            see="orchestrator effects retry or drop",
        )
    return ours


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
