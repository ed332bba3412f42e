"""The audit: entries that are only ever added, one chain for each tenant.

What a transaction says is noted while it runs and written at its end, in one go. On PostgreSQL the chain is
locked for that, as the last lock of the transaction: whoever holds it has every other lock already, waits
for nobody, and commits next. So no circle of waiting can go through it. Everybody waits for that lock, so the
server binds the entries itself: lock, entries and COMMIT are one message, and nobody holds the lock while
this process thinks.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.consent import TENANT
from orchestrator.domain.evidence import Entry, EntryKind, text_of
from orchestrator.store.chain import FORM, GENESIS, Head, body_of, halves_of, hash_of
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.tables import AuditRow, table

audit_t = table(AuditRow)

_NOTED: Final = "noted"
_SEEN: Final = "audit head"
_SPACE: Final = 0x61756474
"""PostgreSQL's advisory locks by two numbers: those of audits. `occupancy` has those by a single one."""

_LOCK = Prepared(
    sa.select(
        sa.func.pg_advisory_xact_lock(sa.literal_column(str(_SPACE)), sa.func.hashtext(sa.bindparam("of")))
    )
)
_HEAD = Prepared(
    sa.select(audit_t.c.seq, audit_t.c.hash)
    .where(audit_t.c.tenant == sa.bindparam("of_tenant"))
    .order_by(audit_t.c.seq.desc())
    .limit(1)
)
_ADD = Prepared(audit_t.insert())


def _bound() -> sa.Insert:
    """PostgreSQL: an entry, numbered after the last one and bound to it as `chain.hash_of` does."""
    bind = {c.name: sa.bindparam(c.name, type_=c.type) for c in audit_t.c}
    before, after = sa.bindparam("before", type_=sa.Text), sa.bindparam("after", type_=sa.Text)
    head = sa.select(audit_t.c.seq, audit_t.c.hash).where(audit_t.c.tenant == bind["tenant"])
    last = head.order_by(audit_t.c.seq.desc()).limit(1).subquery()
    seq = sa.func.coalesce(last.c.seq, 0) + 1
    anyhow = sa.select(sa.literal_column("1")).subquery()
    bodies = sa.select(
        seq.label("seq"),
        sa.func.coalesce(last.c.hash, GENESIS).label("previous"),
        (before + sa.cast(seq, sa.Text) + after).label("body"),
    ).select_from(anyhow.outerjoin(last, sa.true()))
    new = bodies.cte().prefix_with("MATERIALIZED")
    digest = sa.func.sha256(sa.func.convert_to(new.c.previous + new.c.body, "UTF8"))
    values = {**bind, **new.c, "hash": sa.func.encode(digest, "hex")}
    return audit_t.insert().from_select(list(values), sa.select(*values.values()))


_BIND = Prepared(_bound())
_REMOVED = Prepared(
    sa.select(audit_t.c.at).where(
        audit_t.c.run_id == sa.bindparam("of_run"), audit_t.c.kind == EntryKind.RUN_REMOVED.value
    )
)


def note(s: Session, entries: Sequence[Entry], now: datetime) -> None:
    """Have entries written at the end of this transaction."""
    if entries:
        s.info.setdefault(_NOTED, []).extend((e, now) for e in entries)


def noted(s: Session) -> Iterator[Entry]:
    """What this transaction is to write."""
    return (entry for entry, _ in s.info.get(_NOTED, ()))


def unnote(s: Session) -> None:
    """What noted them is taken back."""
    s.info.pop(_NOTED, None)


def append(s: Session) -> bool:
    """Write what was noted, if anything was. Nothing else may be locked after this and before the COMMIT."""
    new: list[tuple[Entry, datetime]] = s.info.pop(_NOTED, [])
    if not new:
        return False
    if not on_sqlite(s):
        # A statement of its own: the next one must see what was committed while this one waited.
        _LOCK.later(s, of=TENANT)
        _BIND.later_many(s, [_unbound(entry, at) for entry, at in new])
        return True
    seen = hold(s).seen
    last: Head = seen.get(_SEEN) or head(s)
    rows = []
    for entry, at in new:
        row = _row(last, entry, at)
        rows.append(row)
        last = Head(row["seq"], row["hash"])
    _ADD.later_many(s, rows)
    seen[_SEEN] = last
    return True


def _row(last: Head, entry: Entry, at: datetime) -> dict[str, Any]:
    seq = last.seq + 1
    body = body_of({**_said(entry, at), "seq": seq})
    bond = {"seq": seq, "body": body, "previous": last.hash, "hash": hash_of(last.hash, body)}
    return {**_columns(entry, at), **bond}


def _unbound(entry: Entry, at: datetime) -> dict[str, Any]:
    before, after = halves_of(_said(entry, at))
    return {**_columns(entry, at), "before": before, "after": after}


def _columns(entry: Entry, at: datetime) -> dict[str, Any]:
    about = {"run_id": entry.run, "approval": entry.approval or None}
    return {"tenant": TENANT, "at": at, "kind": str(entry.kind), **about}


def _said(entry: Entry, at: datetime) -> dict[str, Any]:
    """All it says but for its number."""
    about = {"run": entry.run, "approval": entry.approval or None}
    columns = {"tenant": TENANT, "kind": str(entry.kind), "at": text_of(at), "form": FORM}
    return {**entry.facts, **columns, **about}


def head(s: Session) -> Head:
    """Where the chain ends now."""
    row = _HEAD.first(s, of_tenant=TENANT)
    return Head(row["seq"], row["hash"]) if row else Head()


def entries(
    s: Session,
    *,
    after: int = 0,
    limit: int = 100,
    run_id: str | None = None,
    approval: str | None = None,
) -> list[dict[str, Any]]:
    """Rows after number `after`, in their order; of one run or about one question only, where asked."""
    query = sa.select(audit_t).where(audit_t.c.tenant == TENANT, audit_t.c.seq > after)
    if run_id is not None:
        query = query.where(audit_t.c.run_id == run_id)
    if approval is not None:
        query = query.where(audit_t.c.approval == approval)
    found = s.connection().execute(query.order_by(audit_t.c.seq).limit(limit))
    return [dict(r) for r in found.mappings()]


def removed_at(s: Session, run_id: str) -> datetime | None:
    """When a run went as its time was up; None for one that did not."""
    at: datetime | None = _REMOVED.value(s, of_run=run_id)
    return at


def receipt(s: Session, approval: str) -> tuple[list[dict[str, Any]], Head]:
    """All there is about one question, and where the chain ends at this moment."""
    return entries(s, approval=approval, limit=1000), head(s)
