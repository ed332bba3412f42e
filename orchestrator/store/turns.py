"""The turns of a run, each with its calls and their newest approvals; and the one it went on from last."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.model import Run, Turn, TurnStatus
from orchestrator.errors import UnreadableError
from orchestrator.store import jobs
from orchestrator.store.run_rows import approval_t, approval_value, call_t, call_value, turn_t, turn_value
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.sql.spelled import Row

_ASKED: Final = frozenset({TurnStatus.ACTION, TurnStatus.ENDED, TurnStatus.REFUSED, TurnStatus.LOST})
"""In which states a turn may have calls."""
_TURN = Prepared(
    sa.select(turn_t).where(
        turn_t.c.run_id == sa.bindparam("of_run"), turn_t.c.number == sa.bindparam("of_turn")
    )
)
_CALLS = Prepared(
    sa.select(call_t)
    .where(call_t.c.run_id == sa.bindparam("of_run"), call_t.c.turn == sa.bindparam("of_turn"))
    .order_by(call_t.c.position, call_t.c.call_id)
)
_APPROVALS = Prepared(
    sa.select(approval_t).where(
        approval_t.c.id.in_(
            sa.select(call_t.c.approval).where(
                call_t.c.run_id == sa.bindparam("of_run"), call_t.c.turn == sa.bindparam("of_turn")
            )
        )
    )
)


def load(s: Session, run_id: str, number: int) -> Turn:
    """One turn with its calls and their newest approvals."""
    if (known := left(s, run_id)) is not None and known.number == number:
        return known
    row, call_rows, approval_rows = (_each if on_sqlite(s) else _at_once)(s, run_id, number)
    if row is None:
        raise UnreadableError(f"run {run_id} cannot be read: it has no turn {number}")
    approvals = {a["id"]: approval_value(a) for a in approval_rows}
    waiting = [c["id"] for c in call_rows if c["jobs"]]
    made = jobs.of_calls(s, waiting) if waiting else {}
    calls = (call_value(c, approvals.get(c["approval"] or ""), made.get(c["id"], ())) for c in call_rows)
    return turn_value(row, tuple(calls))


def left(s: Session, run_id: str) -> Turn | None:
    """The turn the run has gone on from last, where this transaction knows it."""
    known: Turn | None = hold(s).seen.get(_left(run_id))
    return known


def forget_left(s: Session, run_id: str) -> None:
    """It changes no more, but in where its questions are shown: they have been put somewhere else."""
    hold(s).seen.pop(_left(run_id), None)


def keep_left(s: Session, run: Run, turn: Turn) -> None:
    """For the request that goes on from it; jobs may still move behind a turn."""
    if run.closed or any(c.jobs for c in turn.calls):
        forget_left(s, run.id)
    else:
        hold(s).seen[_left(run.id)] = turn


def _left(run_id: str) -> str:
    return f"left {run_id}"


_TurnRows = tuple[Row | None, Sequence[Row], Sequence[Row]]
"""A turn's, its calls' and those of their newest approvals."""


def _each(s: Session, run_id: str, number: int) -> _TurnRows:
    """Only what there can be is asked for."""
    row = _TURN.first(s, of_run=run_id, of_turn=number)
    # Before its interaction is there, only a question about a restart can be: of this attempt, or one before.
    called = row is not None and (row["attempt"] > 1 or row["status"] in _ASKED)
    calls = _CALLS.rows(s, of_run=run_id, of_turn=number) if called else []
    asked = any(c["approval"] for c in calls)
    return row, calls, _APPROVALS.rows(s, of_run=run_id, of_turn=number) if asked else ()


def _at_once(s: Session, run_id: str, number: int) -> _TurnRows:
    """All of it in one round trip."""
    turns: list[Row] = []
    calls: list[Row] = []
    _TURN.learn(s, turns.extend, of_run=run_id, of_turn=number)
    _CALLS.learn(s, calls.extend, of_run=run_id, of_turn=number)
    approvals = _APPROVALS.rows(s, of_run=run_id, of_turn=number)
    return turns[0] if turns else None, calls, approvals
