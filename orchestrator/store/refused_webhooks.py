"""Webhooks that were not taken, as far as it helps a person to see why. Nothing is ever done about one."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.inbox import DeliveryVerdict, delivery_t
from orchestrator.store.sql.prepared import Prepared, insert_into, words
from orchestrator.store.tables import DeliveryState

MOST: Final = 1_000
"""Kept; the oldest give way. Strangers choose how many there are."""
BODY_BYTES: Final = 16 * 1024
"""Of each body that are kept."""
PREFIX: Final = "refused."
"""Of their ids. No webhook that is taken has a dot in its id, so none can meet one of these."""

_NOTE: Final = 400


class Refused(NamedTuple):
    """A webhook that was not taken.

    Args:
        id: The same for each that brings the same body under the same webhook id, and fails alike.
        body: Its beginning, of at most `BODY_BYTES`; `sha256` is of all of it.
        scheme: Which kind of signature was good, empty where none was.
        timestamp: The sender's own, in Unix seconds; 0 where it is none.
        times: How often it came.
    """

    id: str
    at: datetime
    body: bytes
    sha256: str
    note: str
    scheme: str
    headers: Mapping[str, str]
    timestamp: int
    times: int = 1


def refused(headers: Mapping[str, str], body: bytes, why: str, *, at: datetime, scheme: str = "") -> Refused:
    """What is kept of a webhook that was not taken.

    Args:
        headers: Those that matter: short and printable, names in lower case.
        body: All of it.
        why: In our own words.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    told = "\0".join((headers.get("webhook-id", ""), why, sha256))
    cut = f"; the first {BODY_BYTES} of {len(body)} bytes are kept" if len(body) > BODY_BYTES else ""
    sent = headers.get("webhook-timestamp", "")
    return Refused(
        id=PREFIX + hashlib.sha256(told.encode()).hexdigest()[:32],
        at=at,
        body=body[:BODY_BYTES],
        sha256=sha256,
        note=f"refused: {why}"[:_NOTE] + cut,
        scheme=scheme,
        headers=headers,
        timestamp=int(sent) if sent.isascii() and sent.isdigit() and len(sent) <= 12 else 0,
    )


def _keep(dialect: str) -> sa.Insert:
    new = insert_into(dialect)(delivery_t)
    again = delivery_t.c.duplicates + new.excluded.duplicates + 1
    upsert: sa.Insert = new.on_conflict_do_update(index_elements=["id"], set_={"duplicates": again})
    return upsert


_REFUSED: Final = delivery_t.c.verdict == words([DeliveryVerdict.REFUSED])[0]
_TOO_OLD: Final = (
    sa.select(delivery_t.c.id)
    .where(_REFUSED)
    .order_by(delivery_t.c.received_at.desc(), delivery_t.c.id.desc())
    .offset(sa.bindparam("most", type_=sa.Integer))
)
_KEEP = Prepared(_keep)
_PRUNE = Prepared(delivery_t.delete().where(delivery_t.c.id.in_(_TOO_OLD)))


def keep(s: Session, arrived: Sequence[Refused], most: int = MOST) -> None:
    """Keep them, count those that had come before, and forget the oldest beyond `most`."""
    # In the order of their ids, so that two processes never wait for each other in a circle.
    _KEEP.run_many(s, [_row(r) for r in sorted(arrived, key=lambda r: r.id)])
    _PRUNE.run(s, most=most)


def _row(r: Refused) -> dict[str, object]:
    return {
        "id": r.id,
        "kind": "",
        "subject": "",
        "received_at": r.at,
        "timestamp": r.timestamp,
        "body": r.body,
        "body_hash": r.sha256,
        "duplicates": r.times - 1,
        "state": DeliveryState.DONE,
        "run_id": None,
        "note": r.note,
        "scheme": r.scheme,
        "headers": dict(r.headers),
        "conflicts": 0,
        "verdict": DeliveryVerdict.REFUSED.value,
        "handled_at": r.at,
    }
