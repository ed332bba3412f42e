"""The message over several questions of a turn, and the windows that answer them in one go. No I/O.

The message names each call, by its tool and fingerprint, and how it stands; what they are about stands on the
cards under it. To answer them all there is a window that shows every one of them whole: where that is not
possible, or not allowed, each is answered on its own card. The window carries what was shown of every
question, and each is decided by itself against that.

Source: Slack, "Block Kit" reference (limits of a message and of a view).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from orchestrator.domain.cards import BatchCard, Card
from orchestrator.slack import kit, modals, pages
from orchestrator.slack.action import MOST_TOGETHER
from orchestrator.slack.arguments import least
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import HEADLINES, Look, look
from orchestrator.slack.message import Message
from orchestrator.slack.modals import View
from orchestrator.slack.notices import mentions
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import called, is_last

BATCH_TYPE: Final = "approval_batch"
"""Name of the metadata by which such a message is found again."""

_MOST_LINES: Final = 40
_MOST_BLOCKS: Final = 90  # a view has 100
_MOST_BYTES: Final = 200_000  # a view may have 250 kB
_MOST_METADATA: Final = 3_000


def draw_batch(batch: BatchCard, *, now: datetime) -> Message:
    """The message as it is true at `now` (aware)."""
    waiting = open_cards(batch, now)
    state = "open" if waiting or batch.preparing else "over"
    blocks: list[Block] = [
        {"type": "header", "block_id": "h", "text": kit.plain(_headline(batch, state), 150)},
        {"type": "section", "block_id": "m", "fields": _facts(batch)},
        _lines(batch, now),
    ]
    if waiting:
        blocks.append({"type": "context", "block_id": "c", "elements": _terms(waiting)})
        blocks += _buttons(batch, waiting)
    named = [kit.renewed(b, batch.turn, state) for b in blocks]
    return Message(_summary(batch, waiting, state), named, _metadata(batch))


def plain_batch(batch: BatchCard, *, now: datetime) -> Message:
    """The same news without blocks, for when Slack refuses our drawing."""
    waiting = open_cards(batch, now)
    text = _summary(batch, waiting, "open" if waiting or batch.preparing else "over")
    return Message(f"{text} Each is shown below.", [], _metadata(batch))


def is_batch(metadata: Any, batch: BatchCard) -> bool:
    """Whether a message's metadata say that it is this one."""
    return bool(metadata == _metadata(batch))


def open_cards(batch: BatchCard, now: datetime) -> tuple[Card, ...]:
    """Its questions that can be answered at `now`."""
    return tuple(card for card in batch.cards if look(card, now) is Look.PENDING)


def fits(cards: Sequence[Card]) -> bool:
    """Whether one window shows all of them whole."""
    if not 1 < len(cards) <= MOST_TOGETHER or sum(map(least, cards)) > _MOST_BYTES:
        return False
    if not all(pages.fits(card) for card in cards):
        return False
    view = approve_all(cards)
    small = len(json.dumps(view["blocks"])) <= _MOST_BYTES and len(view["private_metadata"]) <= _MOST_METADATA
    return small and len(view["blocks"]) <= _MOST_BLOCKS


def approve_all(cards: Sequence[Card]) -> View:
    """Every call with all of its arguments, and one button for them all."""
    runs = f"Approve runs these {len(cards)} calls now with the arguments shown here."
    if not all(map(is_last, cards)):
        runs = f"Yours is one of the approvals that some of these {len(cards)} calls need."
    sure = (
        f"{runs} Each is recorded as a decision of its own; one that has changed or was decided meanwhile is"
        " left out, and you are told."
    )
    of_several = len({card.run_id for card in cards}) > 1
    shown = [block for n, card in enumerate(cards) for block in _whole(card, n, len(cards), of_several)]
    blocks = [*shown, kit.sentence("sure", sure)]
    return _view("approve_all", f"Approve {len(cards)} calls", blocks, cards, "Approve all")


def reject_all(cards: Sequence[Card]) -> View:
    """The calls by name, and one reason for them all."""
    of_several = len({card.run_id for card in cards}) > 1
    items = [kit.section(*named(card), *(_run(card) if of_several else ())) for card in cards]
    about = {"type": "rich_text", "block_id": "calls", "elements": items}
    hint = "The agent is told that each of them was rejected, and why."
    required = any(card.approval.terms.reason_required for card in cards)
    reason = modals.typed("Reason", hint, required=required)
    return _view("reject_all", f"Reject {len(cards)} calls", [about, reason], cards, "Reject all")


def _view(kind: str, title: str, blocks: list[Block], cards: Sequence[Card], submit: str) -> View:
    about = " ".join(modals.button_value(card) for card in cards)
    return kit.modal(kind, about, title, blocks, submit)


def _run(card: Card) -> tuple[Block, ...]:
    """Which run it is of, where they are of several."""
    return (kit.text(f" · {line(card.run_id, 80)} of {line(card.workflow, 80)}"),)


def _whole(card: Card, index: int, of: int, of_several: bool) -> list[Block]:
    """One call in the window: its name, what it would do, all of its arguments, its seal."""
    head = kit.section(kit.bold(f"{index + 1} of {of}: "), *named(card), *(_run(card) if of_several else ()))
    blocks: list[Block] = [{"type": "rich_text", "block_id": "n", "elements": [head]}]
    if card.approval.terms.risk:
        risk = kit.plain(f"Risk: {card.approval.terms.risk}", 300)
        blocks.append({"type": "section", "block_id": "risk", "text": risk})
    blocks += modals.whole(card)
    return [block | {"block_id": f"{index}:{block['block_id']}"} for block in blocks]


# --- what stands in the message ----------------------------------------------------------------------------


def _headline(batch: BatchCard, state: str) -> str:
    count, flow = len(batch.cards) + len(batch.preparing), line(batch.workflow, 80)
    things = f"{count} thing{'' if count == 1 else 's'}"
    return f"{flow} wants to do {things}" if state == "open" else f"{flow} wanted to do {things}"


def _summary(batch: BatchCard, waiting: Sequence[Card], state: str) -> str:
    """The top-level text: our words and the workflow's name only."""
    left = f"{len(waiting)} still to be decided" if waiting else "nothing to be decided"
    return escape(f"{_headline(batch, state)}: {left}.")


def _facts(batch: BatchCard) -> list[Block]:
    link = kit.linked(batch.link)
    shown = f"<{escape(link)}|{escape(line(batch.run_id, 80))}>"
    run = kit.markup("Run", shown) if link else kit.fact("Run", batch.run_id)
    return [run, kit.person("Asked for by", batch.requester)]


def _lines(batch: BatchCard, now: datetime) -> Block:
    """One line for each call: its tool, its fingerprint, how it stands."""
    items = [kit.section(*named(card), kit.text(f" · {state_of(card, now)}")) for card in batch.cards]
    items += [
        kit.section(kit.bold(line(tool, 80)), kit.text(" · being prepared")) for tool in batch.preparing
    ]
    if len(items) > _MOST_LINES:
        items = [*items[:_MOST_LINES], kit.section(kit.text(f"and {len(items) - _MOST_LINES} more"))]
    if not items:
        return kit.sentence("l", "Nothing is asked here any more.")
    return {"type": "rich_text", "block_id": "l", "elements": items}


def named(card: Card) -> tuple[Block, ...]:
    """A call by its tool, the team's own name for it, and the start of its digest."""
    digest = kit.text(f"sha256 {line(card.approval.digest[:8], 8)}")
    return kit.bold(called(card)), kit.text(" · "), digest


def state_of(card: Card, now: datetime) -> str:
    """How a question stands, in a few words."""
    state, approval = look(card, now), card.approval
    step = approval.terms.steps[approval.stage]
    if state is Look.PENDING and (step.quorum > 1 or approval.terms.stages):
        return f"{HEADLINES[state]}, {approval.yeses(approval.stage)} of {step.quorum} approved"
    by = approval.verdict.by if approval.verdict is not None else None
    who = (
        f" by {line(by.name or by.id, 60)}"
        if by is not None and state in (Look.APPROVED, Look.REJECTED)
        else ""
    )
    return f"{HEADLINES[state]}{who}"


def _terms(waiting: Sequence[Card]) -> list[Block]:
    """Who may decide, as mentions, and when the first of them lapses."""
    people = dict.fromkeys(named for card in waiting if (named := mentions(card, "")))
    until = kit.mrkdwn(f"first expires {kit.date(min(card.approval.expires_at for card in waiting))}")
    if not people:
        return [kit.plain("who may decide is said on each card", 300), until]
    if len(people) == 1:
        return [kit.mrkdwn(f"may decide: {next(iter(people))}"), until]
    several = [kit.mrkdwn(f"may decide some of it: {named}") for named in list(people)[:8]]
    return [*several, until]


def _buttons(batch: BatchCard, waiting: Sequence[Card]) -> list[Block]:
    """Only where every open call allows it and one window shows them all."""
    if not batch.together or not fits(waiting):
        return []
    value = modals.button_value(waiting[0])
    spoken = f"{len(waiting)} calls of {line(batch.workflow, 40)}"
    approve = kit.button("approve_all", "Approve all…", value, f"Approve {spoken}") | {"style": "primary"}
    reject = kit.button("reject_all", "Reject all…", value, f"Reject {spoken}") | {"style": "danger"}
    return [{"type": "actions", "block_id": "decide", "elements": [approve, reject]}]


def _metadata(batch: BatchCard) -> dict[str, Any]:
    """Ids only: everybody in the workspace can read metadata."""
    payload = {"run_id": batch.run_id, "turn": batch.turn}
    return {"event_type": BATCH_TYPE, "event_payload": payload}
