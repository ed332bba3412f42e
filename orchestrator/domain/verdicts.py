"""People's answers to the question about a call.

asked ─┬─ yes ── enough of them? ──► READY          ├─ other arguments ──► see `proposals`
       │            └─ no ──► still asked           └─ nobody in time ───► see `expiry`
       ├─ an answer ───────► SETTLED with it, nothing runs
       └─ no ──────────────► SETTLED, the model is told

One person, one answer; who may give it is looked up in `entitlement`, at that moment.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from orchestrator.domain import entitlement, expiry, human, pauses
from orchestrator.domain.asking import ask_instead, is_own, no_expiry, redraw
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.calls import settled, start_by, terms_instead
from orchestrator.domain.consent import Approval, ApprovalStatus, Verdict
from orchestrator.domain.deadlines import spread
from orchestrator.domain.decision import Decision, Refusal, finish, settle, unheard, with_turn
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import ApprovalDecided, ApprovalEdited
from orchestrator.domain.legible import legible
from orchestrator.domain.model import CallStatus, OutcomeKind, Policy, Run, RunStatus, ToolCall
from orchestrator.domain.pipeline import named
from orchestrator.domain.values import replace

SHOWN_CHARS: Final = 16
"""How much of a digest an answer must name: as much as a button carries."""
CHANGED_SINCE: Final = "the tool or its policy has changed since this was asked"
NO_REASON: Final = "a rejection needs a reason here"

Said = ApprovalDecided | ApprovalEdited
"""What settles or changes a question; whatever is added here goes through `heard` as well."""


def decided(run: Run, event: ApprovalDecided, policy: Policy, now: datetime) -> Decision:
    """A person's answer. The first valid one stands."""

    def sayable(call: ToolCall, approval: Approval) -> str | None:
        if (why := human.not_sayable(call, approval, event.verdict, event.current)) is not None:
            return why
        alone = event.together and not approval.terms.together
        return "this is decided on its own, not together with others" if alone else None

    def then(run: Run, call: ToolCall, approval: Approval) -> Decision:
        return answered(run, call, approval, event.verdict, now)

    if event.by_now is not None and (asked := _stands_no_more(run, event, now)) is not None:
        return _asked_by_now(run, asked, event.by_now, now)
    return heard(run, event, now, sayable, then)


def _stands_no_more(run: Run, event: ApprovalDecided, now: datetime) -> ToolCall | None:
    """The call of a question that is to be asked as it is now: by a yes to it, in time, of somebody who may
    decide it as it would be.
    """
    call = run.turn.by_approval(event.approval)
    approval = call.approval if call is not None else None
    if call is None or approval is None or not approval.open or now >= approval.expires_at:
        return None
    by_now = replace(call, approval=replace(approval, terms=event.current or approval.terms, votes=()))
    barred = entitlement.refusal(run, by_now, event.entitled_as, event.standing, event.current)
    return call if barred is None and _was_shown(approval, event) else None


def _was_shown(approval: Approval, event: Said) -> bool:
    return approval.digest.startswith(event.digest) and len(event.digest) >= SHOWN_CHARS


def _asked_by_now(run: Run, call: ToolCall, fresh: Assessment, now: datetime) -> Decision:
    """Tool or policy have changed since people were asked: nothing is decided, it is asked as it is now."""
    old = call.approval
    assert old is not None  # noqa: S101  whoever calls has looked
    spent = replace(old, status=ApprovalStatus.WITHDRAWN)
    if fresh.ruling not in (Ruling.ASK, Ruling.ALLOW):
        over = settled(run, replace(call, approval=spent), OutcomeKind.DENIED, fresh.reason, now)
        return replace(over, refused=Refusal.CHANGED, note=f"{CHANGED_SINCE}; it does not run")
    call = replace(call, arguments=fresh.arguments, idempotent=fresh.idempotent)
    note = f"{CHANGED_SINCE}; it is asked anew"
    if fresh.previews:
        return replace(worked_out_first(run, call, spent, note, now), refused=Refusal.CHANGED)
    asked, effects = ask_instead(call, run, terms_instead(fresh, old), fresh.digest, now, more_time=True)
    run = with_turn(run, run.turn.with_call(asked))
    return Decision(run, effects, no_expiry(old), note=note, refused=Refusal.CHANGED)


def heard(
    run: Run,
    event: Said,
    now: datetime,
    sayable: Callable[[ToolCall, Approval], str | None],
    then: Callable[[Run, ToolCall, Approval], Decision],
) -> Decision:
    """The one gate of all that people say about a question, whichever door and kind of answer it comes by.

    The question is there, they may answer it, it is open, in time, unchanged since it was shown, and takes
    such a word; else nothing follows but the reason. Where its time is up and prolonged, it is heard by the
    same gate once more.

    Args:
        event: What was said; of another kind too, as long as it has these fields of `ApprovalDecided`:
            `approval`, `digest`, `entitled_as`, `standing`, `current`.
        sayable: Why this question takes no such word; None where it does.
        then: What follows of it, where all is well.
    """
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, "that question is no longer asked", Refusal.NOT_FOUND)
    approval = call.approval
    refused = entitlement.refusal(run, call, event.entitled_as, event.standing, event.current)
    if refused is not None:
        return unheard(run, refused[1], refused[0])
    if not approval.open or call.status is not CallStatus.AWAITING_APPROVAL:
        return unheard(run, already(approval), Refusal.ALREADY_DECIDED)
    if now >= approval.expires_at:
        over = expiry.expire(run, call, approval, now)
        return expiry.late(approval.id, over, lambda prolonged: heard(prolonged, event, now, sayable, then))
    if not _was_shown(approval, event):
        return unheard(run, "the question has changed since it was shown", Refusal.CHANGED)
    if (why := sayable(call, approval)) is not None:
        return unheard(run, why, Refusal.NOT_NOW)
    return then(run, call, approval)


def answered(run: Run, call: ToolCall, approval: Approval, verdict: Verdict, now: datetime) -> Decision:
    """By somebody who may: a no ends it, a yes counts, and the last one needed lets it happen."""
    if verdict.refine and not is_own(call):
        return unheard(run, "only a plan can be sent back with a note", Refusal.NOT_NOW)
    if verdict.answer is not None:
        return _by_a_person(run, call, approval, verdict, now)
    if verdict.approve:
        if (counted := entitlement.already_counted(approval, verdict.by.id)) is not None:
            return unheard(run, counted, Refusal.ALREADY_DECIDED)
        approval = entitlement.with_yes(approval, verdict)
        if entitlement.needed_later(approval):
            later = f"{verdict.by.id} is needed in a later stage; nobody counts twice"
            return unheard(run, later, Refusal.NOT_NOW)
        others = spread(approval, now) if call.approval and call.approval.stage < approval.stage else ()
        call = replace(call, approval=approval)
        if not entitlement.enough(approval):
            run = with_turn(run, run.turn.with_call(call))
            return Decision(run, (*redraw(call, now), *others), note=_so_far(approval))
    if is_own(call):
        return pauses.answered(run, call, verdict, now)
    if approval.terms.reason_required and not verdict.approve and not legible(verdict.reason):
        return unheard(run, NO_REASON, Refusal.NOT_NOW)
    return (_approve if verdict.approve else _reject)(run, call, approval, verdict, now)


def _by_a_person(run: Run, call: ToolCall, approval: Approval, verdict: Verdict, now: datetime) -> Decision:
    """Answered instead of run. The call is settled with it, so that there is nothing left for the gate."""
    call = replace(call, approval=replace(approval, status=ApprovalStatus.APPROVED, verdict=verdict))
    return settled(run, call, OutcomeKind.SUCCEEDED, human.result(call, verdict.answer), now)


def _so_far(approval: Approval) -> str:
    step, yeses = approval.terms.steps[approval.stage], approval.yeses(approval.stage)
    stage = f" in stage {step.name}" if step.name else ""
    return f"{len(approval.votes)} approved so far; {step.quorum - yeses} more needed{stage}"


def worked_out_first(run: Run, call: ToolCall, spent: Approval, note: str, now: datetime) -> Decision:
    """Nobody is asked before it is known what it would do; `calls.previewed` asks in the place of `spent`.

    Its message is left as it is for that moment: a press there is told that the question is taken back.
    """
    spent = replace(spent, status=ApprovalStatus.WITHDRAWN)
    call = replace(call, status=CallStatus.PREVIEWING, approval=spent)
    run = with_turn(run, run.turn.with_call(call))
    return Decision(run, (Effect(EffectKind.PREVIEW_CALL, call.id, now),), no_expiry(spent), note=note)


def already(approval: Approval) -> str:
    """Who was first, and when, in words for the one who came second."""
    if approval.verdict is None:
        return f"already {approval.status}"
    who = approval.verdict.by.name or approval.verdict.by.id
    what = "answered" if approval.answered else approval.status
    return f"already {what} by {who} at {approval.verdict.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _approve(run: Run, call: ToolCall, approval: Approval, verdict: Verdict, now: datetime) -> Decision:
    granted = replace(
        approval,
        status=ApprovalStatus.APPROVED,
        verdict=verdict,
        start_by=start_by(run, approval, now),
    )
    call = replace(call, status=CallStatus.READY, approval=granted)
    effects = (Effect(EffectKind.EXECUTE_TOOL, call.id, now), *redraw(call, now))
    return Decision(with_turn(run, run.turn.with_call(call)), effects, drop=no_expiry(approval))


def _reject(run: Run, call: ToolCall, approval: Approval, verdict: Verdict, now: datetime) -> Decision:
    refused = replace(approval, status=ApprovalStatus.REJECTED, verdict=verdict)
    asked = human.is_question(call)
    text = human.DECLINED_TEXT if asked else "A person rejected this call. It did not run."
    if verdict.reason:
        text += f' In their words: "{verdict.reason}"'
    call = replace(call, approval=refused)
    if verdict.stop:
        return _stop(run, settle(call, OutcomeKind.REJECTED, text, now), verdict, now)
    return settled(run, call, OutcomeKind.REJECTED, text, now)


def _stop(run: Run, call: ToolCall, verdict: Verdict, now: datetime) -> Decision:
    """A no that ends the whole run, in the same moment: nothing of it starts any more."""
    who = verdict.by.name or verdict.by.id
    what = named(run.recipe.workflow, call.tool, call.call_id)
    reason = f"stopped by {who}, who rejected {what}" + (f": {verdict.reason}" if verdict.reason else "")
    run = replace(run, turn=run.turn.with_call(call))
    return finish(run, RunStatus.CANCELLED, now, reason=reason, drop=no_expiry(call.approval))
