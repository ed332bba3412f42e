"""One interaction: adopted, read, and what its status means. How it is asked for, see `creates`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from orchestrator.domain import batches, crowding
from orchestrator.domain.asking import OURS, Asked, is_own, redraw, warn
from orchestrator.domain.assessment import Assessment
from orchestrator.domain.calls import admit, open_questions, within
from orchestrator.domain.deadlines import FORGETTING, notify
from orchestrator.domain.decision import (
    Decision,
    add_usage,
    advance,
    finish,
    hold,
    next_turn,
    over_tokens,
    step_done,
    unheard,
    watch,
    watch_span,
    with_turn,
)
from orchestrator.domain.effects import Effect, EffectKind, attempt_subject
from orchestrator.domain.events import (
    ForgettingNear,
    InteractionMissing,
    InteractionObserved,
    InteractionSignalled,
    StepBegun,
)
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.model import CallStatus, Policy, Run, RunStatus, Turn, TurnStatus
from orchestrator.domain.pauses import ask_about_plan, not_restarted
from orchestrator.domain.pipeline import cited, output_of
from orchestrator.domain.plain import MAX_HANDED_ON, size
from orchestrator.domain.reminding import beside
from orchestrator.domain.sources import joined
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

APPEARS: Final = 2
"""Graces of a create within which its interaction may be missing still: a minute by default, however
often it is read (Gemini API, Interactions: 404 right after a create)."""
SOON: Final = timedelta(seconds=1)
"""Between two readings of one that is missing, at least."""
GONE: Final = "not_found"
"""What we note in the place of a status when Gemini has no such interaction."""

MAX_SAID: Final = 100_000
"""Characters of a turn's text that are kept with it."""

STILL_OPEN: Final = frozenset({Meaning.LIVE, Meaning.ACTION, Meaning.CONTINUE, Meaning.STRANGE})


def meaning(status: str) -> Meaning:
    return MEANING.get(status, Meaning.STRANGE)


def signalled(run: Run, event: InteractionSignalled, policy: Policy, now: datetime) -> Decision:
    """A webhook is a hint to read now, what it claims is not looked at."""
    turn = run.turn
    if event.interaction_id != turn.interaction_id:
        return unheard(run, f"a webhook about {event.interaction_id}, which is not the current interaction")
    if not heeds(turn.status, event.kind):
        return Decision(run)
    return Decision(run, (Effect(EffectKind.FETCH_INTERACTION, event.interaction_id, now),))


def heeds(status: TurnStatus, kind: str) -> bool:
    """Whether a webhook of that kind about the current interaction is a reason to read it.

    One that says what is known already, that its calls wait to be answered, is none.
    """
    if status is TurnStatus.ACTION:
        return kind != "interaction.requires_action"
    return status is TurnStatus.LIVE


def missing(run: Run, event: InteractionMissing, policy: Policy, now: datetime) -> Decision:
    """404: early on the interaction may only be slow to appear, later it is gone for good."""
    turn = run.turn
    if event.interaction_id != turn.interaction_id:
        return Decision(run)
    readings = turn.readings + 1 if turn.gemini_status == GONE else 1
    turn = replace(turn, readings=readings, gemini_status=GONE)
    appeared = turn.sent_at is None or now - turn.sent_at >= policy.create_grace * APPEARS
    if turn.readings >= policy.missing_readings and appeared:
        reason = "Gemini no longer has this interaction: deleted, or past its retention"
        return finish(replace(run, turn=turn), RunStatus.FAILED, now, reason=reason, stop=False)
    pause = max(min(policy.watch_every, policy.create_grace) / 2, SOON)
    return Decision(with_turn(run, turn, run.reason), (watch(run, event.interaction_id, pause, now),))


def observe(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    """A reading. The interaction of the current attempt decides; any other one is stopped, never acted on."""
    turn, snap = run.turn, event.snapshot
    if event.former:
        return unheard(run, f"a late reading of turn {event.turn}, which the run has gone on from")
    if run.calls_a_tool:
        return stray(run, event, now)
    if turn.status is TurnStatus.LOST and turn.interaction_id == snap.interaction_id:
        return unheard(run, f"{snap.interaction_id} is not gone on with: a call of it is gone")
    if (event.turn, event.attempt) != (turn.number, turn.attempt) or turn.interaction_id not in (
        None,
        snap.interaction_id,
    ):
        return stray(run, event, now)
    adopted = turn.interaction_id is None
    on = not_restarted(run, now) if adopted else Decision(run)
    run, turn = on.run, on.run.turn
    sense = meaning(snap.status)
    untold = adopted and sense in ENDS_TURN and not _tells(snap)
    sense = Meaning.LIVE if untold else sense
    if turn.status is TurnStatus.ACTION and (
        sense in STILL_OPEN or (turn.planning and sense is Meaning.DONE)
    ):
        # Its calls are being dealt with: "in progress" is a stale reading, and only retention can strike.
        if turn.readings:
            run = replace(run, turn=replace(turn, readings=0, gemini_status=snap.status))
        return Decision(run, (watch(run, snap.interaction_id, policy.watch_waiting_every, now),))
    callless = sense is Meaning.ACTION and not event.assessments
    first_end = turn.status is not TurnStatus.ACTION and sense not in (Meaning.LIVE, Meaning.STRANGE)
    usage = add_usage(run.usage, snap.usage) if first_end and not callless else run.usage
    sources = joined(run.sources, snap.sources) if first_end and snap.sources else run.sources
    if adopted:
        forgotten_at = (turn.sent_at or now) + policy.retention
        turn = replace(turn, status=TurnStatus.LIVE, forgotten_at=forgotten_at, readings=0)
        turn = replace(turn, interaction_id=snap.interaction_id)
    same = turn.gemini_status != GONE and meaning(turn.gemini_status) is sense
    turn = replace(
        turn,
        gemini_status=snap.status,
        readings=turn.readings if same else 0,
        said=snap.output[:MAX_SAID] if first_end else turn.said,
        environment=snap.environment or turn.environment,
    )
    run = replace(run, turn=turn, usage=usage, sources=sources)
    whole = replace(event, snapshot=replace(snap, output=_whole(run, snap.output, first_end)))
    decision = _read_whole(run, event, now) if untold else _ROWS[sense](run, whole, policy, now)
    if adopted:
        grace = f"{EffectKind.END_CREATE_GRACE}:{attempt_subject(event.turn, event.attempt)}"
        decision = replace(decision, drop=(*decision.drop, grace, *on.drop))
    shown = {e.key for e in decision.effects}
    return replace(decision, effects=(*decision.effects, *(e for e in on.effects if e.key not in shown)))


def _tells(snap: Snapshot) -> bool:
    return bool(snap.calls or snap.output or snap.errors or snap.continuation)


def _whole(run: Run, said: str, first: bool) -> str:
    """An answer with what was cut off before it, which its own interaction need not hold.

    A read shows the timeline of one interaction (Gemini API, Interactions); whether what goes on from a cut
    one begins anew is not written, so what says it all again counts once.
    """
    before = run.output if run.turn.continuation is not None else ""
    if before and not first:
        return before  # with what this interaction said: it was held, for people to say how to go on
    return said if said.startswith(before) else before + said


def _read_whole(run: Run, event: InteractionObserved, now: datetime) -> Decision:
    """The answer to a create need not hold the steps: one that stops and says nothing is read first."""
    read = Effect(EffectKind.FETCH_INTERACTION, event.snapshot.interaction_id, now)
    return Decision(with_turn(run, run.turn), (read,))


def stray(run: Run, event: InteractionObserved, now: datetime) -> Decision:
    """An interaction that carries our metadata and is not the one this run goes on with."""
    snap = event.snapshot
    note = f"{snap.interaction_id} belongs to turn {event.turn}, attempt {event.attempt}, which was replaced"
    if meaning(snap.status) not in STILL_OPEN:
        return unheard(run, note)
    return Decision(run, (Effect(EffectKind.CANCEL_INTERACTION, snap.interaction_id, now),), note=note)


def _live(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    turn = replace(run.turn, status=TurnStatus.LIVE, readings=0)
    return Decision(
        with_turn(run, turn),
        (watch(run, event.snapshot.interaction_id, watch_span(run.turn.sent_at, policy, now), now),),
    )


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
    if (why := _unanswerable(wanted, run.recipe.limits.max_calls_per_turn)) is not None:
        return finish(run, RunStatus.FAILED, now, reason=why)
    unique = {a.call_id: a for a in wanted}
    admitted = _admitted(run, event.snapshot.interaction_id, unique.values(), policy, now)
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


def _admitted(
    run: Run, interaction_id: str, wishes: Iterable[Assessment], policy: Policy, now: datetime
) -> list[Asked]:
    """Each wish in its state; people are asked about so many of them at a time."""
    admitted: list[Asked] = []
    besides: Counter[str] = Counter()
    most = policy.max_open_per_approver
    for wish in wishes:
        so_far = open_questions(Turn(run.turn.number, calls=tuple(call for call, _ in admitted)))
        within_both = crowding.relieved(
            within(wish, so_far, policy.max_open), run.asked_for_it, most, besides
        )
        besides.update(crowding.put_to(within_both))
        admitted.append(admit(run, interaction_id, within_both, now))
    return admitted


def _waiting(run: Run, interaction_id: str, policy: Policy, now: datetime) -> tuple[Effect, ...]:
    """While people or tools take their time: seldom a reading, and a warning before Gemini forgets."""
    watching = watch(run, interaction_id, policy.watch_waiting_every, now)
    asked = any(c.status is CallStatus.AWAITING_APPROVAL for c in run.turn.calls)
    return (watching, *(warn(run.turn) if asked else ()))


def step_begun(run: Run, event: StepBegun, policy: Policy, now: datetime) -> Decision:
    """The one call of a tool's step, in the state its ruling gives it: as free or as gated as a model's."""
    waits = run.calls_a_tool and run.turn.status is TurnStatus.INTENDED
    if event.turn != run.turn.number or not waits or run.doing is None:
        return unheard(run, f"turn {event.turn} is no step that waits to begin")
    if event.assessment is None:
        reason = f"step {run.doing.name}: {event.why}"
        return finish(run, RunStatus.FAILED, now, reason=reason, stop=False)
    ((call, effects),) = _admitted(run, "", (event.assessment,), policy, now)
    turn = replace(run.turn, status=TurnStatus.ACTION, sent_at=now, calls=(call,))
    return advance(with_turn(run, turn), now, effects)


def forgetting_near(run: Run, event: ForgettingNear, policy: Policy, now: datetime) -> Decision:
    """Said once to people while something of this interaction is still open; expiry does the rest."""
    turn = run.turn
    if event.interaction_id != turn.interaction_id or turn.forgotten_at is None:
        return Decision(run)
    when = f"{turn.forgotten_at:%Y-%m-%d %H:%M} UTC"
    note = f"Gemini forgets this interaction at {when}; what is open lapses before"
    waiting = [(c, c.approval) for c in turn.calls if c.approval and c.approval.open]
    drawn = tuple(e for c, _ in waiting for e in redraw(c, now))
    covered: set[str] = set()
    told: tuple[Effect, ...] = ()
    for call, approval in waiting:
        if call.id not in covered:
            covered |= {other.id for other, _ in beside(turn, call, approval, FORGETTING)}
            told += (notify(approval, FORGETTING, now),)
    return Decision(run, (*drawn, *told), note=note, alarm=True)


def _no_calls(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    turn = replace(run.turn, status=TurnStatus.LIVE, readings=run.turn.readings + 1)
    if turn.readings >= policy.missing_readings:
        reason = "Gemini waits for an action and names no function call we can answer"
        return finish(replace(run, turn=turn), RunStatus.FAILED, now, reason=reason)
    return Decision(with_turn(run, turn, run.reason), (_look(run, event, policy, now),))


def _unanswerable(wanted: tuple[Assessment, ...], most: int) -> str | None:
    """Why a set of calls can have no matching set of results."""
    if len(wanted) > most:
        return f"{len(wanted)} calls in one turn: over the limit of {most}"
    seen: dict[str, Assessment] = {}
    for a in wanted:
        if a.call_id.startswith(OURS):
            return f"the model made a function call under an id that is ours, {a.call_id[:64]!r}"
        if not a.call_id:
            return "the model made a function call without an id, which cannot be answered"
        if seen.setdefault(a.call_id, a) != a:
            return f"the model made two different calls under one id, {a.call_id[:64]!r}"
    return None


def _done(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    if run.turn.planning:
        asked = ask_about_plan(run, event.snapshot.output, now)
        more = _waiting(asked.run, event.snapshot.interaction_id, policy, now)
        return replace(asked, effects=(*asked.effects, *more))
    if run.doing is not None:
        return _thought(run, run.doing.name, event, now)
    return finish(run, RunStatus.COMPLETED, now, output=event.snapshot.output, stop=False)


def _thought(run: Run, step: str, event: InteractionObserved, now: datetime) -> Decision:
    """An agent's step is over. What another step goes on with is as bounded as a call's result."""
    said = event.snapshot.output
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


_Row = Callable[[Run, InteractionObserved, Policy, datetime], Decision]
_ROWS: Final[Mapping[Meaning, _Row]] = {
    Meaning.LIVE: _live,
    Meaning.STRANGE: _strange,
    Meaning.ACTION: _action,
    Meaning.DONE: _done,
    Meaning.FAILED: _failed,
    Meaning.PARTIAL: _partial,
    Meaning.CANCELLED: _cancelled,
    Meaning.CONTINUE: _continue,
}


def _errors(snap: Snapshot) -> str:
    return "; ".join(snap.errors)[:1000]
