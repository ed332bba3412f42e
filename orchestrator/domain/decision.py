"""What `decide` answers, and the few moves every part of it shares."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from orchestrator.domain.asking import redraw
from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.deadlines import left_to_a_person
from orchestrator.domain.effects import Effect, EffectKind, Urgency, attempt_subject, cancel_subject
from orchestrator.domain.jobs import NAMELESS, NOT_SENT, JobStatus
from orchestrator.domain.model import (
    CallStatus,
    Outcome,
    OutcomeKind,
    Policy,
    Run,
    RunStatus,
    ToolCall,
    Turn,
    TurnStatus,
)
from orchestrator.domain.values import Value, replace

WATCH_FROM: Final = 0.75
WATCH_TO: Final = 0.9
"""In which part of an interval its reading is due."""


class Refusal(StrEnum):
    """Why somebody's wish was not followed; the doors turn it into their own words."""

    NOT_FOUND = "not_found"
    ALREADY_DECIDED = "already_decided"
    EXPIRED = "expired"
    CHANGED = "changed"
    NOT_ENTITLED = "not_entitled"
    RUN_ENDED = "run_ended"
    NOT_NOW = "not_now"


class Decision(Value):
    """The run as it is now and what must be done.

    `left` is the turn that was left behind when the run moved on to its next one. `drop` names
    effects (by key) nobody wants any more. `note` goes into the record; with `refused` it says
    why nothing changed. `alarm` asks for a person's eye.
    """

    run: Run
    effects: tuple[Effect, ...] = ()
    drop: tuple[str, ...] = ()
    left: Turn | None = None
    note: str = ""
    refused: Refusal | None = None
    alarm: bool = False


def unheard(run: Run, note: str, refused: Refusal | None = None) -> Decision:
    """Nothing follows, and why."""
    return Decision(run, note=note, refused=refused)


def status_of(turn: Turn) -> RunStatus:
    """Where a live run stands is a matter of its turn and calls; it is never set beside them."""
    calls = {c.status for c in turn.calls}
    lost = turn.status in (TurnStatus.LOST, TurnStatus.REFUSED)
    if lost or any(needs_a_person(c) for c in turn.calls):
        return RunStatus.ATTENTION
    if turn.status in (TurnStatus.INTENDED, TurnStatus.SENDING, TurnStatus.UNKNOWN):
        return RunStatus.QUEUED if turn.number == 1 else RunStatus.RESUMING
    if CallStatus.AWAITING_APPROVAL in calls:
        return RunStatus.WAITING
    return RunStatus.RUNNING


def needs_a_person(call: ToolCall) -> bool:
    """Whether somebody must see to this call: it is in doubt, or nobody decided about it in time."""
    if call.status is CallStatus.AWAITING_APPROVAL:
        return left_to_a_person(call.approval)
    return call.status is CallStatus.IN_DOUBT


def with_turn(run: Run, turn: Turn, reason: str = "") -> Run:
    """The run with that turn, its status following from it.

    What a person must settle stays said until it is settled.
    """
    status = status_of(turn)
    if status is RunStatus.ATTENTION:
        reason = reason or run.reason
    return replace(run, turn=turn, status=status, reason=reason)


def settle(call: ToolCall, kind: OutcomeKind, result: object, now: datetime) -> ToolCall:
    """The call with its one result."""
    outcome = Outcome(kind, result)  # type: ignore[arg-type]  # callers hand over what Gemini takes
    return replace(call, status=CallStatus.SETTLED, outcome=outcome, settled_at=now)


def watch(
    run: Run,
    subject: str,
    every: timedelta,
    now: datetime,
    kind: EffectKind = EffectKind.FETCH_INTERACTION,
) -> Effect:
    """The next reading nobody asked for, within the interval; its last tenth is for standing in line.

    The spread is a hash and not a dice roll, so that deciding stays pure.
    """
    seed = hashlib.sha256(f"{run.id}{now.timestamp()}".encode()).digest()
    share = WATCH_FROM + (WATCH_TO - WATCH_FROM) * int.from_bytes(seed[:4]) / 2**32
    return Effect(kind, subject, now + every * share, Urgency.WATCH)


def watch_span(sent_at: datetime | None, policy: Policy, now: datetime) -> timedelta:
    """Within what time what is live is read again: the older it is, the less a moment matters."""
    age = now - (sent_at or now)
    grown = min(policy.watch_every + age * policy.watch_growth, policy.watch_most)
    return max(policy.watch_every, grown)


def create_effect(turn: Turn, due_at: datetime) -> Effect:
    return Effect(EffectKind.CREATE_INTERACTION, attempt_subject(turn.number, turn.attempt), due_at)


def add_usage(total: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    """Token counts summed by name."""
    return {k: total.get(k, 0) + more.get(k, 0) for k in sorted({*total, *more})}


def finish(
    run: Run,
    status: RunStatus,
    now: datetime,
    *,
    reason: str = "",
    output: str = "",
    effects: tuple[Effect, ...] = (),
    drop: tuple[str, ...] = (),
    stop: bool = True,
) -> Decision:
    """Close the record: questions are withdrawn, calls that did not start never will.

    A call that is executing keeps its claim, so that its late result can still be written down.
    `stop` asks Gemini to stop too, where it may still be at work or waiting.
    """
    calls = tuple(_withdraw(c, now) for c in run.turn.calls)
    redrawn = tuple(effect for c in calls for effect in redraw(c, now))
    interaction = run.turn.interaction_id
    if stop and interaction and run.turn.status in (TurnStatus.LIVE, TurnStatus.ACTION, TurnStatus.LOST):
        effects = (*effects, Effect(EffectKind.CANCEL_INTERACTION, interaction, now))
    begun = (j for c in run.turn.calls for j in c.jobs if not j.ended and j.status not in NOT_SENT)
    # A name that only a webhook has claimed may be another's, which is not ours to stop: it is looked for.
    named = ((j.id, None if j.status in NAMELESS else j.remote) for j in begun)
    effects = (*effects, *(Effect(EffectKind.CANCEL_JOB, cancel_subject(*one), now) for one in named))
    ended = replace(
        run,
        status=status,
        turn=replace(run.turn, status=TurnStatus.ENDED, calls=calls),
        reason=reason,
        output=output or run.output,
        closed_at=now,
    )
    kept = tuple(e for e in effects if e.kind in (EffectKind.CANCEL_INTERACTION, EffectKind.CANCEL_JOB))
    follow = tuple(Effect(EffectKind.START_HOOK, name, now) for name in run.recipe.hooks.get(status, ()))
    return Decision(ended, (*kept, *redrawn, *follow), drop, note=reason)


def _withdraw(call: ToolCall, now: datetime) -> ToolCall:
    jobs = tuple(j if j.ended else replace(j, status=JobStatus.CANCELLED, ended_at=now) for j in call.jobs)
    call = replace(call, jobs=jobs)
    if call.approval and call.approval.open:
        call = replace(call, approval=replace(call.approval, status=ApprovalStatus.WITHDRAWN))
    if call.status in (CallStatus.SETTLED, CallStatus.EXECUTING):
        return call
    return settle(call, OutcomeKind.WITHDRAWN, "The run ended before this call was made.", now)
