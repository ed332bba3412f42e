"""A run, read and written whole. A save is conditional on the version that was read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.asking import OURS
from orchestrator.domain.consent import Approval, ApprovalStatus
from orchestrator.domain.decision import Decision
from orchestrator.domain.evidence import REQUESTED, opened
from orchestrator.domain.model import OutcomeKind, Run, ToolCall, Turn
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError
from orchestrator.store import asked, audit, jobs, message_copies, run_cache, turns
from orchestrator.store.run_cache import Known, recalled
from orchestrator.store.run_rows import (
    APPROVAL,
    CALL,
    RUN,
    TURN,
    approval_t,
    call_t,
    changed,
    event_t,
    run_t,
    run_value,
    turn_t,
    written,
)
from orchestrator.store.sql.after_commit import grew
from orchestrator.store.sql.held import hold
from orchestrator.store.sql.prepared import Changing, Prepared
from orchestrator.store.sql.races import StaleRowError
from orchestrator.store.sql.spelled import Row
from orchestrator.store.sql.wire import Check

_RUN = sa.select(run_t).where(run_t.c.id == sa.bindparam("of_run"))
_LOAD = Prepared(lambda dialect: _RUN.with_for_update() if dialect == "postgresql" else _RUN)


def marked(run_id: sa.ColumnElement[Any]) -> Prepared:
    """Takes the run, and tells which it is and as what it was committed last."""
    marks = (run_t.c.id, run_t.c.version, run_t.c.updated_at)
    return Prepared(sa.select(*marks).where(run_t.c.id == run_id).with_for_update())


MARK = marked(sa.bindparam("of_run"))
_OPEN = Prepared(
    sa.select(run_t.c.id).where(run_t.c.id == sa.bindparam("of_run"), run_t.c.closed_at.is_(None))
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
        if known_to_be is None or not confirm(s, known_to_be, MARK.rows(s, of_run=run_id)):
            _read(s, run_id)
    run: Run = known[run_id]
    return run


def _read(s: Session, run_id: str) -> None:
    row = _LOAD.first(s, of_run=run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    run_cache.note(s, run_value(row, turns.load(s, run_id, row["turn"])), row["updated_at"])


def confirm(s: Session, known: Known, found: Sequence[Row]) -> bool:
    """The run is locked; whether it is still as this process knew it."""
    same = bool(found) and (found[0]["version"], found[0]["updated_at"]) == known.mark
    if same:
        run_cache.note(s, *known)
    return same


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
    run_cache.note(s, run, now)
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
        turns.keep_left(s, after, decision.left)
    elif after.closed:
        turns.forget_left(s, after.id)
    run_cache.note(s, after, now)
    return after


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
        message_copies.keep(s, None, after)
        return
    to = changed(before, after, APPROVAL)
    stale = _one(f"approval {after.id} in {before.status}")
    _MOVE_APPROVAL.later(s, stale, to, of_approval=after.id, of_status=before.status)
    asked.keep(s, before, after)
    message_copies.keep(s, before, after)


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
