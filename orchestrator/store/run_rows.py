"""The rows of a run and all it has, and the values they stand for."""

from datetime import datetime
from typing import Any, Final

import msgspec

from orchestrator.domain.consent import Actor, Approval, Inquiry, Place, Preview, Terms, Verdict, Vote
from orchestrator.domain.jobs import Job
from orchestrator.domain.model import CallStatus, Outcome, Recipe, Run, ToolCall, Turn
from orchestrator.domain.sources import Source
from orchestrator.store.encoding import prepare
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

MOVING: Final = (
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
HANDED_ON: Final = "outputs"
"""One more; it may be large and changes seldom, so it is written only then."""


def run_value(row: Any, turn: Turn) -> Run:
    """A run's row as a value, with its newest turn."""
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


def moving(run: Run, now: datetime) -> dict[str, Any]:
    """What may change of a run, as columns; without `HANDED_ON`."""
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


def turn_value(row: Any, calls: tuple[ToolCall, ...]) -> Turn:
    """A turn's row as a value, with its calls."""
    return Turn(
        number=row["number"],
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
        calls=calls,
    )


def turn_row(turn: Turn) -> dict[str, Any]:
    """A turn as columns, without its calls."""
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


def call_row(call: ToolCall) -> dict[str, Any]:
    """A call as columns, without its approval and jobs."""
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
        seal=row["seal"],
    )


def approval_row(approval: Approval) -> dict[str, Any]:
    """An approval as columns."""
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
        "seal": approval.seal,
    }
