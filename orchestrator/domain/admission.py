"""Calls that come, by a model or by a tool's step: each in the state its ruling gives it."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from orchestrator.domain import approver_load
from orchestrator.domain.asking import OURS, Asked, ask
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Terms
from orchestrator.domain.decision import Decision, finish, settle, unheard, with_turn
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import StepBegun
from orchestrator.domain.model import (
    CallStatus,
    OutcomeKind,
    Policy,
    Run,
    RunStatus,
    ToolCall,
    Turn,
    TurnStatus,
    call_key,
)
from orchestrator.domain.onward import advance
from orchestrator.domain.values import replace


def step_begun(run: Run, event: StepBegun, policy: Policy, now: datetime) -> Decision:
    """The one call of a tool's step, in the state its ruling gives it: as free or as gated as a model's."""
    waits = run.calls_a_tool and run.turn.status is TurnStatus.INTENDED
    if event.turn != run.turn.number or not waits or run.doing is None:
        return unheard(run, f"turn {event.turn} is no step that waits to begin")
    if event.assessment is None:
        reason = f"step {run.doing.name}: {event.why}"
        return finish(run, RunStatus.FAILED, now, reason=reason, stop=False)
    ((call, effects),) = admit(run, "", (event.assessment,), policy, now)
    turn = replace(run.turn, status=TurnStatus.ACTION, sent_at=now, calls=(call,))
    return advance(with_turn(run, turn), now, effects)


def admit(
    run: Run, interaction_id: str, wishes: Iterable[Assessment], policy: Policy, now: datetime
) -> list[Asked]:
    """Each wish in its state; people are asked about so many of them at a time."""
    admitted: list[Asked] = []
    besides: Counter[str] = Counter()
    most = policy.max_open_per_approver
    for wish in wishes:
        so_far = approver_load.open_questions(
            Turn(run.turn.number, calls=tuple(call for call, _ in admitted))
        )
        within_both = approver_load.relieved(
            approver_load.within(wish, so_far, policy.max_open), run.asked_for_it, most, besides
        )
        besides.update(approver_load.put_to(within_both))
        admitted.append(_as_call(run, interaction_id, within_both, now))
    return admitted


def _as_call(run: Run, interaction_id: str, wish: Assessment, now: datetime) -> Asked:
    """A function call as a call of ours, in the state its ruling gives it."""
    key = call_key(run.id, interaction_id, wish.call_id)
    call = ToolCall(key, wish.call_id, wish.tool, wish.arguments, CallStatus.READY, wish.idempotent)
    match wish.ruling:
        case Ruling.ALLOW:
            return call, (Effect(EffectKind.EXECUTE_TOOL, key, now),)
        case Ruling.ASK if wish.previews:
            effect = Effect(EffectKind.PREVIEW_CALL, key, now)
            return replace(call, status=CallStatus.PREVIEWING), (effect,)
        case Ruling.ASK:
            return ask(call, run, wish.terms or Terms(approvers=()), wish.digest, now)
        case Ruling.DENY:
            return settle(call, OutcomeKind.DENIED, wish.reason, now), ()
        case _:
            return settle(call, OutcomeKind.FAILED, wish.reason, now), ()


def unanswerable(wanted: tuple[Assessment, ...], many: int, most: int) -> str | None:
    """Why a set of calls can have no matching set of results.

    Args:
        wanted: All of them, or some where they are too many.
        many: How many there are.
    """
    if many > most:
        return f"{many} calls in one turn: over the limit of {most}"
    seen: dict[str, Assessment] = {}
    for a in wanted:
        if a.call_id.startswith(OURS):
            return f"the model made a function call under an id that is ours, {a.call_id[:64]!r}"
        if not a.call_id:
            return "the model made a function call without an id, which cannot be answered"
        if seen.setdefault(a.call_id, a) != a:
            return f"the model made two different calls under one id, {a.call_id[:64]!r}"
    return None
