"""What can be pressed on a card, and the field for a note beside it. No I/O.

Whatever lets it happen stands only where everything is shown.
"""

from orchestrator.domain import choosing
from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Edits
from orchestrator.domain.human import is_question
from orchestrator.domain.inquiries import askable
from orchestrator.domain.model import CallStatus
from orchestrator.slack import human, kit, modals
from orchestrator.slack.action import NOTE, NOTE_CHARS
from orchestrator.slack.arguments import discreet
from orchestrator.slack.kit import Block
from orchestrator.slack.subject import in_a_window
from orchestrator.slack.wording import wording


def note(card: Card) -> list[Block]:
    """Where people say what to change, for a question that can be sent back."""
    if not wording(card).refine:
        return []
    field = {
        "type": "plain_text_input",
        "action_id": NOTE,
        "multiline": True,
        "max_length": NOTE_CHARS,
        "placeholder": kit.plain("What the agent should change", 150),
    }
    hint = "Needed to send it back, and goes to the agent then; with Stop it is kept as the reason."
    block = {"type": "input", "block_id": NOTE, "optional": True, "element": field}
    return [block | {"label": kit.plain("Note", 100), "hint": kit.plain(hint, 150)}]


def decide(card: Card, *, whole: bool) -> list[Block]:
    """The buttons; whatever lets it happen only where everything is shown."""
    words = wording(card)
    if is_question(card.call):
        return [{"type": "actions", "block_id": "decide", "elements": _answers(card, whole=whole)}]
    buttons = []
    if whole:
        buttons.append(_button(card, "approve", words.approve) | {"style": "primary", "confirm": _sure(card)})
    else:
        buttons += _review(card)
    if is_own(card.call):
        buttons += [_button(card, "refine", words.refine)] if words.refine else []
        buttons.append(_button(card, "reject", words.reject) | {"style": "danger"})
    else:
        if card.approval.terms.edits is not Edits.NO:
            buttons.append(_button(card, "edit", "Edit…"))
        if human.answerable(card):
            buttons.append(_button(card, "answer", "Answer instead…"))
        buttons.append(_button(card, "reject_reason", f"{words.reject}…") | {"style": "danger"})
        buttons += [_button(card, "details", "Details")] if whole else []
        buttons += [] if whole or in_a_window(card) else _ask_back(card)
    return [{"type": "actions", "block_id": "decide", "elements": buttons}]


def _answers(card: Card, *, whole: bool) -> list[Block]:
    """A choice of few has a button each, beside the whole question; any other answer is given in a window."""
    labels = human.buttons(card) if whole else ()
    buttons = [_chosen(card, place, label) for place, label in enumerate(labels)]
    if not labels and human.form(card.call) is not None:
        buttons.append(_button(card, "answer", "Answer…") | {"style": "primary"})
    if choosing.is_choosing(card.call) and choosing.again_allowed(card.call.arguments):
        buttons.append(_button(card, "again", modals.AGAIN))
    decline = _button(card, "reject_reason", f"{wording(card).reject}…")
    return [*buttons, decline | {"style": "danger"}, *_ask_back(card)]


def _chosen(card: Card, place: int, label: str) -> Block:
    file = human.file(card.call, place)
    sure = {
        "title": kit.plain(wording(card).sure[0], 100),
        "text": kit.plain(file or label, 300),
        "confirm": kit.plain("Take it" if file else "Answer", 30),
        "deny": kit.plain("Go back", 30),
    }
    button = kit.button(f"choose_{place}", label, modals.button_value(card), f"Answer: {label}")
    return button | {"confirm": sure}


def _button(card: Card, action: str, label: str) -> Block:
    return kit.button(action, label, modals.button_value(card), f"{label} {wording(card).spoken}")


def _ask_back(card: Card) -> list[Block]:
    """Where there are no details to ask from."""
    return [_button(card, "ask", "Ask…")] if askable(card.approval, card.requester.id) else []


def _review(card: Card) -> list[Block]:
    """The way to everything: a window of Slack's where it fits in, else our page, else none."""
    if in_a_window(card):
        return [_button(card, "details", "Details" if discreet(card) else "Review…") | {"style": "primary"}]
    if (link := kit.linked(card.link)) and not discreet(card):
        return [{"type": "button", "action_id": "review", "url": link, "text": kit.plain("Review…", 75)}]
    return []


def only_details(card: Card) -> list[Block]:
    """What was decided about stays readable for those who could decide.

    Not where another question took its place or is about to, nor for the run's own, which have no window.
    """
    if is_own(card.call) or card.replaced or card.call.status is CallStatus.PREVIEWING:
        return []
    elements = [_button(card, "details", "Details")]
    return [{"type": "actions", "block_id": "more", "elements": elements}]


def _sure(card: Card) -> Block:
    """What is asked before it happens."""
    words = wording(card)
    title, follows = words.sure
    return {
        "title": kit.plain(title, 100),
        "text": kit.plain(follows, 300),
        "confirm": kit.plain(words.approve, 30),
        "deny": kit.plain("Go back", 30),
    }
