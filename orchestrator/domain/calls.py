"""One function call: admitted by policy, asked about, gated, run, settled.

admit ─┬─ allow ──────────────► READY ──claim──► EXECUTING ──► SETTLED
       ├─ ask ──► AWAITING_APPROVAL ─approve─► READY   │
       │  │             └─ reject, lapse ──► SETTLED   └─ cut off ─► READY (idempotent) | IN_DOUBT
       │  └─ can tell what it would do ──► PREVIEWING ──► AWAITING_APPROVAL
       └─ deny, unknown, invalid ──────────► SETTLED

Where a tool can tell what a call would do, people are shown that, and the gate looks again: what would do
something else by then than what was approved is asked about anew.

How calls come is told in `admission`, what people answer in `verdicts`, what comes when nobody does in time
in `expiry`.
"""

from datetime import datetime

from orchestrator.domain import approver_load
from orchestrator.domain.asking import ask, ask_instead, no_expiry, redraw, warn
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Approval, ApprovalStatus, Terms
from orchestrator.domain.decision import Decision, Refusal, finish, needs_a_person, settle, unheard, with_turn
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import (
    AttentionResolved,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallDoubted,
    CallFinished,
    CallPreviewed,
    Choice,
)
from orchestrator.domain.model import CallStatus, OutcomeKind, Policy, Run, RunStatus, ToolCall, TurnStatus
from orchestrator.domain.onward import advance
from orchestrator.domain.pipeline import named
from orchestrator.domain.values import replace

LAPSED_TEXT = "This call was approved but could not start in time. It did not run."
BLIND_TEXT = "It could not be worked out what this call would do, so nobody was asked. It did not run."
DRIFTED = "what it would do has changed since it was approved; people are asked anew"


def previewed(run: Run, event: CallPreviewed, policy: Policy, now: datetime) -> Decision:
    """What it would do is known: people are asked with that. One that had to be seen and cannot be is over.

    After an edit the question takes the place of the one that was spent by it.
    """
    call, fresh = run.turn.call(event.call), event.assessment
    if call is None or call.status is not CallStatus.PREVIEWING:
        return unheard(run, f"nobody waits to hear what {event.call} would do")
    if call.arguments != event.arguments or (fresh.previews and fresh.preview is None):
        return unheard(run, f"what was worked out is not about {event.call} as it is now")
    if call.approval is None:
        fresh = approver_load.relieved(fresh, run.asked_for_it, policy.max_open_per_approver)
    if fresh.ruling in (Ruling.DENY, Ruling.UNKNOWN, Ruling.INVALID):
        return settled(run, call, OutcomeKind.DENIED, fresh.reason, now)
    if fresh.ruling is Ruling.ALLOW and call.approval is None:
        ready = replace(call, status=CallStatus.READY, idempotent=fresh.idempotent)
        run = with_turn(run, run.turn.with_call(ready))
        effect = Effect(EffectKind.EXECUTE_TOOL, call.id, now)
        return Decision(run, (effect,), note="the policy now lets it pass")
    if (blind := _blind(fresh)) is not None:
        return settled(run, call, OutcomeKind.FAILED, blind, now)
    call = replace(call, idempotent=fresh.idempotent)
    terms = terms_instead(fresh, call.approval)
    asked, effects = ask_instead(
        call, run, terms, fresh.digest, now, fresh.preview, more_time=call.approval is None
    )
    run = with_turn(run, run.turn.with_call(asked))
    return Decision(run, (*effects, *(() if call.approval else warn(run.turn))))


def _blind(fresh: Assessment) -> str | None:
    """What the model is told of a call nobody can be asked about, for lack of its preview; None otherwise."""
    preview = fresh.preview
    if preview is None or not preview.trouble or not fresh.preview_required:
        return None
    return f"{BLIND_TEXT} {preview.trouble}"


def terms_instead(fresh: Assessment, old: Approval | None) -> Terms:
    """Under which people are asked instead of a question before; who was kept out of that one stays out."""
    terms = fresh.terms or (old.terms if old else Terms(approvers=()))
    return replace(terms, never=tuple(dict.fromkeys((*terms.never, *old.terms.never)))) if old else terms


def claim(run: Run, event: CallClaimed, policy: Policy, now: datetime) -> Decision:
    """The gate. Nothing runs but by this decision, made in the transaction that claims the call."""
    call = run.turn.call(event.call)
    if call is None or call.status is not CallStatus.READY:
        return unheard(run, "the call is not ready to run", Refusal.NOT_NOW)
    fresh, approval = event.assessment, call.approval
    stands = approval is not None and approval.status is not ApprovalStatus.WITHDRAWN
    spent = approval is not None and not stands
    if event.doubts and (not spent or fresh.ruling is Ruling.ALLOW):  # else people are asked as it is now
        return _changed(run, call, _told(call.tool, event.doubts), now)
    if not stands:
        fresh = approver_load.within(fresh, approver_load.open_questions(run.turn, call.id), policy.max_open)
        fresh = approver_load.relieved(fresh, run.asked_for_it, policy.max_open_per_approver)
    if fresh.ruling in (Ruling.DENY, Ruling.UNKNOWN, Ruling.INVALID):
        return settled(run, call, OutcomeKind.DENIED, fresh.reason, now)
    if approval and stands:
        return _gated(run, call, approval, event, now)
    if fresh.ruling is Ruling.ASK:
        return _asked_after_all(run, call, fresh, now)
    return _execute(run, call, event, now)


def _asked_after_all(run: Run, call: ToolCall, fresh: Assessment, now: datetime) -> Decision:
    """Nobody has approved it, and the policy in force wants a person's yes."""
    if fresh.previews and fresh.preview is None:
        return unheard(run, "what it would do has not been worked out", Refusal.NOT_NOW)
    if (blind := _blind(fresh)) is not None:
        return settled(run, call, OutcomeKind.FAILED, blind, now)
    call = replace(call, arguments=fresh.arguments, idempotent=fresh.idempotent)
    terms = fresh.terms or Terms(approvers=())
    asked, effects = ask(call, run, terms, fresh.digest, now, fresh.preview)
    run = with_turn(run, run.turn.with_call(asked))
    note = "the policy now asks for a person"
    return Decision(run, (*effects, *warn(run.turn)), note=note, refused=Refusal.NOT_NOW)


def _gated(run: Run, call: ToolCall, approval: Approval, event: CallClaimed, now: datetime) -> Decision:
    """Runs only under a decision about exactly this, made by a person, not too long ago."""
    verdict = approval.verdict
    sound = approval.status is ApprovalStatus.APPROVED and verdict is not None and verdict.approve
    fresh = event.assessment.sealed_like(approval)
    if not sound or approval.digest != (event.as_approved or fresh):
        return _changed(run, call, "what was approved is not what would run now; nothing was run", now)
    if approval.start_by is None or now > approval.start_by:
        if call.started_at is not None:
            return _doubted(run, call, f"{_named(run, call)} was cut off while running; did it happen?", now)
        return settled(run, call, OutcomeKind.EXPIRED, LAPSED_TEXT, now)
    if approval.digest != fresh:
        return _drifted(run, call, approval, event.assessment, now)
    return _execute(run, call, event, now)


def doubted(run: Run, event: CallDoubted, policy: Policy, now: datetime) -> Decision:
    """Found before anybody came to the gate. Where the call itself is gone, its turn cannot go on either."""
    call = run.turn.call(event.call)
    if call is None:
        reason = _told("a call", event.doubts)
        run = with_turn(run, replace(run.turn, status=TurnStatus.LOST), reason)
        return Decision(run, note=reason, refused=Refusal.CHANGED, alarm=True)
    waits = call.status in (CallStatus.AWAITING_APPROVAL, CallStatus.READY)
    if not waits and not impossible(call):
        return unheard(run, f"{event.call} does not wait for anything")
    decision = _changed(run, call, _told(call.tool, event.doubts), now)
    return replace(decision, drop=no_expiry(call.approval))


def impossible(call: ToolCall) -> str:
    """Why nothing of ours leaves a call so; empty where it does. Nothing would ever come of it."""
    if call.status is CallStatus.EXECUTING and call.claim is None:
        return f"call {call.id} is said to run, and nobody began it"
    if call.status is CallStatus.SETTLED and call.outcome is None:
        return f"call {call.id} is said to be over, and came to nothing"
    return ""


def _told(what: str, doubts: tuple[str, ...]) -> str:
    return f"what is stored about {what} is not what the audit has: {doubts[0]}; nothing was run"


def _changed(run: Run, call: ToolCall, reason: str, now: datetime) -> Decision:
    """Somebody changed what was approved, or what is stored about it: the answer is spent, a person looks."""
    spent = call.approval and replace(call.approval, status=ApprovalStatus.WITHDRAWN)
    doubt = replace(call, status=CallStatus.IN_DOUBT, approval=spent)
    run = with_turn(run, run.turn.with_call(doubt), reason)
    return Decision(run, redraw(doubt, now), note=reason, refused=Refusal.CHANGED, alarm=True)


def _drifted(run: Run, call: ToolCall, approved: Approval, fresh: Assessment, now: datetime) -> Decision:
    """Approved as it is, and by now it would do something else: people see both, and decide again."""
    preview, before = fresh.preview, approved.preview
    if preview is None or before is None or (preview.trouble and not before.trouble):
        return unheard(run, "what it would do could not be worked out", Refusal.NOT_NOW)
    preview = replace(preview, before=before.text or before.trouble)
    asked, effects = ask_instead(
        call, run, terms_instead(fresh, approved), fresh.digest, now, preview, more_time=True
    )
    run = with_turn(run, run.turn.with_call(asked))
    return Decision(run, effects, note=DRIFTED, refused=Refusal.CHANGED)


def _execute(run: Run, call: ToolCall, event: CallClaimed, now: datetime) -> Decision:
    """Whether it may be begun again once it is cut off is the tool's to say, not the row's."""
    again = event.assessment.idempotent
    started = replace(call, status=CallStatus.EXECUTING, claim=event.claim, started_at=now, idempotent=again)
    return Decision(with_turn(run, run.turn.with_call(started)), redraw(started, now))


def finished(run: Run, event: CallFinished, policy: Policy, now: datetime) -> Decision:
    """Only the execution that holds the claim may report."""
    call = run.turn.call(event.call)
    if call is None or call.claim != event.claim or call.settled:
        return unheard(run, f"a result for {event.call} from an execution that no longer holds the call")
    return settled(run, call, event.outcome.kind, event.outcome.result, now)


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
    reason = f"{_named(run, call)} was cut off while running ({event.why}); did it happen?"
    return _doubted(run, call, reason, now)


def _named(run: Run, call: ToolCall) -> str:
    return named(run.recipe.workflow, call.tool, call.call_id)


def _doubted(run: Run, call: ToolCall, reason: str, now: datetime) -> Decision:
    """It may have happened, and nobody here can tell: a person must."""
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
    waiting = replace(call, status=CallStatus.READY, claim=None, started_at=None)
    effects = (Effect(EffectKind.EXECUTE_TOOL, call.id, now),) if again else ()
    run = with_turn(run, run.turn.with_call(waiting))
    return Decision(run, (*effects, *redraw(waiting, now)), note=event.why)


def resolved(run: Run, event: AttentionResolved, policy: Policy, now: datetime) -> Decision:
    """A person says what became of a call in doubt, or what is to become of one nobody decided about."""
    call = run.turn.call(event.call)
    if call is None or not needs_a_person(call):
        return unheard(run, "no such call is in doubt", Refusal.NOT_FOUND)
    if call.status is CallStatus.AWAITING_APPROVAL and event.choice is Choice.HAPPENED:
        return unheard(run, "it did not run: decide about it, ask anew (retry) or give up", Refusal.NOT_NOW)
    match event.choice:
        case Choice.HAPPENED:
            return settled(run, call, OutcomeKind.SUCCEEDED, event.result, now)
        case Choice.GIVE_UP:
            return finish(run, RunStatus.FAILED, now, reason=f"given up by {event.by.id}: {run.reason}")
        case Choice.RETRY:
            return _retry(run, call, now)


def _retry(run: Run, call: ToolCall, now: datetime) -> Decision:
    """It did not run. The approval stands for another start; one that did not fit is spent and asked anew.

    So is a question nobody answered: it is taken back, and the gate asks under the policy of now.
    """
    drop: tuple[str, ...] = ()
    redrawn: tuple[Effect, ...] = ()
    if call.approval and call.approval.open:
        drop, redrawn = no_expiry(call.approval), redraw(call, now)
        call = replace(call, approval=replace(call.approval, status=ApprovalStatus.WITHDRAWN))
    if call.approval and call.approval.status is ApprovalStatus.APPROVED:
        call = replace(call, approval=replace(call.approval, start_by=start_by(run, call.approval, now)))
    call = replace(call, status=CallStatus.READY, claim=None, started_at=None)
    run = with_turn(run, run.turn.with_call(call))
    return Decision(run, (Effect(EffectKind.EXECUTE_TOOL, call.id, now), *redrawn), drop)


def start_by(run: Run, approval: Approval, now: datetime) -> datetime:
    """Nothing begins that cannot be handed back: not after Gemini has forgotten who asked."""
    latest = now + approval.terms.start_within
    return latest if run.turn.forgotten_at is None else min(latest, run.turn.forgotten_at)


def settled(run: Run, call: ToolCall, kind: OutcomeKind, result: object, now: datetime) -> Decision:
    call = settle(call, kind, result, now)
    run = with_turn(run, run.turn.with_call(call))
    return advance(run, now, redraw(call, now), no_expiry(call.approval))
