"""Webhooks as they came: stored once, before they are answered, worked on afterwards."""

import enum
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.values import Value
from orchestrator.store.sql.after_commit import after_commit
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.oldest import oldest
from orchestrator.store.sql.prepared import Prepared, insert_into
from orchestrator.store.sql.spelled import Row
from orchestrator.store.sql.wire import Hear
from orchestrator.store.tables import DeliveryRow, DeliveryState, table

delivery_t = table(DeliveryRow)

log = structlog.get_logger(__name__)


class DeliveryVerdict(enum.StrEnum):
    """The verdict on a delivery that has been worked on. One that still waits has none, the empty text."""

    WOKE = "woke"  # its run read the interaction anew
    KNOWN = "known"  # it told its run nothing new, or the run goes on with another interaction
    PARKED = "parked"  # about an interaction we do not know; Gemini is yet to say whose it is
    ADOPTED = "adopted"  # was parked; the interaction turned out to be ours
    NOT_OURS = "not_ours"  # was parked; no look found that the interaction is ours
    IGNORED = "ignored"  # not about an interaction, or about one of a run that is gone, or unreadable
    OVERFLOW = "overflow"  # about an unknown interaction, when enough of those were kept already
    REFUSED = "refused"  # was not taken: nobody knows who sent it, or what it says (see `refused_webhooks`)

    @property
    def state(self) -> DeliveryState:
        """Where a delivery with this verdict stands: the unknown ones may still be found to be ours."""
        return (
            DeliveryState.PARKED
            if self in (DeliveryVerdict.PARKED, DeliveryVerdict.NOT_OURS)
            else DeliveryState.DONE
        )


def _keep(dialect: str) -> sa.Insert:
    """The first body of an id is kept, whatever a later one says."""
    new = insert_into(dialect)(delivery_t)
    other = delivery_t.c.body_hash != new.excluded.body_hash
    upsert: sa.Insert = new.on_conflict_do_update(
        index_elements=["id"],
        set_={
            "duplicates": delivery_t.c.duplicates + 1,
            "conflicts": delivery_t.c.conflicts + sa.case((other, 1), else_=0),
        },
    ).returning(delivery_t.c.duplicates, delivery_t.c.body_hash)
    return upsert


_STORED: Final = "stored"
SOME_PARKED: Final = "some are parked"
_KEEP = Prepared(_keep)
_ADD = Prepared(lambda dialect: insert_into(dialect)(delivery_t).on_conflict_do_nothing())
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


class Arrived(NamedTuple):
    """A verified delivery to keep. `subject` is the id it names, or empty; `timestamp` in Unix seconds.

    `run_id` is set for one that tells its run nothing new: it is kept, and nobody needs to work on it.
    """

    id: str
    kind: str
    subject: str
    timestamp: int
    body: bytes
    at: datetime
    scheme: str = "v1"
    headers: Mapping[str, str] = MappingProxyType({})
    run_id: str | None = None


Counts = Callable[[int, int], None]
_Again = tuple[Mapping[str, object], bool]
"""One that came before, and whether with another body."""


def put(s: Session, arrived: Sequence[Arrived], repeated: Counts = lambda again, other: None) -> None:
    """Keep deliveries, many in one go; one whose id is known is counted and otherwise left as it was.

    Args:
        repeated: Told, once this is committed, how many of them had come before, and how many of those
            with another body; not called where none had.
    """
    rows = [_row(a) for a in arrived]
    if new := [a.id for a in arrived if a.run_id is None]:
        s.info[_STORED] = new[-1]
    if on_sqlite(s) and _ADD.in_one_go(s, rows):
        return  # none had come before, as nearly always; what each row returns need not be asked
    again: list[_Again] = []
    for row in rows:
        _KEEP.learn_last(s, partial(_sort_out, again, row), **row)
    after_commit(s, partial(_tell, again, repeated))  # what is rolled back must not be told


def _sort_out(again: list[_Again], row: Mapping[str, object], kept: Sequence[Row]) -> None:
    if kept[0]["duplicates"]:
        again.append((row, kept[0]["body_hash"] != row["body_hash"]))


def _tell(again: Sequence[_Again], repeated: Counts) -> None:
    if not again:
        return
    others = [row for row, other in again if other]
    for row in others:
        log.warning("webhook_conflict", webhook_id=row["id"], kind=row["kind"])
    repeated(len(again), len(others))


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
        "scheme": arrived.scheme,
        "headers": arrived.headers if type(arrived.headers) is dict else dict(arrived.headers),
        "conflicts": 0,
        "verdict": "" if arrived.run_id is None else DeliveryVerdict.KNOWN.value,
        "handled_at": None if arrived.run_id is None else arrived.at,
    }


_BODY = Prepared(sa.select(delivery_t.c.body).where(delivery_t.c.id == sa.bindparam("which")))


def body_of(s: Session, delivery_id: str) -> bytes:
    """A delivery's bytes as they came; empty where there is none."""
    found = _BODY.value(s, which=delivery_id)
    return bytes(found) if found is not None else b""


def waiting(s: Session, most: int) -> list[Waiting]:
    """The oldest deliveries nobody has worked on."""
    return [Waiting(r["id"], r["kind"], r["subject"]) for r in _NEW.rows(s, most=most)]


def _said(why: sa.BindParameter[str]) -> sa.ColumnElement[str]:
    """The note with one more remark."""
    note = delivery_t.c.note
    return sa.case((note == "", why), (why == "", note), else_=note + "; " + why)


_CLOSE = Prepared(
    delivery_t.update()
    .where(delivery_t.c.id == sa.bindparam("which"), delivery_t.c.state == DeliveryState.NEW)
    .values(
        state=sa.bindparam("to"),
        run_id=sa.bindparam("whose"),
        note=_said(sa.bindparam("why", type_=sa.Text)),
        verdict=sa.bindparam("what"),
        handled_at=sa.bindparam("at"),
    )
)


class Closed(Value):
    """What became of a delivery that has been worked on."""

    id: str
    verdict: DeliveryVerdict
    run_id: str | None = None
    note: str = ""


def close(s: Session, closed: Sequence[Closed], now: datetime) -> None:
    """Those have been worked on; one that somebody else had closed already stays as it is."""
    if any(c.verdict.state is DeliveryState.PARKED for c in closed):
        hold(s).seen[SOME_PARKED] = True
    _CLOSE.later_many(
        s,
        [
            {
                "which": c.id,
                "to": c.verdict.state,
                "whose": c.run_id,
                "why": c.note,
                "what": c.verdict.value,
                "at": now,
            }
            for c in closed
        ],
    )


_AGAIN = Prepared(
    delivery_t.update()
    .where(
        delivery_t.c.id == sa.bindparam("which"),
        delivery_t.c.state != DeliveryState.NEW,
        delivery_t.c.verdict != DeliveryVerdict.REFUSED.value,
    )
    .values(
        state=DeliveryState.NEW,
        verdict="",
        handled_at=None,
        note=sa.bindparam("why"),
    )
)


def again(s: Session, delivery_id: str, why: str) -> bool:
    """Let it be worked on anew, as if it had just come; False where it waits already, is not there, or
    was refused.
    """
    if _AGAIN.run(s, which=delivery_id, why=why) == 0:
        return False
    s.info[_STORED] = delivery_id
    return True


_LINGERING = Prepared(
    sa.select(delivery_t.c.id)
    .where(
        delivery_t.c.state == DeliveryState.NEW,
        delivery_t.c.received_at <= sa.bindparam("before", type_=delivery_t.c.received_at.type),
    )
    .limit(1)
)


def lingering(s: Session, hear: Hear, before: datetime) -> None:
    """Have `hear` told a delivery that came before that time and still waits, if there is one."""
    _LINGERING.learn(s, hear, before=before)


_PRUNE = oldest(
    delivery_t,
    delivery_t.c.id,
    sa.and_(
        delivery_t.c.received_at < sa.bindparam("before", type_=delivery_t.c.received_at.type),
        delivery_t.c.state != DeliveryState.NEW,
    ),
    delivery_t.c.received_at,
)


def prune(s: Session, before: datetime, most: int) -> int:
    """Forget what came before that time, but for what nobody has worked on yet; so many at most.

    Deliveries about unknown interactions go like any other. Keep all longer than the sender's 24 h of
    retries: a forgotten id would be taken for a new one.
    """
    return _PRUNE.run(s, before=before, most=most)
