"""Webhooks, from the door to the run they are about: kept, sorted, told. What they claim is not believed."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from orchestrator.domain.effects import Effect, EffectKind, Urgency
from orchestrator.domain.events import InteractionSignalled, JobSignalled
from orchestrator.domain.model import Policy
from orchestrator.domain.turns import heeds
from orchestrator.engine import step
from orchestrator.engine.job_webhooks import claimed_by
from orchestrator.store import inbox, interactions, jobs, locking, outbox, parked
from orchestrator.store.inbox import DeliveryVerdict

ABOUT = ("interaction.", "video.", "batch.")
"""What the kinds of webhooks begin with that may be about something of ours."""
MAX_PARKED = 10_000
"""How many webhooks about interactions we do not know are kept."""


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
    told = [a._replace(run_id=known[a.subject].run_id) if _nothing_new(a, known) else a for a in arrived]
    inbox.put(s, told, repeated)


def _nothing_new(delivery: inbox.Arrived, known: Mapping[str, interactions.InteractionState]) -> bool:
    return delivery.subject in known and not _heeded(delivery, known)


def sift(s: Session, most: int) -> tuple[list[inbox.Waiting], list[inbox.Waiting]]:
    """The oldest webhooks nobody has worked on: those a run should hear of, and those to be sorted."""
    heeded: list[inbox.Waiting] = []
    others: list[inbox.Waiting] = []
    waiting = inbox.waiting(s, most)
    known = interactions.standing(s, {d.subject for d in waiting if d.subject})
    for delivery in waiting:
        (heeded if _heeded(delivery, known) else others).append(delivery)
    return heeded, others


def sort(s: Session, waiting: Sequence[inbox.Waiting], now: datetime) -> list[inbox.Waiting]:
    """Close the webhooks that mean nothing to anybody; returns those that a run should hear of.

    One that names an interaction we do not know is kept, and we look at that interaction with our
    own key: only its own metadata can make it ours.
    """
    known = interactions.standing(s, {d.subject for d in waiting if d.subject})
    made = jobs.named(s, {d.subject for d in waiting if d.subject and d.subject not in known})
    room = MAX_PARKED - parked.count(s)
    closed: list[inbox.Closed] = []
    heeded: list[inbox.Waiting] = []
    for delivery in waiting:
        owner = known.get(delivery.subject)
        strange = owner is None and delivery.subject not in made
        if _heeded(delivery, known) or delivery.subject in made or (strange and _of_lost_start(s, delivery)):
            heeded.append(delivery)
        elif owner is not None:
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.KNOWN, owner.run_id))
        elif note := _nothing_of_ours(s, delivery):
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.IGNORED, note=note))
        elif room <= 0:
            note = "too many unknown interactions are kept already"
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.OVERFLOW, note=note))
        else:
            room -= 1
            closed.append(inbox.Closed(delivery.id, DeliveryVerdict.PARKED))
            if _of_interaction(delivery):  # of a job, the answer to its start may still be on its way
                # Anybody may have signed it: no run's own readings wait for a stranger's.
                look = Effect(EffectKind.FETCH_INTERACTION, delivery.subject, now, Urgency.WATCH)
                outbox.add(s, "", [look])
    inbox.close(s, closed, now)
    return heeded


def _nothing_of_ours(s: Session, delivery: inbox.Waiting) -> str:
    """Why a webhook about something unknown cannot be about anything of ours; empty where it can."""
    if not delivery.subject or not delivery.kind.startswith(ABOUT):
        return "not about an interaction or a job"
    if not _of_interaction(delivery) and not jobs.starting(s):
        return "not about a job of ours"
    return ""


def _of_interaction(delivery: inbox.Waiting) -> bool:
    return delivery.kind.startswith("interaction.")


def _heeded(
    delivery: inbox.Waiting | inbox.Arrived, known: Mapping[str, interactions.InteractionState]
) -> bool:
    owner = known.get(delivery.subject)
    return owner is not None and owner.current and heeds(owner.turn, delivery.kind)


def hear(
    s: Session, deliveries: Sequence[inbox.Waiting], *, policy: Policy, now: datetime
) -> tuple[str | None, None]:
    """Tell a run of webhooks about one of its interactions; many say no more than one."""
    subject = deliveries[0].subject
    locking.run_of_interaction(s, subject)
    owner = interactions.owner_of(s, subject)
    told = (owner[0], _signal(deliveries)) if owner else _job_named(s, deliveries)
    if told is None:
        set_aside(s, deliveries, "its run was deleted", now)
        return None, None
    run_id, signal = told
    inbox.close(s, [inbox.Closed(d.id, DeliveryVerdict.WOKE, run_id) for d in deliveries], now)
    step.apply(s, run_id, signal, policy=policy, now=now)
    return run_id, None


def _signal(deliveries: Sequence[inbox.Waiting]) -> InteractionSignalled:
    kinds = {d.kind for d in deliveries}
    kind = kinds.pop() if len(kinds) == 1 else ""  # of several at once none may hide another
    return InteractionSignalled(deliveries[0].subject, kind)


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
