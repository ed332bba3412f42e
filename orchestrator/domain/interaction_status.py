"""What a status of Gemini's means for the run whose interaction has it: one row for each."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from orchestrator.domain import batches
from orchestrator.domain.admission import admit, unanswerable
from orchestrator.domain.asking import is_own, warn
from orchestrator.domain.decision import Decision, finish, watch, watch_span, with_turn
from orchestrator.domain.effects import Effect
from orchestrator.domain.events import InteractionObserved
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.model import CallStatus, Policy, Run, RunStatus, TurnStatus
from orchestrator.domain.onward import advance, hold, next_turn, over_tokens, step_done
from orchestrator.domain.pauses import ask_about_plan
from orchestrator.domain.pipeline import cited, output_of
from orchestrator.domain.plain import MAX_HANDED_ON, size
from orchestrator.domain.values import replace


class Meaning(StrEnum):
    """What a status of Gemini's means for us."""

    LIVE = "live"
    ACTION = "action"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CONTINUE = "continue"
    STRANGE = "strange"


MEANING: Final[Mapping[str, Meaning]] = {
    "queued": Meaning.LIVE,
    "in_progress": Meaning.LIVE,
    "requires_action": Meaning.ACTION,
    "completed": Meaning.DONE,
    "failed": Meaning.FAILED,
    "cancelled": Meaning.CANCELLED,
    "incomplete": Meaning.PARTIAL,
    "budget_exceeded": Meaning.PARTIAL,
    "requires_continuation": Meaning.CONTINUE,
}
"""All nine statuses (Gemini API, Interactions). The list is open: any other one is strange, so watched."""
ENDS_TURN: Final = frozenset(Meaning) - {Meaning.LIVE, Meaning.STRANGE, Meaning.CANCELLED}
"""What stops for something that the steps tell: calls, an answer, or what went wrong."""
STILL_OPEN: Final = frozenset({Meaning.LIVE, Meaning.ACTION, Meaning.CONTINUE, Meaning.STRANGE})


def meaning(status: str) -> Meaning:
    return MEANING.get(status, Meaning.STRANGE)


def _live(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    turn = replace(run.turn, status=TurnStatus.LIVE, readings=0)
    return Decision(with_turn(run, turn), (_look(run, event, policy, now),))


def _strange(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    """Not a status we know: it may well be alive, so keep reading, and tell somebody after a while."""
    turn = replace(run.turn, status=TurnStatus.LIVE, readings=run.turn.readings + 1)
    alarm = turn.readings == policy.strange_readings
    note = f"unknown status {event.snapshot.status[:64]!r}, read {turn.readings} times" if alarm else ""
    effects = (_look(run, event, policy, now),)
    return Decision(with_turn(run, turn, note or run.reason), effects, note=note, alarm=alarm)


def _look(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Effect:
    return watch(run, event.snapshot.interaction_id, watch_span(run.turn.sent_at, policy, now), now)


def _action(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    """Gemini waits: every function call becomes a call of ours, in its own state."""
    wanted = event.assessments
    if not wanted:
        return _no_calls(run, event, policy, now)
    many, most = len(event.snapshot.calls), run.recipe.limits.max_calls_per_turn
    if (why := unanswerable(wanted, many, most)) is not None:
        return finish(run, RunStatus.FAILED, now, reason=why)
    unique = {a.call_id: a for a in wanted}
    admitted = admit(run, event.snapshot.interaction_id, unique.values(), policy, now)
    calls = (*filter(is_own, run.turn.calls), *(call for call, _ in admitted))
    at_once = {w.call_id: w.terms for w in unique.values() if w.terms is not None and w.terms.collect is None}
    channels = {call_id: terms.channel for call_id, terms in at_once.items()}
    batch = batches.begun(calls, channels)
    bad = run.bad_calls + sum(1 for a in unique.values() if a.ruling in ("unknown", "invalid"))
    turn = replace(run.turn, status=TurnStatus.ACTION, readings=0, calls=calls, batch=batch)
    run = replace(with_turn(run, turn), bad_calls=bad)
    if bad > run.recipe.limits.max_bad_calls:
        reason = f"{bad} calls of unknown tools or with arguments that do not fit: over the limit"
        return finish(run, RunStatus.FAILED, now, reason=reason)
    effects = (*batches.wished(turn, now), *(e for _, es in admitted for e in es))
    return advance(run, now, (*effects, *_waiting(run, event.snapshot.interaction_id, policy, now)))


def _waiting(run: Run, interaction_id: str, policy: Policy, now: datetime) -> tuple[Effect, ...]:
    """While people or tools take their time: seldom a reading, and a warning before Gemini forgets."""
    watching = watch(run, interaction_id, policy.watch_waiting_every, now)
    asked = any(c.status is CallStatus.AWAITING_APPROVAL for c in run.turn.calls)
    return (watching, *(warn(run.turn) if asked else ()))


def _no_calls(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    turn = replace(run.turn, status=TurnStatus.LIVE, readings=run.turn.readings + 1)
    if turn.readings >= policy.missing_readings:
        reason = "Gemini waits for an action and names no function call we can answer"
        return finish(replace(run, turn=turn), RunStatus.FAILED, now, reason=reason)
    return Decision(with_turn(run, turn, run.reason), (_look(run, event, policy, now),))


def _done(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    if run.turn.planning:
        asked = ask_about_plan(run, event.snapshot.output, now)
        more = _waiting(asked.run, event.snapshot.interaction_id, policy, now)
        return replace(asked, effects=(*asked.effects, *more))
    if run.doing is not None:
        return _thought(run, run.doing.name, event, now)
    snap = event.snapshot  # an output may hold an error of its own: nobody is left with an empty answer
    return finish(run, RunStatus.COMPLETED, now, reason=_errors(snap), output=snap.output, stop=False)


def _thought(run: Run, step: str, event: InteractionObserved, now: datetime) -> Decision:
    """An agent's step is over. What another step goes on with is as bounded as a call's result."""
    said = event.snapshot.output
    if not said and (why := _errors(event.snapshot)):
        return finish(run, RunStatus.FAILED, now, reason=f"step {step}: {why}", stop=False)
    output = output_of(said, bool(run.acting.response_format))
    if run.step + 1 < len(run.recipe.steps) and (bytes_ := size(output)) > MAX_HANDED_ON:
        reason = f"step {step}: what it came to has {bytes_} bytes; at most {MAX_HANDED_ON} are handed on"
        return finish(run, RunStatus.FAILED, now, reason=reason, output=said, stop=False)
    run = replace(run, outputs={**run.outputs, **cited(step, event.snapshot.sources)})
    return step_done(run, output, now)


def _failed(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    reason = "Gemini failed: " + (_errors(event.snapshot) or "no reason given")
    return finish(run, RunStatus.FAILED, now, reason=reason, output=event.snapshot.output, stop=False)


def _partial(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    snap = event.snapshot
    reason = f"{snap.status}: Gemini ended early, with a partial result" + (
        f" ({_errors(snap)})" if _errors(snap) else ""
    )
    return finish(run, RunStatus.FAILED, now, reason=reason, output=snap.output, stop=False)


def _cancelled(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    return finish(
        run,
        RunStatus.CANCELLED,
        now,
        reason="cancelled at Gemini",
        output=event.snapshot.output,
        stop=False,
    )


def _continue(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    """A cut answer is taken up again with its token, which names the interaction it belongs to.

    What there is of it stands as the run's output meanwhile.
    """
    snap = event.snapshot
    run = replace(run, output=snap.output)
    if not snap.continuation:
        reason = "requires_continuation without a token to continue with"
        return finish(run, RunStatus.FAILED, now, reason=reason, stop=False)
    if run.turn.number >= run.recipe.limits.max_turns:
        return finish(run, RunStatus.FAILED, now, reason="turn limit", stop=False)
    if over_tokens(run):
        # The token its own create was sent with is of no use any more: the place is for the next one's.
        held = hold(replace(run, turn=replace(run.turn, continuation=snap.continuation)), now)
        watching = watch(run, snap.interaction_id, policy.watch_waiting_every, now)
        return replace(held, effects=(*held.effects, watching))
    decision = next_turn(run, now)
    turn = replace(decision.run.turn, continuation=snap.continuation)
    return replace(decision, run=replace(decision.run, turn=turn, output=snap.output))


def _errors(snap: Snapshot) -> str:
    return "; ".join(snap.errors)[:1000]


_Row = Callable[[Run, InteractionObserved, Policy, datetime], Decision]
FOLLOWS: Final[Mapping[Meaning, _Row]] = {
    Meaning.LIVE: _live,
    Meaning.STRANGE: _strange,
    Meaning.ACTION: _action,
    Meaning.DONE: _done,
    Meaning.FAILED: _failed,
    Meaning.PARTIAL: _partial,
    Meaning.CANCELLED: _cancelled,
    Meaning.CONTINUE: _continue,
}
