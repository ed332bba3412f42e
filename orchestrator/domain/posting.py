"""Where a question stands in its channel, or why it does not; for direct messages see `escalation`."""

from datetime import datetime

from orchestrator.domain.asking import begun, redraw
from orchestrator.domain.choosing import is_choosing
from orchestrator.domain.consent import Approval, approval_key
from orchestrator.domain.deadlines import unseen
from orchestrator.domain.decision import Decision, unheard
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import ApprovalPosted, ApprovalUndelivered
from orchestrator.domain.model import Policy, Run, ToolCall
from orchestrator.domain.values import replace


def posted(run: Run, event: ApprovalPosted, policy: Policy, now: datetime) -> Decision:
    """Where people see it. A request decided while it was being posted is redrawn at once."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, f"{event.approval} is not a question of this turn")
    shown = replace(call.approval, channel=event.channel, ts=event.ts, trouble="")
    call, timers = begun(replace(call, approval=shown), run.turn, now)
    run = replace(run, turn=run.turn.with_call(call))
    more = (*timers, *_pictures(call, shown, now)) if shown.open else redraw(call, now)
    return Decision(run, (*more, *_led_here(call, shown, now)))


def _led_here(call: ToolCall, shown: Approval, now: datetime) -> tuple[Effect, ...]:
    """Messages of questions whose place it took, and that it does not stand in itself, tell where it is."""
    spent = (approval_key(call.id, revision) for revision in range(1, shown.revision))
    return tuple(Effect(EffectKind.UPDATE_APPROVAL, approval, now) for approval in spent)


def _pictures(call: ToolCall, shown: Approval, now: datetime) -> tuple[Effect, ...]:
    """Under a choice among files they are shown; not where the channel is shown no arguments."""
    wanted = is_choosing(call) and not shown.terms.discreet
    return (Effect(EffectKind.UPLOAD_MEDIA, shown.id, now),) if wanted else ()


def undelivered(run: Run, event: ApprovalUndelivered, policy: Policy, now: datetime) -> Decision:
    """The channel does not take it: never an approval, never a rejection; the people themselves may."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, f"{event.approval} is not a question of this turn")
    hidden = replace(call.approval, trouble=event.why)
    call, timers = begun(replace(call, approval=hidden), run.turn, now)
    spread = hidden.open and unseen(hidden)
    spreading = Effect(EffectKind.SPREAD_APPROVAL, hidden.id, now)
    others = tuple(e for e in timers if e.kind is not EffectKind.SPREAD_APPROVAL)
    effects = (*others, spreading) if spread else timers
    note = f"the request could not be shown in Slack: {event.why}"
    return Decision(replace(run, turn=run.turn.with_call(call)), effects, note=note, alarm=True)
