"""Webhooks about interactions we do not know: kept until somebody finds out whose those are."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.inbox import SOME_PARKED, DeliveryVerdict, delivery_t
from orchestrator.store.run_rows import interaction_t
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.sql.spelled import Row
from orchestrator.store.tables import DeliveryState

_TAKE = Prepared(
    delivery_t.update()
    .where(delivery_t.c.subject == sa.bindparam("about"), delivery_t.c.state == DeliveryState.PARKED)
    .values(state=DeliveryState.DONE, run_id=sa.bindparam("whose"), verdict=DeliveryVerdict.ADOPTED.value)
    .returning(delivery_t.c.id)
)
_DISOWN = Prepared(
    delivery_t.update()
    .where(delivery_t.c.subject == sa.bindparam("about"), delivery_t.c.state == DeliveryState.PARKED)
    .values(verdict=DeliveryVerdict.NOT_OURS.value)
)
_ONE = Prepared(sa.select(delivery_t.c.id).where(delivery_t.c.state == DeliveryState.PARKED).limit(1))
_COUNT = Prepared(
    sa.select(sa.func.count()).select_from(delivery_t).where(delivery_t.c.state == DeliveryState.PARKED)
)


def _some(s: Session) -> bool:
    """Whether any may be: SQLite's only writer knows, for PostgreSQL that is one question more."""
    seen = hold(s).seen
    if on_sqlite(s) and SOME_PARKED not in seen:
        seen[SOME_PARKED] = _ONE.first(s) is not None
    return bool(seen.get(SOME_PARKED, True))


def take(s: Session, interaction_id: str, run_id: str) -> list[Row]:
    """Take up the webhooks that came for this interaction before we knew it was ours.

    Returns:
        Them: filled with the answer to what is asked next, or by `held.flush`.
    """
    found: list[Row] = []
    if _some(s):
        _TAKE.learn(s, found.extend, about=interaction_id, whose=run_id)
    return found


def disown(s: Session, interaction_id: str) -> int:
    """No look found that this unknown interaction is ours. Its webhooks stay parked: a late answer to a
    create may still say that it is.
    """
    return _DISOWN.run(s, about=interaction_id)


_UNREAD = Prepared(
    sa.select(sa.func.min(delivery_t.c.received_at)).where(
        sa.or_(
            delivery_t.c.state == DeliveryState.NEW,
            sa.and_(
                delivery_t.c.state == DeliveryState.PARKED,
                delivery_t.c.verdict == DeliveryVerdict.PARKED.value,
            ),
        ),
        delivery_t.c.kind.like("interaction.%"),
        delivery_t.c.subject != "",
        delivery_t.c.received_at >= sa.bindparam("since", type_=delivery_t.c.received_at.type),
        ~sa.exists().where(interaction_t.c.id == delivery_t.c.subject),
    )
)


def unread(s: Session, since: datetime) -> datetime | None:
    """When the first webhook came, of those since then, about an interaction of which nobody has found out
    yet whose it is.
    """
    first: datetime | None = _UNREAD.value(s, since=since)
    return first


def count(s: Session) -> int:
    """How many deliveries name interactions we do not know."""
    found: int = _COUNT.value(s)
    return found
