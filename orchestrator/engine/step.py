"""One event, one decision, one transaction. The jobs here are all that ever changes a run."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from orchestrator.domain.announcements import announce
from orchestrator.domain.asking import PLAN, is_own
from orchestrator.domain.consent import Place
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import (
    OF_NO_RUN,
    Effect,
    EffectKind,
    Urgency,
    notice_subject,
    survives_closing,
)
from orchestrator.domain.events import (
    ApprovalCopied,
    ApprovalPosted,
    BatchPosted,
    CallWaits,
    Event,
    InquiryPosted,
    InteractionObserved,
    InteractionSignalled,
    JobSignalled,
)
from orchestrator.domain.evidence import follow, turned_away, worth_telling
from orchestrator.domain.exchange import Correlation, CreateRequest, FunctionResult, Snapshot
from orchestrator.domain.ladder import MOST_COPIES
from orchestrator.domain.lifecycle import decide
from orchestrator.domain.model import Policy, Run, Turn
from orchestrator.domain.pauses import CARRY_OUT
from orchestrator.domain.turns import heeds
from orchestrator.domain.values import Value
from orchestrator.engine.claims import claimed_by
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.seal import assess
from orchestrator.store import (
    asked,
    audit,
    callbacks,
    inbox,
    interactions,
    jobs,
    occupancy,
    outbox,
    questions,
    refusals,
    runs,
)
from orchestrator.store.inbox import DeliveryVerdict
from orchestrator.store.sql.held import on_sqlite

ABOUT = ("interaction.", "video.", "batch.")
"""What the kinds of webhooks begin with that may be about something of ours."""

MAX_PARKED = 10_000
"""How many webhooks about interactions we do not know are kept."""


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
        worth = worth_telling(answer, refusals.told(s, answer.approval))
        if worth is None:
            return Applied(run, run, decision.note, decision.refused, untold=True)
        told = (worth,)
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
        occupancy.moved(s, run, after)
    audit.note(s, told, now)
    dropped = decision.drop
    if after.closed and not run.closed:
        outbox.drop_all(s, run_id)
        dropped = tuple(filter(survives_closing, dropped))  # the others went with all
    outbox.drop(s, run_id, dropped)
    outbox.add(s, run_id, [e for e in decision.effects if e.kind not in OF_NO_RUN])
    outbox.add(s, "", [e for e in decision.effects if e.kind in OF_NO_RUN])
    outbox.add(s, run_id, callbacks.put(s, run_id, announce(run, decision, now), now))
    if isinstance(happened, ApprovalPosted | ApprovalCopied):
        _posted_behind(s, after, happened, now)
    if isinstance(happened, InquiryPosted):
        _inquiry_behind(s, after, happened, now)
    if isinstance(happened, BatchPosted) and after.turn.number != happened.turn:
        _batch_behind(s, run_id, happened, now)
    return Applied(run, after, decision.note, decision.refused, decision.alarm)


def _posted_behind(s: Session, run: Run, event: ApprovalPosted | ApprovalCopied, now: datetime) -> None:
    """Where the question was spent and left behind while it was being posted, no live button may stay."""
    if run.turn.by_approval(event.approval) is not None:
        return
    runs.forget_left(s, run.id)
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
    runs.forget_left(s, run.id)
    place = Place(event.channel, event.ts, event.person)
    if questions.place_inquiry(s, event.approval, event.number, place):
        subject = notice_subject(event.approval, str(event.number))
        outbox.add(s, run.id, [Effect(EffectKind.UPDATE_INQUIRY, subject, now)])


def _batch_behind(s: Session, run_id: str, event: BatchPosted, now: datetime) -> None:
    """The same of the message over the questions of a turn."""
    runs.forget_left(s, run_id)
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
    return inbox.take_parked(s, interaction_id, owner[0])


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
) -> Applied:
    """A reading of an interaction that is ours: remembered, its calls assessed, decided about.

    Args:
        overtaken: See `overtaking`.
    """
    run_id, turn, attempt = owner
    if not _known(s, owner, snapshot.interaction_id):
        interactions.remember(s, snapshot.interaction_id, run_id, turn, attempt)

    def event(run: Run) -> Event:
        seen = asked.counted(s, [assess(toolkit, run, snapshot.interaction_id, c) for c in snapshot.calls])
        behind = runs.load_turn(s, run_id, turn) if turn < run.turn.number else None
        former = behind is not None and behind.interaction_id == snapshot.interaction_id
        return InteractionObserved(turn, attempt, snapshot, seen, former)

    applied = apply(s, run_id, event, policy=policy, now=now)
    if overtaken:
        # They overtook the create's answer, and may tell of something newer than this reading.
        apply(s, run_id, InteractionSignalled(snapshot.interaction_id), policy=policy, now=now)
    return applied


def keep(
    s: Session,
    arrived: Sequence[inbox.Arrived],
    repeated: inbox.Counts = lambda again, other: None,
) -> None:
    """Store webhooks; what tells its run nothing new is closed as it comes, and stays so.

    Args:
        repeated: See `inbox.put`.
    """
    known = interactions.standing(s, {a.subject for a in arrived if a.subject})
    sorted_out = [a if (run := _told(a, known)) is None else a._replace(run_id=run) for a in arrived]
    inbox.put(s, sorted_out, repeated)


def _told(delivery: inbox.Arrived, known: Mapping[str, interactions.Standing]) -> str | None:
    owner = known.get(delivery.subject)
    return owner.run_id if owner is not None and not _heeded(delivery, known) else None


def sift(s: Session, most: int) -> tuple[list[inbox.Waiting], list[inbox.Waiting]]:
    """The oldest webhooks nobody has worked on: those a run should hear of, and those to be sorted."""
    heeded: list[inbox.Waiting] = []
    others: list[inbox.Waiting] = []
    waiting = inbox.waiting(s, most)
    known = interactions.standing(s, {d.subject for d in waiting if d.subject})
    for delivery in waiting:
        (heeded if _heeded(delivery, known) else others).append(delivery)
    return heeded, others


def _heeded(delivery: inbox.Waiting | inbox.Arrived, known: Mapping[str, interactions.Standing]) -> bool:
    owner = known.get(delivery.subject)
    return owner is not None and owner.current and heeds(owner.turn, delivery.kind)


def sort_deliveries(s: Session, waiting: Sequence[inbox.Waiting], now: datetime) -> list[inbox.Waiting]:
    """Close the webhooks that mean nothing to anybody; returns those that a run should hear of.

    One that names an interaction we do not know is kept, and we look at that interaction with our
    own key: only its own metadata can make it ours.
    """
    known = interactions.standing(s, {d.subject for d in waiting if d.subject})
    made = jobs.named(s, {d.subject for d in waiting if d.subject and d.subject not in known})
    room = MAX_PARKED - inbox.parked(s)
    closed: list[inbox.Closed] = []
    heeded: list[inbox.Waiting] = []
    for delivery in waiting:
        owner = known.get(delivery.subject)
        strange = owner is None and delivery.subject not in made
        if _heeded(delivery, known) or delivery.subject in made or (strange and _of_lost_start(s, delivery)):
            heeded.append(delivery)
        elif owner is not None:
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.KNOWN, owner.run_id))
        elif not delivery.subject or not delivery.kind.startswith(ABOUT):
            note = "not about an interaction or a job"
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.IGNORED, note=note))
        elif not delivery.kind.startswith("interaction.") and not jobs.starting(s):
            note = "not about a job of ours"
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.IGNORED, note=note))
        elif room <= 0:
            note = "too many unknown interactions are kept already"
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.OVERFLOW, note=note))
        else:
            room -= 1
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.PARKED))
            if not delivery.kind.startswith("interaction."):
                continue  # the answer to its start may still be on its way; nothing else names a job as ours
            # Anybody may have signed it: no run's own readings wait for a stranger's.
            look = Effect(EffectKind.FETCH_INTERACTION, delivery.subject, now, Urgency.WATCH)
            outbox.add(s, "", [look])
    inbox.close(s, closed, now)
    return heeded


def hear(
    s: Session, deliveries: Sequence[inbox.Waiting], *, policy: Policy, now: datetime
) -> tuple[str | None, None]:
    """Tell a run of webhooks about one of its interactions; many say no more than one."""
    subject = deliveries[0].subject
    runs.lock_heard(s, subject)
    owner = interactions.owner_of(s, subject)
    run_id = owner[0] if owner else None
    if run_id is None and (about := _job_named(s, deliveries)) is not None:
        run_id, signal = about
        inbox.close(s, [inbox.Closed(d.id, DeliveryVerdict.WOKE, run_id) for d in deliveries], now)
        apply(s, run_id, signal, policy=policy, now=now)
        return run_id, None
    if run_id is None:
        gone = "its run was deleted"
        inbox.close(s, [inbox.Closed(d.id, DeliveryVerdict.IGNORED, note=gone) for d in deliveries], now)
        return None, None
    inbox.close(s, [inbox.Closed(d.id, DeliveryVerdict.WOKE, run_id) for d in deliveries], now)
    kinds = {d.kind for d in deliveries}
    kind = kinds.pop() if len(kinds) == 1 else ""  # of several at once none may hide another
    apply(s, run_id, InteractionSignalled(deliveries[0].subject, kind), policy=policy, now=now)
    return run_id, None


def set_aside(s: Session, deliveries: Sequence[inbox.Waiting], why: str, now: datetime) -> None:
    """Their run cannot be told of them."""
    inbox.close(s, [inbox.Closed(d.id, DeliveryVerdict.IGNORED, note=why) for d in deliveries], now)


def _of_lost_start(s: Session, delivery: inbox.Waiting) -> bool:
    """Whether a webhook says it is about a job whose start has had no answer."""
    if not delivery.kind.startswith(ABOUT):
        return False
    return claimed_by(s, inbox.body_of(s, delivery.id)) is not None


def _job_named(s: Session, deliveries: Sequence[inbox.Waiting]) -> tuple[str, JobSignalled] | None:
    """The job that webhooks about one subject name, and the run that waits for it."""
    subject = deliveries[0].subject
    if (known := jobs.named(s, [subject]).get(subject)) is not None:
        return known[1], JobSignalled(known[0])
    return claimed_by(s, inbox.body_of(s, deliveries[0].id))


def create_request(s: Session, run: Run, toolkit: ToolkitPort) -> CreateRequest:
    """Everything the current turn's create says. One that takes up a cut answer has no input of its own."""
    turn = run.turn
    return CreateRequest(
        recipe=run.acting,
        correlation=Correlation(run.id, turn.number, turn.attempt),
        input="" if turn.continuation is not None else _input(s, run),
        planning=turn.planning,
        environment=turn.environment,
        functions=toolkit.declarations(run.acting.tools),
        previous_id=turn.previous_id,
        continuation=turn.continuation,
    )


def _input(s: Session, run: Run) -> str | tuple[FunctionResult, ...]:
    """The caller's text first, or what the step tells; then the results before, or a word about a plan."""
    if run.turn.previous_id is None:
        return run.turn.note or run.input
    before = runs.load_turn(s, run.id, run.turn.number - 1)
    planned = any(is_own(c) and c.tool == PLAN for c in before.calls)
    return (run.turn.note or CARRY_OUT) if planned else _results(before)


def _results(turn: Turn) -> tuple[FunctionResult, ...]:
    """Exactly one result for each call of the turn."""
    return tuple(
        FunctionResult(c.call_id, c.tool, c.outcome.result, c.outcome.is_error)
        for c in turn.calls
        if c.outcome is not None and not is_own(c)
    )
