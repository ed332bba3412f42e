"""The clock of the question about a call: it reminds people, and its time runs out without an answer.

asked ──► reminded, by each number ──► its time is up ─┬─ no other ─────► SETTLED, the model is told
                                                       └─ a second one ─► still asked; see `deadlines`

How long that time is, and when people are reminded, is told in `deadlines`; what they answer, in `verdicts`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from orchestrator.domain import human, pauses
from orchestrator.domain.asking import is_own, latest, no_expiry, redraw
from orchestrator.domain.calls import settled
from orchestrator.domain.consent import Approval, ApprovalStatus
from orchestrator.domain.deadlines import OVERDUE, left_to_a_person, notify, prolonged, reminders, timers
from orchestrator.domain.decision import Decision, Refusal, with_turn
from orchestrator.domain.effects import Effect, EffectKind, notice_subject
from orchestrator.domain.events import ApprovalExpired, ReminderDue
from orchestrator.domain.model import OutcomeKind, Policy, Run, ToolCall
from orchestrator.domain.pipeline import named
from orchestrator.domain.reminding import beside
from orchestrator.domain.values import replace

EXPIRED_TEXT: Final = "Nobody decided about this call in time. It did not run."


def expired(run: Run, event: ApprovalExpired, policy: Policy, now: datetime) -> Decision:
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None or not call.approval.open:
        return Decision(run)  # decided in time; the timer only came round
    if now < call.approval.expires_at:
        return Decision(run, (Effect(EffectKind.EXPIRE_APPROVAL, event.approval, call.approval.expires_at),))
    return expire(run, call, call.approval, now)


def reminded(run: Run, event: ReminderDue, policy: Policy, now: datetime) -> Decision:
    """People are told that it still waits, once by each reminder; one that comes too late says nothing.

    Those of the same thread that are due by then are told of with it.
    """
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None or not call.approval.open:
        return Decision(run)  # decided in time; the timer only came round
    approval = call.approval
    due = dict(reminders(approval)).get(event.number)
    if due is None or event.number <= approval.reminded or now >= approval.expires_at:
        return Decision(run)
    if now < due:
        subject = notice_subject(approval.id, str(event.number))
        return Decision(run, (Effect(EffectKind.REMIND_APPROVAL, subject, due),))
    turn = run.turn
    for other, what in ((call, str(event.number)), *beside(turn, call, approval, str(event.number))):
        if other.approval is not None and other.approval.reminded < int(what):
            turn = turn.with_call(replace(other, approval=replace(other.approval, reminded=int(what))))
    return Decision(replace(run, turn=turn), (notify(approval, str(event.number), now),))


def expire(run: Run, call: ToolCall, approval: Approval, now: datetime) -> Decision:
    """Its time is up: it lapses, told to the model as a timeout, or its terms give it a second time."""
    if is_own(call):
        return pauses.lapsed(run, call, now)
    if (longer := prolonged(approval, latest(run.turn), now)) is not None:
        return _overdue(run, replace(call, approval=longer), approval, longer, now)
    lapsed = replace(call, approval=replace(approval, status=ApprovalStatus.EXPIRED))
    text = human.UNANSWERED_TEXT if human.is_question(call) else EXPIRED_TEXT
    return settled(run, lapsed, OutcomeKind.EXPIRED, text, now)


def _overdue(run: Run, call: ToolCall, was: Approval, longer: Approval, now: datetime) -> Decision:
    """Nobody decided in the first time: others are asked as well, or the run waits in `attention`."""
    left = left_to_a_person(longer)
    what = named(run.recipe.workflow, call.tool, call.call_id)
    reason = f"nobody decided about {what} in time; it can still be decided" if left else ""
    note = reason or f"nobody decided about {what} in time; others may decide too"
    effects = (*timers(longer, now), notify(longer, OVERDUE, now), *redraw(call, now))
    run = with_turn(run, run.turn.with_call(call), reason)
    return Decision(run, effects, no_expiry(was), note=note, alarm=left)


def late(about: str, over: Decision, again: Callable[[Run], Decision]) -> Decision:
    """An answer after its time. Where that is prolonged it counts, whether or not the timer was first.

    Args:
        about: The question it is about, by its id.
        over: What follows of its time being up; see `expire`.
        again: What follows of the answer, in the run as that leaves it.
    """
    call = over.run.turn.by_approval(about)
    if call is None or call.approval is None or not call.approval.open:
        return replace(over, refused=Refusal.EXPIRED, note="its time was up")
    then = again(over.run)
    if then.refused is not None:
        return replace(over, refused=then.refused, note=then.note)
    after = then.run.turn.by_approval(about)
    if after is None or after.approval is None or not after.approval.open:
        return replace(then, drop=(*over.drop, *then.drop))
    said = {e.key for e in then.effects} | set(then.drop)
    kept = tuple(e for e in over.effects if e.key not in said)
    return replace(then, effects=(*kept, *then.effects), drop=(*over.drop, *then.drop))
