"""Webhooks as they came: stored once, before they are answered, worked on afterwards."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.prepared import Prepared, insert_into
from orchestrator.store.tables import DeliveryRow, DeliveryState, table

delivery_t = table(DeliveryRow)


def _keep(dialect: str) -> sa.Insert:
    """The first body of an id is kept, whatever a later one says."""
    new = insert_into(dialect)(delivery_t)
    other = delivery_t.c.body_hash != new.excluded.body_hash
    upsert: sa.Insert = new.on_conflict_do_update(
        index_elements=["id"],
        set_={
            "duplicates": delivery_t.c.duplicates + 1,
            "note": sa.case((other, _OTHER_BODY), else_=delivery_t.c.note),
        },
    )
    return upsert


_STORED: Final = "stored"
_OTHER_BODY: Final = "came again with another body, which was not kept"
_KEEP = Prepared(_keep)
_NEW = Prepared(
    sa.select(delivery_t.c.id, delivery_t.c.kind, delivery_t.c.subject)
    .where(delivery_t.c.state == DeliveryState.NEW)
    .order_by(delivery_t.c.received_at)
    .limit(sa.bindparam("most", type_=sa.Integer))
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
    run_id: str | None = None
    """Set for one that tells its run nothing new: it is kept, and nobody needs to work on it."""


def put(s: Session, arrived: Sequence[Arrived]) -> None:
    """Keep deliveries, many in one go; one whose id is known is counted and otherwise left as it was."""
    _KEEP.run_many(s, [_row(a) for a in arrived])
    if new := [a.id for a in arrived if a.run_id is None]:
        s.info[_STORED] = new[-1]


def stored(s: Session) -> str | None:
    """The last delivery this transaction stored for somebody to work on; said once."""
    newest: str | None = s.info.pop(_STORED, None)
    return newest


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
        "state": DeliveryState.NEW if arrived.run_id is None else DeliveryState.DONE,
        "run_id": arrived.run_id,
        "note": "",
    }


def waiting(s: Session, most: int) -> list[Waiting]:
    """The oldest deliveries nobody has worked on."""
    return [Waiting(r["id"], r["kind"], r["subject"]) for r in _NEW.rows(s, most=most)]


_CLOSE = Prepared(
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
    _CLOSE.run_many(s, [{"which": c.id, "to": c.state, "whose": c.run_id, "why": c.note} for c in closed])


_LINGERING = Prepared(
    sa.select(delivery_t.c.id)
    .where(
        delivery_t.c.state == DeliveryState.NEW,
        delivery_t.c.received_at <= sa.bindparam("before", type_=delivery_t.c.received_at.type),
    )
    .limit(1)
)


def lingering(s: Session, before: datetime) -> bool:
    """Whether a delivery that came before that time still waits."""
    return _LINGERING.first(s, before=before) is not None


_CLAIM_PARKED = Prepared(
    delivery_t.update()
    .where(delivery_t.c.subject == sa.bindparam("about"), delivery_t.c.state == DeliveryState.PARKED)
    .values(state=DeliveryState.DONE, run_id=sa.bindparam("whose"))
)
_PARKED = Prepared(
    sa.select(sa.func.count()).select_from(delivery_t).where(delivery_t.c.state == DeliveryState.PARKED)
)


def claim_parked(s: Session, interaction_id: str, run_id: str) -> bool:
    """Whether webhooks came for this interaction before we knew it was ours; they are taken up now."""
    return _CLAIM_PARKED.run(s, about=interaction_id, whose=run_id) > 0


def parked(s: Session) -> int:
    """How many deliveries name interactions we do not know."""
    count: int = _PARKED.value(s)
    return count


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
