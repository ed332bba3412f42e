"""Webhooks as they came: stored once, before they are answered, worked on afterwards."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from orchestrator.store.tables import DeliveryRow, DeliveryState, table

delivery_t = table(DeliveryRow)

_KEEP = {
    name: insert(delivery_t).on_conflict_do_nothing(index_elements=["id"]).returning(delivery_t.c.id)
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
"""Says which rows it kept: what is known may be known by a transaction that committed just now."""
_AGAIN = (
    delivery_t.update()
    .where(delivery_t.c.id == sa.bindparam("known"))
    .values(duplicates=delivery_t.c.duplicates + 1)
    .returning(delivery_t.c.body_hash)
)
_NEW = (
    sa.select(delivery_t.c.id, delivery_t.c.kind, delivery_t.c.subject)
    .where(delivery_t.c.state == DeliveryState.NEW)
    .order_by(delivery_t.c.received_at)
    .limit(sa.bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery nobody has worked on yet. `subject` is the id it names, or empty."""

    id: str
    kind: str
    subject: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A verified delivery to keep. `subject` is the id it names, or empty; `timestamp` in Unix seconds."""

    id: str
    kind: str
    subject: str
    timestamp: int
    body: bytes
    at: datetime


def put(s: Session, arrived: Sequence[Arrived]) -> list[bool]:
    """Keep deliveries, many in one statement; False for each whose id is known already.

    The first body of an id is kept, whatever a later one says.
    """
    if not arrived:
        return []
    conn = s.connection()
    first: dict[str, int] = {}
    for position, a in enumerate(arrived):
        first.setdefault(a.id, position)
    rows = [_row(arrived[position]) for position in first.values()]
    kept = set(conn.execute(_KEEP[conn.dialect.name], rows).scalars())
    fresh = [a.id in kept and first[a.id] == position for position, a in enumerate(arrived)]
    for again in (a for a, new in zip(arrived, fresh, strict=True) if not new):
        _count_again(conn, again)
    return fresh


def _row(arrived: Arrived) -> dict[str, object]:
    return {
        "id": arrived.id,
        "kind": arrived.kind[:200].replace("\0", "\ufffd"),  # PostgreSQL has no NUL in text
        "subject": arrived.subject,
        "received_at": arrived.at,
        "timestamp": arrived.timestamp,
        "body": arrived.body,
        "body_hash": hashlib.sha256(arrived.body).hexdigest(),
        "duplicates": 0,
        "state": DeliveryState.NEW,
        "note": "",
    }


def _count_again(conn: sa.Connection, again: Arrived) -> None:
    first = conn.execute(_AGAIN, {"known": again.id}).scalar_one()
    if first != hashlib.sha256(again.body).hexdigest():
        note = "came again with another body, which was not kept"
        conn.execute(delivery_t.update().where(delivery_t.c.id == again.id).values(note=note))


def waiting(s: Session, most: int) -> list[Waiting]:
    """The oldest deliveries nobody has worked on."""
    rows = s.connection().execute(_NEW, {"most": most}).all()
    return [Waiting(id=r[0], kind=r[1], subject=r[2]) for r in rows]


_CLOSE = (
    delivery_t.update()
    .where(delivery_t.c.id == sa.bindparam("which"), delivery_t.c.state == DeliveryState.NEW)
    .values(
        state=sa.bindparam("to"), run_id=sa.bindparam("whose"), note=delivery_t.c.note + sa.bindparam("why")
    )
)


@dataclass(frozen=True, slots=True)
class Closed:
    """What became of a delivery that has been worked on."""

    id: str
    state: DeliveryState
    run_id: str | None = None
    note: str = ""


def close(s: Session, closed: Sequence[Closed]) -> None:
    """Those have been worked on; one that somebody else had closed already stays as it is."""
    if closed:
        rows = [{"which": c.id, "to": c.state, "whose": c.run_id, "why": c.note} for c in closed]
        s.connection().execute(_CLOSE, rows)


def claim_parked(s: Session, interaction_id: str, run_id: str) -> bool:
    """Whether webhooks came for this interaction before we knew it was ours; they are taken up now."""
    changed = s.connection().execute(
        delivery_t.update()
        .where(delivery_t.c.subject == interaction_id, delivery_t.c.state == DeliveryState.PARKED)
        .values(state=DeliveryState.DONE, run_id=run_id)
    )
    return changed.rowcount > 0


def parked(s: Session) -> int:
    """How many deliveries name interactions we do not know."""
    query = sa.select(sa.func.count()).where(delivery_t.c.state == DeliveryState.PARKED)
    return s.connection().execute(query).scalar_one()


def prune(s: Session, before: datetime) -> int:
    """Forget what was worked on before that time. Keep it longer than the sender's 24 h of retries."""
    return (
        s.connection()
        .execute(
            delivery_t.delete().where(
                delivery_t.c.received_at < before, delivery_t.c.state != DeliveryState.NEW
            )
        )
        .rowcount
    )
