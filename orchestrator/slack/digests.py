"""The message over the questions of unattended runs, at its hour. No I/O.

Alike ones stand together: a line for each, with the beginning of what it is about, and below them the buttons
that open a window with those that may be answered in one go. What does not fit is told of by number. Every
question stands whole on its card in the thread; what cannot be shown whole in a window, or stands alone, is
answered there.

Source: Slack, "Block Kit" reference (limits of a message and of a view).
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card, DigestCard
from orchestrator.domain.digests import groups, together
from orchestrator.slack import kit, modals, pages
from orchestrator.slack.action import MOST_TOGETHER
from orchestrator.slack.arguments import beginning
from orchestrator.slack.batches import fits, state_of
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import Look, look
from orchestrator.slack.message import Message
from orchestrator.slack.notices import mentions
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import called

DIGEST_TYPE: Final = "approval_digest"
"""Name of the metadata by which such a message is found again."""

MOST_GROUPS: Final = 12
"""Kinds of questions that are told of one by one; a message has 50 blocks."""
MOST_LINES: Final = 24
"""Questions that get a line each, over all kinds."""
_PIECE: Final = 100  # characters of the arguments in a line


def draw_digest(digest: DigestCard, *, now: datetime) -> Message:
    """The message as it is true at `now` (aware)."""
    kinds, waiting = groups(digest.cards), _open(digest.cards, now)
    state = "open" if waiting else "over"
    blocks: list[Block] = [
        {"type": "header", "block_id": "h", "text": kit.plain(_headline(digest, waiting), 150)},
        {"type": "context", "block_id": "c", "elements": [kit.plain(_what_it_is(waiting), 300)]},
    ]
    room = MOST_LINES
    for index, cards in enumerate(kinds[:MOST_GROUPS]):
        left = len(kinds[:MOST_GROUPS]) - index - 1
        shown = max(1, min(len(cards), room - left))
        room -= shown
        blocks += _kind(cards, index, shown, now)
    blocks += _others(digest, kinds[MOST_GROUPS:])
    named_blocks = [kit.renewed(b, state) for b in blocks]
    return Message(escape(f"{_headline(digest, waiting)}."), named_blocks, _metadata(digest))


def plain_digest(digest: DigestCard, *, now: datetime) -> Message:
    """The same news without blocks, for when Slack refuses our drawing."""
    headline = _headline(digest, _open(digest.cards, now))
    return Message(escape(f"{headline}. Each is shown in the thread."), [], _metadata(digest))


def is_digest(metadata: Any, digest: DigestCard) -> bool:
    """Whether a message's metadata say that it is this one."""
    return bool(metadata == _metadata(digest))


def in_one_go(cards: Sequence[Card]) -> tuple[Card, ...]:
    """As many of those as one window shows whole, the first ones; one that it cannot show is left out."""
    able = tuple(islice(filter(pages.fits, cards), MOST_TOGETHER))
    further = bisect_left(range(2, len(able) + 1), True, key=lambda count: not fits(able[:count]))
    return able[: further + 1]


# --- what stands in the message ----------------------------------------------------------------------------


def _open(cards: Sequence[Card], now: datetime) -> tuple[Card, ...]:
    return tuple(card for card in cards if look(card, now) is Look.PENDING)


def _headline(digest: DigestCard, waiting: Sequence[Card]) -> str:
    count = len(digest.cards) + digest.more
    asked = "1 question of an unattended run" if count == 1 else f"{count} questions of unattended runs"
    if not digest.more:
        return f"{asked}: {len(waiting) or 'nothing'} to be decided"
    if waiting:
        return f"{asked}: {len(waiting)} or more to be decided"
    return f"{asked}: the first {len(digest.cards)} are decided"


def _what_it_is(waiting: Sequence[Card]) -> str:
    if not waiting:
        return "Each of them is in the thread, with what became of it."
    return (
        "Each of them is in the thread, whole, and can be decided there. Its time runs from when it is shown."
    )


def _kind(cards: Sequence[Card], index: int, shown: int, now: datetime) -> list[Block]:
    """Questions of one kind: what they are, a line for each, the buttons for several."""
    first, waiting = cards[0], _open(cards, now)
    count = f"{len(waiting)} open of {len(cards)}"
    head = kit.section(kit.bold(f"{line(first.workflow, 80)} · {called(first)}"), kit.text(f" · {count}"))
    lines = [part for card in cards[:shown] for part in _line(card, now)]
    if len(cards) > shown:
        more = f"and {len(cards) - shown} more, each in the thread and on the Home tab of who may decide"
        lines.append(kit.section(kit.text(more)))
    blocks: list[Block] = [{"type": "rich_text", "block_id": f"k{index}", "elements": [head, *lines]}]
    if waiting and (people := mentions(waiting[0], "")):
        blocks.append(
            {"type": "context", "block_id": f"p{index}", "elements": [kit.mrkdwn(f"may decide: {people}")]}
        )
    return blocks + _buttons(waiting, index)


def _line(card: Card, now: datetime) -> tuple[Block, ...]:
    """A question by its fingerprint, its run and who asked for that, how it stands, and a piece of it."""
    told = f" · {line(card.run_id, 40)} for {_requester(card)} · {state_of(card, now)}"
    mark, piece = kit.bold(f"sha256 {line(card.approval.digest[:8], 8)}"), _piece(card)
    return kit.section(mark, kit.text(told)), *([kit.preformatted(piece)] if piece else [])


def _requester(card: Card) -> str:
    return line(card.requester.name or card.requester.id, 40)


def _piece(card: Card) -> str:
    """The beginning of the arguments, made visible as on a card; nothing where the channel sees none."""
    if card.approval.terms.discreet or is_own(card.call) or not card.call.arguments:
        return ""
    return beginning(card, _PIECE)


def _buttons(waiting: Sequence[Card], index: int) -> list[Block]:
    """Where two or more of a kind may be answered in one go."""
    able = [card for card in waiting if together(card)]
    chosen = in_one_go(able) if len(able) > 1 else ()
    if len(chosen) < 2:
        return []
    value, tool = modals.button_value(chosen[0]), line(called(chosen[0]), 30)
    whole = len(chosen) == len(waiting)
    count = f"all {len(chosen)}" if whole else f"{len(chosen)} of {len(waiting)}"
    approve = kit.button("approve_all", f"Approve {count}…", value, f"Approve {count} calls of {tool}")
    reject = kit.button("reject_all", f"Reject {count}…", value, f"Reject {count} calls of {tool}")
    elements = [approve | {"style": "primary"}, reject | {"style": "danger"}]
    return [{"type": "actions", "block_id": f"decide{index}", "elements": elements}]


def _others(digest: DigestCard, kinds: Sequence[Sequence[Card]]) -> list[Block]:
    """What has no line at all, by number."""
    count = sum(map(len, kinds)) + digest.more
    if not count:
        return []
    other = "" if digest.more else " of other kinds"
    told = f"And {count} more{other}, each in the thread and on the Home tab of who may decide."
    return [kit.sentence("more", told)]


def _metadata(digest: DigestCard) -> dict[str, Any]:
    """A name only: everybody in the workspace can read metadata."""
    return {"event_type": DIGEST_TYPE, "event_payload": {"digest": digest.name}}
