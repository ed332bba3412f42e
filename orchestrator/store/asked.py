"""Whom each open question is put to now, for one question: how much is asked of each of them already.

A row for each entry that may still decide in the present stage, gone with the answer. So to count is to read
a few entries of an index, however many questions there ever were. Where several transactions ask at the
same moment (PostgreSQL), none sees what the others are about to add: a limit may be passed by as many.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.approver_load import put_to
from orchestrator.domain.assessment import Assessment
from orchestrator.domain.consent import Approval
from orchestrator.domain.deadlines import asked_now
from orchestrator.domain.values import replace
from orchestrator.store.sql.prepared import Prepared, listed
from orchestrator.store.tables import ID, table


class AskedRow(SQLModel, table=True):
    """An open question and one entry of approvers that decides about it now."""

    __tablename__ = "asked"
    approver: str = Field(primary_key=True, sa_type=sa.Text)
    approval: str = Field(
        primary_key=True, max_length=ID, foreign_key="approval.id", ondelete="CASCADE", index=True
    )


asked_t = table(AskedRow)

_ADD = Prepared(asked_t.insert())
_DROP = Prepared(asked_t.delete().where(asked_t.c.approval == sa.bindparam("of_approval")))
_COUNT = Prepared(
    lambda dialect: (
        sa.select(asked_t.c.approver, sa.func.count().label("count"))
        .where(asked_t.c.approver.in_(listed(dialect, "entries")))
        .group_by(asked_t.c.approver)
    )
)


def keep(s: Session, before: Approval | None, after: Approval | None) -> None:
    """The rows of a question that was saved; None where there was none, or another took its place."""
    old, new = _now(before), _now(after)
    if old == new:
        return
    if before is not None and old:
        _DROP.later(s, of_approval=before.id)
    if after is not None:
        _ADD.later_many(s, [{"approver": entry, "approval": after.id} for entry in new])


def _now(approval: Approval | None) -> list[str]:
    if approval is None or not approval.open:
        return []
    return sorted(set(asked_now(approval)))


def counts(s: Session, entries: Sequence[str]) -> dict[str, int]:
    """How many open questions each of those has now."""
    found = {r["approver"]: r["count"] for r in _COUNT.rows(s, entries=list(entries))} if entries else {}
    return {entry: found.get(entry, 0) for entry in entries}


def counted(s: Session, wishes: Sequence[Assessment]) -> tuple[Assessment, ...]:
    """The wishes, each with how much is asked already of those it would be put to."""
    entries = sorted({entry for wish in wishes for entry in put_to(wish)})
    open_now = counts(s, entries)
    return tuple(replace(w, asked={e: open_now[e] for e in put_to(w)}) for w in wishes)
