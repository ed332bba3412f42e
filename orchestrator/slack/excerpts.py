"""Texts of others within the room there is for them: cut where they must be, and saying so. No I/O."""

from typing import Final

from orchestrator.domain.cards import Card
from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.text import Shown, shorten, weight

FIRST_PART: Final = 2_000
"""Characters shown of what does not fit."""


def all_of_it(card: Card) -> list[Block]:
    """Where there is more than the first part, if we have a public address."""
    link = kit.linked(card.link)
    return [{"type": "link", "url": link, "text": "All of it"}] if link else []


def written(shown: Shown, room: int, *more: Block) -> tuple[list[Block], bool]:
    """A text within `room`, with what there is to know about it; and whether it is there to its end.

    Args:
        more: What stands behind the words that it was shortened.
    """
    text, shortened = shown.text, ""
    if weight(text) > room:
        text, shortened = shorten(text, max(0, min(FIRST_PART, room)))
    parts = [kit.preformatted(text)]
    if shortened:
        parts.append(kit.section(kit.text(f"{shortened}. "), *more))
    if shown.notes:
        parts.append(kit.section(kit.text("\n".join(shown.notes))))
        parts += _in_ascii(shown, room - weight(text))
    return parts, not shortened


def _in_ascii(shown: Shown, room: int) -> list[Block]:
    """The doubtful lines once more, in letters nobody can mistake."""
    if not shown.ascii:
        return []
    text, shortened = shorten(shown.ascii, max(0, min(FIRST_PART, room)))
    if not text:
        return []
    label = f"The same in ASCII. {shortened}." if shortened else "The same in ASCII"
    return [kit.section(kit.bold(label)), kit.preformatted(text)]
