"""What waits for people, and what one person said lately: what an inbox shows. Read-only.

Who may decide is not in these tables' columns (groups are Slack's to know), so the questions come in the
order of their deadlines, a bounded number of them, and the caller chooses. An inbox shows no arguments, so
none are read.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, ApprovalStatus
from orchestrator.domain.model import CallStatus, RunStatus
from orchestrator.errors import UnreadableError
from orchestrator.store.run_rows import (
    approval_t,
    approval_value,
    call_t,
    call_value,
    raises_unreadable,
    run_t,
)

log = structlog.get_logger(__name__)

MOST_OPEN: Final = 500
"""Open questions that are looked at for one person."""
MOST_ANSWERED: Final = 1_000
"""Newest questions among which a person's answers are looked for."""

_RUN: Final = [
    *(run_t.c[name] for name in ("id", "workflow", "requester", "status")),
    run_t.c.recipe["asked_before"].label("asked_before"),
]
_CALL: Final = [c for c in call_t.c if c.name not in ("arguments", "result")]


def questions(s: Session, now: datetime, *, only: str | None = None) -> list[Card]:
    """The open questions, the nearest deadline first, at most `MOST_OPEN`.

    Args:
        only: The id of the one that is meant.
    """
    query = (
        sa.select(approval_t)
        .where(approval_t.c.status == ApprovalStatus.PENDING, approval_t.c.expires_at > now)
        .order_by(approval_t.c.expires_at, approval_t.c.id)
        .limit(MOST_OPEN)
    )
    if only is not None:
        query = query.where(approval_t.c.id == only)
    found = _cards(s, s.connection().execute(query).mappings().all())
    return [c for c in found if c.call.status is CallStatus.AWAITING_APPROVAL]


def answered_by(s: Session, person: str, now: datetime, *, within: timedelta, limit: int) -> list[Card]:
    """Questions that person's answer settled, the newest question first."""
    newest = (
        sa.select(approval_t)
        .where(approval_t.c.status.in_((ApprovalStatus.APPROVED, ApprovalStatus.REJECTED)))
        .where(approval_t.c.requested_at > now - within)
        .order_by(approval_t.c.requested_at.desc(), approval_t.c.id.desc())
        .limit(MOST_ANSWERED)
        .subquery()
    )
    query = (
        sa.select(newest)
        .where(newest.c.verdict["by"]["id"].as_string() == person)
        .order_by(newest.c.requested_at.desc(), newest.c.id.desc())
        .limit(limit)
    )
    return _cards(s, s.connection().execute(query).mappings().all())


def _cards(s: Session, rows: Sequence[Any]) -> list[Card]:
    """Those questions with their calls and runs, in the same order; without arguments and results."""
    conn = s.connection()
    calls = sa.select(*_CALL).where(call_t.c.id.in_({r["call"] for r in rows}))
    runs = sa.select(*_RUN).where(run_t.c.id.in_({r["run_id"] for r in rows}))
    call_of = {r["id"]: r for r in conn.execute(calls).mappings()} if rows else {}
    run_of = {r["id"]: r for r in conn.execute(runs).mappings()} if rows else {}
    cards: list[Card] = []
    for row in rows:
        try:
            cards.append(_card(row, call_of[row["call"]], run_of[row["run_id"]]))
        except UnreadableError as e:  # the others are asked for
            log.error("left_out_of_list", why=str(e))
    return cards


@raises_unreadable("a question:")
def _card(approval: Any, call: Any, run: Any) -> Card:
    value = approval_value(approval)
    return Card(
        approval=value,
        call=call_value({**call, "arguments": {}, "result": None}, value),
        run_id=run["id"],
        workflow=run["workflow"],
        requester=msgspec.convert(run["requester"], Actor),
        asked_before=tuple(run["asked_before"] or ()),  # in no recipe of an earlier version
        run_status=RunStatus(run["status"]),
    )
