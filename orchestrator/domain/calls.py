"""One function call: admitted by policy, asked about, gated, run, settled.

admit ─┬─ allow ──────────────► READY ──claim──► EXECUTING ──► SETTLED
       ├─ ask ──► AWAITING_APPROVAL ─approve─► READY   │
       │                └─ reject, expire ─► SETTLED   └─ cut off ─► READY (idempotent) | IN_DOUBT
       └─ deny, unknown, invalid ──────────► SETTLED
"""

from dataclasses import replace
from datetime import datetime

from orchestrator.domain import pauses
from orchestrator.domain.asking import Asked, ask, is_own, no_expiry, redraw, warn
from orchestrator.domain.decision import Decision, Refusal, advance, finish, settle, unheard, with_turn
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalPosted,
    ApprovalUndelivered,
    AttentionResolved,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallFinished,
    Choice,
    JobEnded,
)
from orchestrator.domain.model import (
    Approval,
    ApprovalStatus,
    Assessment,
    CallStatus,
    OutcomeKind,
    Policy,
    Ruling,
    Run,
    RunStatus,
    Terms,
    ToolCall,
    Verdict,
    call_key,
)

EXPIRED_TEXT = "Nobody decided about this call in time. It did not run."
LAPSED_TEXT = "This call was approved but could not start in time. It did not run."


def admit(run: Run, interaction_id: str, wish: Assessment, now: datetime) -> Asked:
    """A function call as a call of ours, in the state its ruling gives it."""
    key = call_key(run.id, interaction_id, wish.call_id)
    call = ToolCall(key, wish.call_id, wish.tool, wish.arguments, CallStatus.READY, wish.idempotent)
    match wish.ruling:
        case Ruling.ALLOW:
            return call, (Effect(EffectKind.EXECUTE_TOOL, key, now),)
        case Ruling.ASK:
            return ask(call, run.turn, wish.terms or Terms(approvers=()), wish.digest, now)
        case Ruling.DENY:
            return settle(call, OutcomeKind.DENIED, wish.reason, now), ()
        case _:
            return settle(call, OutcomeKind.FAILED, wish.reason, now), ()


def claim(run: Run, event: CallClaimed, policy: Policy, now: datetime) -> Decision:
    """The gate. Nothing runs but by this decision, made in the transaction that claims the call."""
    call = run.turn.call(event.call)
    if call is None or call.status is not CallStatus.READY:
        return unheard(run, "the call is not ready to run", Refusal.NOT_NOW)
    fresh, approval = event.assessment, call.approval
    if fresh.ruling in (Ruling.DENY, Ruling.UNKNOWN, Ruling.INVALID):
        return _settled(run, call, OutcomeKind.DENIED, fresh.reason, now)
    if approval and approval.status is not ApprovalStatus.WITHDRAWN:
        return _gated(run, call, approval, event, now)
    if fresh.ruling is Ruling.ASK:
        call = replace(call, arguments=fresh.arguments, idempotent=fresh.idempotent)
        asked, effects = ask(call, run.turn, fresh.terms or Terms(approvers=()), fresh.digest, now)
        note = "the policy now asks for a person"
        run = with_turn(run, run.turn.with_call(asked))
        return Decision(run, (*effects, *warn(run.turn)), note=note, refused=Refusal.NOT_NOW)
    return _execute(run, call, event.claim, now)


def _gated(run: Run, call: ToolCall, approval: Approval, event: CallClaimed, now: datetime) -> Decision:
    """Runs only under a decision about exactly this, made by a person, not too long ago."""
    verdict = approval.verdict
    sound = approval.status is ApprovalStatus.APPROVED and verdict is not None and verdict.approve
    if not sound or approval.digest != event.assessment.digest:
        reason = "what was approved is not what would run now; nothing was run"
        spent = replace(approval, status=ApprovalStatus.WITHDRAWN)
        doubt = replace(call, status=CallStatus.IN_DOUBT, approval=spent)
        run = with_turn(run, run.turn.with_call(doubt), reason)
        return Decision(run, redraw(doubt, now), note=reason, refused=Refusal.CHANGED, alarm=True)
    if approval.start_by is None or now > approval.start_by:
        return _settled(run, call, OutcomeKind.EXPIRED, LAPSED_TEXT, now)
    return _execute(run, call, event.claim, now)


def _execute(run: Run, call: ToolCall, claim: str, now: datetime) -> Decision:
    started = replace(call, status=CallStatus.EXECUTING, claim=claim, started_at=now)
    return Decision(with_turn(run, run.turn.with_call(started)), redraw(started, now))


def finished(run: Run, event: CallFinished, policy: Policy, now: datetime) -> Decision:
    """Only the execution that holds the claim may report."""
    call = run.turn.call(event.call)
    if call is None or call.claim != event.claim or call.settled:
        return unheard(run, f"a result for {event.call} from an execution that no longer holds the call")
    return _settled(run, call, event.outcome.kind, event.outcome.result, now)


def finished_late(run: Run, event: CallFinished, now: datetime) -> Decision:
    """The run has ended meanwhile: written down, never sent."""
    call = run.turn.call(event.call)
    if call is None or call.claim != event.claim or call.settled:
        return unheard(run, "a result for a run that has ended")
    late = settle(call, event.outcome.kind, event.outcome.result, now)
    run = replace(run, turn=run.turn.with_call(late))
    return Decision(run, redraw(late, now), note="late: the run had ended, the result was not sent")


def cut_off(run: Run, event: CallCutOff, policy: Policy, now: datetime) -> Decision:
    """Started and never heard of again: an idempotent tool runs anew, of any other one a person must tell."""
    call = run.turn.call(event.call)
    if call is None or call.status is not CallStatus.EXECUTING or call.claim != event.claim:
        return unheard(run, f"{event.call} is not running under that claim")
    if call.idempotent:
        again = replace(call, status=CallStatus.READY, claim=None)
        run = with_turn(run, run.turn.with_call(again))
        return Decision(run, (Effect(EffectKind.EXECUTE_TOOL, call.id, now),), note=event.why)
    reason = f"{call.tool} was cut off while running ({event.why}); did it happen?"
    doubt = replace(call, status=CallStatus.IN_DOUBT)
    run = with_turn(run, run.turn.with_call(doubt), reason)
    effects = (*redraw(doubt, now), *warn(run.turn))
    return Decision(run, effects, note=reason, alarm=True)


def deferred(run: Run, event: CallDeferred, policy: Policy, now: datetime) -> Decision:
    """It was not started: back to ready. The effect itself waits in the outbox, which owns the backoff.

    Where it was taken for cut off meanwhile, the doubt is settled, and the effect is asked for anew.
    """
    call = run.turn.call(event.call)
    running = (CallStatus.EXECUTING, CallStatus.IN_DOUBT)
    if call is None or call.status not in running or call.claim != event.claim:
        return unheard(run, f"{event.call} is not running under that claim")
    again = call.status is CallStatus.IN_DOUBT
    waiting = replace(call, status=CallStatus.READY, claim=None)
    effects = (Effect(EffectKind.EXECUTE_TOOL, call.id, now),) if again else ()
    run = with_turn(run, run.turn.with_call(waiting))
    return Decision(run, (*effects, *redraw(waiting, now)), note=event.why)


def job_ended(run: Run, event: JobEnded, policy: Policy, now: datetime) -> Decision:
    call = run.turn.call(event.call)
    if call is None or call.status is not CallStatus.AWAITING_JOB:
        return unheard(run, f"{event.call} waits for no job")
    return _settled(run, call, event.outcome.kind, event.outcome.result, now)


def posted(run: Run, event: ApprovalPosted, policy: Policy, now: datetime) -> Decision:
    """Where people see it. A request decided while it was being posted is redrawn at once."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, f"{event.approval} is not a question of this turn")
    shown = replace(call.approval, channel=event.channel, ts=event.ts, trouble="")
    call = replace(call, approval=shown)
    run = replace(run, turn=run.turn.with_call(call))
    return Decision(run, () if shown.open else redraw(call, now))


def undelivered(run: Run, event: ApprovalUndelivered, policy: Policy, now: datetime) -> Decision:
    """Slack does not take it: never an approval, never a rejection; the other doors stay open."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, f"{event.approval} is not a question of this turn")
    call = replace(call, approval=replace(call.approval, trouble=event.why))
    note = f"the request could not be shown in Slack: {event.why}"
    return Decision(replace(run, turn=run.turn.with_call(call)), note=note, alarm=True)


def decided(run: Run, event: ApprovalDecided, policy: Policy, now: datetime) -> Decision:
    """A person's answer. The first valid one stands."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, "that question is no longer asked", Refusal.NOT_FOUND)
    approval = call.approval
    if event.entitled_as not in approval.terms.approvers:
        note = f"{event.verdict.by.id} may not decide about {call.tool}"
        return unheard(run, note, Refusal.NOT_ENTITLED)
    if not approval.open or call.status is not CallStatus.AWAITING_APPROVAL:
        return unheard(run, already(approval), Refusal.ALREADY_DECIDED)
    if now >= approval.expires_at:
        return replace(_expire(run, call, approval, now), refused=Refusal.EXPIRED, note="its time was up")
    if not approval.digest.startswith(event.digest) or len(event.digest) < 16:
        return unheard(run, "the question has changed since it was shown", Refusal.CHANGED)
    if is_own(call):
        return pauses.answered(run, call, event.verdict, now)
    if event.verdict.refine:
        return unheard(run, "only a plan can be sent back with a note", Refusal.NOT_NOW)
    return (_approve if event.verdict.approve else _reject)(run, call, approval, event.verdict, now)


def already(approval: Approval) -> str:
    """Who was first, and when, in words for the one who came second."""
    if approval.verdict is None:
        return f"already {approval.status}"
    who = approval.verdict.by.name or approval.verdict.by.id
    return f"already {approval.status} by {who} at {approval.verdict.at:%Y-%m-%d %H:%M:%S} UTC"


def _approve(run: Run, call: ToolCall, approval: Approval, verdict: Verdict, now: datetime) -> Decision:
    granted = replace(
        approval,
        status=ApprovalStatus.APPROVED,
        verdict=verdict,
        start_by=_start_by(run, approval, now),
    )
    call = replace(call, status=CallStatus.READY, approval=granted)
    effects = (Effect(EffectKind.EXECUTE_TOOL, call.id, now), *redraw(call, now))
    return Decision(with_turn(run, run.turn.with_call(call)), effects, drop=no_expiry(approval))


def _start_by(run: Run, approval: Approval, now: datetime) -> datetime:
    """Nothing begins that cannot be handed back: not after Gemini has forgotten who asked."""
    latest = now + approval.terms.start_within
    return latest if run.turn.forgotten_at is None else min(latest, run.turn.forgotten_at)


def _reject(run: Run, call: ToolCall, approval: Approval, verdict: Verdict, now: datetime) -> Decision:
    refused = replace(approval, status=ApprovalStatus.REJECTED, verdict=verdict)
    text = "A person rejected this call. It did not run."
    if verdict.reason:
        text += f' In their words: "{verdict.reason}"'
    return _settled(run, replace(call, approval=refused), OutcomeKind.REJECTED, text, now)


def expired(run: Run, event: ApprovalExpired, policy: Policy, now: datetime) -> Decision:
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None or not call.approval.open:
        return Decision(run)  # decided in time; the timer only came round
    if now < call.approval.expires_at:
        return Decision(run, (Effect(EffectKind.EXPIRE_APPROVAL, event.approval, call.approval.expires_at),))
    return _expire(run, call, call.approval, now)


def _expire(run: Run, call: ToolCall, approval: Approval, now: datetime) -> Decision:
    if is_own(call):
        return pauses.lapsed(run, call, now)
    lapsed = replace(call, approval=replace(approval, status=ApprovalStatus.EXPIRED))
    return _settled(run, lapsed, OutcomeKind.EXPIRED, EXPIRED_TEXT, now)


def resolved(run: Run, event: AttentionResolved, policy: Policy, now: datetime) -> Decision:
    """A person says what became of a call in doubt."""
    call = run.turn.call(event.call)
    if call is None or call.status is not CallStatus.IN_DOUBT:
        return unheard(run, "no such call is in doubt", Refusal.NOT_FOUND)
    match event.choice:
        case Choice.HAPPENED:
            return _settled(run, call, OutcomeKind.SUCCEEDED, event.result, now)
        case Choice.GIVE_UP:
            return finish(run, RunStatus.FAILED, now, reason=f"given up by {event.by.id}: {run.reason}")
        case Choice.RETRY:
            return _retry(run, call, now)


def _retry(run: Run, call: ToolCall, now: datetime) -> Decision:
    """The approval stands for another start; one that did not fit any more was spent and is asked anew."""
    if call.approval and call.approval.status is ApprovalStatus.APPROVED:
        call = replace(call, approval=replace(call.approval, start_by=_start_by(run, call.approval, now)))
    call = replace(call, status=CallStatus.READY, claim=None)
    run = with_turn(run, run.turn.with_call(call))
    return Decision(run, (Effect(EffectKind.EXECUTE_TOOL, call.id, now),))


def _settled(run: Run, call: ToolCall, kind: OutcomeKind, result: object, now: datetime) -> Decision:
    call = settle(call, kind, result, now)
    run = with_turn(run, run.turn.with_call(call))
    return advance(run, now, redraw(call, now), no_expiry(call.approval))
