"""`decide`: what an event means for a run. One table says what a turn hears, one who answers for an event.

    queued ──► running ──► waiting ──► resuming ──► running ─ … ─► completed
                  └────────────┴──────── any of these ──────────► failed, cancelled
                                         (attention: until a person has spoken)

A late, doubled or misplaced event changes nothing and says why; nothing is raised.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from orchestrator.domain import (
    admission,
    batches,
    calls,
    creates,
    digests,
    escalation,
    expiry,
    inquiries,
    joblife,
    posting,
    proposals,
    turns,
    verdicts,
)
from orchestrator.domain.consent import Actor
from orchestrator.domain.decision import Decision, Refusal, finish, unheard
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import (
    ApprovalCopied,
    ApprovalDecided,
    ApprovalEdited,
    ApprovalExpired,
    ApprovalNotCopied,
    ApprovalPosted,
    ApprovalUndelivered,
    ApproversFound,
    AttentionResolved,
    BatchPosted,
    BatchUndelivered,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallDoubted,
    CallFinished,
    CallPreviewed,
    CallWaits,
    CancelRequested,
    Choice,
    CreateClaimed,
    CreateDeferred,
    CreateGraceEnded,
    CreateRefused,
    CreateUncertain,
    Event,
    ForgettingNear,
    InquiryPosted,
    InteractionMissing,
    InteractionObserved,
    InteractionSignalled,
    InteractionTooLarge,
    JobClaimed,
    JobDeferred,
    JobGraceEnded,
    JobHarvested,
    JobMissing,
    JobObserved,
    JobRefused,
    JobSignalled,
    JobUncertain,
    QuestionAnswered,
    QuestionAsked,
    ReminderDue,
    RunOverdue,
    StepBegun,
    TakenUp,
)
from orchestrator.domain.interaction_status import STILL_OPEN, meaning
from orchestrator.domain.model import Policy, Recipe, Run, RunStatus, Turn, TurnStatus
from orchestrator.domain.onward import enter
from orchestrator.domain.values import replace

TURN_HEARS: Final[Mapping[TurnStatus, tuple[type[Event], ...]]] = {
    TurnStatus.INTENDED: (CreateClaimed, InteractionObserved),
    TurnStatus.SENDING: (InteractionObserved, CreateUncertain, CreateDeferred, CreateRefused),
    TurnStatus.UNKNOWN: (InteractionObserved, CreateGraceEnded),
    TurnStatus.LOST: (InteractionObserved, AttentionResolved),
    TurnStatus.REFUSED: (InteractionObserved, AttentionResolved),
    TurnStatus.LIVE: (InteractionSignalled, InteractionObserved, InteractionMissing, InteractionTooLarge),
    TurnStatus.ACTION: (InteractionSignalled, InteractionObserved, InteractionMissing, InteractionTooLarge),
    TurnStatus.ENDED: (),
}
"""What the current interaction listens to. Each call, and each of its jobs, is looked at by the function that
hears of it, in `calls`, `verdicts` and the like, which answers with a reason; tests hold those to tables."""

_Handler = Callable[[Run, Any, Policy, datetime], Decision]


def decide(run: Run, event: Event, *, policy: Policy, now: datetime) -> Decision:
    """What `event` means for `run`, and what must be done about it.

    Args:
        run: As it was read from its rows.
        event: Late, twice or out of order as it may be.
        policy: Our pace and patience.
        now: The one clock's time, UTC.

    Returns:
        The run as it is to be saved; equal to the given one when the event means nothing here,
        with the reason in `note` and, for a person's wish, in `refused`.
    """
    decision = batches.redrawn(run, _decide(run, event, policy, now), now)
    decision = digests.followed(run, decision, now)
    return inquiries.redrawn(run, decision, now)


def _decide(run: Run, event: Event, policy: Policy, now: datetime) -> Decision:
    if run.closed:
        return after_the_end(run, event, now)
    about_turn = type(event) in _TURN_EVENTS and not (isinstance(event, AttentionResolved) and event.call)
    if about_turn and not isinstance(event, TURN_HEARS[run.turn.status]):
        note = f"{type(event).__name__} is not heard while the turn is {run.turn.status}"
        refused = Refusal.NOT_NOW if isinstance(event, CreateClaimed | AttentionResolved) else None
        return unheard(run, note, refused)
    return _HANDLERS[type(event)](run, event, policy, now)


def open_run(
    run_id: str,
    recipe: Recipe,
    text: str,
    requester: Actor,
    *,
    now: datetime,
    restart_of: str | None = None,
    after: Run | None = None,
    record: str = "",
) -> Decision:
    """A run is asked for: the record is opened and its first interaction, or first step, intended.

    Args:
        after: The run whose steps it goes on with, from the one that one was at.
        record: What the agent of that step had been told and did: told instead of what the step says.
    """
    deadline = now + recipe.limits.max_duration
    run = Run(
        id=run_id,
        recipe=recipe,
        status=RunStatus.QUEUED,
        turn=Turn(number=1),
        input=text,
        requester=requester,
        created_at=now,
        deadline=deadline,
        restart_of=restart_of,
        step=after.step if after else 0,
        outputs=after.outputs if after else {},
    )
    begun = enter(run, None, now, (Effect(EffectKind.END_RUN, run_id, deadline),))
    if not record or begun.run.closed:
        return begun
    return replace(begun, run=replace(begun.run, turn=replace(begun.run.turn, note=record)))


def after_the_end(run: Run, event: Event, now: datetime) -> Decision:
    """An ended run hears nothing more, except to stop an interaction still open behind it."""
    match event:
        case InteractionObserved():
            return _read_behind_the_end(run, event, now)
        case CallFinished():
            return calls.finished_late(run, event, now)
        case JobObserved():
            return joblife.behind_the_end(run, event, now)
        case JobSignalled():
            return joblife.too_late(run, event)
        case ApprovalPosted():
            return posting.posted(run, event, Policy(), now)
        case BatchPosted():
            return batches.posted(run, event, Policy(), now)
        case ApprovalCopied():
            return escalation.copied(run, event, Policy(), now)
        case InquiryPosted():
            return inquiries.posted(run, event, Policy(), now)
        case (
            InteractionSignalled()
            | ApprovalExpired()
            | ReminderDue()
            | RunOverdue()
            | InteractionMissing()
            | InteractionTooLarge()
            | ForgettingNear()
            | BatchUndelivered()
            | JobGraceEnded()
            | JobMissing()
            | JobHarvested()
        ):
            return Decision(run)  # what was on its way when the run ended
        case _:
            return unheard(run, f"the run is {run.status}", Refusal.RUN_ENDED)


def _read_behind_the_end(run: Run, event: InteractionObserved, now: datetime) -> Decision:
    snap = event.snapshot
    own = snap.interaction_id == run.turn.interaction_id
    if event.former or meaning(snap.status) not in STILL_OPEN:
        return Decision(run)
    if own and run.status is RunStatus.COMPLETED:
        return unheard(run, f"a stale reading ({snap.status[:64]}) of a run that completed")
    stop = Effect(EffectKind.CANCEL_INTERACTION, snap.interaction_id, now)
    return Decision(run, (stop,), note=f"{snap.interaction_id} was still open behind the run")


def _cancel(run: Run, event: CancelRequested, policy: Policy, now: datetime) -> Decision:
    """Wins from its commit on; an interaction whose create is in flight is stopped when it shows itself."""
    reason = f"cancelled by {event.by.name or event.by.id}" + (f": {event.reason}" if event.reason else "")
    return finish(run, RunStatus.CANCELLED, now, reason=reason)


def _taken_up(run: Run, event: TakenUp, policy: Policy, now: datetime) -> Decision:
    """Only a run that waits for a person is left behind; one that is at work must be stopped first."""
    if run.status is not RunStatus.ATTENTION:
        return unheard(run, f"the run is {run.status}; cancel it first", Refusal.NOT_NOW)
    reason = f"taken up again as {event.as_run} by {event.by.name or event.by.id}; before that: {run.reason}"
    return finish(run, RunStatus.FAILED, now, reason=reason)


def _overdue(run: Run, event: RunOverdue, policy: Policy, now: datetime) -> Decision:
    if now < run.deadline:
        return Decision(run, (Effect(EffectKind.END_RUN, run.id, run.deadline),))
    return finish(run, RunStatus.FAILED, now, reason=f"not ended within {run.recipe.limits.max_duration}")


def _resolve(run: Run, event: AttentionResolved, policy: Policy, now: datetime) -> Decision:
    if event.call:
        return calls.resolved(run, event, policy, now)
    match event.choice:
        case Choice.RETRY if run.turn.interaction_id is not None:
            return unheard(run, "a call of it is gone: restart the run or give it up", Refusal.NOT_NOW)
        case Choice.RETRY:
            return creates.send_again(run, now)
        case Choice.GIVE_UP:
            return finish(run, RunStatus.FAILED, now, reason=f"given up by {event.by.id}: {run.reason}")
        case Choice.HAPPENED:
            return unheard(run, "a create has no result to give", Refusal.NOT_NOW)


_HANDLERS: Final[Mapping[type[Event], _Handler]] = {
    InteractionSignalled: turns.signalled,
    CreateClaimed: creates.claimed,
    StepBegun: admission.step_begun,
    InteractionObserved: turns.observe,
    InteractionMissing: turns.missing,
    InteractionTooLarge: turns.too_large,
    CreateUncertain: creates.uncertain,
    CreateDeferred: creates.deferred,
    CreateRefused: creates.refused,
    CreateGraceEnded: creates.grace_ended,
    CallPreviewed: calls.previewed,
    CallClaimed: calls.claim,
    CallFinished: calls.finished,
    CallCutOff: calls.cut_off,
    CallDoubted: calls.doubted,
    CallDeferred: calls.deferred,
    CallWaits: joblife.waits,
    JobClaimed: joblife.claimed,
    JobDeferred: joblife.deferred,
    JobUncertain: joblife.uncertain,
    JobRefused: joblife.refused,
    JobGraceEnded: joblife.grace_ended,
    JobSignalled: joblife.signalled,
    JobObserved: joblife.observed,
    JobMissing: joblife.missing,
    JobHarvested: joblife.harvested,
    ApprovalPosted: posting.posted,
    ApprovalUndelivered: posting.undelivered,
    BatchPosted: batches.posted,
    BatchUndelivered: batches.undelivered,
    ApproversFound: escalation.found,
    ApprovalCopied: escalation.copied,
    ApprovalNotCopied: escalation.not_copied,
    ApprovalDecided: verdicts.decided,
    ApprovalEdited: proposals.edited,
    QuestionAsked: inquiries.asked,
    QuestionAnswered: inquiries.answered,
    InquiryPosted: inquiries.posted,
    ApprovalExpired: expiry.expired,
    ReminderDue: expiry.reminded,
    CancelRequested: _cancel,
    RunOverdue: _overdue,
    ForgettingNear: turns.forgetting_near,
    TakenUp: _taken_up,
    AttentionResolved: _resolve,
}

_TURN_EVENTS: Final = frozenset(e for heard in TURN_HEARS.values() for e in heard)
