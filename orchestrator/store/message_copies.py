"""Which question a copy in Slack shows, found by where it stands.

A row for each copy of a question beside the message in its channel, kept with the question and gone with it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.consent import Approval, Place
from orchestrator.store.sql.prepared import Prepared, insert_into
from orchestrator.store.tables import ID, NAME, table


class CopiedRow(SQLModel, table=True):
    """A message in Slack, and a question it shows."""

    __tablename__ = "copied"
    ts: str = Field(primary_key=True, max_length=ID)
    channel: str = Field(primary_key=True, max_length=NAME)
    approval: str = Field(
        primary_key=True, max_length=ID, foreign_key="approval.id", ondelete="CASCADE", index=True
    )


copied_t = table(CopiedRow)

_ADD = Prepared(
    lambda dialect: insert_into(dialect)(copied_t).on_conflict_do_nothing(), ["ts", "channel", "approval"]
)
_THERE = Prepared(
    sa.select(copied_t.c.approval).where(
        copied_t.c.ts == sa.bindparam("of_ts"), copied_t.c.channel == sa.bindparam("of_channel")
    )
)


def keep(s: Session, before: Approval | None, after: Approval) -> None:
    """The copies of a question that was saved; None where there was none before."""
    old = before.copies if before is not None else ()
    add(s, after.id, [place for place in after.copies if place not in old])


def add(s: Session, approval: str, places: Sequence[Place]) -> None:
    """It stands there too."""
    _ADD.later_many(s, [{"ts": p.ts, "channel": p.channel, "approval": approval} for p in places])


def there(s: Session, channel: str, ts: str) -> list[str]:
    """Ids of the questions a copy that stands there shows, or showed."""
    return [row["approval"] for row in _THERE.rows(s, of_channel=channel, of_ts=ts)]
