"""Rows ↔ values of a run. A save is conditional on the version that was read."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.asking import OURS
from orchestrator.domain.consent import (
    Actor,
    Approval,
    ApprovalStatus,
    Inquiry,
    Place,
    Preview,
    Terms,
    Verdict,
    Vote,
)
from orchestrator.domain.decision import Decision
from orchestrator.domain.evidence import REQUESTED, opened
from orchestrator.domain.jobs import Job
from orchestrator.domain.model import (
    CallStatus,
    Outcome,
    OutcomeKind,
    Recipe,
    Run,
    ToolCall,
    Turn,
    TurnStatus,
)
from orchestrator.domain.plain import exact
from orchestrator.domain.sources import Source
from orchestrator.errors import NotFoundError
from orchestrator.store import asked, audit, jobs
from orchestrator.store.database import CHANNEL, StaleRowError, grew
from orchestrator.store.encoding import prepare
from orchestrator.store.prepared import Prepared, hold, insert_into, listed
from orchestrator.store.tables import (
    ApprovalRow,
    CallRow,
    EventRow,
    InteractionRow,
    RunRow,
    TurnRow,
    table,
)

prepare(Actor, Preview, Recipe, Terms, Verdict)
prepare(tuple[Inquiry, ...], tuple[Place, ...], tuple[Source, ...], tuple[Vote, ...])

run_t, turn_t, call_t = table(RunRow), table(TurnRow), table(CallRow)
approval_t, event_t, interaction_t = table(ApprovalRow), table(EventRow), table(InteractionRow)

_MOVING: Final = (
    "status",
    "turn",
    "output",
    "reason",
    "usage",
    "bad_calls",
    "granted",
    "updated_at",
    "closed_at",
    "version",
    "seq",
    "step",
    "sources",
)
"""The columns of a run that change over its life."""
_HANDED_ON: Final = "outputs"
"""One more; it may be large and changes seldom, so it is written only then."""

MOST_REJECTED: Final = 100
"""Rejected calls of a tool, the newest ones, that a call is compared with."""

_ASKED: Final = frozenset({TurnStatus.ACTION, TurnStatus.ENDED, TurnStatus.REFUSED})
"""In which states a turn may have calls."""

_RUN = sa.select(run_t).where(run_t.c.id == sa.bindparam("of_run"))
_LOAD = Prepared(lambda dialect: _RUN.with_for_update() if dialect == "postgresql" else _RUN)
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
_RUN_AS_READ = run_t.update().where(
    run_t.c.id == sa.bindparam("of_run"), run_t.c.version == sa.bindparam("of_version")
)
_MOVE_RUN = Prepared(_RUN_AS_READ, _MOVING)
_MOVE_RUN_ON = Prepared(_RUN_AS_READ, (*_MOVING, _HANDED_ON))
_MOVE_TURN = Prepared(
    turn_t.update().where(
        turn_t.c.run_id == sa.bindparam("of_run"), turn_t.c.number == sa.bindparam("of_turn")
    ),
    [c.name for c in turn_t.c if c.name not in ("run_id", "number")],
)
_MOVE_CALL = Prepared(
    call_t.update().where(
        call_t.c.id == sa.bindparam("of_call"), call_t.c.status == sa.bindparam("of_status")
    ),
    [c.name for c in call_t.c if c.name not in ("id", "run_id", "turn", "position")],
)
_MOVE_APPROVAL = Prepared(
    approval_t.update().where(
        approval_t.c.id == sa.bindparam("of_approval"), approval_t.c.status == sa.bindparam("of_status")
    ),
    [c.name for c in approval_t.c if c.name not in ("id", "call", "run_id", "requested_at")],
)
_RECORD = Prepared(
    lambda dialect: (
        event_t.insert().returning(sa.func.pg_notify(CHANNEL, event_t.c.run_id))
        if dialect == "postgresql"
        else event_t.insert()
    )
)
"""On PostgreSQL the same statement tells the other processes, after the COMMIT."""
_REMEMBER = Prepared(lambda dialect: insert_into(dialect)(interaction_t).on_conflict_do_nothing())
_OWNER = Prepared(
    sa.select(interaction_t.c.run_id, interaction_t.c.turn, interaction_t.c.attempt).where(
        interaction_t.c.id == sa.bindparam("of_interaction")
    )
)
_APPROVAL = Prepared(sa.select(approval_t).where(approval_t.c.id == sa.bindparam("of_approval")))
_CALL = Prepared(sa.select(call_t).where(call_t.c.id == sa.bindparam("of_call")))
_ASKED_NOW = Prepared(
    sa.select(approval_t)
    .join(call_t, call_t.c.approval == approval_t.c.id)
    .where(call_t.c.id == sa.bindparam("of_call"))
)
_SUCCEEDED = Prepared(
    sa.select(sa.func.count().label("made")).where(
        call_t.c.run_id == sa.bindparam("of_run"),
        call_t.c.outcome == OutcomeKind.SUCCEEDED,
        call_t.c.call_id.not_like(f"{OURS}%"),
    )
)
_REJECTED = Prepared(
    sa.select(call_t.c.arguments, approval_t.c.verdict)
    .join_from(call_t, approval_t, call_t.c.approval == approval_t.c.id)
    .where(
        call_t.c.run_id == sa.bindparam("of_run"),
        call_t.c.tool == sa.bindparam("of_tool"),
        call_t.c.id != sa.bindparam("of_call"),
        call_t.c.outcome == OutcomeKind.REJECTED,
    )
    .order_by(call_t.c.settled_at.desc(), call_t.c.id)
    .limit(MOST_REJECTED)
)
_PLACE = Prepared(
    approval_t.update().where(approval_t.c.id == sa.bindparam("of_approval")), ["channel", "ts"]
)

_PLACE_BATCH = Prepared(
    turn_t.update().where(
        turn_t.c.run_id == sa.bindparam("of_run"),
        turn_t.c.number == sa.bindparam("of_turn"),
        turn_t.c.batch_channel != "",
    ),
    ["batch_ts"],
)
_BATCH = Prepared(
    sa.select(turn_t.c.batch_channel, turn_t.c.batch_ts)
    .join(call_t, sa.and_(call_t.c.run_id == turn_t.c.run_id, call_t.c.turn == turn_t.c.number))
    .where(call_t.c.id == sa.bindparam("of_call"))
)
_COPIES = Prepared(approval_t.update().where(approval_t.c.id == sa.bindparam("of_approval")), ["copies"])
_QUESTIONS = Prepared(
    approval_t.update().where(approval_t.c.id == sa.bindparam("of_approval")), ["questions"]
)


def load(s: Session, run_id: str) -> Run:
    """The run with its newest turn. Raises `NotFoundError`.

    On PostgreSQL the row is locked, so that two events of one run take turns instead of racing.
    """
    known = hold(s).seen
    if run_id not in known:
        row = _LOAD.first(s, of_run=run_id)
        if row is None:
            raise NotFoundError(f"there is no run {run_id}")
        known[run_id] = _run(row, load_turn(s, run_id, row["turn"]))
    run: Run = known[run_id]
    return run


def lock(s: Session, run_id: str) -> None:
    """Take the run before any of its effects, as every transaction does, so that none waits in a circle.

    SQLite has one writer, who needs no order.
    """
    if run_id and hold(s).dialect.name == "postgresql":
        with suppress(NotFoundError):
            load(s, run_id)


def load_turn(s: Session, run_id: str, number: int) -> Turn:
    """One turn with its calls and their newest approvals."""
    row = _TURN.first(s, of_run=run_id, of_turn=number)
    if row is None:
        raise LookupError(f"run {run_id} has no turn {number}")
    # Before its interaction is there, only a question about a restart can be: of this attempt, or one before.
    called = row["attempt"] > 1 or row["status"] in _ASKED
    call_rows = _CALLS.rows(s, of_run=run_id, of_turn=number) if called else []
    asked = any(c["approval"] for c in call_rows)
    approvals = {
        a["id"]: approval_value(a)
        for a in (_APPROVALS.rows(s, of_run=run_id, of_turn=number) if asked else ())
    }
    waiting = [c["id"] for c in call_rows if c["jobs"]]
    made = jobs.of_calls(s, waiting) if waiting else {}
    return Turn(
        number=number,
        attempt=row["attempt"],
        status=row["status"],
        interaction_id=row["interaction_id"],
        previous_id=row["previous_id"],
        gemini_status=row["gemini_status"],
        readings=row["readings"],
        sent_at=row["sent_at"],
        continuation=row["continuation"],
        forgotten_at=row["forgotten_at"],
        said=row["said"],
        note=row["note"],
        planning=row["planning"],
        environment=row["environment"],
        batch=Place(row["batch_channel"], row["batch_ts"]) if row["batch_channel"] else None,
        calls=tuple(
            call_value(c, approvals.get(c["approval"] or ""), made.get(c["id"], ())) for c in call_rows
        ),
    )


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
        _HANDED_ON: dict(run.outputs),
    }
    _NEW_RUN.run(s, id=run.id, **fixed, **_moving(run, now), **extra)
    _NEW_TURN.run(s, run_id=run.id, number=run.turn.number, **_turn_row(run.turn))
    record(s, run, REQUESTED, {"input": run.input}, "", None, now)
    audit.note(s, opened(run), now)
    hold(s).seen[run.id] = run
    return run


def save(s: Session, before: Run, decision: Decision, *, now: datetime) -> Run:
    """Write what changed. Raises `StaleRowError` when the run is no longer what was read."""
    after = replace(decision.run, version=before.version + 1, seq=before.seq + 1)
    columns, move = _moving(after, now), _MOVE_RUN
    if after.outputs is not before.outputs:
        columns, move = {**columns, _HANDED_ON: dict(after.outputs)}, _MOVE_RUN_ON
    moved = move.run(s, of_run=before.id, of_version=before.version, **columns)
    _moved(moved, f"run {before.id} at version {before.version}")
    _save_turn(s, after.id, before.turn, decision.left or after.turn, now)
    if decision.left is not None:
        _NEW_TURN.run(s, run_id=after.id, number=after.turn.number, **_turn_row(after.turn))
    hold(s).seen[after.id] = after
    return after


def record(
    s: Session, run: Run, kind: str, data: dict[str, Any], note: str, refused: str | None, now: datetime
) -> None:
    """One entry of the run's history, numbered by `run.seq`."""
    grew(s, run.id)
    _RECORD.run(
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


def rejections(s: Session, run_id: str, call: ToolCall) -> tuple[Verdict | None, int]:
    """How often people have said no to the very same call in this run, and the newest of these verdicts."""
    rows = _REJECTED.rows(s, of_run=run_id, of_tool=call.tool, of_call=call.id)
    alike = exact(call.arguments)
    same = [r["verdict"] for r in rows if r["verdict"] and exact(r["arguments"]) == alike]
    return (msgspec.convert(same[0], Verdict) if same else None), len(same)


def remember(s: Session, interaction_id: str, run_id: str, turn: int, attempt: int) -> None:
    """This interaction is ours; saying so twice changes nothing."""
    _REMEMBER.run(s, id=interaction_id, run_id=run_id, turn=turn, attempt=attempt)


def closed(s: Session, run_id: str) -> bool:
    """Whether the record is closed, or gone."""
    return _OPEN.first(s, of_run=run_id) is None


def owner_of(s: Session, interaction_id: str) -> tuple[str, int, int] | None:
    """Run, turn and attempt of an interaction, if it is known to be ours."""
    row = _OWNER.first(s, of_interaction=interaction_id)
    return (row["run_id"], row["turn"], row["attempt"]) if row else None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an interaction of ours stands to its run: `current` is the one a live run goes on with."""

    run_id: str
    current: bool
    turn: TurnStatus


_CURRENT = sa.and_(turn_t.c.interaction_id == interaction_t.c.id, run_t.c.closed_at.is_(None))
_STANDING = Prepared(
    lambda dialect: (
        sa.select(interaction_t.c.id, interaction_t.c.run_id, _CURRENT.label("current"), turn_t.c.status)
        .join(run_t, run_t.c.id == interaction_t.c.run_id)
        .join(turn_t, sa.and_(turn_t.c.run_id == run_t.c.id, turn_t.c.number == run_t.c.turn))
        .where(interaction_t.c.id.in_(listed(dialect, "ids")))
    )
)


def standing(s: Session, ids: Collection[str]) -> dict[str, Standing]:
    """Of those interactions, the ones known to be ours."""
    rows = _STANDING.rows(s, ids=list(ids))
    return {r["id"]: Standing(r["run_id"], bool(r["current"]), r["status"]) for r in rows}


def place(s: Session, approval: str, channel: str, ts: str, person: str = "") -> bool:
    """Where the message of a question is that is asked no longer; False when there is no such question.

    Args:
        person: In whose direct messages it is: one more copy.
    """
    if person:
        row = _APPROVAL.first(s, of_approval=approval)
        copies = [*(row["copies"] if row else ()), msgspec.to_builtins(Place(channel, ts, person))]
        return _COPIES.run(s, of_approval=approval, copies=copies) == 1
    return _PLACE.run(s, of_approval=approval, channel=channel, ts=ts) == 1


def place_inquiry(s: Session, approval: str, number: int, place: Place) -> bool:
    """Where a question that was asked back about it stands, of a request asked no longer; False for none."""
    row = _APPROVAL.first(s, of_approval=approval)
    questions = approval_value(row).questions if row else ()
    if not 1 <= number <= len(questions):
        return False
    asked_back = questions[number - 1]
    shown = replace(asked_back, places=tuple(dict.fromkeys((*asked_back.places, place))))
    changed = (*questions[: number - 1], shown, *questions[number:])
    return _QUESTIONS.run(s, of_approval=approval, questions=msgspec.to_builtins(changed)) == 1


def place_batch(s: Session, run_id: str, turn: int, ts: str) -> bool:
    """Where the message over the questions of a turn is that was left behind; False when it never had one."""
    return _PLACE_BATCH.run(s, of_run=run_id, of_turn=turn, batch_ts=ts) == 1


def batch_over(s: Session, call: str) -> Place | None:
    """The message over the questions of the turn a call belongs to."""
    row = _BATCH.first(s, of_call=call)
    return Place(row["batch_channel"], row["batch_ts"]) if row and row["batch_channel"] else None


def load_approval(s: Session, approval: str, run: Run | None = None) -> tuple[Approval, ToolCall, str] | None:
    """One question, current or long answered, with its call and the id of its run.

    Args:
        run: As it is now, where that is known: a question of its newest turn need not be read.
    """
    current = run.turn.by_approval(approval) if run else None
    if run is not None and current is not None and current.approval is not None:
        return current.approval, current, run.id
    row = _APPROVAL.first(s, of_approval=approval)
    if row is None:
        return None
    value = approval_value(row)
    call = _CALL.first(s, of_call=row["call"])
    if call is None:
        raise LookupError(f"approval {approval} has no call")
    return value, call_value(call, value), row["run_id"]


def asked_now(s: Session, call: str) -> Approval | None:
    """The newest question about a call."""
    row = _ASKED_NOW.first(s, of_call=call)
    return approval_value(row) if row else None


def _run(row: Any, turn: Turn) -> Run:
    return Run(
        id=row["id"],
        recipe=msgspec.convert(row["recipe"], Recipe),
        status=row["status"],
        turn=turn,
        input=row["input"],
        requester=msgspec.convert(row["requester"], Actor),
        created_at=row["created_at"],
        deadline=row["deadline"],
        output=row["output"],
        reason=row["reason"],
        usage=row["usage"],
        bad_calls=row["bad_calls"],
        granted=row["granted"],
        restart_of=row["restart_of"],
        closed_at=row["closed_at"],
        version=row["version"],
        seq=row["seq"],
        step=row["step"],
        outputs=row["outputs"],
        sources=msgspec.convert(row["sources"], tuple[Source, ...]) if row["sources"] else (),
    )


def _moving(run: Run, now: datetime) -> dict[str, Any]:
    return {
        "status": run.status,
        "turn": run.turn.number,
        "output": run.output,
        "reason": run.reason,
        "usage": dict(run.usage),
        "bad_calls": run.bad_calls,
        "granted": run.granted,
        "updated_at": now,
        "closed_at": run.closed_at,
        "version": run.version,
        "seq": run.seq,
        "step": run.step,
        "sources": msgspec.to_builtins(run.sources),
    }


def _turn_row(turn: Turn) -> dict[str, Any]:
    return {
        "attempt": turn.attempt,
        "status": turn.status,
        "interaction_id": turn.interaction_id,
        "previous_id": turn.previous_id,
        "gemini_status": turn.gemini_status[:64],
        "readings": turn.readings,
        "sent_at": turn.sent_at,
        "continuation": turn.continuation,
        "forgotten_at": turn.forgotten_at,
        "said": turn.said,
        "note": turn.note,
        "planning": turn.planning,
        "environment": turn.environment,
        "batch_channel": turn.batch.channel if turn.batch else "",
        "batch_ts": turn.batch.ts if turn.batch else "",
    }


def _save_turn(s: Session, run_id: str, before: Turn, after: Turn, now: datetime) -> None:
    row = _turn_row(after)
    if row != _turn_row(before):
        _MOVE_TURN.run(s, of_run=run_id, of_turn=after.number, **row)
    known = {c.id: c for c in before.calls}
    for position, call in enumerate(after.calls):
        old = known.get(call.id)
        if old is None:
            where = {"id": call.id, "run_id": run_id, "turn": after.number, "position": position}
            _NEW_CALL.run(s, **where, **_call_row(call))
        elif old != call:
            moved = _MOVE_CALL.run(s, of_call=call.id, of_status=old.status, **_call_row(call))
            _moved(moved, f"call {call.id} in {old.status}")
        _save_approval(s, run_id, call, old.approval if old else None)
        if call.jobs:
            jobs.save(s, run_id, call.id, old.jobs if old else (), call.jobs, now)


def _save_approval(s: Session, run_id: str, call: ToolCall, before: Approval | None) -> None:
    after = call.approval
    if after is None or after == before:
        return
    row = _approval_row(after)
    if before is None or before.id != after.id:
        if before is not None and before.open:
            _spend(s, before)
        fixed = {"id": after.id, "call": call.id, "run_id": run_id, "requested_at": after.requested_at}
        _NEW_APPROVAL.run(s, **fixed, **row)
        asked.keep(s, None, after)
        return
    moved = _MOVE_APPROVAL.run(s, of_approval=after.id, of_status=before.status, **row)
    _moved(moved, f"approval {after.id} in {before.status}")
    asked.keep(s, before, after)


def _spend(s: Session, replaced: Approval) -> None:
    """A question in whose place another is asked: nobody's answer to it counts any more."""
    row = _approval_row(replace(replaced, status=ApprovalStatus.WITHDRAWN))
    moved = _MOVE_APPROVAL.run(s, of_approval=replaced.id, of_status=replaced.status, **row)
    _moved(moved, f"approval {replaced.id} in {replaced.status}")
    asked.keep(s, replaced, None)


def _moved(rows: int, what: str) -> None:
    """The number of rows changed decides who won."""
    if rows != 1:
        raise StaleRowError(f"{what} is no longer what was read")


def _call_row(call: ToolCall) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "tool": call.tool,
        "arguments": dict(call.arguments),
        "status": call.status,
        "idempotent": call.idempotent,
        "approval": call.approval.id if call.approval else None,
        "outcome": call.outcome.kind if call.outcome else None,
        "result": call.outcome.result if call.outcome else None,
        "claim": call.claim,
        "started_at": call.started_at,
        "settled_at": call.settled_at,
        "jobs": len(call.jobs),
    }


def call_value(row: Any, approval: Approval | None, made: tuple[Job, ...] = ()) -> ToolCall:
    """A call's row as a value, with the jobs it waits for."""
    outcome = Outcome(row["outcome"], row["result"]) if row["outcome"] else None
    return ToolCall(
        id=row["id"],
        call_id=row["call_id"],
        tool=row["tool"],
        arguments=row["arguments"],
        status=CallStatus(row["status"]),
        idempotent=row["idempotent"],
        approval=approval,
        outcome=outcome,
        claim=row["claim"],
        started_at=row["started_at"],
        settled_at=row["settled_at"],
        jobs=made,
    )


def _approval_row(approval: Approval) -> dict[str, Any]:
    return {
        "revision": approval.revision,
        "status": approval.status,
        "digest": approval.digest,
        "terms": msgspec.to_builtins(approval.terms),
        "expires_at": approval.expires_at,
        "start_by": approval.start_by,
        "verdict": msgspec.to_builtins(approval.verdict) if approval.verdict else None,
        "channel": approval.channel,
        "ts": approval.ts,
        "trouble": approval.trouble,
        "votes": msgspec.to_builtins(approval.votes),
        "reminded": approval.reminded,
        "escalated": approval.escalated,
        "copies": msgspec.to_builtins(approval.copies),
        "preview": msgspec.to_builtins(approval.preview) if approval.preview else None,
        "collected": approval.collected,
        "since": approval.since,
        "questions": msgspec.to_builtins(approval.questions),
    }


def approval_value(row: Any) -> Approval:
    """An approval's row as a value."""
    return Approval(
        id=row["id"],
        status=row["status"],
        digest=row["digest"],
        terms=msgspec.convert(row["terms"], Terms),
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        revision=row["revision"],
        start_by=row["start_by"],
        verdict=msgspec.convert(row["verdict"], Verdict) if row["verdict"] else None,
        channel=row["channel"],
        ts=row["ts"],
        trouble=row["trouble"],
        votes=msgspec.convert(row["votes"], tuple[Vote, ...]) if row["votes"] else (),
        reminded=row["reminded"],
        escalated=row["escalated"],
        copies=msgspec.convert(row["copies"], tuple[Place, ...]) if row["copies"] else (),
        preview=msgspec.convert(row["preview"], Preview) if row["preview"] else None,
        collected=row["collected"],
        since=row["since"],
        questions=msgspec.convert(row["questions"], tuple[Inquiry, ...]) if row["questions"] else (),
    )
