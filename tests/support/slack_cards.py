"""Approval cards in any state, for tests that look at them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.domain.model import (
    Actor,
    Approval,
    ApprovalStatus,
    CallStatus,
    Card,
    Outcome,
    OutcomeKind,
    RunStatus,
    Terms,
    ToolCall,
    Verdict,
)

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
DIGEST = "9f2c41aa" + "0b" * 28
ID = "apr_" + "a1" * 12
ALICE = Actor("U0ALICE", "alice", "slack")
LINK = "https://hitl.example.com/runs/run_9"


def card(arguments: dict[str, Any] | None = None, **changes: Any) -> Card:
    """A pending request about `refund_order`; `changes` to the card itself."""
    approval = Approval(
        id=ID,
        status=ApprovalStatus.PENDING,
        digest=DIGEST,
        terms=Terms(approvers=("U0ALICE", "U0BOB", "api:ci"), channel="C0APPR"),
        requested_at=NOW - timedelta(minutes=5),
        expires_at=NOW + timedelta(hours=1),
    )
    call = ToolCall(
        id="call_1",
        call_id="fc_1",
        tool="refund_order",
        arguments={"order": 4711, "note": "twice"} if arguments is None else arguments,
        status=CallStatus.AWAITING_APPROVAL,
        approval=approval,
    )
    whole = Card(
        approval=approval,
        call=call,
        run_id="run_9",
        workflow="support",
        requester=Actor("U0DANA", "dana", "slack"),
        run_status=RunStatus.WAITING,
        description="Refund an order to the card it was paid with.",
        link=LINK,
    )
    return replace(whole, **changes)


def decided(
    status: ApprovalStatus,
    call: CallStatus,
    *,
    verdict: Verdict | None = None,
    outcome: Outcome | None = None,
    run: RunStatus = RunStatus.RUNNING,
    started: bool = False,
    arguments: dict[str, Any] | None = None,
    **changes: Any,
) -> Card:
    """The same request later on."""
    base = card(arguments)
    start_by = NOW + timedelta(minutes=30) if verdict and verdict.approve else None
    approval = replace(
        base.approval, status=status, verdict=verdict, start_by=start_by, channel="C0APPR", ts="1.1"
    )
    moved = replace(
        base.call,
        status=call,
        approval=approval,
        outcome=outcome,
        started_at=NOW if started else None,
        settled_at=NOW + timedelta(seconds=2.5) if outcome else None,
    )
    return replace(base, approval=approval, call=moved, run_status=run, **changes)


YES = Verdict(True, ALICE, NOW)
NO = Verdict(False, Actor("U0BOB", "bob", "slack"), NOW, "Ask <!channel> first")
S, C, K = ApprovalStatus, CallStatus, OutcomeKind


def states() -> dict[str, Card]:
    """One card per state a message can show, by the state's name."""
    return {
        "pending": card(),
        "approved": decided(S.APPROVED, C.READY, verdict=YES),
        "running": decided(S.APPROVED, C.EXECUTING, verdict=YES, started=True),
        "running a job": decided(S.APPROVED, C.AWAITING_JOB, verdict=YES, started=True),
        "running, run cancelled": decided(
            S.APPROVED, C.EXECUTING, verdict=YES, started=True, run=RunStatus.CANCELLED
        ),
        "done": decided(
            S.APPROVED,
            C.SETTLED,
            verdict=YES,
            started=True,
            outcome=Outcome(K.SUCCEEDED, {"refund": "<@U0BOB> ok"}),
        ),
        "failed": decided(
            S.APPROVED, C.SETTLED, verdict=YES, started=True, outcome=Outcome(K.FAILED, "*card* refused")
        ),
        "in doubt": decided(S.APPROVED, C.IN_DOUBT, verdict=YES, started=True, run=RunStatus.ATTENTION),
        "changed": decided(S.WITHDRAWN, C.IN_DOUBT, verdict=YES, run=RunStatus.ATTENTION),
        "lapsed": decided(S.APPROVED, C.SETTLED, verdict=YES, outcome=Outcome(K.EXPIRED, "too late")),
        "refused": decided(S.APPROVED, C.SETTLED, verdict=YES, outcome=Outcome(K.DENIED, "policy")),
        "rejected": decided(S.REJECTED, C.SETTLED, verdict=NO, outcome=Outcome(K.REJECTED, "no")),
        "expired": decided(S.EXPIRED, C.SETTLED, outcome=Outcome(K.EXPIRED, "late")),
        "withdrawn": decided(
            S.WITHDRAWN,
            C.SETTLED,
            outcome=Outcome(K.WITHDRAWN, "gone"),
            run=RunStatus.CANCELLED,
            run_reason="stopped by `dana`",
        ),
        "withdrawn while it ran": decided(
            S.APPROVED,
            C.SETTLED,
            verdict=YES,
            started=True,
            outcome=Outcome(K.WITHDRAWN, "gone"),
            run=RunStatus.CANCELLED,
        ),
    }
