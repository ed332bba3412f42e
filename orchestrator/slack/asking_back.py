"""Asking back in Slack: the message with its button, and the windows to ask and to answer. No I/O.

Questions and answers are the words of others: preformatted text, made visible, never markup. A request whose
arguments the channel is not shown keeps these words from the channel, too.

Source: Slack, "Block Kit" reference (limits).
"""

from typing import Any, Final

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import SLACK_USER, Actor, Inquiry
from orchestrator.domain.inquiries import CHARS, Telling
from orchestrator.slack import kit
from orchestrator.slack.arguments import discreet
from orchestrator.slack.inquiries import name, said
from orchestrator.slack.kit import Block
from orchestrator.slack.message import Message
from orchestrator.slack.modals import REASON, View, button_value
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import wording

INQUIRY_TYPE: Final = "approval_inquiry"
"""Name of the metadata by which a message of ours is found again."""
WITHHELD: Final = "What was asked is not shown here."


def draw_inquiry(card: Card, telling: Telling) -> Message:
    """The message about one question; with a button for as long as it can be answered."""
    asked = card.approval.questions[telling.number - 1]
    spoken, shown = wording(card).spoken, bool(telling.person) or not discreet(card)
    words = _told(asked) if telling.answer else _put(card, asked)
    open_ = card.approval.open and not asked.answered and not telling.answer and _in_slack(card)
    about = f"{words} It is about {_safe(spoken)}"
    said_first = kit.mrkdwn(f"{about}{_where(card) if telling.person else ''}.")
    blocks: list[Block] = [{"type": "section", "block_id": "i", "text": said_first}]
    blocks += _said(asked, telling) if shown else _withheld()
    blocks.append(_standing(card, asked))
    if open_:
        label = "Answer…" if shown else "Read and answer…"
        button = kit.button(f"reply_{telling.number}", label, button_value(card), "Answer the question")
        blocks.append({"type": "actions", "block_id": "reply", "elements": [button]})
    named = [kit.renewed(b, card.approval.revision, telling.what) for b in blocks]
    return Message(f"{about} (workflow {_safe(card.workflow)}).", named, _metadata(card, telling))


def is_inquiry(payload: Any, card: Card, telling: Telling) -> bool:
    """Whether a message's metadata say that it is this one."""
    return bool(payload == _metadata(card, telling)["event_payload"])


def ask(card: Card) -> View:
    """Where somebody who decides asks back."""
    told = f"{_who(card.requester)} is asked, under the request{_directly(card)}. {_clock(card)}"
    about: Block = {"type": "section", "block_id": "about", "text": kit.mrkdwn(told)}
    blocks = [about, _typed("Your question", "What you need to know.")]
    return kit.modal("ask", button_value(card), "Ask back", blocks, "Ask")


def reply(card: Card, number: int) -> View:
    """Where whoever asked for the run answers."""
    asked = card.approval.questions[number - 1]
    subject = f"{_safe(wording(card).spoken)}{_where(card)}"
    told = f"{_who(asked.by)} asks about {subject}. {_clock(card)}"
    about: Block = {"type": "section", "block_id": "about", "text": kit.mrkdwn(told)}
    field = _typed("Your answer", "Shown to everybody who may decide, and kept with the request.")
    return kit.modal(f"reply_{number}", button_value(card), "Answer", [about, *said(asked), field], "Answer")


def _typed(label: str, hint: str) -> Block:
    field = {"type": "plain_text_input", "action_id": REASON, "multiline": True, "max_length": CHARS}
    block = {"type": "input", "block_id": REASON, "optional": False, "element": field}
    return block | {"label": kit.plain(label, 100), "hint": kit.plain(hint, 150)}


# --- our own words: checked ids and escaped names only ------------------------------------------------


def _put(card: Card, asked: Inquiry) -> str:
    return f"{_who(card.requester)}: {_who(asked.by)} has a question."


def _told(asked: Inquiry) -> str:
    by = _who(asked.answered_by) if asked.answered_by else ""
    return f"{_who(asked.by)}: {by} has answered the question."


def _standing(card: Card, asked: Inquiry) -> Block:
    by, at = asked.answered_by, asked.answered_at
    told = f"answered by {_who(by)} {kit.date(at)}" if by and at else _clock(card)
    if not _in_slack(card) and not asked.answered:
        told = f"It is answered by the HTTP API. {told}"
    if not (card.approval.open or asked.answered):
        told = "The request was decided or taken back: there is nothing to answer any more."
    return {"type": "context", "block_id": "s", "elements": [kit.mrkdwn(told)]}


def _clock(card: Card) -> str:
    until = kit.date(card.approval.expires_at)
    return f"The request stays open until {until}: a question does not stop the clock."


def _where(card: Card) -> str:
    """Which run it is of, for whoever may have asked for many."""
    link, name = kit.linked(card.link), escape(line(card.run_id, 80))
    return f", in {f'<{escape(link)}|{name}>' if link else name} of {_safe(card.workflow)}"


def _directly(card: Card) -> str:
    return " and directly" if _in_slack(card) else ""


def _in_slack(card: Card) -> bool:
    """Whether whoever asked for the run can answer here."""
    return SLACK_USER.fullmatch(card.requester.id) is not None


def _who(actor: Actor) -> str:
    return f"<@{actor.id}>" if SLACK_USER.fullmatch(actor.id) else _safe(name(actor))


def _safe(words: str) -> str:
    return escape(line(words, 120))


# --- the words of others ---------------------------------------------------------------------------------


def _said(asked: Inquiry, telling: Telling) -> list[Block]:
    """Both; in the thread the question stands above its answer already."""
    return said(asked)[1:] if telling.answer and not telling.person else said(asked)


def _withheld() -> list[Block]:
    return [{"type": "section", "block_id": "q", "text": kit.plain(WITHHELD, 100)}]


def _metadata(card: Card, telling: Telling) -> dict[str, Any]:
    """Ids only: everybody in the workspace can read metadata."""
    payload = {
        "request_id": card.approval.id,
        "rev": card.approval.revision,
        "inquiry": telling.number,
        "answer": telling.answer,
    }
    return {"event_type": INQUIRY_TYPE, "event_payload": payload}
