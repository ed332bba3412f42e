"""Effects that people look after: those given up, those that wait, those under way.

People may hurry an effect or give it up, by conditional update, and what they did stands in the run's
record, written in the same transaction. Never may they cut the ground from under a run: what a live
run waits for cannot be dropped, and a timer keeps its time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.consent import Actor
from orchestrator.domain.decision import unheard
from orchestrator.domain.effects import LOOK_AGAIN, EffectKind, Urgency
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import callbacks, runs
from orchestrator.store.outbox import Asked, effect_t, note
from orchestrator.store.run_rows import run_t
from orchestrator.store.sql.prepared import words
from orchestrator.store.tables import EffectState

Row = dict[str, Any]
Shown = Literal["dead", "pending", "claimed"]

TIMERS: Final = frozenset(
    {
        EffectKind.EXPIRE_APPROVAL,
        EffectKind.REMIND_APPROVAL,
        EffectKind.END_CREATE_GRACE,
        EffectKind.END_RUN,
        EffectKind.WARN_FORGETTING,
        EffectKind.END_JOB_GRACE,
        EffectKind.FIRE_TRIGGER,
    }
)
"""Before its time a timer would end what has not run out: a lost create would be sent twice."""

_POSTS: Final = words(
    (
        EffectKind.REQUEST_APPROVAL,
        EffectKind.COPY_APPROVAL,
        EffectKind.POST_BATCH,
        EffectKind.POST_INQUIRY,
        EffectKind.POST_DIGEST,
    )
)

DROPPABLE: Final = frozenset(
    {
        EffectKind.CANCEL_INTERACTION,
        EffectKind.CANCEL_JOB,
        EffectKind.UPDATE_APPROVAL,
        EffectKind.UPLOAD_MEDIA,
        EffectKind.NOTIFY_APPROVAL,
        EffectKind.SPREAD_APPROVAL,
        EffectKind.COPY_APPROVAL,
        EffectKind.POST_INQUIRY,
        EffectKind.UPDATE_INQUIRY,
        EffectKind.SEND_CALLBACK,
        EffectKind.UPDATE_BATCH,
        EffectKind.UPDATE_DIGEST,
    }
)
"""Tidying up. A run goes on without: an interaction that is not stopped runs to its own end, and the
buttons of a message that is not redrawn are refused by the row."""

_COLUMNS = [effect_t.c[n] for n in ("id", "run_id", "kind", "subject", "state", "due_at", "attempts")]
_COLUMNS += [effect_t.c.lease_until, effect_t.c.error]


@dataclass(frozen=True, slots=True)
class Page:
    """Effects, and where the next page begins: (due_at, id) of the last one, or None."""

    rows: Sequence[Row]
    next: tuple[datetime, int] | None


def effects(
    s: Session,
    *,
    state: Shown,
    limit: int,
    after: tuple[datetime, int] | None = None,
    run_id: str | None = None,
) -> Page:
    """Effects in that state: what waits by its time, soonest first; else the newest first."""
    at, key = effect_t.c.due_at, effect_t.c.id
    query = sa.select(*_COLUMNS).where(_in(EffectState(state)))
    if run_id is not None:
        query = query.where(effect_t.c.run_id == run_id)
    if state == "pending":
        query = query.order_by(at, key)
        if after is not None:
            query = query.where(sa.tuple_(at, key) > sa.tuple_(*(sa.literal(v) for v in after)))
    else:
        query = query.order_by(key.desc())
        if after is not None:
            query = query.where(key < after[1])
    found = [dict(r) for r in s.connection().execute(query.limit(limit + 1)).mappings()]
    shown = found[:limit]
    more = len(found) > limit
    return Page(shown, (shown[-1]["due_at"], shown[-1]["id"]) if more else None)


def retry(s: Session, effect_id: int, by: Actor, reason: str, now: datetime) -> Row:
    """Try it as soon as may be: one that was given up, or one that waits for its time.

    A dead one starts anew, but for the fact that it was tried: a post that may have got through is
    looked for first.

    Raises:
        NotFoundError: There is no such effect.
        ConflictError: It is being performed, it is done or dropped, or it is a timer.
    """
    kind, dead = effect_t.c.kind, _in(EffectState.DEAD)
    soon = sa.case(
        (kind.in_(_POSTS), sa.literal(now + LOOK_AGAIN, effect_t.c.due_at.type)),
        else_=sa.literal(now, effect_t.c.due_at.type),
    )
    tried = effect_t.c.attempts
    change = {
        "state": EffectState.PENDING,
        "due_at": sa.case((sa.and_(sa.not_(dead), effect_t.c.due_at < soon), effect_t.c.due_at), else_=soon),
        "urgency": int(Urgency.ASKED),
        "attempts": sa.case((sa.and_(dead, tried > 1), 1), else_=tried),
    }
    waits = sa.and_(_in(EffectState.PENDING), kind.not_in(words(TIMERS)))
    row = _moved(s, effect_id, sa.or_(dead, waits), change)
    if row is None:
        row = _there(s, effect_id)
        timer = row["state"] == EffectState.PENDING
        raise ConflictError("a timer keeps its time" if timer else _WHY[row["state"]])
    note(s, [Asked(row["run_id"], EffectKind(row["kind"]), row["subject"], row["due_at"])])
    _tell(s, row, "EffectRetried", by, reason, now)
    return row


def drop(s: Session, effect_id: int, by: Actor, reason: str, now: datetime) -> Row:
    """Give it up: one that is dead or waits, and that no live run waits for.

    Raises:
        NotFoundError: There is no such effect.
        ConflictError: It is being performed, it is done or dropped, or a run would wait for it for ever.
    """
    rests = _in(EffectState.DEAD, EffectState.PENDING)
    lives = sa.exists().where(run_t.c.id == effect_t.c.run_id, run_t.c.closed_at.is_(None))
    shared = sa.and_(effect_t.c.kind == EffectKind.POST_DIGEST, effect_t.c.run_id == "")  # runs wait for it
    nobodys = sa.and_(sa.not_(lives), sa.not_(shared))
    spare = sa.or_(effect_t.c.kind.in_(words(DROPPABLE)), nobodys)
    row = _moved(s, effect_id, sa.and_(rests, spare), {"state": EffectState.DROPPED})
    if row is None:
        row = _there(s, effect_id)
        if row["state"] in (EffectState.DEAD, EffectState.PENDING):
            who = f"run {row['run_id']}" if row["run_id"] else "questions of runs"
            raise ConflictError(
                f"{who} would wait for this {row['kind']} for ever: retry it, or cancel the run"
            )
        raise ConflictError(_WHY[row["state"]])
    if row["kind"] == EffectKind.SEND_CALLBACK:
        callbacks.give_up(s, row["subject"], f"dropped by {by.name or by.id}")
    _tell(s, row, "EffectDropped", by, reason, now)
    return row


_WHY: Final = {
    EffectState.CLAIMED: "it is being performed at this moment",
    EffectState.DONE: "it is done",
    EffectState.DROPPED: "it was dropped",
}


def _in(*states: EffectState) -> sa.ColumnElement[bool]:
    """By `=` to a literal: for an `IN` SQLite does not take the partial indexes."""
    return sa.or_(*(effect_t.c.state == word for word in words(states)))


def _moved(s: Session, effect_id: int, may: sa.ColumnElement[bool], change: dict[str, Any]) -> Row | None:
    statement = effect_t.update().where(effect_t.c.id == effect_id, may).values(change).returning(*_COLUMNS)
    row = s.connection().execute(statement).mappings().first()
    return dict(row) if row else None


def _there(s: Session, effect_id: int) -> Row:
    row = s.connection().execute(sa.select(*_COLUMNS).where(effect_t.c.id == effect_id)).mappings().first()
    if row is None:
        raise NotFoundError("there is no effect of that id")
    return dict(row)


def _tell(s: Session, row: Row, kind: str, by: Actor, reason: str, now: datetime) -> None:
    """An entry in the run's record. The run itself stays as it is; its version moves, as with any entry."""
    try:
        run = runs.load(s, row["run_id"])
    except NotFoundError:
        return  # a look at an interaction nobody knows, or the run was deleted
    entry = {"effect": row["id"], "kind": row["kind"], "subject": row["subject"], "reason": reason}
    note = f"{row['kind']} of {row['subject']}, by {by.name or by.id}"
    after = runs.save(s, run, unheard(run, note), now=now)
    runs.record(s, after, kind, {**entry, "by": msgspec.to_builtins(by)}, note, None, now)
