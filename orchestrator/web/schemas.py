"""What the API takes and gives, and how rows become answers.

Requests refuse fields they do not know. Answers have no defaults: every field is always there.
No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import Choice
from orchestrator.domain.model import (
    Actor,
    ApprovalStatus,
    CallStatus,
    OutcomeKind,
    RunStatus,
    Terms,
    TurnStatus,
    Verdict,
)

Row = Mapping[str, Any]
Links = dict[str, str]
DEEPEST: Final = 100
TOO_DEEP: Final = "(nested too deeply to be shown)"

Reason = Annotated[str, Meta(max_length=1000)]


# ------------------------------------------------------------------ requests


class NewRun(Struct, kw_only=True, forbid_unknown_fields=True):
    """A run to start. `input` is text, or the fields the workflow declares."""

    input: str | dict[str, Any]
    idempotency_key: Annotated[
        str, Meta(min_length=1, max_length=200, pattern="^[!-~]+$", description="Visible ASCII.")
    ] = ""


class CancelOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """A run that is to stop, or an effect to be tried again or given up; and why."""

    reason: Reason = ""


class Resolution(Struct, kw_only=True, forbid_unknown_fields=True):
    """What became of a call in doubt, or of a create whose answer got lost."""

    choice: Choice
    call: Annotated[
        str,
        Meta(max_length=64, description="Our id of the call; may be left out where only one is in doubt."),
    ] = ""
    result: Annotated[
        str | dict[str, Any], Meta(description="With `happened`: what the model is told the call returned.")
    ] = ""


class Answer(Struct, kw_only=True, forbid_unknown_fields=True):
    """A person's answer to a question."""

    verdict: Literal["approve", "reject"]
    reason: Reason = ""
    digest: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{16,64}$",
            description="At least the first 16 hex digits of the digest that was shown; "
            "the answer is refused if the question has changed since.",
        ),
    ] = ""


# ------------------------------------------------------------------ answers


class ActorOut(Struct, kw_only=True):
    """Who did something, and by which door: `slack`, `api`, `shell`, `system`."""

    id: str
    name: str
    door: str


class RunSummary(Struct, kw_only=True):
    id: str
    workflow: str
    status: RunStatus
    reason: str
    requester: ActorOut
    turn: int
    created_at: datetime
    updated_at: datetime
    deadline: datetime
    closed_at: datetime | None
    links: Links


class RunOut(RunSummary, kw_only=True):
    """`usage` sums token counts over all turns."""

    input: str
    output: str
    usage: dict[str, int]
    bad_calls: int


class TurnOut(Struct, kw_only=True):
    number: int
    attempt: int
    status: TurnStatus
    interaction_id: str | None
    previous_id: str | None
    gemini_status: str
    sent_at: datetime | None


class Question(Struct, kw_only=True):
    """An approval in short."""

    id: str
    status: ApprovalStatus
    expires_at: datetime


class CallOut(Struct, kw_only=True):
    """One function call. `call_id` is Gemini's id, `id` ours; `result` is what went back to the model."""

    id: str
    call_id: str
    turn: int
    tool: str
    arguments: dict[str, Any]
    status: CallStatus
    idempotent: bool
    outcome: OutcomeKind | None
    result: Any
    approval: Question | None
    started_at: datetime | None
    settled_at: datetime | None


class RunDetail(RunOut, kw_only=True):
    turns: list[TurnOut]
    calls: list[CallOut]


class VerdictOut(Struct, kw_only=True):
    approve: bool
    by: ActorOut
    at: datetime
    reason: str


class ApprovalOut(Struct, kw_only=True):
    """One question about one call. `trouble` says why it could not be shown in Slack."""

    id: str
    run: str
    workflow: str
    call: str
    turn: int
    tool: str
    arguments: dict[str, Any]
    call_status: CallStatus
    status: ApprovalStatus
    revision: int
    digest: str
    approvers: list[str]
    requested_at: datetime
    expires_at: datetime
    start_by: datetime | None
    verdict: VerdictOut | None
    channel: str
    ts: str
    trouble: str
    links: Links


class EventOut(Struct, kw_only=True):
    """One entry of a run's record."""

    seq: int
    kind: str
    at: datetime
    status: str
    note: str
    refused: str | None
    data: dict[str, Any]


class RunPage(Struct, kw_only=True):
    """Newest first; `next` is the cursor of the next page."""

    items: list[RunSummary]
    next: str | None


class ApprovalPage(Struct, kw_only=True):
    """Newest first; `next` is the cursor of the next page."""

    items: list[ApprovalOut]
    next: str | None


class EventPage(Struct, kw_only=True):
    """Oldest first; `next` is the `after` of the next page, None at the end of the record."""

    items: list[EventOut]
    next: int | None


class CallList(Struct, kw_only=True):
    items: list[CallOut]


class EffectOut(Struct, kw_only=True):
    """Something that must be done. `run` is None for a look at an interaction nobody knows."""

    id: str
    run: str | None
    kind: EffectKind
    subject: str
    state: str
    due_at: datetime
    attempts: int
    lease_until: datetime | None
    error: str
    links: Links


class EffectPage(Struct, kw_only=True):
    """What waits by its time, the soonest first; else newest first. `next` is the next page's cursor."""

    items: list[EffectOut]
    next: str | None


# ------------------------------------------------------------------ rows → answers


def run_summary(row: Row) -> RunSummary:
    return RunSummary(**_summary(row))


def run_out(row: Row) -> RunOut:
    return RunOut(**_whole(row))


def run_detail(row: Row, turns: list[TurnOut], calls: list[CallOut]) -> RunDetail:
    return RunDetail(**_whole(row), turns=turns, calls=calls)


def run_path(run_id: str) -> str:
    return f"/v1/runs/{run_id}"


def _summary(row: Row) -> dict[str, Any]:
    own = run_path(row["id"])
    links = {"self": own, **{part: f"{own}/{part}" for part in ("events", "calls", "approvals", "cancel")}}
    same = ("id", "workflow", "status", "reason", "turn", "created_at", "updated_at", "deadline", "closed_at")
    return {**{k: row[k] for k in same}, "requester": _actor(row["requester"]), "links": links}


def _whole(row: Row) -> dict[str, Any]:
    more = {k: row[k] for k in ("input", "output", "usage", "bad_calls")}
    return {**_summary(row), **more}


def turn_out(row: Row) -> TurnOut:
    return TurnOut(**{k: row[k] for k in TurnOut.__struct_fields__})


def call_out(row: Row, approval: Row | None) -> CallOut:
    same = ("id", "call_id", "turn", "tool", "status", "idempotent", "outcome", "started_at", "settled_at")
    asked = approval and Question(
        id=approval["id"], status=approval["status"], expires_at=approval["expires_at"]
    )
    return CallOut(
        **{k: row[k] for k in same},
        arguments=whole_text(row["arguments"]),
        result=whole_text(row["result"]),
        approval=asked or None,
    )


def approval_out(row: Row) -> ApprovalOut:
    same = (
        *("id", "workflow", "call", "turn", "tool", "call_status", "status", "revision", "digest"),
        *("requested_at", "expires_at", "start_by", "channel", "ts", "trouble"),
    )
    own = f"/v1/approvals/{row['id']}"
    return ApprovalOut(
        **{k: row[k] for k in same},
        run=row["run_id"],
        arguments=whole_text(row["arguments"]),
        approvers=list(msgspec.convert(row["terms"], Terms).approvers),
        verdict=_verdict(row["verdict"]),
        links={"self": own, "decision": f"{own}/decision", "run": run_path(row["run_id"])},
    )


def event_out(row: Row) -> EventOut:
    same = {k: row[k] for k in ("seq", "kind", "at", "status", "note", "refused")}
    return EventOut(**same, data=whole_text(row["data"]))


def _actor(stored: Row) -> ActorOut:
    actor = msgspec.convert(stored, Actor)
    return ActorOut(id=actor.id, name=actor.name, door=actor.door)


def _verdict(stored: Row | None) -> VerdictOut | None:
    if stored is None:
        return None
    verdict = msgspec.convert(stored, Verdict)
    by = ActorOut(id=verdict.by.id, name=verdict.by.name, door=verdict.by.door)
    return VerdictOut(approve=verdict.approve, by=by, at=verdict.at, reason=verdict.reason)


def whole_text(value: Any, depth: int = 0) -> Any:
    """Stored JSON as it can be sent.

    A model may write half surrogate pairs, which no UTF-8 can hold, and nest without end.
    """
    if depth > DEEPEST:
        return TOO_DEEP
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {whole_text(k): whole_text(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [whole_text(v, depth + 1) for v in value]
    return value
