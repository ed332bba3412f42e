"""How a run goes on: to its next interaction or its next step, or to people, where it has used enough."""

from datetime import datetime
from typing import Final

from orchestrator.domain.asking import GO_ON, PLAN, RESTART, is_own, own_question, warn
from orchestrator.domain.decision import Decision, create_effect, finish, with_turn
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import Run, RunStatus, Turn, TurnStatus
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
from orchestrator.domain.values import replace

MAX_REASON: Final = 1_000
"""Characters of a tool's error that a run's reason repeats."""
TOKENS: Final = "total_tokens"
"""What a run's token limit counts (Gemini API, Interactions, `usage`)."""


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
