"""One interaction: signalled, adopted, read, missing, forgotten. How it is asked for, see `creates`;
what its status means, see `interaction_status`.
"""

from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.asking import redraw
from orchestrator.domain.deadlines import FORGETTING, notify
from orchestrator.domain.decision import Decision, add_usage, finish, unheard, watch, with_turn
from orchestrator.domain.effects import Effect, EffectKind, attempt_subject
from orchestrator.domain.events import (
    ForgettingNear,
    InteractionMissing,
    InteractionObserved,
    InteractionSignalled,
    InteractionTooLarge,
)
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.interaction_status import ENDS_TURN, FOLLOWS, STILL_OPEN, Meaning, meaning
from orchestrator.domain.model import Policy, Run, RunStatus, TurnStatus
from orchestrator.domain.pauses import not_restarted
from orchestrator.domain.reminding import beside
from orchestrator.domain.sources import joined
from orchestrator.domain.values import replace

APPEARS: Final = 2
"""Graces of a create within which its interaction may be missing still: a minute by default, however
often it is read (Gemini API, Interactions: 404 right after a create)."""
SOON: Final = timedelta(seconds=1)
"""Between two readings of one that is missing, at least."""
GONE: Final = "not_found"
"""What we note in the place of a status when Gemini has no such interaction."""
MAX_SAID: Final = 100_000
"""Characters of a turn's text that are kept with it."""


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


def too_large(run: Run, event: InteractionTooLarge, policy: Policy, now: datetime) -> Decision:
    """It will be so as often as it is read. Where its calls are known, they can be answered all the same."""
    turn = run.turn
    if event.interaction_id != turn.interaction_id:
        return Decision(run)
    if turn.status is TurnStatus.ACTION:
        return Decision(run, (watch(run, event.interaction_id, policy.watch_waiting_every, now),))
    reason = f"what Gemini tells of this interaction is more than can be read ({event.why})"
    return finish(run, RunStatus.FAILED, now, reason=reason)


def observe(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    """A reading. The interaction of the current attempt decides; any other one is stopped, never acted on."""
    if (elsewhere := _elsewhere(run, event, now)) is not None:
        return elsewhere
    if run.turn.interaction_id is not None:
        return _read(run, event, policy, now)
    on = not_restarted(run, now)
    decision = _read(on.run, event, policy, now)
    grace = f"{EffectKind.END_CREATE_GRACE}:{attempt_subject(event.turn, event.attempt)}"
    shown = {e.key for e in decision.effects}
    effects = (*decision.effects, *(e for e in on.effects if e.key not in shown))
    return replace(decision, effects=effects, drop=(*decision.drop, grace, *on.drop))


def _elsewhere(run: Run, event: InteractionObserved, now: datetime) -> Decision | None:
    """What follows from a reading of an interaction the run does not go on with; None of the one it does."""
    turn, read = run.turn, event.snapshot.interaction_id
    if event.former:
        return unheard(run, f"a late reading of turn {event.turn}, which the run has gone on from")
    if run.calls_a_tool:
        return _stray(run, event, now)
    if turn.status is TurnStatus.LOST and turn.interaction_id == read:
        return unheard(run, f"{read} is not gone on with: a call of it is gone")
    replaced = (event.turn, event.attempt) != (turn.number, turn.attempt)
    return _stray(run, event, now) if replaced or turn.interaction_id not in (None, read) else None


def _stray(run: Run, event: InteractionObserved, now: datetime) -> Decision:
    """An interaction that carries our metadata and is not the one this run goes on with."""
    snap = event.snapshot
    note = f"{snap.interaction_id} belongs to turn {event.turn}, attempt {event.attempt}, which was replaced"
    if meaning(snap.status) not in STILL_OPEN:
        return unheard(run, note)
    return Decision(run, (Effect(EffectKind.CANCEL_INTERACTION, snap.interaction_id, now),), note=note)


def _read(run: Run, event: InteractionObserved, policy: Policy, now: datetime) -> Decision:
    """What the interaction the run goes on with says now, written down and acted on."""
    turn, snap, sense = run.turn, event.snapshot, meaning(event.snapshot.status)
    untold = turn.interaction_id is None and sense in ENDS_TURN and not _tells(snap)
    sense = Meaning.LIVE if untold else sense
    acting = turn.status is TurnStatus.ACTION
    if acting and (sense in STILL_OPEN or (turn.planning and sense is Meaning.DONE)):
        # Its calls are being dealt with: "in progress" is a stale reading, and only retention can strike.
        if turn.readings:
            run = replace(run, turn=replace(turn, readings=0, gemini_status=snap.status))
        return Decision(run, (watch(run, snap.interaction_id, policy.watch_waiting_every, now),))
    first_end = not acting and sense not in (Meaning.LIVE, Meaning.STRANGE)
    run = _noted(run, event, sense, first_end, policy, now)
    if untold:  # the answer to a create need not hold the steps: one that stops and says nothing is read
        reading = Effect(EffectKind.FETCH_INTERACTION, snap.interaction_id, now)
        return Decision(with_turn(run, run.turn), (reading,))
    whole = replace(event, snapshot=replace(snap, output=_whole(run, snap.output, first_end)))
    return FOLLOWS[sense](run, whole, policy, now)


def _noted(
    run: Run, event: InteractionObserved, sense: Meaning, first_end: bool, policy: Policy, now: datetime
) -> Run:
    """The run with what a reading tells of it. What was used and cited counts once, at its end."""
    turn, snap = run.turn, event.snapshot
    if turn.interaction_id is None:
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
    callless = sense is Meaning.ACTION and not event.assessments
    usage = add_usage(run.usage, snap.usage) if first_end and not callless else run.usage
    sources = joined(run.sources, snap.sources) if first_end and snap.sources else run.sources
    return replace(run, turn=turn, usage=usage, sources=sources)


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
