"""One event, one decision, one transaction. The jobs here are all that ever changes a run."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import Event, InteractionObserved, InteractionSignalled
from orchestrator.domain.lifecycle import decide
from orchestrator.domain.model import Correlation, CreateRequest, FunctionResult, Policy, Run, Snapshot, Turn
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.seal import assess
from orchestrator.store import inbox, outbox, runs
from orchestrator.store.tables import DeliveryState

MAX_PARKED = 10_000
"""How many webhooks about interactions we do not know are kept."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What an event came to. `before` is the run as the event found it."""

    before: Run
    run: Run
    note: str = ""
    refused: Refusal | None = None
    alarm: bool = False


def apply(
    s: Session, run_id: str, event: Event | Callable[[Run], Event], *, policy: Policy, now: datetime
) -> Applied:
    """Decide about one event and save what follows; applying it twice changes nothing.

    `event` may be a function of the run, for facts that must be read in this very transaction.

    Raises:
        NotFoundError: There is no such run.
    """
    run = runs.load(s, run_id)
    happened = event(run) if callable(event) else event
    decision = decide(run, happened, policy=policy, now=now)
    after = run
    changed = decision.run != run or decision.left is not None
    if changed or decision.note:
        after = runs.save(s, run, decision, now=now)
        runs.record(
            s,
            after,
            type(happened).__name__,
            _data(happened),
            decision.note,
            decision.refused,
            now,
        )
    if after.closed and not run.closed:
        outbox.drop_all(s, run_id)
    outbox.drop(s, run_id, decision.drop)
    outbox.add(s, run_id, decision.effects)
    return Applied(run, after, decision.note, decision.refused, decision.alarm)


def _data(event: Event) -> dict[str, Any]:
    return dict(msgspec.to_builtins(event))


def observe(
    s: Session,
    run_id: str,
    turn: int,
    attempt: int,
    snapshot: Snapshot,
    toolkit: ToolkitPort,
    *,
    policy: Policy,
    now: datetime,
) -> Applied:
    """A reading of an interaction that is ours: remembered, its calls assessed, decided about."""
    runs.remember(s, snapshot.interaction_id, run_id, turn, attempt)

    def event(run: Run) -> Event:
        seen = tuple(assess(toolkit, run, snapshot.interaction_id, c) for c in snapshot.calls)
        return InteractionObserved(turn, attempt, snapshot, seen)

    applied = apply(s, run_id, event, policy=policy, now=now)
    if inbox.claim_parked(s, snapshot.interaction_id, run_id):
        # Webhooks overtook the create's answer: they may tell of something newer than this reading.
        overtaken = InteractionSignalled(snapshot.interaction_id)
        apply(s, run_id, overtaken, policy=policy, now=now)
    return applied


def take_delivery(s: Session, delivery: inbox.Waiting, *, policy: Policy, now: datetime) -> str:
    """Work on one webhook; returns what was done with it.

    One that names an interaction we do not know is kept, and we look at that interaction with our
    own key: only its own metadata can make it ours.
    """
    owner = runs.owner_of(s, delivery.subject) if delivery.subject else None
    if owner is not None:
        if inbox.close(s, delivery.id, DeliveryState.DONE, run_id=owner[0]):
            signal = InteractionSignalled(delivery.subject, delivery.kind)
            apply(s, owner[0], signal, policy=policy, now=now)
        return "signalled"
    if not delivery.subject or not delivery.kind.startswith("interaction."):
        inbox.close(s, delivery.id, DeliveryState.DONE, note="not about an interaction")
        return "ignored"
    if inbox.parked(s) >= MAX_PARKED:
        inbox.close(s, delivery.id, DeliveryState.DONE, note="too many unknown interactions are kept already")
        return "ignored"
    if inbox.close(s, delivery.id, DeliveryState.PARKED):
        outbox.add(s, "", [Effect(EffectKind.FETCH_INTERACTION, delivery.subject, now)])
    return "parked"


def create_request(s: Session, run: Run, toolkit: ToolkitPort) -> CreateRequest:
    """Everything the current turn's create says.

    A turn that takes up a cut answer repeats the input of the turn it continues.
    """
    turn, origin = run.turn, run.turn
    while origin.continuation is not None:
        origin = runs.load_turn(s, run.id, origin.number - 1)
    text: str | tuple[FunctionResult, ...] = run.input
    if origin.number > 1:
        text = _results(runs.load_turn(s, run.id, origin.number - 1))
    return CreateRequest(
        recipe=run.recipe,
        correlation=Correlation(run.id, turn.number, turn.attempt),
        input=text,
        functions=toolkit.declarations(run.recipe.tools),
        previous_id=turn.previous_id,
        continuation=turn.continuation,
    )


def _results(turn: Turn) -> tuple[FunctionResult, ...]:
    """Exactly one result for each call of the turn."""
    return tuple(
        FunctionResult(c.call_id, c.tool, c.outcome.result, c.outcome.is_error)
        for c in turn.calls
        if c.outcome is not None
    )
