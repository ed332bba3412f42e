"""Where a run stops by itself and people say how it goes on: with an agent's plan, or beyond a limit.

plan ──approve──► carried out        limit ──approve──► on, for as many tokens again
  ├───refine────► planned anew         └────reject, nobody in time──► failed
  └───reject────► cancelled (nobody in time: failed)

The question is asked, shown and decided like the one about a function call; nothing runs by it.
"""

from dataclasses import replace
from datetime import datetime

from orchestrator.domain.asking import GO_ON, PLAN, no_expiry, own_question, redraw
from orchestrator.domain.decision import (
    TOKENS,
    Decision,
    Refusal,
    advance,
    finish,
    settle,
    unheard,
    with_turn,
)
from orchestrator.domain.model import (
    ApprovalStatus,
    OutcomeKind,
    Run,
    RunStatus,
    ToolCall,
    TurnStatus,
    Verdict,
)

CARRY_OUT = "Carry out the plan."


def ask_about_plan(run: Run, plan: str, now: datetime) -> Decision:
    """An agent that plans first has ended this interaction with its plan: carry it out?"""
    call, effects = own_question(run, PLAN, run.turn.number, {"plan": plan}, plan, now)
    turn = replace(run.turn, status=TurnStatus.ACTION, readings=0, calls=(call,))
    return Decision(with_turn(run, turn), effects)


def answered(run: Run, call: ToolCall, verdict: Verdict, now: datetime) -> Decision:
    """The first valid answer to such a question. Its digest and who may answer were looked at before."""
    if verdict.refine and (call.tool != PLAN or not verdict.reason):
        why = "needs a note: what to change" if call.tool == PLAN else "is for plans only"
        return unheard(run, f"sending a question back {why}", Refusal.NOT_NOW)
    if call.tool == GO_ON:
        return _granted(run, call, verdict, now) if verdict.approve else _stopped(run, call, verdict, now)
    if verdict.approve or verdict.refine:
        return _on(run, _closed(call, verdict, now), now)
    run = _keeping(run, _closed(call, verdict, now))
    reason = f"the plan was rejected by {_who(verdict)}"
    return _ended(run, call, RunStatus.CANCELLED, _because(reason, verdict), now)


def lapsed(run: Run, call: ToolCall, now: datetime) -> Decision:
    """Nobody answered in time: never an approval."""
    assert call.approval is not None  # noqa: S101  whoever calls has it from there
    approval = replace(call.approval, status=ApprovalStatus.EXPIRED)
    over = settle(replace(call, approval=approval), OutcomeKind.EXPIRED, "Nobody answered in time.", now)
    what = "the plan" if call.tool == PLAN else "going on beyond the token limit"
    return _ended(_keeping(run, over), over, RunStatus.FAILED, f"nobody decided about {what} in time", now)


def _on(run: Run, call: ToolCall, now: datetime) -> Decision:
    return advance(_keeping(run, call), now, redraw(call, now), no_expiry(call.approval))


def _granted(run: Run, call: ToolCall, verdict: Verdict, now: datetime) -> Decision:
    """From here on as many tokens again."""
    return _on(replace(run, granted=run.usage.get(TOKENS, 0)), _closed(call, verdict, now), now)


def _stopped(run: Run, call: ToolCall, verdict: Verdict, now: datetime) -> Decision:
    run = _keeping(run, _closed(call, verdict, now))
    reason = _because(f"stopped at the token limit by {_who(verdict)}", verdict)
    return _ended(run, call, RunStatus.FAILED, reason, now)


def _ended(run: Run, call: ToolCall, status: RunStatus, reason: str, now: datetime) -> Decision:
    """An interaction that ended with its plan needs no stopping; one that waits for results does."""
    stop = call.tool != PLAN
    return finish(
        run, status, now, reason=reason, output=run.turn.said, drop=no_expiry(call.approval), stop=stop
    )


def _closed(call: ToolCall, verdict: Verdict, now: datetime) -> ToolCall:
    """The question with its answer."""
    assert call.approval is not None  # noqa: S101  whoever calls has it from there
    status = ApprovalStatus.APPROVED if verdict.approve else ApprovalStatus.REJECTED
    kind = OutcomeKind.SUCCEEDED if verdict.approve else OutcomeKind.REJECTED
    word = "approved" if verdict.approve else "sent back" if verdict.refine else "rejected"
    approval = replace(call.approval, status=status, verdict=verdict)
    return settle(replace(call, approval=approval), kind, word, now)


def _keeping(run: Run, call: ToolCall) -> Run:
    return with_turn(run, run.turn.with_call(call))


def _who(verdict: Verdict) -> str:
    return verdict.by.name or verdict.by.id


def _because(reason: str, verdict: Verdict) -> str:
    return f"{reason}: {verdict.reason}" if verdict.reason else reason
