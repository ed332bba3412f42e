"""Messages to callers as people look after them: lists, sending again, enabling an address."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.callbacks import AddressState, CallbackState
from orchestrator.domain.consent import Actor
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.evidence import text_of
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import locking, outbox
from orchestrator.store.callbacks import MAX_LOG, address_t, callback_t, lock_address, move, one, well
from orchestrator.store.sql.prepared import words
from orchestrator.store.sql.spelled import Row

APART: Final = timedelta(milliseconds=50)
"""Between messages that are sent once an address is enabled again."""
MOST_ADDRESSES: Final = 1000

_BRIEF: Final = [c for c in callback_t.c if c.name not in ("body", "log", "since")]


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, and where the next page begins: (created_at, id) of the last one, or None."""

    rows: Sequence[Row]
    next: tuple[datetime, str] | None


def callbacks(
    s: Session,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
    state: CallbackState | None = None,
    run_id: str | None = None,
) -> Page:
    """The newest first, each with the `url` of its address; without the body."""
    at, key = callback_t.c.created_at, callback_t.c.id
    query = sa.select(*_BRIEF, address_t.c.url).join(address_t, address_t.c.id == callback_t.c.address)
    if state is not None:
        query = query.where(callback_t.c.state == words([state])[0])
    if run_id is not None:
        query = query.where(callback_t.c.run_id == run_id)
    if after is not None:
        query = query.where(sa.tuple_(at, key) < sa.tuple_(*(sa.literal(v) for v in after)))
    query = query.order_by(at.desc(), key.desc()).limit(limit + 1)
    found = [dict(r) for r in s.connection().execute(query).mappings()]
    shown = found[:limit]
    more = len(found) > limit
    return Page(shown, (shown[-1]["created_at"], shown[-1]["id"]) if more else None)


def callback(s: Session, callback_id: str) -> Row:
    """One, with its body, its attempts and the `url` of its address. Raises `NotFoundError`."""
    query = (
        sa.select(callback_t, address_t.c.url)
        .join(address_t, address_t.c.id == callback_t.c.address)
        .where(callback_t.c.id == callback_id)
    )
    row = s.connection().execute(query).mappings().first()
    if row is None:
        raise NotFoundError("there is no callback of that id")
    return dict(row)


def addresses(s: Session, state: AddressState | None = None, address_id: str | None = None) -> list[Row]:
    """How the addresses stand, the disabled ones first; each with how many messages are `held` for it."""
    held = (
        sa.select(sa.func.count())
        .where(callback_t.c.address == address_t.c.id, callback_t.c.state == words([CallbackState.HELD])[0])
        .scalar_subquery()
    )
    query = sa.select(address_t, held.label("held")).order_by(address_t.c.state.desc(), address_t.c.id)
    if state is not None:
        query = query.where(address_t.c.state == words([state])[0])
    if address_id is not None:
        query = query.where(address_t.c.id == address_id)
    return [dict(r) for r in s.connection().execute(query.limit(MOST_ADDRESSES)).mappings()]


def disabled(s: Session) -> int:
    """How many addresses are disabled."""
    return _count(s, address_t.c.state == words([AddressState.DISABLED])[0])


def standing(s: Session) -> dict[str, int]:
    """How many messages wait, are held, or were given up."""
    states = (CallbackState.WAITING, CallbackState.HELD, CallbackState.FAILED)
    return {state.value: _count(s, callback_t.c.state == words([state])[0]) for state in states}


def _count(s: Session, which: sa.ColumnElement[bool]) -> int:
    return s.connection().execute(sa.select(sa.func.count()).where(which)).scalar_one()


def replay(s: Session, callback_id: str, by: Actor, now: datetime) -> Row:
    """Send a message again, under its own id; one that waits is tried at once.

    Raises:
        NotFoundError: There is no such message.
        ConflictError: Its address is disabled.
    """
    row = one(s, callback_id)
    if row is None:
        raise NotFoundError("there is no callback of that id")
    locking.run(s, row["run_id"])  # as who sends it: the run, then its address
    row = one(s, callback_id) or row
    if lock_address(s, row["address"])["state"] is AddressState.DISABLED:
        raise ConflictError(f"its address is disabled: enable {row['address']} first")
    entry = {"at": text_of(now), "status": None, "error": "", "replayed_by": by.id}
    again: dict[str, Any] = {"state": CallbackState.WAITING, "since": now, "error": ""}
    if not move(s, row, **again, log=[*row["log"], entry][-MAX_LOG:]):
        raise ConflictError("it is being settled at this moment")
    outbox.add(s, row["run_id"], [Effect(EffectKind.SEND_CALLBACK, callback_id, now)])
    return callback(s, callback_id)


def enable(s: Session, address_id: str, fresh: timedelta, now: datetime) -> tuple[Row, int, int]:
    """Send to an address again, first what was held for it, in order.

    Args:
        fresh: Held messages that are older are given up; people may replay them one by one.

    Returns:
        The address, how many messages are sent now, and how many are given up.

    Raises:
        NotFoundError: There is no such address.
    """
    try:
        row = lock_address(s, address_id)
    except LookupError:
        raise NotFoundError("there is no address of that id") from None
    well(s, row)
    held = sa.and_(callback_t.c.address == address_id, callback_t.c.state == words([CallbackState.HELD])[0])
    old = callback_t.update().where(held, callback_t.c.created_at < now - fresh)
    told = "it was held for too long while its address was disabled"
    dropped = s.connection().execute(old.values(state=CallbackState.FAILED, error=told)).rowcount
    query = callback_t.update().where(held).values(state=CallbackState.WAITING, since=now, error="")
    columns = (callback_t.c.run_id, callback_t.c.id, callback_t.c.created_at)
    released = s.connection().execute(query.returning(*columns)).all()
    for n, (run_id, callback_id, _) in enumerate(sorted(released, key=lambda r: (r[2], r[1]))):
        outbox.add(s, run_id, [Effect(EffectKind.SEND_CALLBACK, callback_id, now + n * APART)])
    return addresses(s, address_id=address_id)[0], len(released), dropped
