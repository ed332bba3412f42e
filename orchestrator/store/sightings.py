"""What one process last saw of something outside, for all others to read: the newest sighting by its name.

A count of what all of them saw has a name too.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.store.sql.prepared import Prepared, insert_into
from orchestrator.store.tables import NAME, table

WEBHOOK: Final = "webhook"
"""How Gemini has our webhook registered."""
FILES: Final = "files"
"""Why files that jobs made could not be brought here."""


class SightingRow(SQLModel, table=True):
    """What was seen last, and whether it was well; `text` is for people."""

    __tablename__ = "sighting"
    name: str = Field(primary_key=True, max_length=NAME)
    at: datetime
    ok: bool
    text: str = Field(sa_type=sa.Text)


sighting_t = table(SightingRow)

_LAST: Final = Prepared(
    sa.select(sighting_t.c.at, sighting_t.c.ok, sighting_t.c.text).where(
        sighting_t.c.name == sa.bindparam("of_name")
    )
)
_COLUMNS: Final = ("name", "at", "ok", "text")


def _newest(dialect: str) -> sa.Insert:
    """One that was seen before what is written there says nothing."""
    insert = insert_into(dialect)(sighting_t)
    seen = insert.excluded
    told: sa.Insert = insert.on_conflict_do_update(
        index_elements=[sighting_t.c.name],
        set_={"at": seen.at, "ok": seen.ok, "text": seen.text},
        where=sighting_t.c.at <= seen.at,
    )
    return told


_PUT: Final = Prepared(_newest, _COLUMNS)


_OF = Prepared(
    sa.select(sighting_t.c.name, sighting_t.c.at, sighting_t.c.ok, sighting_t.c.text)
    .where(sighting_t.c.name.startswith(sa.bindparam("begins")))
    .order_by(sighting_t.c.name)  # who changes several does it in one order
)
_FORGET = Prepared(sighting_t.delete().where(sighting_t.c.name == sa.bindparam("of_name")))


def _added(dialect: str) -> sa.Insert:
    insert = insert_into(dialect)(sighting_t)
    more = sa.cast(sighting_t.c.text, sa.BigInteger) + sa.cast(insert.excluded.text, sa.BigInteger)
    added: sa.Insert = insert.on_conflict_do_update(
        index_elements=[sighting_t.c.name], set_={"at": insert.excluded.at, "text": sa.cast(more, sa.Text)}
    )
    return added


_ADD: Final = Prepared(_added, _COLUMNS)
_MOMENT: Final = Prepared(sa.select(sa.func.clock_timestamp()))


class Sighting(NamedTuple):
    """What was seen, and when."""

    at: datetime
    ok: bool
    text: str


def put(s: Session, name: str, seen: Sighting) -> None:
    """Remember it, unless somebody saw the same thing later."""
    _PUT.run(s, name=name, **seen._asdict())


def last(s: Session, name: str) -> Sighting | None:
    """What was seen last; None where nobody has looked yet."""
    row = _LAST.first(s, of_name=name)
    return None if row is None else Sighting(**row)


def of(s: Session, begins: str) -> dict[str, Sighting]:
    """Those whose names begin so."""
    rows = _OF.rows(s, begins=begins)
    return {row["name"]: Sighting(row["at"], row["ok"], row["text"]) for row in rows}


def forget(s: Session, name: str) -> None:
    """There is nothing to be said of it any more."""
    _FORGET.run(s, of_name=name)


def renew(s: Session, name: str, seen: Sighting) -> None:
    """Remember it in any case, whatever was seen when."""
    forget(s, name)
    put(s, name, seen)


def add(s: Session, name: str, more: int, now: datetime) -> None:
    """So many more were seen by this process."""
    _ADD.run(s, name=name, at=now, ok=True, text=str(more))


def counted(s: Session, name: str) -> int:
    """How many were seen, by all processes together."""
    seen = last(s, name)
    return 0 if seen is None else int(seen.text)


def moment(s: Session) -> datetime:
    """What PostgreSQL's clock says, the one that all processes share; in UTC, wherever the server is."""
    now: datetime = _MOMENT.value(s)
    return now.astimezone(UTC)
