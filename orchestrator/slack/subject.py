"""What a card is about: the arguments, the plan, the question, and what a call would do. No I/O.

Each part tells whether all of it is there: nothing is approved beside what is not wholly shown.
"""

from collections.abc import Sequence
from typing import Any, Final

from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.human import is_question
from orchestrator.slack import human, kit, pages, previews
from orchestrator.slack.arguments import discreet, seen
from orchestrator.slack.arguments import label as label_of
from orchestrator.slack.excerpts import FIRST_PART, all_of_it, written
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import Look
from orchestrator.slack.text import line, prose, shorten, weight
from orchestrator.slack.wording import limit_reached, plan_of, refused

ELSEWHERE: Final = (
    "It can be reviewed and decided with the HTTP API or on the command line, where everything is shown."
)
"""Where to decide what Slack has no room for."""


def subject(card: Card, state: Look, room: int) -> tuple[Block, bool]:
    """What is decided about within `room`, and whether it is all there."""
    if (told := refused(card.call)) is not None:
        return _refused(*told), True
    if facts := limit_reached(card.call):
        said = kit.section(kit.text("\n".join(facts)))
        return {"type": "rich_text", "block_id": "a", "elements": [said]}, True
    if discreet(card):
        return _kept_back(card, state), False
    parts, whole = (_question if is_question(card.call) else _call)(card, state, room)
    return {"type": "rich_text", "block_id": "a", "elements": parts}, whole


def _question(card: Card, state: Look, room: int) -> tuple[list[Block], bool]:
    parts, whole = human.parts(card.call, room)
    parts += _files(card, state)
    if state is Look.PENDING and human.form(card.call) is None and not (whole and human.buttons(card)):
        parts.append(kit.section(kit.bold(ELSEWHERE)))
    return parts, whole


def _call(card: Card, state: Look, room: int) -> tuple[list[Block], bool]:
    """The arguments of a tool's call, or the plan of an agent."""
    plan = plan_of(card.call)
    label, shown = (label_of(card), seen(card)) if plan is None else ("The plan", prose(plan))
    body, to_its_end = written(shown, room, *all_of_it(card))
    parts, whole = [kit.section(kit.bold(label)), *body], shown.whole and to_its_end
    if state is Look.PENDING and not whole:
        parts.append(kit.section(kit.bold(_not_here(card))))
    return parts, whole


def _files(card: Card, state: Look) -> list[Block]:
    """Where the files to choose among can be had, and why there are no pictures of them, if that is known."""
    links = [(str(n), kit.linked(address)) for n, address in enumerate(card.file_links, 1)]
    parts: list[Block] = []
    if whole := [part for part in links if part[1]]:
        shown = [{"type": "link", "url": address, "text": f" {n} "} for n, address in whole]
        parts.append(kit.section(kit.text("To save: "), *shown))
    if card.no_pictures and state is Look.PENDING:
        parts.append(kit.section(kit.text(f"{line(card.no_pictures, 300).rstrip('.')}.")))
    return parts


def would(card: Card, state: Look, room: int) -> tuple[list[Block], bool]:
    """What it would do, before the arguments, which keep some of the room; and whether it is all there."""
    preview, room = card.approval.preview, max(0, room - FIRST_PART)
    if preview is None or discreet(card):
        return [], True
    body, whole = written(previews.would(preview), room)
    was = previews.before(card) if state is Look.PENDING else None
    parts = [] if was is None else [kit.section(kit.bold(previews.CHANGED))]
    parts += [kit.section(kit.bold(previews.heading(preview))), *body]
    if was is not None:
        former = shorten(was.text, max(0, min(FIRST_PART, room - weigh(parts))))[0]
        parts += [kit.section(kit.bold(previews.BEFORE)), kit.preformatted(former)]
    if state is Look.PENDING and not whole:
        parts.append(kit.section(kit.bold(_not_here(card))))
    return [{"type": "rich_text", "block_id": "w", "elements": parts}], whole


def _refused(facts: Sequence[str], said: str) -> Block:
    """Nothing of it runs: what Gemini said is there to judge by, as far as there is room."""
    shown = prose(said)
    elements = [kit.section(kit.text("\n".join(facts)))]
    if shown.text:
        text = shorten(shown.text, FIRST_PART)[0]
        elements += [kit.section(kit.bold("What Gemini said (not checked)")), kit.preformatted(text)]
    return {"type": "rich_text", "block_id": "a", "elements": elements}


def _kept_back(card: Card, state: Look) -> Block:
    said = "The arguments are not shown here. Who may decide sees them under Details"
    more = ", and approves there." if state is Look.PENDING else "."
    if is_question(card.call):
        said, more = "The question is not shown here. Who may answer sees it", " in a window of their own."
    if not pages.fits(card) or (is_question(card.call) and human.form(card.call) is None):
        said, more = "The arguments are not shown here and too long for Slack.", f" {ELSEWHERE}"
    return {"type": "rich_text", "block_id": "a", "elements": [kit.section(kit.text(said + more))]}


def _not_here(card: Card) -> str:
    """Why there is no Approve button, and where there is one."""
    if kit.linked(card.link) or in_a_window(card):
        return "Too long to approve here. Review… shows everything; the decision to approve is made there."
    return f"Too long to approve here. {ELSEWHERE}"


def in_a_window(card: Card) -> bool:
    """Whether a window of Slack's shows all of it."""
    return not is_own(card.call) and pages.fits(card)


def weigh(value: Any) -> int:
    """The budget taken by everything under a `text` key."""
    if isinstance(value, list):
        return sum(weigh(entry) for entry in value)
    if not isinstance(value, dict):
        return 0
    own = weight(value["text"]) if isinstance(value.get("text"), str) else 0
    return own + sum(weigh(entry) for entry in value.values())
