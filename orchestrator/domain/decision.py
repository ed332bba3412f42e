"""What `decide` answers, and the few moves every part of it shares."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from orchestrator.domain.asking import GO_ON, PLAN, RESTART, is_own, own_question, redraw, warn
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
from orchestrator.domain.pipeline import (
    StepKind,
    UnresolvedError,
    anew,
    as_text,
    asked_by,
    note_of,
    told,
    wants_again,
)
from orchestrator.domain.values import Value, replace

MAX_REASON: Final = 1_000
"""Characters of a tool's error that a run's reason repeats."""
TOKENS: Final = "total_tokens"
"""What a run's token limit counts (Gemini API, Interactions, `usage`)."""
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


def advance(
    run: Run, now: datetime, effects: tuple[Effect, ...] = (), drop: tuple[str, ...] = ()
) -> Decision:
    """Go on to the next interaction once every call of the turn has its one result."""
    if not all(c.settled for c in run.turn.calls) or run.turn.status is TurnStatus.LOST:
        return Decision(run, effects, drop)  # of a turn that is lost, calls may be missing
    if run.turn.status is TurnStatus.ENDED and run.doing is not None:
        return step_done(run, run.outputs[run.doing.name], now, effects, drop)
    if run.calls_a_tool:
        return _called(run, now, effects, drop)
    if run.turn.number >= run.recipe.limits.max_turns:
        reason = f"turn limit: {run.turn.number} turns and the model still asks for more"
        return finish(run, RunStatus.FAILED, now, reason=reason, effects=effects, drop=drop)
    if over_tokens(run):
        return hold(run, now, effects, drop)
    return next_turn(run, now, effects, drop)


def _called(run: Run, now: datetime, effects: tuple[Effect, ...], drop: tuple[str, ...]) -> Decision:
    """A tool's step is over: what it came to is handed on, or the run ends with what went wrong."""
    (call,) = run.turn.calls
    outcome = call.outcome
    assert outcome is not None  # noqa: S101  whoever calls has seen it settled
    assert run.doing is not None  # noqa: S101
    if outcome.is_error:
        asked = asked_by(run.recipe.workflow, call.tool, call.call_id)
        what = outcome.kind if asked else f"{call.tool} {outcome.kind}"
        reason = f"step {run.doing.name}: {what}: {as_text(outcome.result)[:MAX_REASON]}"
        return finish(run, RunStatus.FAILED, now, reason=reason, effects=effects, drop=drop)
    return step_done(run, outcome.result, now, effects, drop)


def step_done(
    run: Run,
    output: object,
    now: datetime,
    effects: tuple[Effect, ...] = (),
    drop: tuple[str, ...] = (),
) -> Decision:
    """What a step came to is kept by its name; the next one begins, or the run is completed with it."""
    step, steps = run.doing, run.recipe.steps
    assert step is not None  # noqa: S101  only runs with steps come here
    run = replace(run, outputs={**run.outputs, step.name: output}, output="")
    back = step.again if wants_again(output) else ""
    following = next(n for n, s in enumerate(steps) if s.name == back) if back else run.step + 1
    if following == len(steps):
        said = as_text(output)
        return finish(run, RunStatus.COMPLETED, now, output=said, effects=effects, drop=drop, stop=False)
    if run.turn.number >= run.recipe.limits.max_turns:
        reason = f"turn limit: {run.turn.number} turns, and {steps[following].name} is still to be done"
        return finish(run, RunStatus.FAILED, now, reason=reason, effects=effects, drop=drop, stop=False)
    left = replace(run.turn, status=TurnStatus.ENDED)
    if over_tokens(run):
        return hold(replace(run, turn=left), now, effects, drop)
    return enter(replace(run, step=following), left, now, effects, drop, wish=note_of(output) if back else "")


def enter(
    run: Run,
    left: Turn | None,
    now: datetime,
    effects: tuple[Effect, ...] = (),
    drop: tuple[str, ...] = (),
    wish: str = "",
) -> Decision:
    """The first turn of the step the run is at: an agent is told of it, a tool is to be called.

    Args:
        left: The turn before; None where the run begins.
        wish: Of people who want it done anew; an agent is told, a tool is called as before.
    """
    number = left.number + 1 if left is not None else 1
    turn, step = Turn(number, planning=True if run.acting.plans else None), run.doing
    if step is None:
        return Decision(with_turn(run, turn), (*effects, create_effect(turn, now)), drop, left=left)
    if step.kind is StepKind.TOOL:
        begin = Effect(EffectKind.BEGIN_STEP, str(number), now)
        return Decision(with_turn(run, turn), (*effects, begin), drop, left=left)
    try:
        said = told(step.parts, run.input, run.outputs)
        turn = replace(turn, note=anew(said, run.outputs.get(step.name), wish) if wish else said)
    except UnresolvedError as e:
        ended = finish(
            run,
            RunStatus.FAILED,
            now,
            reason=f"step {step.name}: {e}",
            effects=effects,
            drop=drop,
            stop=False,
        )
        return replace(ended, left=None)
    return Decision(with_turn(run, turn), (*effects, create_effect(turn, now)), drop, left=left)


def next_turn(
    run: Run,
    now: datetime,
    effects: tuple[Effect, ...] = (),
    drop: tuple[str, ...] = (),
) -> Decision:
    """The interaction that goes on from the current one."""
    left = replace(run.turn, status=TurnStatus.ENDED)
    planning, note = _after_plan(left)
    turn = Turn(
        number=left.number + 1,
        previous_id=left.interaction_id,
        note=note,
        planning=planning,
        environment=left.environment,
        continuation=_held(left),
    )
    if any(c.approval for c in left.calls):
        drop = (*drop, f"{EffectKind.WARN_FORGETTING}:{left.interaction_id}")
    if turn.continuation is None and run.output:
        run = replace(run, output="")  # what was cut before a call is no part of the answer
    return Decision(with_turn(run, turn), (*effects, create_effect(turn, now)), drop, left=left)


def _held(left: Turn) -> str | None:
    """The token of a cut answer that people let go on: then that question is all there was to answer."""
    answered = [c for c in left.calls if not (is_own(c) and c.tool == RESTART)]
    alone = len(answered) == 1 and is_own(answered[0]) and answered[0].tool == GO_ON
    return left.continuation if alone else None


def _after_plan(left: Turn) -> tuple[bool | None, str]:
    """Whether the agent plans once more, and what a person wants changed; as before without a plan."""
    plan = next((c for c in left.calls if is_own(c) and c.tool == PLAN), None)
    if plan is None or plan.approval is None or plan.approval.verdict is None:
        return left.planning, ""
    verdict = plan.approval.verdict
    return verdict.refine, verdict.reason if verdict.refine else ""


def over_tokens(run: Run) -> bool:
    """Whether the run has used as many tokens as it may before people are asked."""
    most = run.recipe.limits.max_tokens
    return most is not None and run.usage.get(TOKENS, 0) >= run.granted + most


def hold(run: Run, now: datetime, effects: tuple[Effect, ...] = (), drop: tuple[str, ...] = ()) -> Decision:
    """All that goes on is there; whether more tokens are spent on it is for people to say.

    The turn of a step that is over stays so: nothing its interaction does is heard any more.
    """
    used, most = run.usage.get(TOKENS, 0), run.recipe.limits.max_tokens
    facts = {"tokens_used": used, "limit": most, "turns": run.turn.number}
    call, asked = own_question(run, GO_ON, run.turn.number, facts, f"{used}/{most}", now)
    over = run.turn.status is TurnStatus.ENDED
    status = TurnStatus.ENDED if over else TurnStatus.ACTION
    turn = replace(run.turn, status=status, readings=0, calls=(*run.turn.calls, call))
    note = f"{used} tokens used, the limit is {most}: people are asked whether to go on"
    return Decision(with_turn(run, turn), (*effects, *asked, *(() if over else warn(turn))), drop, note=note)


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
