"""How people are shown that somebody changed the arguments: who did, and what they were before. No I/O."""

from typing import Final

from orchestrator.domain.cards import Card
from orchestrator.domain.edits import changes
from orchestrator.slack import kit
from orchestrator.slack.arguments import discreet
from orchestrator.slack.excerpts import FIRST_PART, all_of_it, written
from orchestrator.slack.kit import Block
from orchestrator.slack.text import grouped, render

CHANGED: Final = "What was changed"
_MOST_NAMED: Final = 5


def who(card: Card) -> list[Block]:
    """Who changed them since they were proposed, the newest of many, and when that was last."""
    edited = card.edited
    if edited is None:
        return []
    more = len(edited.by) - _MOST_NAMED
    fields = [kit.person("Changed by", actor) for actor in edited.by[-_MOST_NAMED:]]
    fields += [kit.fact("Changed by", f"{grouped(more)} others before")] if more > 0 else []
    fields.append(kit.markup("Changed at", kit.date(edited.at)))
    return [{"type": "section", "block_id": "e", "fields": fields}]


def what(card: Card, room: int) -> list[Block]:
    """The changed ones, before and after, within `room`; not where the channel is told of none."""
    return [] if discreet(card) else seen(card, room)


def seen(card: Card, room: int) -> list[Block]:
    """The same for who may see the arguments in any case."""
    if card.edited is None:
        return []
    shown = render(changes(card.edited, card.call.arguments, card.approval.terms.hidden))
    parts, _ = written(shown, min(FIRST_PART, room), *all_of_it(card))
    return [{"type": "rich_text", "block_id": "f", "elements": [kit.section(kit.bold(CHANGED)), *parts]}]
