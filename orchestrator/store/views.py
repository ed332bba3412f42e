"""Read-only questions that people ask: lists with keyset paging, a run's whole story."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.model import RunStatus
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError
from orchestrator.store import audit
from orchestrator.store.proposals import arguments_of, edited
from orchestrator.store.run_rows import approval_t, call_t, event_t, run_t, turn_t
from orchestrator.store.sql.held import on_sqlite
from orchestrator.store.tables import DeliveryRow, DeliveryState, EffectRow, EffectState, table

delivery_t, effect_t = table(DeliveryRow), table(EffectRow)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first, and where the next page begins: (time, id) of the last one, or None."""

    rows: Sequence[Row]
    next: tuple[datetime, str] | None


_RUN_COLUMNS = [
    c for c in run_t.c if c.name not in ("recipe", "owner", "idempotency_key", "body_hash", "version")
]

_APPROVALS = (
    sa.select(
        approval_t,
        call_t.c.tool,
        call_t.c.arguments,
        call_t.c.call_id,
        call_t.c.approval.label("asked_now"),
        call_t.c.status.label("call_status"),
        call_t.c.turn,
        run_t.c.workflow,
        run_t.c.requester,
    )
    .join_from(approval_t, call_t, approval_t.c.call == call_t.c.id)
    .join(run_t, run_t.c.id == approval_t.c.run_id)
)


def runs(
    s: Session,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
    status: RunStatus | None = None,
    workflow: str | None = None,
) -> Page:
    """Runs, newest first."""
    wanted = {run_t.c.workflow: workflow, run_t.c.status: status}
    return page(s, sa.select(*_RUN_COLUMNS), run_t.c.created_at, run_t.c.id, limit, after, wanted)


def approvals(
    s: Session,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
    status: ApprovalStatus | None = None,
    run_id: str | None = None,
) -> Page:
    """Approvals with the call they are about, newest first."""
    query = _APPROVALS if run_id is None else _APPROVALS.where(approval_t.c.run_id == run_id)
    wanted = {approval_t.c.status: status} if run_id is None else {}
    if run_id is not None and status is not None:
        query = query.where(approval_t.c.status == status)
    found = page(s, query, approval_t.c.requested_at, approval_t.c.id, limit, after, wanted)
    return replace(found, rows=[_as_asked(s, row) for row in found.rows])


def _as_asked(s: Session, row: Row) -> Row:
    """With the arguments that very question is, or was, about, and what people had changed of them."""
    asked = {**row, "arguments": arguments_of(s, row)}
    return {**asked, "edited": edited(s, asked)}


def approval(s: Session, approval_id: str) -> Row:
    """One approval with the call it is about. Raises `NotFoundError`."""
    query = _APPROVALS.where(approval_t.c.id == approval_id)
    row = s.connection().execute(query).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no approval {approval_id}")
    return _as_asked(s, dict(row))


def run(s: Session, run_id: str) -> Row:
    """One run, with the `steps` of its recipe. Raises `NotFoundError`."""
    steps = run_t.c.recipe["steps"].label("steps")
    query = sa.select(*_RUN_COLUMNS, steps).where(run_t.c.id == run_id)
    row = s.connection().execute(query).mappings().first()
    if row is None:
        raise NotFoundError(not_there(s, run_id))
    return dict(row)


def not_there(s: Session, run_id: str) -> str:
    """Why a run cannot be found, for people."""
    at = audit.removed_at(s, run_id)
    if at is None:
        return f"there is no run {run_id}"
    why = f"it was removed on {at:%Y-%m-%d %H:%M} UTC, because retention.runs_days had passed since its end"
    return f"there is no run {run_id} any more: {why}; the audit keeps what was decided in it"


def turns(s: Session, run_id: str) -> list[Row]:
    """The chain of interactions, first to last."""
    query = sa.select(turn_t).where(turn_t.c.run_id == run_id).order_by(turn_t.c.number)
    return [dict(r) for r in s.connection().execute(query).mappings()]


def calls(s: Session, run_id: str) -> list[Row]:
    """Every function call of the run, in the order it was asked for."""
    query = sa.select(call_t).where(call_t.c.run_id == run_id).order_by(call_t.c.turn, call_t.c.position)
    return [dict(r) for r in s.connection().execute(query).mappings()]


@dataclass(frozen=True, slots=True)
class Record:
    """Entries of a run's record, in their order; `more` says whether others follow."""

    rows: Sequence[Row]
    more: bool


MOST_AT_ONCE: Final = 8 * 1024 * 1024
"""Characters of the JSON in entries read together: a turn's may hold all its calls' arguments, twice."""
_SIZE: Final = sa.func.length(sa.cast(event_t.c.data, sa.Text))


def events(s: Session, run_id: str, *, after: int = 0, limit: int = 100, room: int = MOST_AT_ONCE) -> Record:
    """The run's history after sequence number `after`: within `room`, but one entry at least."""
    query = sa.select(event_t).where(event_t.c.run_id == run_id, event_t.c.seq > after)
    sizes = query.with_only_columns(event_t.c.seq, _SIZE).order_by(event_t.c.seq).limit(limit + 1)
    found = s.connection().execute(sizes).all()
    taken = accumulate(size for _, size in found)
    fitting = [seq for (seq, _), sum_ in zip(found, taken, strict=True) if sum_ <= room][:limit]
    last = fitting[-1] if fitting else found[0][0] if found else after
    rows = s.connection().execute(query.where(event_t.c.seq <= last).order_by(event_t.c.seq)).mappings()
    return Record([dict(r) for r in rows], bool(found) and found[-1][0] > last)


def record(s: Session, run_id: str, *, after: int, limit: int) -> tuple[Row, Record]:
    """A run and some of its `events`, read in this order: once it is closed, they are all there.

    Raises:
        NotFoundError: Also where it is removed between the two.
    """
    row, found = run(s, run_id), events(s, run_id, after=after, limit=limit)
    if after < row["seq"] and not found.rows:
        raise NotFoundError(not_there(s, run_id))
    return row, found


def by_idempotency_key(s: Session, owner: str, key: str) -> tuple[str, str] | None:
    """Run id and body hash of an earlier request under that key."""
    row = (
        s.connection()
        .execute(
            sa.select(run_t.c.id, run_t.c.body_hash).where(
                run_t.c.owner == owner, run_t.c.idempotency_key == key
            )
        )
        .first()
    )
    return (row[0], row[1]) if row else None


def live_runs(s: Session) -> int:
    """How many runs have not ended."""
    query = sa.select(sa.func.count()).select_from(run_t).where(run_t.c.closed_at.is_(None))
    return s.connection().execute(query).scalar_one()


def backlog(s: Session, now: datetime) -> dict[str, int]:
    """What waits: deliveries nobody worked on, effects that are due, effects that were given up."""

    def count(which: sa.ColumnElement[bool]) -> int:
        return s.connection().execute(sa.select(sa.func.count()).where(which)).scalar_one()

    return {
        "deliveries": count(delivery_t.c.state == DeliveryState.NEW),
        "effects_due": count(sa.and_(effect_t.c.state == EffectState.PENDING, effect_t.c.due_at <= now)),
        "effects_dead": count(effect_t.c.state == EffectState.DEAD),
    }


def page(
    s: Session,
    query: sa.Select[Any],
    at: sa.ColumnElement[Any],
    key: sa.ColumnElement[Any],
    limit: int,
    after: tuple[datetime, str] | None,
    wanted: Mapping[sa.Column[Any], Any] = MappingProxyType({}),
) -> Page:
    """One page of what `query` selects, the greatest `at` first; `key` tells rows of the same time apart.

    Args:
        wanted: Columns an index begins with before `at` and `key`, and what they must be; None for anything.
    """
    given = {column: value for column, value in wanted.items() if value is not None}
    if given and not on_sqlite(s):
        query = _along(query, given, (at, key), after)
    else:
        query = query.where(*(column == value for column, value in given.items()))
        if after is not None:
            query = query.where(sa.tuple_(at, key) < _values((at, key), after))
    rows = s.connection().execute(query.order_by(at.desc(), key.desc()).limit(limit + 1)).mappings().all()
    shown = [dict(r) for r in rows[:limit]]
    more = len(rows) > limit
    return Page(shown, (shown[-1][at.key], shown[-1][key.key]) if more and shown else None)


def _along(
    query: sa.Select[Any],
    given: Mapping[sa.Column[Any], Any],
    by: Sequence[sa.ColumnElement[Any]],
    after: tuple[datetime, str] | None,
) -> sa.Select[Any]:
    """Have PostgreSQL walk the index that begins with those columns, by a range and an order it alone has.

    For an equality it may walk all rows by age, and pass over those that are something else: its statistics
    say they lie evenly, while the newest are those that have not ended yet, however many.
    """
    columns, values = [*given], [*given.values()]
    first, last = sa.tuple_(*columns), _values(columns, values)
    top = first <= last
    if after is not None:
        top = sa.tuple_(*columns, *by) < _values([*columns, *by], [*values, *after])
    return query.where(first >= last, top).order_by(*(column.desc() for column in columns))


def _values(columns: Sequence[sa.ColumnElement[Any]], values: Sequence[Any]) -> sa.Tuple:
    return sa.tuple_(*(sa.literal(v, c.type) for c, v in zip(columns, values, strict=True)))
