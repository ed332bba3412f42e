"""Digest messages: one of each channel and hour, and the questions that are shown in it.

What a message shows is read without a lock on the runs it is about: it is a picture, drawn again when one of
them changes.

No `from __future__ import annotations` here: SQLModel reads the annotations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.cards import Card, DigestCard
from orchestrator.domain.collecting import parse
from orchestrator.domain.consent import Actor, ApprovalStatus, Place, Verdict
from orchestrator.domain.model import RunStatus
from orchestrator.store.run_rows import approval_t, approval_value, call_t, call_value, run_t
from orchestrator.store.sql.prepared import Prepared, insert_into
from orchestrator.store.tables import ID, NAME, table

MOST: Final = 200
"""Questions that are read for one message; of the others it tells how many there are."""


class DigestRow(SQLModel, table=True):
    """One message over collected questions, from the first try to post it on.

    `ts` is where it stands; `trouble` why it never will. Without either it is being posted.
    """

    __tablename__ = "digest"
    name: str = Field(primary_key=True, max_length=NAME)
    begun_at: datetime
    ts: str = Field(max_length=ID, sa_column_kwargs={"server_default": ""})
    trouble: str = Field(sa_type=sa.Text, sa_column_kwargs={"server_default": ""})


digest_t = table(DigestRow)


@dataclass(frozen=True, slots=True)
class DigestState:
    """Where a message stands; see `DigestRow`."""

    begun_at: datetime
    ts: str = ""
    trouble: str = ""

    @property
    def settled(self) -> bool:
        """Whether it is known where its questions are to be shown."""
        return bool(self.ts or self.trouble)


_OF_NAME = digest_t.c.name == sa.bindparam("of_name")
_BEGIN: Final = Prepared(
    lambda dialect: insert_into(dialect)(digest_t).on_conflict_do_nothing(),
    ["name", "begun_at", "ts", "trouble"],
)
_STANDING: Final = Prepared(sa.select(digest_t.c.begun_at, digest_t.c.ts, digest_t.c.trouble).where(_OF_NAME))
_SETTLE: Final = Prepared(digest_t.update().where(_OF_NAME), ["ts", "trouble"])

_SHOWN: Final = Prepared(
    sa.select(approval_t)
    .where(approval_t.c.collected == sa.bindparam("of_name"))
    .order_by(approval_t.c.requested_at, approval_t.c.id)
)
_TO_SHOW: Final = Prepared(
    sa.select(approval_t.c.id, approval_t.c.run_id).where(
        approval_t.c.collected == sa.bindparam("of_name"),
        approval_t.c.status == ApprovalStatus.PENDING,
        approval_t.c.since.is_(None),
    )
)


def begin(s: Session, name: str, now: datetime) -> DigestState:
    """The message is to be posted; beginning twice changes nothing. Where it stands already."""
    _BEGIN.run(s, name=name, begun_at=now, ts="", trouble="")
    return standing(s, name) or DigestState(now)


def standing(s: Session, name: str) -> DigestState | None:
    """Where the message stands; None where nobody has begun to post it."""
    row = _STANDING.first(s, of_name=name)
    return None if row is None else DigestState(row["begun_at"], row["ts"], row["trouble"])


def settle(s: Session, name: str, *, ts: str = "", trouble: str = "") -> None:
    """It stands there, or nowhere."""
    _SETTLE.run(s, of_name=name, ts=ts, trouble=trouble)


def to_show(s: Session, name: str) -> list[tuple[str, str]]:
    """The open questions that wait for the message, each with its run."""
    return [(r["id"], r["run_id"]) for r in _TO_SHOW.rows(s, of_name=name)]


def picture(s: Session, name: str) -> DigestCard:
    """The message as the rows have it now: the newest question about each call, none decided before it."""
    (channel, due), stands = parse(name), standing(s, name)
    newest: dict[str, Any] = {}
    for row in _SHOWN.rows(s, of_name=name):
        known = newest.get(row["call"])
        if known is None or known["revision"] < row["revision"]:
            newest[row["call"]] = row
    rows = [row for row in newest.values() if _listed(row, stands)]
    place = Place(channel, stands.ts if stands else "")
    return DigestCard(name, place, due, _cards(s, rows[:MOST]), max(0, len(rows) - MOST))


def _listed(row: Any, stands: DigestState | None) -> bool:
    """Whether it was shown, is to be, or was decided while it was being shown."""
    if row["since"] is not None or row["status"] is ApprovalStatus.PENDING:
        return True
    verdict = msgspec.convert(row["verdict"], Verdict) if row["verdict"] else None
    return stands is not None and verdict is not None and verdict.at >= stands.begun_at


def _cards(s: Session, rows: Sequence[Any]) -> tuple[Card, ...]:
    """Those questions with their calls and runs, in the same order."""
    if not rows:
        return ()
    conn = s.connection()
    calls = sa.select(call_t).where(call_t.c.id.in_({r["call"] for r in rows}))
    runs = sa.select(run_t.c.id, run_t.c.workflow, run_t.c.requester, run_t.c.status).where(
        run_t.c.id.in_({r["run_id"] for r in rows})
    )
    call_of = {r["id"]: r for r in conn.execute(calls).mappings()}
    run_of = {r["id"]: r for r in conn.execute(runs).mappings()}
    # A run may be removed between these three.
    there = [r for r in rows if r["call"] in call_of and r["run_id"] in run_of]
    return tuple(_card(r, call_of[r["call"]], run_of[r["run_id"]]) for r in there)


def _card(row: Any, call: Any, run: Any) -> Card:
    approval = approval_value(row)
    return Card(
        approval=approval,
        call=call_value({**call, "result": None}, approval),
        run_id=run["id"],
        workflow=run["workflow"],
        requester=msgspec.convert(run["requester"], Actor),
        run_status=RunStatus(run["status"]),
    )
