"""Webhooks as they came: stored once, before they are answered, worked on afterwards."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from orchestrator.store.tables import DeliveryRow, DeliveryState, table

delivery_t = table(DeliveryRow)

_INSERT = {
    "sqlite": sqlite.insert(delivery_t).on_conflict_do_nothing(index_elements=["id"]),
    "postgresql": postgresql.insert(delivery_t).on_conflict_do_nothing(index_elements=["id"]),
}
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


def put(
    s: Session, *, webhook_id: str, kind: str, subject: str, timestamp: int, body: bytes, now: datetime
) -> bool:
    """Keep a verified delivery; False when its id is known already, whatever its body says."""
    row = {
        "id": webhook_id,
        "kind": kind[:200],
        "subject": subject,
        "received_at": now,
        "timestamp": timestamp,
        "body": body,
        "body_hash": hashlib.sha256(body).hexdigest(),
        "duplicates": 0,
        "state": DeliveryState.NEW,
        "note": "",
    }
    conn = s.connection()
    if conn.execute(_INSERT[conn.dialect.name], row).rowcount == 1:
        return True
    first = conn.execute(_AGAIN, {"known": webhook_id}).scalar_one()
    if first != row["body_hash"]:
        note = "came again with another body, which was not kept"
        conn.execute(delivery_t.update().where(delivery_t.c.id == webhook_id).values(note=note))
    return False


def waiting(s: Session, most: int) -> list[Waiting]:
    """The oldest deliveries nobody has worked on."""
    rows = s.connection().execute(_NEW, {"most": most}).all()
    return [Waiting(id=r[0], kind=r[1], subject=r[2]) for r in rows]


def close(
    s: Session, webhook_id: str, state: DeliveryState, *, run_id: str | None = None, note: str = ""
) -> bool:
    """It has been worked on; False when somebody else already had."""
    values: dict[str, object] = {"state": state, "run_id": run_id}
    if note:
        values["note"] = note
    changed = s.connection().execute(
        delivery_t.update()
        .where(delivery_t.c.id == webhook_id, delivery_t.c.state == DeliveryState.NEW)
        .values(values)
    )
    return changed.rowcount == 1


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
