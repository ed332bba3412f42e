"""Who may decide, named as Slack mentions them, and how many have said yes. No I/O.

Only what is a user id or a user group's becomes a mention; whoever else decides is named as plain text.
"""

import re
from collections.abc import Sequence
from typing import Final

from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import SLACK_USER, Stage
from orchestrator.domain.terms import barring, possible
from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import Look
from orchestrator.slack.text import escape, line

_MOST_NAMED: Final = 20  # people by name; the others as a number
_MOST_STAGES: Final = 6  # told of on a card
_GROUP: Final = re.compile(r"S[A-Z0-9]{2,}", re.ASCII)


def who_decides(card: Card) -> list[Block]:
    """Who may decide, at most five elements; where it goes by stages, `progress` tells of each."""
    if card.approval.terms.stages:
        return [kit.plain(f"decided in {len(card.approval.terms.stages)} stages", 300)]
    return _deciders(card, 0)


def _deciders(card: Card, number: int) -> list[Block]:
    terms = barring(card.approval.terms, card.asked_for_it)
    approvers = possible(terms.steps[number], terms.never)
    people = [a for a in approvers if mention(a)]
    others = [a for a in approvers if not mention(a)]
    elements = []
    if people:
        elements.append(kit.mrkdwn(f"may decide: {named(people)}"))
    if others:
        elements.append(kit.plain(f"{'and' if people else 'may decide:'} {', '.join(others)}", 300))
    if not elements and terms.four_eyes:
        return [kit.plain("nobody is named who may decide, other than who asked for the run", 300)]
    return elements or [kit.plain("nobody is named who may decide", 300)]


def mention(entry: str) -> str:
    """Markup for a person or a user group; empty for anything else."""
    if SLACK_USER.fullmatch(entry):
        return f"<@{entry}>"
    return f"<!subteam^{entry}>" if _GROUP.fullmatch(entry) else ""


def named(people: Sequence[str]) -> str:
    """Mentions of those who have one, the first of many by name and the others as a number."""
    more = f" and {len(people) - _MOST_NAMED} more" if len(people) > _MOST_NAMED else ""
    return " ".join(map(mention, people[:_MOST_NAMED])) + more


def progress(card: Card, state: Look) -> list[Block]:
    """How many have said yes, step by step, where more than one yes is needed."""
    terms = card.approval.terms
    if is_own(card.call) or (not terms.stages and terms.quorum < 2):
        return []
    elements = [_step(card, number, step) for number, step in enumerate(terms.steps[:_MOST_STAGES])]
    if state is Look.PENDING and terms.stages and (now_at := _stage_now(card)) is not None:
        elements += _deciders(card, now_at)
    return [{"type": "context", "block_id": "votes", "elements": elements}]


def _step(card: Card, number: int, step: Stage) -> Block:
    voted = [vote.by.id for vote in card.approval.votes if vote.stage == number]
    name = f"{escape(line(step.name, 40))}: " if step.name else ""
    by = ", ".join(mention(v) or escape(line(v, 40)) for v in voted[:_MOST_NAMED])
    return kit.mrkdwn(f"{name}{len(voted)} of {step.quorum} approved" + (f": {by}" if by else ""))


def _stage_now(card: Card) -> int | None:
    """The stage that is being decided; None after the last."""
    voted = [vote.stage for vote in card.approval.votes]
    steps = enumerate(card.approval.terms.steps)
    return next((number for number, step in steps if voted.count(number) < step.quorum), None)
