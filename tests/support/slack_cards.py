"""Approval cards in any state, for tests that look at them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Terms, Verdict
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind, RunStatus, ToolCall
from orchestrator.domain.values import replace

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


def under(base: Card, **terms: Any) -> Card:
    """The same request under other terms."""
    return on(base, lambda approval: replace(approval, terms=replace(approval.terms, **terms)))


def on(base: Card, change: Callable[[Any], Any]) -> Card:
    """The same card with its approval changed, wherever that stands."""
    approval = change(base.approval)
    return replace(base, approval=approval, call=replace(base.call, approval=approval))


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
        "replaced": decided(S.WITHDRAWN, C.AWAITING_APPROVAL, replaced=True),
        "replaced by what ran": decided(
            S.WITHDRAWN, C.SETTLED, outcome=Outcome(K.SUCCEEDED, "gone on"), started=True, replaced=True
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


PLAN = "Research plan\n1. Collect sources\n2. Compare <them> & `report`"
BACK = Verdict(False, ALICE, NOW, "Ask <!channel> first,\nthen compare", refine=True)


def own_card(tool: str, arguments: dict[str, Any], verdict: Verdict | None = None, **changes: Any) -> Card:
    """A question of the run itself: open, or with its answer."""
    status = S.PENDING if verdict is None else S.APPROVED if verdict.approve else S.REJECTED
    status = changes.pop("status", status)
    base = replace(card(arguments), description="It is about the run itself.", workflow="research")
    approval = replace(base.approval, status=status, verdict=verdict, channel="C0APPR", ts="1.1")
    kind = K.SUCCEEDED if status is S.APPROVED else K.REJECTED
    call = replace(
        base.call,
        call_id=f"orchestrator:{tool}.1",
        tool=tool,
        approval=approval,
        status=C.AWAITING_APPROVAL if status is S.PENDING else C.SETTLED,
        outcome=None if status is S.PENDING else Outcome(kind, "settled"),
        settled_at=None if status is S.PENDING else NOW,
    )
    return replace(base, approval=approval, call=call, **changes)


def plan_card(verdict: Verdict | None = None, *, plan: str = PLAN, **changes: Any) -> Card:
    return own_card("agent:plan", {"plan": plan}, verdict, **changes)


def limit_card(verdict: Verdict | None = None, **changes: Any) -> Card:
    facts = {"tokens_used": 20_500, "limit": 10_000, "turns": 3}
    return own_card("run:go_on", facts, verdict, **changes)


def restart_card(verdict: Verdict | None = None, *, said: str = "HTTP 400: no", **changes: Any) -> Card:
    facts = {"gemini_said": said, "turn": 3, "calls_made": 2}
    waits = {"run_status": RunStatus.ATTENTION, **changes}
    return own_card("run:restart", facts, verdict, **waits)


def own_states() -> dict[str, Card]:
    """One card per state of each question, by its name."""
    gone, failed = RunStatus.CANCELLED, RunStatus.FAILED
    return {
        "plan pending": plan_card(),
        "plan carried out": plan_card(YES, run_status=RunStatus.RESUMING),
        "plan carried out, run over": plan_card(YES, run_status=RunStatus.COMPLETED),
        "plan sent back": plan_card(BACK, run_status=RunStatus.RESUMING),
        "plan stopped": plan_card(NO, run_status=gone),
        "plan expired": plan_card(status=S.EXPIRED, run_status=failed),
        "plan withdrawn": plan_card(status=S.WITHDRAWN, run_status=gone, run_reason="by `dana`"),
        "limit pending": limit_card(),
        "limit granted": limit_card(YES, run_status=RunStatus.RESUMING),
        "limit stopped": limit_card(NO, run_status=failed),
        "limit expired": limit_card(status=S.EXPIRED, run_status=failed),
        "limit withdrawn": limit_card(status=S.WITHDRAWN, run_status=gone),
        "restart pending": restart_card(),
        "restart wanted": restart_card(YES),
        "restart made": restart_card(YES, run_status=failed, taken_up_as="run_new"),
        "restart wanted, then cancelled": restart_card(YES, run_status=gone),
        "restart refused": restart_card(NO, run_status=failed),
        "restart expired": restart_card(status=S.EXPIRED, run_status=failed),
        "restart not needed": restart_card(status=S.WITHDRAWN, run_status=RunStatus.RESUMING),
        "restart withdrawn": restart_card(status=S.WITHDRAWN, run_status=gone),
        "restart by another door": restart_card(
            status=S.WITHDRAWN, run_status=failed, taken_up_as="run_new", run_reason="taken up as run_new"
        ),
    }
