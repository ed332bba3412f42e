"""What one process last saw of something outside, for all others to read: the newest sighting by its name."""

from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.store.prepared import Prepared, insert_into
from orchestrator.store.tables import NAME, table

WEBHOOK: Final = "webhook"
"""How Gemini has our webhook registered."""


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
