"""From the channel to the people themselves: a question goes up step by step until somebody decides.

channel ──dm_after──► direct messages ──time is up──► others, in the channel and directly
   └─ not taken there ──────► direct messages, at once

Every step shows the same question: a copy has the same buttons and is redrawn with the message in the
channel. Each person gets one copy, whatever comes twice. What cannot be shown anywhere stays open to the
other doors; no step decides anything.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from orchestrator.domain.asking import redraw
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Approval, Place
from orchestrator.domain.deadlines import asked_now, unseen
from orchestrator.domain.decision import Decision, unheard
from orchestrator.domain.effects import Effect, EffectKind, notice_subject
from orchestrator.domain.events import ApprovalCopied, ApprovalNotCopied, ApproversFound
from orchestrator.domain.model import Policy, Run
from orchestrator.domain.terms import barring, is_group
from orchestrator.domain.values import replace

MOST: Final = 20
"""People who are written to about one question at one time."""
MOST_COPIES: Final = 100
"""Messages beside the one in the channel that are known of one question: copies for people, and strays."""
MACHINE: Final = "api:"
"""Begins the entries that are no people."""


def written_to(approval: Approval) -> tuple[str, ...]:
    """Entries of the terms whose people get the question directly now.

    Without direct messages of its own a question still finds those it was escalated to by name.
    """
    asked = tuple(a for a in asked_now(approval) if not a.startswith(MACHINE))
    if approval.terms.dm_after is not None or unseen(approval):
        return asked
    others = approval.terms.escalate_to if approval.escalated else ()
    return tuple(a for a in asked if a in others and not is_group(a))


def groups(approval: Approval) -> tuple[str, ...]:
    """The user groups whose members must be known to tell who is written to."""
    return tuple(filter(is_group, (*written_to(approval), *approval.terms.never)))


def people(
    approval: Approval, asked_for_it: Collection[str], members: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """Who is written to: everybody who may decide in the present stage, as far as it can be known.

    Args:
        asked_for_it: Who did; under four eyes they could not decide.
        members: Of the groups, those of which they could be read.
    """
    named = [p for a in written_to(approval) for p in (members.get(a, ()) if is_group(a) else (a,))]
    out = {vote.by.id for vote in approval.votes}
    for entry in barring(approval.terms, asked_for_it).never:
        out |= {entry, *members.get(entry, ())}
    return tuple(p for p in dict.fromkeys(named) if p not in out)[:MOST]


def pictures(card: Card) -> tuple[Card, ...]:
    """The same card once for every place where people see it, the channel first.

    Where in the channel may not be known: a post whose answer got lost is looked for by whoever redraws it.
    """
    approval = card.approval
    others = (p for p in approval.copies if (p.channel, p.ts) != (approval.channel, approval.ts))
    copies = (replace(approval, channel=place.channel, ts=place.ts) for place in others)
    return card, *(replace(card, approval=copy, thread="") for copy in copies)


def found(run: Run, event: ApproversFound, policy: Policy, now: datetime) -> Decision:
    """Each of them gets a copy who has none."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None or not call.approval.open:
        return Decision(run)  # decided meanwhile
    have = {place.person for place in call.approval.copies if place.person}
    new = (p for p in dict.fromkeys(event.people) if p not in have)
    subjects = (notice_subject(event.approval, person) for person in new)
    return Decision(run, tuple(Effect(EffectKind.COPY_APPROVAL, subject, now) for subject in subjects))


def copied(run: Run, event: ApprovalCopied, policy: Policy, now: datetime) -> Decision:
    """Where a person sees it, or a stray stands. What was decided while it was posted is redrawn at once."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, f"{event.approval} is not a question of this turn")
    place, own = Place(event.channel, event.ts, event.person), call.approval
    others = tuple(c for c in own.copies if (c.channel, c.ts) != (place.channel, place.ts))
    if place in own.copies or (own.channel, own.ts) == (place.channel, place.ts):
        return Decision(run)
    if len(others) >= MOST_COPIES:
        return unheard(run, f"{event.approval} stands in {MOST_COPIES} places already")
    shown = replace(own, copies=(*others, place))
    call = replace(call, approval=shown)
    run = replace(run, turn=run.turn.with_call(call))
    return Decision(run, () if shown.open else redraw(call, now))


def not_copied(run: Run, event: ApprovalNotCopied, policy: Policy, now: datetime) -> Decision:
    """Written down and passed over; others may have it."""
    return Decision(run, note=f"{event.person} cannot be written to: {event.why}")
