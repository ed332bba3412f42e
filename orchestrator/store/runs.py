"""A run, read and written whole. A save is conditional on the version that was read."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.asking import OURS
from orchestrator.domain.consent import Approval, ApprovalStatus
from orchestrator.domain.decision import Decision
from orchestrator.domain.evidence import REQUESTED, opened
from orchestrator.domain.model import OutcomeKind, Run, ToolCall, Turn, TurnStatus
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError, UnreadableError
from orchestrator.store import asked, audit, copied, jobs, recollection
from orchestrator.store.recollection import Known, recalled
from orchestrator.store.run_rows import (
    APPROVAL,
    CALL,
    RUN,
    TURN,
    approval_t,
    approval_value,
    call_t,
    call_value,
    changed,
    event_t,
    interaction_t,
    run_t,
    run_value,
    turn_t,
    turn_value,
    written,
)
from orchestrator.store.sql.afterwards import grew
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Changing, Prepared
from orchestrator.store.sql.races import StaleRowError
from orchestrator.store.sql.spelled import Row
from orchestrator.store.sql.wire import Check
from orchestrator.store.tables import EffectRow, table

effect_t = table(EffectRow)

_ASKED: Final = frozenset({TurnStatus.ACTION, TurnStatus.ENDED, TurnStatus.REFUSED, TurnStatus.LOST})
"""In which states a turn may have calls."""
_RUN = sa.select(run_t).where(run_t.c.id == sa.bindparam("of_run"))
_LOAD = Prepared(lambda dialect: _RUN.with_for_update() if dialect == "postgresql" else _RUN)


def _marked(run_id: sa.ColumnElement[Any]) -> Prepared:
    """Takes the run, and tells which it is and as what it was committed last."""
    marks = (run_t.c.id, run_t.c.version, run_t.c.updated_at)
    return Prepared(sa.select(*marks).where(run_t.c.id == run_id).with_for_update())


def _marked_of(column: sa.Column[Any], key: sa.Column[Any]) -> Prepared:
    """The same of the run that column names in the row with that key."""
    return _marked(sa.select(column).where(key == sa.bindparam("of_row")).scalar_subquery())


_MARK = _marked(sa.bindparam("of_run"))
_MARK_OF_EFFECT = _marked_of(effect_t.c.run_id, effect_t.c.id)
_MARK_OF_APPROVAL = _marked_of(approval_t.c.run_id, approval_t.c.id)
_MARK_OF_INTERACTION = _marked_of(interaction_t.c.run_id, interaction_t.c.id)
_OPEN = Prepared(
    sa.select(run_t.c.id).where(run_t.c.id == sa.bindparam("of_run"), run_t.c.closed_at.is_(None))
)
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
_NEW_RUN = Prepared(run_t.insert())
_NEW_TURN = Prepared(turn_t.insert())
_NEW_CALL = Prepared(call_t.insert())
_NEW_APPROVAL = Prepared(approval_t.insert())
_MOVE_RUN = Changing(
    run_t.update().where(run_t.c.id == sa.bindparam("of_run"), run_t.c.version == sa.bindparam("of_version"))
)
_MOVE_TURN = Changing(
    turn_t.update().where(
        turn_t.c.run_id == sa.bindparam("of_run"), turn_t.c.number == sa.bindparam("of_turn")
    )
)
_MOVE_CALL = Changing(
    call_t.update().where(
        call_t.c.id == sa.bindparam("of_call"), call_t.c.status == sa.bindparam("of_status")
    )
)
_MOVE_APPROVAL = Changing(
    approval_t.update().where(
        approval_t.c.id == sa.bindparam("of_approval"), approval_t.c.status == sa.bindparam("of_status")
    )
)
_RECORD = Prepared(event_t.insert())
_SUCCEEDED = Prepared(
    sa.select(sa.func.count().label("made")).where(
        call_t.c.run_id == sa.bindparam("of_run"),
        call_t.c.outcome == OutcomeKind.SUCCEEDED,
        call_t.c.call_id.not_like(f"{OURS}%"),
    )
)


def load(s: Session, run_id: str) -> Run:
    """The run with its newest turn. Raises `NotFoundError`.

    On PostgreSQL the row is locked, so that two events of one run take turns instead of racing.
    """
    known = hold(s).seen
    if run_id not in known:
        known_to_be = recalled(s, run_id)
        if known_to_be is None or not _confirm(s, known_to_be, _MARK.rows(s, of_run=run_id)):
            _read(s, run_id)
    run: Run = known[run_id]
    return run


def _read(s: Session, run_id: str) -> None:
    row = _LOAD.first(s, of_run=run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    recollection.note(s, run_value(row, load_turn(s, run_id, row["turn"])), row["updated_at"])


def lock(s: Session, run_id: str) -> None:
    """Take the run before any of its effects, as every transaction does, so that none waits in a circle.

    SQLite has one writer, who needs no order.
    """
    if not run_id or on_sqlite(s) or run_id in hold(s).seen:
        return
    known = recalled(s, run_id)
    if known is None:
        with suppress(NotFoundError):
            load(s, run_id)
    else:
        _MARK.learn(s, partial(_confirm, s, known), of_run=run_id)


def lock_of(s: Session, effect: int | tuple[str, str]) -> None:
    """`lock` the run of an effect, by the effect's number, or by run and key."""
    if isinstance(effect, tuple):
        lock(s, effect[0])
    elif not on_sqlite(s):
        _MARK_OF_EFFECT.learn(s, partial(_recognise, s), of_row=effect)


def lock_heard(s: Session, interaction_id: str) -> None:
    """`lock` the run of an interaction, if it is one of ours."""
    if not on_sqlite(s):
        _MARK_OF_INTERACTION.learn(s, partial(_recognise, s), of_row=interaction_id)


def lock_asked(s: Session, approval_id: str) -> Run | None:
    """`lock` the run of a question; returns it, where it need not be read for that."""
    if on_sqlite(s):
        return None
    found = _MARK_OF_APPROVAL.rows(s, of_row=approval_id)
    _recognise(s, found)
    known: Run | None = hold(s).seen.get(found[0]["id"]) if found else None
    return known


def _recognise(s: Session, found: Sequence[Row]) -> None:
    """A run is locked; it need not be read where this process knows it as it is."""
    if not found or found[0]["id"] in hold(s).seen:
        return
    known = recalled(s, found[0]["id"])
    if known is not None:
        _confirm(s, known, found)


def _confirm(s: Session, known: Known, found: Sequence[Row]) -> bool:
    """The run is locked; whether it is still as this process knew it."""
    same = bool(found) and (found[0]["version"], found[0]["updated_at"]) == known.mark
    if same:
        recollection.note(s, *known)
    return same


def load_turn(s: Session, run_id: str, number: int) -> Turn:
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


def insert(
    s: Session,
    decision: Decision,
    *,
    now: datetime,
    owner: str | None = None,
    idempotency_key: str | None = None,
    body_hash: str | None = None,
) -> Run:
    """The record is opened, as version 1. Raises `IntegrityError` where owner and key are taken."""
    run = replace(decision.run, version=1, seq=1)
    extra = {"owner": owner, "idempotency_key": idempotency_key, "body_hash": body_hash}
    fixed = {
        "workflow": run.recipe.workflow,
        "recipe": msgspec.to_builtins(run.recipe),
        "input": run.input,
        "requester": msgspec.to_builtins(run.requester),
        "created_at": run.created_at,
        "deadline": run.deadline,
        "restart_of": run.restart_of,
        "turn": run.turn.number,
        "version": run.version,
        "seq": run.seq,
        "updated_at": now,
    }
    _NEW_RUN.later(s, id=run.id, **fixed, **written(run, RUN), **extra)
    _NEW_TURN.later(s, run_id=run.id, number=run.turn.number, **written(run.turn, TURN))
    record(s, run, REQUESTED, {"input": run.input}, "", None, now)
    audit.note(s, opened(run), now)
    recollection.note(s, run, now)
    return run


def save(s: Session, before: Run, decision: Decision, *, now: datetime) -> Run:
    """Write what changed. Raises `StaleRowError` when the run is no longer what was read."""
    after = replace(decision.run, version=before.version + 1, seq=before.seq + 1)
    to = {"version": after.version, "seq": after.seq, "updated_at": now, **changed(before, after, RUN)}
    if after.turn.number != before.turn.number:
        to["turn"] = after.turn.number
    stale = _one(f"run {before.id} at version {before.version}")
    _MOVE_RUN.later(s, stale, to, of_run=before.id, of_version=before.version)
    _save_turn(s, after.id, before.turn, decision.left or after.turn, now)
    if decision.left is not None:
        _NEW_TURN.later(s, run_id=after.id, number=after.turn.number, **written(after.turn, TURN))
        _keep_left(s, after, decision.left)
    elif after.closed:
        forget_left(s, after.id)
    recollection.note(s, after, now)
    return after


def _keep_left(s: Session, run: Run, turn: Turn) -> None:
    """For the request that goes on from it; jobs may still move behind a turn."""
    if run.closed or any(c.jobs for c in turn.calls):
        forget_left(s, run.id)
    else:
        hold(s).seen[_left(run.id)] = turn


def record(
    s: Session, run: Run, kind: str, data: object, note: str, refused: str | None, now: datetime
) -> None:
    """One entry of the run's history, numbered by `run.seq`."""
    grew(s, run.id)
    _RECORD.later(
        s,
        run_id=run.id,
        seq=run.seq,
        kind=kind,
        at=now,
        status=run.status,
        data=data,
        note=note,
        refused=refused,
    )


def succeeded(s: Session, run_id: str) -> int:
    """How many function calls of the whole run succeeded."""
    row = _SUCCEEDED.first(s, of_run=run_id)
    return int(row["made"]) if row else 0


def closed(s: Session, run_id: str) -> bool:
    """Whether the record is closed, or gone."""
    return _OPEN.first(s, of_run=run_id) is None


def _save_turn(s: Session, run_id: str, before: Turn, after: Turn, now: datetime) -> None:
    if to := changed(before, after, TURN):
        _MOVE_TURN.later(s, None, to, of_run=run_id, of_turn=after.number)
    known = {c.id: c for c in before.calls}
    for position, call in enumerate(after.calls):
        old = known.get(call.id)
        if old is None:
            where = {"id": call.id, "run_id": run_id, "turn": after.number, "position": position}
            _NEW_CALL.later(s, **where, **written(call, CALL))
        elif old != call:
            to = changed(old, call, CALL) or {"status": call.status}
            stale = _one(f"call {call.id} in {old.status}")
            _MOVE_CALL.later(s, stale, to, of_call=call.id, of_status=old.status)
        _save_approval(s, run_id, call, old.approval if old else None)
        if call.jobs:
            jobs.save(s, run_id, call.id, old.jobs if old else (), call.jobs, now)


def _save_approval(s: Session, run_id: str, call: ToolCall, before: Approval | None) -> None:
    after = call.approval
    if after is None or after == before:
        return
    if before is None or before.id != after.id:
        if before is not None and before.open:
            _spend(s, before)
        fixed = {"id": after.id, "call": call.id, "run_id": run_id, "requested_at": after.requested_at}
        _NEW_APPROVAL.later(s, **fixed, **written(after, APPROVAL))
        hold(s).seen[asked_by(after.id)] = run_id
        asked.keep(s, None, after)
        copied.keep(s, None, after)
        return
    to = changed(before, after, APPROVAL)
    stale = _one(f"approval {after.id} in {before.status}")
    _MOVE_APPROVAL.later(s, stale, to, of_approval=after.id, of_status=before.status)
    asked.keep(s, before, after)
    copied.keep(s, before, after)


def asked_by(approval: str) -> str:
    """Under which key it is known whose question it is, by who has asked it."""
    return f"asked by {approval}"


def _spend(s: Session, replaced: Approval) -> None:
    """A question in whose place another is asked: nobody's answer to it counts any more."""
    to = {"status": ApprovalStatus.WITHDRAWN}
    stale = _one(f"approval {replaced.id} in {replaced.status}")
    _MOVE_APPROVAL.later(s, stale, to, of_approval=replaced.id, of_status=replaced.status)
    asked.keep(s, replaced, None)


def _one(what: str) -> Check:
    """The number of rows changed decides who won."""

    def check(rows: int) -> None:
        if rows != 1:
            raise StaleRowError(f"{what} is no longer what was read")

    return check
