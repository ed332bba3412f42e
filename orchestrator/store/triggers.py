"""Triggers as rows: when each is due next, what it has seen, and what its occurrences came to."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.triggers import KEEPS_FAILING, Happened
from orchestrator.store.sql.prepared import Prepared, insert_into, listed
from orchestrator.store.sql.spelled import Row
from orchestrator.store.tables import ID, JSON, NAME, table
from orchestrator.store.views import Page, page

MAX_ERROR: Final = 1000


class TriggerRow(SQLModel, table=True):
    """One trigger of the settings. `plan` is what they said of its times when `next_at` was worked out.

    `seen` marks the entries of a feed's newest reading; None before the first. `failures` counts those in a
    row, `error` is the newest.
    """

    __tablename__ = "trigger"
    name: str = Field(primary_key=True, max_length=NAME)
    plan: str = Field(max_length=ID)
    next_at: datetime | None = None
    etag: str = Field(max_length=512)
    last_modified: str = Field(max_length=512)
    seen: list[Any] | None = Field(default=None, sa_type=JSON, nullable=True)
    failures: int
    error: str = Field(sa_type=sa.Text)


class OccurrenceRow(SQLModel, table=True):
    """One occurrence and what it came to. `again` counts repetitions, `conflicts` those with another body."""

    __tablename__ = "occurrence"
    __table_args__: ClassVar[Any] = (sa.Index("ix_occurrence_at", "trigger", "at", "key"),)
    trigger: str = Field(primary_key=True, max_length=NAME)
    key: str = Field(primary_key=True, max_length=NAME)
    at: datetime
    verdict: str = Field(max_length=32)
    run_id: str | None = Field(default=None, max_length=ID)
    note: str = Field(sa_type=sa.Text)
    body_hash: str = Field(max_length=ID)
    again: int
    conflicts: int


trigger_t, occurrence_t = table(TriggerRow), table(OccurrenceRow)

_NAMED = trigger_t.c.name == sa.bindparam("of_name")
_ONE = sa.and_(
    occurrence_t.c.trigger == sa.bindparam("of_trigger"), occurrence_t.c.key == sa.bindparam("of_key")
)
_COLUMNS: Final = tuple(c.name for c in trigger_t.c)
_NEW: Final = tuple(c.name for c in occurrence_t.c)


def _opens(t: sa.Table) -> Any:
    return lambda dialect: insert_into(dialect)(t).on_conflict_do_nothing()


_OPEN: Final = Prepared(_opens(trigger_t), _COLUMNS)
_TAKE: Final = Prepared(sa.select(trigger_t).where(_NAMED).with_for_update())
_READ: Final = Prepared(sa.select(trigger_t).where(_NAMED))
_ALL: Final = Prepared(sa.select(trigger_t))
_MOVE: Final = Prepared(
    trigger_t.update().where(_NAMED),
    ["plan", "next_at", "etag", "last_modified", "seen", "failures", "error"],
)
_FORGET: Final = Prepared(trigger_t.delete().where(_NAMED))
_FAILED: Final = Prepared(
    trigger_t.update()
    .where(_NAMED)
    .values(failures=trigger_t.c.failures + 1, error=sa.bindparam("why", type_=sa.Text))
)
_WELL: Final = Prepared(
    trigger_t.update().where(_NAMED, trigger_t.c.failures > 0).values(failures=0, error="")
)
_FAILING: Final = Prepared(
    sa.select(trigger_t.c.name, trigger_t.c.failures, trigger_t.c.error)
    .where(trigger_t.c.failures >= KEEPS_FAILING)
    .order_by(trigger_t.c.name)
)
_HAPPEN: Final = Prepared(_opens(occurrence_t), _NEW)
_CAME: Final = Prepared(occurrence_t.update().where(_ONE), ["verdict", "run_id", "note"])
_AGAIN: Final = Prepared(
    occurrence_t.update()
    .where(_ONE)
    .values(
        again=occurrence_t.c.again + 1,
        conflicts=occurrence_t.c.conflicts
        + sa.case((occurrence_t.c.body_hash == sa.bindparam("hash", type_=sa.String), 0), else_=1),
    )
    .returning(occurrence_t)
)
_KNOWN: Final = Prepared(
    lambda dialect: sa.select(occurrence_t.c.key).where(
        occurrence_t.c.trigger == sa.bindparam("of_trigger"), occurrence_t.c.key.in_(listed(dialect, "keys"))
    )
)
_NEXT_NAME: Final = Prepared(
    sa.select(sa.func.min(occurrence_t.c.trigger)).where(
        occurrence_t.c.trigger > sa.bindparam("last", type_=sa.String)
    )
)
_PRUNE: Final = Prepared(
    occurrence_t.delete().where(
        occurrence_t.c.trigger == sa.bindparam("of_trigger"),
        occurrence_t.c.at < sa.bindparam("before", type_=occurrence_t.c.at.type),
    )
)


def take(s: Session, name: str) -> Row:
    """Its row, made if there is none, and nobody else's before this transaction ends."""
    row = _TAKE.first(s, of_name=name)
    if row is None:
        empty = {"plan": "", "next_at": None, "etag": "", "last_modified": "", "seen": None}
        _OPEN.run(s, name=name, **empty, failures=0, error="")
        row = _TAKE.first(s, of_name=name)
    if row is None:
        raise LookupError(f"trigger {name} has no row")
    return row


def read(s: Session, name: str) -> Row | None:
    """Its row as it stands, if it has one."""
    return _READ.first(s, of_name=name)


def every(s: Session) -> dict[str, Row]:
    """The rows of all triggers, by name."""
    return {row["name"]: row for row in _ALL.rows(s)}


def move(s: Session, row: Mapping[str, Any]) -> None:
    """Write a row back that was taken; its error is cut."""
    values = {k: v for k, v in row.items() if k != "name"} | {"error": row["error"][:MAX_ERROR]}
    _MOVE.run(s, of_name=row["name"], **values)


def forget(s: Session, name: str) -> None:
    """It is in the settings no longer; its occurrences stay until they are old."""
    _FORGET.run(s, of_name=name)


def failed(s: Session, name: str, why: str) -> None:
    """Once more in a row."""
    take(s, name)
    _FAILED.run(s, of_name=name, why=why[:MAX_ERROR])


def well(s: Session, name: str) -> None:
    """It works again; where it always did, nothing is written."""
    _WELL.run(s, of_name=name)


def failing(s: Session) -> list[Row]:
    """Those that keep failing: `name`, `failures`, `error`."""
    return _FAILING.rows(s)


def happen(
    s: Session, name: str, key: str, at: datetime, verdict: Happened, note: str = "", body_hash: str = ""
) -> bool:
    """Write an occurrence down; False where it was there before."""
    values = {"trigger": name, "key": key, "at": at, "verdict": verdict, "run_id": None}
    more = {"note": note[:MAX_ERROR], "body_hash": body_hash, "again": 0, "conflicts": 0}
    return _HAPPEN.run(s, **values, **more) == 1


def came_to(
    s: Session, name: str, key: str, verdict: Happened, run_id: str | None = None, note: str = ""
) -> None:
    """What became of it."""
    _CAME.run(s, of_trigger=name, of_key=key, verdict=verdict, run_id=run_id, note=note[:MAX_ERROR])


def again(s: Session, name: str, key: str, body_hash: str = "") -> Row | None:
    """It came once more; what it was."""
    return _AGAIN.first(s, of_trigger=name, of_key=key, hash=body_hash)


def known(s: Session, name: str, keys: Sequence[str]) -> Collection[str]:
    """Which of those occurrences were there before."""
    return {row["key"] for row in _KNOWN.rows(s, of_trigger=name, keys=list(keys))}


def remembered(s: Session) -> set[str]:
    """Every trigger of which there are occurrences, also of those that are gone."""
    found = [""]
    while (name := _NEXT_NAME.value(s, last=found[-1])) is not None:  # in the database's own order
        found.append(name)
    return set(found[1:])


def prune(s: Session, name: str, before: datetime) -> int:
    """Forget occurrences that are older; returns how many."""
    return _PRUNE.run(s, of_trigger=name, before=before)


def occurrences(s: Session, name: str, *, limit: int, after: tuple[datetime, str] | None = None) -> Page:
    """What happened, the newest first."""
    query = sa.select(occurrence_t).where(occurrence_t.c.trigger == name)
    return page(s, query, occurrence_t.c.at, occurrence_t.c.key, limit, after)
