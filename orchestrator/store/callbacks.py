"""Messages to callers' addresses, and how these addresses stand. Each moves by conditional update.

A message is written in the transaction of what it tells; the effect that sends it holds its id and nothing
else. Who has a message in hand takes its address after the run and the effect, as everybody does.

No `from __future__ import annotations` here: SQLModel reads the annotations.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.announcements import Announcement
from orchestrator.domain.callbacks import AddressState, CallbackState
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.evidence import text_of
from orchestrator.domain.retry import backoff
from orchestrator.store.sql.prepared import Prepared, insert_into
from orchestrator.store.sql.spelled import Row
from orchestrator.store.tables import ID, JSON, NAME, enum_column, table

MAX_LOG: Final = 20
"""Attempts of a message that are kept, the newest ones."""
MAX_WHY: Final = 300
LONGEST_PAUSE: Final = timedelta(hours=1)
"""Between two tries of a message, unless the address asks for more."""
LONGEST_REST: Final = timedelta(minutes=5)
"""How long an address that failed is left alone by all messages."""
BASE_SECONDS: Final = 5.0


class AddressRow(SQLModel, table=True):
    """One address. `failing_since` is empty where the last message got through."""

    __tablename__ = "callback_address"
    __table_args__: ClassVar[Any] = (sa.Index("ix_callback_address_state", "state", "id"),)
    id: str = Field(primary_key=True, max_length=ID)
    url: str = Field(sa_type=sa.Text)
    state: AddressState = Field(sa_type=enum_column(AddressState, "state"))
    failing_since: datetime | None = None
    failed_at: datetime | None = None
    failures: int
    not_before: datetime | None = None
    disabled_at: datetime | None = None
    why: str = Field(sa_type=sa.Text)


class CallbackRow(SQLModel, table=True):
    """One message for one address. `since` is when its time began: as it was written, or sent anew."""

    __tablename__ = "callback"
    __table_args__: ClassVar[Any] = (
        sa.Index("ix_callback_created", "created_at", "id"),
        sa.Index("ix_callback_run", "run_id", "created_at", "id"),
        sa.Index("ix_callback_state", "state", "created_at", "id"),
        sa.Index(
            "ix_callback_held",
            "address",
            "created_at",
            sqlite_where=sa.text("state = 'held'"),
            postgresql_where=sa.text("state = 'held'"),
        ),
    )
    id: str = Field(primary_key=True, max_length=ID)
    run_id: str = Field(max_length=ID, foreign_key="run.id", ondelete="CASCADE")
    address: str = Field(max_length=ID, foreign_key="callback_address.id")
    event: str = Field(max_length=NAME)
    body: str = Field(sa_type=sa.Text)
    created_at: datetime
    since: datetime
    state: CallbackState = Field(sa_type=enum_column(CallbackState, "state"))
    attempts: int
    last_at: datetime | None = None
    last_status: int | None = None
    error: str = Field(sa_type=sa.Text)
    log: list[Any] = Field(sa_type=JSON)


callback_t, address_t = table(CallbackRow), table(AddressRow)

_NEW_ADDRESS: Final = Prepared(
    lambda dialect: insert_into(dialect)(address_t).on_conflict_do_nothing(),
    [c.name for c in address_t.c],
)
_NEW: Final = Prepared(
    lambda dialect: insert_into(dialect)(callback_t).on_conflict_do_nothing(),
    [c.name for c in callback_t.c],
)
_ONE: Final = Prepared(sa.select(callback_t).where(callback_t.c.id == sa.bindparam("of_callback")))
_THAT: Final = sa.select(address_t).where(address_t.c.id == sa.bindparam("of_address"))
_ADDRESS: Final = Prepared(
    # Beside those who hold its key, for they have written messages for it. SQLite has one writer.
    lambda dialect: _THAT.with_for_update(key_share=True) if dialect == "postgresql" else _THAT
)
_MOVE: Final = Prepared(
    callback_t.update().where(
        callback_t.c.id == sa.bindparam("of_callback"), callback_t.c.state == sa.bindparam("of_state")
    ),
    ["state", "since", "attempts", "last_at", "last_status", "error", "log"],
)
_MOVE_ADDRESS: Final = Prepared(
    address_t.update().where(address_t.c.id == sa.bindparam("of_address")),
    ["state", "failing_since", "failed_at", "failures", "not_before", "disabled_at", "why"],
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is tried.

    Args:
        retry: For how long a message, from its writing.
        disable: An address that failed all the time for that long is disabled.
    """

    retry: timedelta = timedelta(hours=24)
    disable: timedelta = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Sending:
    """A message that may be sent now; `number` counts its attempts from 1."""

    id: str
    url: str
    event: str
    body: str
    number: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one: the status answered, if there was one, and why it failed; empty if it did not.

    `final` means that no other attempt would fare better; `gone` that the address wants no more.
    """

    status: int | None
    why: str = ""
    retry_after: float | None = None
    final: bool = False
    gone: bool = False


def address_id(url: str) -> str:
    """`adr_` and 24 hex digits of its hash, so that every process knows it by the same."""
    return "adr_" + hashlib.sha256(url.encode()).hexdigest()[:24]


def put(s: Session, run_id: str, announcements: Iterable[Announcement], now: datetime) -> list[Effect]:
    """Write messages down; returns what sends them."""
    effects = []
    for told in sorted(announcements, key=lambda a: a.url):  # their addresses are taken in that order, too
        address = address_id(told.url)
        resting = {"state": AddressState.ACTIVE, **_WELL}
        _NEW_ADDRESS.run(s, id=address, url=told.url, **resting)
        fresh = {"state": CallbackState.WAITING, "attempts": 0, "last_at": None, "last_status": None}
        _NEW.run(
            s,
            id=told.id,
            run_id=run_id,
            address=address,
            event=told.event,
            body=told.body,
            created_at=now,
            since=now,
            error="",
            log=[],
            **fresh,
        )
        effects.append(Effect(EffectKind.SEND_CALLBACK, told.id, now))
    return effects


_WELL: Final[dict[str, Any]] = {
    "failing_since": None,
    "failed_at": None,
    "failures": 0,
    "not_before": None,
    "disabled_at": None,
    "why": "",
}


def take(s: Session, callback: str, patience: Patience, now: datetime) -> Sending | datetime | None:
    """The message, if it is to be sent now; else the time before which its address is left alone.

    None where nobody waits for it any more; one for a disabled address is held from here on.
    """
    row = _ONE.first(s, of_callback=callback)
    if row is None or row["state"] is not CallbackState.WAITING:
        return None
    address = lock_address(s, row["address"])
    if address["state"] is AddressState.DISABLED:
        move(s, row, state=CallbackState.HELD, error="its address is disabled")
        return None
    rest: datetime | None = address["not_before"]
    last: datetime = row["since"] + patience.retry
    if rest is not None and now < rest and now < last:
        return min(rest, last)
    return Sending(row["id"], address["url"], row["event"], row["body"], row["attempts"] + 1)


def settle(
    s: Session, callback: str, attempt: Attempt, patience: Patience, now: datetime, roll: float
) -> datetime | None:
    """Write an attempt down. Returns when to try again; None where it is delivered, held or given up.

    Args:
        roll: A dice roll in [0, 1), so that many do not come back at once.
    """
    row = _ONE.first(s, of_callback=callback)
    if row is None or row["state"] is not CallbackState.WAITING:
        return None
    address = lock_address(s, row["address"])
    tried = {**_tried(row, attempt, now), "attempts": row["attempts"] + 1}
    if not attempt.why:
        if address["state"] is AddressState.ACTIVE:
            move_address(s, address, **_WELL)
        move(s, row, **tried, state=CallbackState.DELIVERED)
        return None
    active = _failed(s, address, attempt, patience, now, roll)
    if attempt.final or now >= row["since"] + patience.retry:
        move(s, row, **tried, state=CallbackState.FAILED)
        return None
    if not active:
        move(s, row, **tried, state=CallbackState.HELD)
        return None
    move(s, row, **tried, state=CallbackState.WAITING)
    longest = LONGEST_PAUSE.total_seconds()
    pause = backoff(row["attempts"] + 1, roll, attempt.retry_after, base=BASE_SECONDS, most=longest)
    last: datetime = row["since"] + patience.retry  # is tried at that very time, too
    return min(now + pause, last)


def _tried(row: Row, attempt: Attempt, now: datetime) -> dict[str, Any]:
    why = attempt.why[:MAX_WHY]
    entry = {"at": text_of(now), "status": attempt.status, "error": why}
    return {
        "last_at": now,
        "last_status": attempt.status,
        "error": why,
        "log": [*row["log"], entry][-MAX_LOG:],
    }


def _failed(
    s: Session, address: Row, attempt: Attempt, patience: Patience, now: datetime, roll: float
) -> bool:
    """The address failed once more; whether it is still active. What failed long ago does not count."""
    recent = address["failed_at"] is not None and now - address["failed_at"] <= patience.retry
    since = (address["failing_since"] if recent else None) or now
    change: dict[str, Any] = {"failing_since": since, "failed_at": now}
    if not attempt.final:
        change |= _rest(address, attempt, address["failures"] if recent else 0, now, roll)
    active = address["state"] is AddressState.ACTIVE
    if active and (attempt.gone or now - since >= patience.disable):
        why = f"it failed since {since:%Y-%m-%d %H:%M} UTC, at last with: {attempt.why}"
        told = attempt.why if attempt.gone else why
        change |= {"state": AddressState.DISABLED, "disabled_at": now, "why": told[:MAX_WHY]}
        active = False
    move_address(s, address, **change)
    return active


def _rest(address: Row, attempt: Attempt, failures: int, now: datetime, roll: float) -> dict[str, Any]:
    """Until when it is left alone. Of several that fail at once only the first, or one that asks for it,
    makes that longer."""
    rest: datetime | None = address["not_before"]
    if rest is not None and now < rest:
        return {"not_before": max(rest, now + backoff(1, 0.0, attempt.retry_after))}
    pause = backoff(failures + 1, roll, attempt.retry_after, most=LONGEST_REST.total_seconds())
    return {"failures": failures + 1, "not_before": now + pause}


def lock_address(s: Session, address: str) -> Row:
    """How an address stands, for as long as this transaction runs. Raises `LookupError`."""
    row = _ADDRESS.first(s, of_address=address)
    if row is None:
        raise LookupError(f"there is no address {address}")
    return row


def move(s: Session, row: Row, **change: Any) -> bool:
    """Whether it was still in the state that was read."""
    moving = ("state", "since", "attempts", "last_at", "last_status", "error", "log")
    values = {**{name: row[name] for name in moving}, **change}
    return _MOVE.run(s, of_callback=row["id"], of_state=row["state"], **values) == 1


def move_address(s: Session, row: Row, **change: Any) -> None:
    """The row is locked by `lock_address`."""
    values = {**{name: row[name] for name in ("state", *_WELL)}, **change}
    _MOVE_ADDRESS.run(s, of_address=row["id"], **values)


def well(s: Session, row: Row) -> None:
    """Begin anew with an address."""
    move_address(s, row, state=AddressState.ACTIVE, **_WELL)


def one(s: Session, callback: str) -> Row | None:
    """The message of that id."""
    return _ONE.first(s, of_callback=callback)


def give_up(s: Session, callback: str, why: str) -> None:
    """A person wants it sent no more."""
    row = _ONE.first(s, of_callback=callback)
    if row is not None and row["state"] is CallbackState.WAITING:
        move(s, row, state=CallbackState.FAILED, error=why[:MAX_WHY])
