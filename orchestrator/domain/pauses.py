"""Where a run stops by itself and people say how it goes on: with an agent's plan, beyond a limit, or anew.

plan ──approve──► carried out        limit ──approve──► on, for as many tokens again
  ├───refine────► planned anew         └────reject, nobody in time──► failed
  └───reject────► cancelled (nobody in time: failed)

refused by Gemini ──approve──► another run takes the work up, and this one is closed
  ├────────────────reject────► failed
  └─sent again, shown after all, cancelled──► the question is taken back

The question is asked, shown and decided like the one about a function call; nothing runs by it.
"""

from datetime import datetime
from typing import Final

from orchestrator.domain.asking import GO_ON, PLAN, RESTART, is_own, no_expiry, own_question, redraw
from orchestrator.domain.consent import ApprovalStatus, Verdict
from orchestrator.domain.decision import Decision, Refusal, finish, settle, unheard, with_turn
from orchestrator.domain.effects import Effect, EffectKind, attempt_subject
from orchestrator.domain.events import CreateRefused
from orchestrator.domain.legible import legible
from orchestrator.domain.model import OutcomeKind, Run, RunStatus, ToolCall, TurnStatus
from orchestrator.domain.onward import TOKENS, advance
from orchestrator.domain.values import replace

CARRY_OUT = "Carry out the plan."
MAX_WHY: Final = 1_000
"""Characters of what Gemini gave as its reason that people are shown."""


def ask_about_plan(run: Run, plan: str, now: datetime) -> Decision:
    """An agent that plans first has ended this interaction with its plan: carry it out?"""
    call, effects = own_question(run, PLAN, run.turn.number, {"plan": plan}, plan, now)
    turn = replace(run.turn, status=TurnStatus.ACTION, readings=0, calls=(*run.turn.calls, call))
    return Decision(with_turn(run, turn), effects)


def ask_whether_to_restart(run: Run, event: CreateRefused, now: datetime) -> Decision:
    """Gemini does not go on from the interaction before: is another run to take the work up?

    It stays open for as long as the run may take, which the run's own timer ends. Without anybody to
    ask, the run waits for who works with the API or on the command line.
    """
    if run.recipe.terms is None or not any(step.approvers for step in run.recipe.terms.steps):
        return Decision(run)
    why = event.why[:MAX_WHY]
    facts = {"gemini_said": why, "turn": event.turn, "calls_made": event.made}
    number = attempt_subject(event.turn, event.attempt)
    call, asked = own_question(run, RESTART, number, facts, why, now, until=run.deadline)
    turn = replace(run.turn, calls=(*run.turn.calls, call))
    return Decision(with_turn(run, turn), asked)


def not_restarted(run: Run, now: datetime) -> Decision:
    """The run goes on after all: nobody is asked about a restart any more, and none is made.

    Also one that people wanted and nobody has made yet. An answer that was given stays written down.
    """
    call = next(filter(_may_restart, run.turn.calls), None)
    if call is None or call.approval is None:
        return Decision(run)
    back = replace(call, approval=replace(call.approval, status=ApprovalStatus.WITHDRAWN))
    if not back.settled:
        back = settle(back, OutcomeKind.WITHDRAWN, "The run went on without a restart.", now)
    drop = (*no_expiry(call.approval), f"{EffectKind.RESTART_RUN}:{call.approval.id}")
    return Decision(replace(run, turn=run.turn.with_call(back)), redraw(back, now), drop)


def _may_restart(call: ToolCall) -> bool:
    """Whether people may still say so, or have said so and it was not done yet."""
    status = call.approval.status if call.approval else None
    alive = status in (ApprovalStatus.PENDING, ApprovalStatus.APPROVED)
    return is_own(call) and call.tool == RESTART and alive


def answered(run: Run, call: ToolCall, verdict: Verdict, now: datetime) -> Decision:
    """The first valid answer to such a question. Its digest and who may answer were looked at before."""
    if verdict.refine and (call.tool != PLAN or not legible(verdict.reason)):
        why = "needs a note: what to change" if call.tool == PLAN else "is for plans only"
        return unheard(run, f"sending a question back {why}", Refusal.NOT_NOW)
    if call.tool == RESTART:
        return (_restarting if verdict.approve else _given_up)(run, call, verdict, now)
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
    if call.tool == RESTART:  # the run's own time is up with it, and its timer says so
        return Decision(_keeping(run, over), redraw(over, now), no_expiry(call.approval))
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


def _restarting(run: Run, call: ToolCall, verdict: Verdict, now: datetime) -> Decision:
    """The run stays where it is until somebody has opened the one that takes its work up."""
    call = _closed(call, verdict, now)
    assert call.approval is not None  # noqa: S101  it was just closed
    effects = (Effect(EffectKind.RESTART_RUN, call.approval.id, now), *redraw(call, now))
    return Decision(_keeping(run, call), effects, no_expiry(call.approval))


def _given_up(run: Run, call: ToolCall, verdict: Verdict, now: datetime) -> Decision:
    reason = f"{_because(f'given up by {_who(verdict)}', verdict)}; before that: {run.reason}"
    return _ended(_keeping(run, _closed(call, verdict, now)), call, RunStatus.FAILED, reason, now)


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
