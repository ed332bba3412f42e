"""One event, one decision, one transaction. The jobs here are all that ever changes a run."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from orchestrator.domain.announcements import announce
from orchestrator.domain.consent import Place
from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.effects import OF_NO_RUN, Effect, EffectKind, notice_subject, survives_closing
from orchestrator.domain.escalation import MOST_COPIES
from orchestrator.domain.events import (
    ApprovalCopied,
    ApprovalPosted,
    BatchPosted,
    CallWaits,
    Event,
    InquiryPosted,
    InteractionObserved,
    InteractionSignalled,
)
from orchestrator.domain.evidence import follow, turned_away, worth_telling
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.lifecycle import decide
from orchestrator.domain.model import Policy, Run
from orchestrator.domain.values import Value
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.seal import Assessed, assess_all
from orchestrator.store import (
    asked,
    audit,
    callbacks,
    interactions,
    occupancy,
    outbox,
    parked,
    questions,
    refused_answers,
    runs,
    turns,
)
from orchestrator.store.sql.held import on_sqlite


class Applied(Value):
    """What an event came to. `before` is the run as the event found it.

    `untold`: it was turned away as often before, and is not written down any more.
    """

    before: Run
    run: Run
    note: str = ""
    refused: Refusal | None = None
    alarm: bool = False
    untold: bool = False


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
    after, told = run, follow(run, happened, decision)
    changed = decision.run != run or decision.left is not None
    if not changed and (answer := turned_away(told)) is not None:
        worth = worth_telling(answer, refused_answers.told(s, answer.approval))
        if worth is None:
            return Applied(run, run, decision.note, decision.refused, untold=True)
        told = (worth,)
    if changed or decision.note:
        after = runs.save(s, run, decision, now=now)
        kind = type(happened).__name__
        runs.record(s, after, kind, _data(happened), decision.note, decision.refused, now)
        occupancy.moved(s, run, after)
    audit.note(s, told, now)
    _order(s, run, decision, now)
    _redraw_behind(s, after, happened, now)
    return Applied(run, after, decision.note, decision.refused, decision.alarm)


def _order(s: Session, before: Run, decision: Decision, now: datetime) -> None:
    """What must be done by that decision, and what need not any more."""
    dropped = decision.drop
    if decision.run.closed and not before.closed:
        outbox.drop_all(s, before.id)
        dropped = tuple(filter(survives_closing, dropped))  # the others went with all
    outbox.drop(s, before.id, dropped)
    outbox.add(s, before.id, [e for e in decision.effects if e.kind not in OF_NO_RUN])
    outbox.add(s, "", [e for e in decision.effects if e.kind in OF_NO_RUN])
    outbox.add(s, before.id, callbacks.put(s, before.id, announce(before, decision, now), now))


def _redraw_behind(s: Session, run: Run, event: Event, now: datetime) -> None:
    """A message that was posted for what the run has gone on from meanwhile says so from now on."""
    match event:
        case ApprovalPosted() | ApprovalCopied():
            _posted_behind(s, run, event, now)
        case InquiryPosted():
            _inquiry_behind(s, run, event, now)
        case BatchPosted() if run.turn.number != event.turn:
            _batch_behind(s, run.id, event, now)


def _posted_behind(s: Session, run: Run, event: ApprovalPosted | ApprovalCopied, now: datetime) -> None:
    """Where the question was spent and left behind while it was being posted, no live button may stay."""
    if run.turn.by_approval(event.approval) is not None:
        return
    turns.forget_left(s, run.id)
    if isinstance(event, ApprovalCopied):
        place = Place(event.channel, event.ts, event.person)
        known = questions.place_copy(s, event.approval, place, MOST_COPIES)
    else:
        known = questions.place(s, event.approval, event.channel, event.ts)
    if known:
        outbox.add(s, run.id, [Effect(EffectKind.UPDATE_APPROVAL, event.approval, now)])


def _inquiry_behind(s: Session, run: Run, event: InquiryPosted, now: datetime) -> None:
    """The same of what was asked back about it."""
    if run.turn.by_approval(event.approval) is not None:
        return
    turns.forget_left(s, run.id)
    place = Place(event.channel, event.ts, event.person)
    if questions.place_inquiry(s, event.approval, event.number, place):
        subject = notice_subject(event.approval, str(event.number))
        outbox.add(s, run.id, [Effect(EffectKind.UPDATE_INQUIRY, subject, now)])


def _batch_behind(s: Session, run_id: str, event: BatchPosted, now: datetime) -> None:
    """The same of the message over the questions of a turn."""
    turns.forget_left(s, run_id)
    if questions.place_batch(s, run_id, event.turn, event.ts):
        outbox.add(s, run_id, [Effect(EffectKind.UPDATE_BATCH, str(event.turn), now)])


def _data(event: Event) -> object:
    """What of an event is written into the record; a value is spelled as the JSON object of its fields."""
    if isinstance(event, CallWaits):
        # What jobs ask for stands with them alone: it may hold arguments that nobody is shown.
        return {"call": event.call, "claim": event.claim, "wishes": [str(w.kind) for w in event.wishes]}
    return event


Owner = tuple[str, int, int]
"""Run, turn and attempt an interaction belongs to."""


def overtaking(s: Session, owner: Owner, interaction_id: str) -> Sequence[object]:
    """Webhooks that came before it was known whose interaction it is, taken up with a reading of it.

    Filled with what is asked next, where that is a round trip.
    """
    if on_sqlite(s) and _known(s, owner, interaction_id):
        return ()  # nobody sorts webhooks beside this, who might park one of it just now
    return parked.take(s, interaction_id, owner[0])


def _known(s: Session, owner: Owner, interaction_id: str) -> bool:
    run_id, number, attempt = owner
    turn = runs.load(s, run_id).turn
    return (turn.number, turn.attempt, turn.interaction_id) == (number, attempt, interaction_id)


def observe(
    s: Session,
    owner: Owner,
    snapshot: Snapshot,
    toolkit: ToolkitPort,
    *,
    policy: Policy,
    now: datetime,
    overtaken: Sequence[object] = (),
    assessed: Assessed | None = None,
) -> Applied:
    """A reading of an interaction that is ours: remembered, its calls assessed, decided about.

    Args:
        overtaken: See `overtaking`.
        assessed: Its calls, where that was done before; see `assess_all`.
    """
    run_id, turn, attempt = owner
    if not _known(s, owner, snapshot.interaction_id):
        interactions.remember(s, snapshot.interaction_id, run_id, turn, attempt)

    def event(run: Run) -> Event:
        seen = asked.counted(s, assess_all(toolkit, run, snapshot, assessed).calls)
        behind = turns.load(s, run_id, turn) if turn < run.turn.number else None
        former = behind is not None and behind.interaction_id == snapshot.interaction_id
        return InteractionObserved(turn, attempt, snapshot, seen, former)

    applied = apply(s, run_id, event, policy=policy, now=now)
    if overtaken:
        # They overtook the create's answer, and may tell of something newer than this reading.
        apply(s, run_id, InteractionSignalled(snapshot.interaction_id), policy=policy, now=now)
    return applied
