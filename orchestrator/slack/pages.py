"""All of a long text in a window, one block for each part, or why it is not there. No I/O.

Source: Slack, "Modals", "Block Kit" reference (limits of a view).
"""

import json
from typing import Final

from orchestrator.domain.cards import Card
from orchestrator.slack import kit, previews
from orchestrator.slack.arguments import label, least, seen
from orchestrator.slack.kit import Block
from orchestrator.slack.text import Shown, weight

_PAGE: Final = 2_900  # characters of arguments in one block; any text object takes 3000
_MOST_PAGES: Final = 74  # a view has 100 blocks
MOST_BYTES: Final = 200_000  # a view may have 250 kB


def fits(card: Card) -> bool:
    """Whether a window can show all of the arguments, and what the call would do."""
    if least(card) > MOST_BYTES:
        return False
    shown = seen(card)
    return shown.whole and of(shown, would(card), label(card)) is not None


def written(card: Card, before: list[Block]) -> list[Block]:
    """All of its arguments behind those blocks, or that they are too long."""
    shown, named = seen(card), label(card)
    pages = of(shown, before, named) if shown.whole else None
    return [*(pages or [too_long(shown, named, open_=True)]), *notes(shown)]


def would(card: Card) -> list[Block]:
    """What it would do, whole, and what it would have done when it was approved."""
    preview, was = card.approval.preview, previews.before(card)
    if preview is None:
        return []
    shown = previews.would(preview)
    blocks = _labelled(shown, previews.heading(preview), "w") + notes(shown, "w:notes")
    if was is None:
        return blocks
    changed = kit.sentence("changed", previews.CHANGED)
    return [changed, *blocks, *_labelled(was, previews.BEFORE, "b")]


def of(shown: Shown, before: list[Block], named: str) -> list[Block] | None:
    """The whole text behind those blocks, one for each part; None if a view does not hold that.

    A part ends after a line where one does. One that follows another in the same line says so: no two texts
    look the same.
    """
    blocks = [*before, *_labelled(shown, named, "a")]
    if len(blocks) > _MOST_PAGES:
        return None
    return blocks if len(json.dumps(blocks)) <= MOST_BYTES else None


def _labelled(shown: Shown, label: str, key: str) -> list[Block]:
    """A block for each part; one more than a view holds where there are too many."""
    parts = _parts(shown.text)
    return [_page(parts, index, label, key) for index in range(len(parts))]


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    while text and len(parts) <= _MOST_PAGES:
        cut = _cut(text)
        parts.append(text[:cut])
        text = text[cut:]
    return parts or [""]


def _cut(text: str) -> int:
    """Where a part of at most `_PAGE` units ends: after its last line, or within a very long one."""
    most = _PAGE if weight(text[:_PAGE]) <= _PAGE else _PAGE // 2
    if len(text) <= most:
        return len(text)
    return text.rfind("\n", most // 2, most) + 1 or most


def _page(parts: list[str], index: int, label: str, key: str) -> Block:
    label = label if len(parts) == 1 else f"{label}, part {index + 1} of {len(parts)}"
    if index and not parts[index - 1].endswith("\n"):
        label += ", in the middle of a line"
    elements = [kit.section(kit.bold(label)), kit.preformatted(parts[index])]
    return {"type": "rich_text", "block_id": f"{key}:{index}", "elements": elements}


def too_long(shown: Shown, named: str, *, open_: bool) -> Block:
    """Why not all of it is here, and nothing can be approved."""
    first, why = _parts(shown.text)[0], "Too long to show here."
    way = "The HTTP API and the command line show everything."
    if open_:
        why = "Too long to show here, so it cannot be approved here."
        way = "The HTTP API and the command line show everything and take a decision."
    parts = [kit.section(kit.bold(f"{named}, the first part")), kit.preformatted(first)]
    return {
        "type": "rich_text",
        "block_id": "a:0",
        "elements": [*parts, kit.section(kit.text(f"{why} {way}"))],
    }


def notes(shown: Shown, key: str = "notes") -> list[Block]:
    """What could deceive the eye, and the doubtful lines in letters nobody can mistake."""
    if not shown.notes:
        return []
    parts = [kit.section(kit.text("\n".join(shown.notes)))]
    if shown.ascii:
        clear = shown.ascii[: _PAGE // 2]
        more = " (the first part)" if len(clear) < len(shown.ascii) else ""
        parts += [kit.section(kit.bold(f"The same in ASCII{more}")), kit.preformatted(clear)]
    return [{"type": "rich_text", "block_id": key, "elements": parts}]
