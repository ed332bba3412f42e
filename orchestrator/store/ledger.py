"""The ledger of webhooks: what came, what became of it, what followed; and the replay people may ask for.

What followed is worked out here, when somebody asks: the path that takes webhooks in stays short.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.consent import Actor
from orchestrator.domain.decision import unheard
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import inbox, runs, views
from orchestrator.store.inbox import DeliveryVerdict, delivery_t
from orchestrator.store.run_rows import event_t, interaction_t
from orchestrator.store.sql.prepared import words
from orchestrator.store.tables import DeliveryState
from orchestrator.store.views import Page

Row = dict[str, Any]

FOLLOWED: Final = 5
"""Most entries of a run's record that are shown as what followed."""
LOOKED_THROUGH: Final = 200
"""Most entries that are looked through for the reading a webhook asked for."""

_SHOWN: Final[Sequence[sa.ColumnElement[Any]]] = (
    *(c for c in delivery_t.c if c.name not in ("body", "headers")),
    sa.func.length(delivery_t.c.body).label("size"),
)


def deliveries(
    s: Session,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
    state: DeliveryState | None = None,
    verdict: DeliveryVerdict | None = None,
    kind: str | None = None,
    subject: str | None = None,
    run_id: str | None = None,
) -> Page:
    """Deliveries without headers and body, the last received first.

    Args:
        verdict: Refused ones are found by theirs only: strangers send them, as many as they like.
        run_id: Only those about interactions of that run, those included that nobody has worked on yet.
    """
    query = sa.select(*_SHOWN)
    if state is not None:
        # By `=` to a literal: else SQLite does not take the partial indexes.
        query = query.where(delivery_t.c.state == words([state])[0])
    refused = words([DeliveryVerdict.REFUSED])[0]
    if verdict is DeliveryVerdict.REFUSED:
        query = query.where(delivery_t.c.verdict == refused)
    else:
        query = query.where(delivery_t.c.verdict != refused)
    for column, value in (("verdict", verdict), ("kind", kind), ("subject", subject)):
        if value is not None:
            query = query.where(delivery_t.c[column] == str(value))
    if run_id is not None:
        own = sa.select(interaction_t.c.id).where(interaction_t.c.run_id == run_id)
        query = query.where(delivery_t.c.subject.in_(own))
    return views.page(s, query, delivery_t.c.received_at, delivery_t.c.id, limit, after)


def delivery(s: Session, delivery_id: str) -> Row:
    """One delivery, whole. Raises `NotFoundError`."""
    query = sa.select(*_SHOWN, delivery_t.c.headers, delivery_t.c.body)
    row = s.connection().execute(query.where(delivery_t.c.id == delivery_id)).mappings().first()
    if row is None:
        raise NotFoundError("there is no delivery of that id")
    return dict(row)


def told(s: Session, delivery_id: str) -> tuple[Row, int | None, list[Row]]:
    """One delivery, whole; the turn of the interaction it names; and what followed in its run's record.

    That begins with the first reading of the interaction since the delivery was worked on. Nothing
    follows from one that still waits or told nothing new.

    Raises:
        NotFoundError: There is no such delivery.
    """
    row = delivery(s, delivery_id)
    mine = interaction_t.c.id == row["subject"]
    turn = s.connection().execute(sa.select(interaction_t.c.turn).where(mine)).scalar()
    return row, turn, _followed(s, row)


_WAKING: Final = (DeliveryVerdict.WOKE, DeliveryVerdict.ADOPTED)


def _followed(s: Session, row: Row) -> list[Row]:
    if row["run_id"] is None or row["verdict"] not in _WAKING:
        return []
    since = sa.select(event_t).where(event_t.c.run_id == row["run_id"], event_t.c.at >= row["handled_at"])
    found = s.connection().execute(since.order_by(event_t.c.seq).limit(LOOKED_THROUGH)).mappings()
    entries = [dict(e) for e in found]
    begun = next((n for n, e in enumerate(entries) if _reads(e["data"], row["subject"])), len(entries))
    return entries[begun : begun + FOLLOWED]


def _reads(data: Mapping[str, Any], interaction_id: str) -> bool:
    """Whether an entry tells of a reading of that interaction, or that there is none to read."""
    snapshot = data.get("snapshot")
    read = snapshot.get("interaction_id") if isinstance(snapshot, Mapping) else data.get("interaction_id")
    return bool(read == interaction_id)


def replay(s: Session, delivery_id: str, by: Actor, reason: str, now: datetime) -> Row:
    """Let it be worked on anew; one that waits for that already is left as it is.

    It is a hint as it was the first time: at most an interaction is read. Its note, and the record of
    the run it belongs to, say who asked.

    Raises:
        NotFoundError: There is no such delivery.
        ConflictError: It was refused.
    """
    if (row := delivery(s, delivery_id))["verdict"] == DeliveryVerdict.REFUSED:
        raise ConflictError(f"what was not taken is not worked on; it was {row['note']}")
    who = by.name or by.id
    note = f"replayed by {who}: {reason}" if reason else f"replayed by {who}"
    if inbox.again(s, delivery_id, note):
        _tell(s, delivery(s, delivery_id), by, reason, now)
    return delivery(s, delivery_id)


def _tell(s: Session, row: Row, by: Actor, reason: str, now: datetime) -> None:
    """An entry in the run's record. The run itself stays as it is; its version moves, as with any entry."""
    if row["run_id"] is None:
        return
    try:
        run = runs.load(s, row["run_id"])
    except NotFoundError:
        return  # it was deleted
    note = f"{row['kind']} of {row['subject']}, by {by.name or by.id}"
    after = runs.save(s, run, unheard(run, note), now=now)
    entry = {"delivery": row["id"], "kind": row["kind"], "subject": row["subject"], "reason": reason}
    runs.record(s, after, "DeliveryReplayed", {**entry, "by": msgspec.to_builtins(by)}, note, None, now)
