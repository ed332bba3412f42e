"""Who may decide about a question, and when its yeses are enough.

first stage ──enough yeses──► next stage ──enough yeses──► approved
     └──────────── one no of anybody who is asked there ─────────► rejected

Each stage needs other people, and nobody counts twice. Both what was frozen with the request and what the
policy says at this moment must let a person decide; groups and roles are resolved by whoever calls.
"""

from collections.abc import Collection

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Approval, Stage, Terms, Verdict, Vote
from orchestrator.domain.decision import Refusal
from orchestrator.domain.escalation import MACHINE
from orchestrator.domain.model import Run, ToolCall
from orchestrator.domain.terms import barring, can_be_met, deciders
from orchestrator.domain.values import replace

Refused = tuple[Refusal, str]


def missing(approval: Approval) -> int:
    """How many yeses the current stage still needs."""
    return max(0, approval.terms.steps[approval.stage].quorum - approval.yeses(approval.stage))


def enough(approval: Approval) -> bool:
    """Whether every stage has its yeses."""
    return all(approval.yeses(n) >= step.quorum for n, step in enumerate(approval.terms.steps))


def with_yes(approval: Approval, verdict: Verdict) -> Approval:
    """The question with one more yes in its current stage."""
    return replace(approval, votes=(*approval.votes, Vote(verdict.by, verdict.at, approval.stage)))


def refusal(
    run: Run, call: ToolCall, person: str, standing: Collection[str], current: Terms | None
) -> Refused | None:
    """Why this person may not answer the question about a call now, or None.

    Args:
        person: A Slack user id or `api:<token>`.
        standing: All entries of approvers they stand for: themselves and their groups.
        current: The terms in force at this moment; None where only the frozen ones are known.
    """
    approval, stands = call.approval, {person, *standing}
    if approval is None:
        return Refusal.NOT_FOUND, "nothing is asked about this call"
    for terms in (approval.terms, *([current] if current else ())):
        if (why := _never(run.asked_for_it, terms, person, stands, call.tool)) is not None:
            return Refusal.NOT_ENTITLED, why
    step = approval.terms.steps[approval.stage]
    # Of one that is over, whoever was asked in any stage is told who was first.
    if stands.isdisjoint(step.approvers if approval.open else deciders(approval.terms)):
        return Refusal.NOT_ENTITLED, _elsewhere(approval, step, person, stands, call.tool)
    if current is not None and stands.isdisjoint(deciders(current, escalated=approval.escalated)):
        return Refusal.NOT_ENTITLED, f"{person} may no longer decide about {call.tool}"
    return None


def waits_for(card: Card, person: str, standing: Collection[str]) -> bool:
    """Whether the question on that card waits for this person's answer now, under the terms it was put with.

    Args:
        standing: As for `refusal`.
    """
    approval, stands = card.approval, {person, *standing}
    if _never(card.asked_for_it, approval.terms, person, stands, card.call.tool) is not None:
        return False
    asked = not stands.isdisjoint(approval.terms.steps[approval.stage].approvers)
    return asked and approval.open and already_counted(approval, person) is None


def concerns(card: Card, person: str, standing: Collection[str]) -> bool:
    """Whether this person asked for the run, or may decide in some stage of the question."""
    approval, stands = card.approval, {person, *standing}
    return person == card.requester.id or in_some_stage(approval.terms, stands, escalated=approval.escalated)


def already_counted(approval: Approval, person: str) -> str | None:
    """What somebody is told whose yes is there already."""
    if all(vote.by.id != person for vote in approval.votes):
        return None
    return f"you have approved already; {missing(approval)} more needed, by others"


def in_some_stage(terms: Terms, stands: Collection[str], *, escalated: bool) -> bool:
    """Whether somebody who stands for these entries may decide in some stage."""
    may = deciders(terms, escalated=escalated)
    return not set(stands).isdisjoint(may) and set(stands).isdisjoint(terms.never)


def needed_later(approval: Approval) -> bool:
    """Whether a stage still to come cannot be passed without somebody who said yes already."""
    terms, voted = approval.terms, tuple(vote.by.id for vote in approval.votes)
    left = tuple(
        replace(step, quorum=step.quorum - approval.yeses(n))
        for n, step in enumerate(terms.stages)
        if approval.yeses(n) < step.quorum
    )
    rest = replace(terms, stages=left)
    spent = replace(rest, never=(*terms.never, *voted))
    return bool(left) and can_be_met(rest) and not can_be_met(spent)


def _never(
    asked_for_it: Collection[str], terms: Terms, person: str, stands: Collection[str], about: str
) -> str | None:
    if set(stands).isdisjoint(barring(terms, asked_for_it).never):
        return None
    if set(stands).isdisjoint(terms.never):
        return f"{person} asked for this run; somebody else must decide"
    return f"{person} may not decide about {about}"


def _elsewhere(approval: Approval, step: Stage, person: str, stands: Collection[str], about: str) -> str:
    """Whether they are asked at another time, or never."""
    if step.name and not set(stands).isdisjoint(deciders(approval.terms)):
        return f"{person} is not asked in this stage ({step.name})"
    unnamed = "; its approvers do not name this token" if person.startswith(MACHINE) else ""
    return f"{person} may not decide about {about}{unnamed}"
