"""What was asked back about a request, as it stands on the request itself and in its windows. No I/O.

Questions and answers are the words of others: preformatted text, made visible, never markup.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Inquiry
from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.text import line, shorten, visible, weight

_PART: Final = 2_900  # units of one text; Slack takes 3000
_WHOLE: Final = 8_000  # of one question with what is spelled out in it
_MESSAGE: Final = 9_000  # of a question and its answer, within what a message takes


def counted(card: Card) -> list[Block]:
    """That something was asked back, for the request itself; what it was stands in the thread."""
    questions = card.approval.questions
    if not questions:
        return []
    answered = sum(1 for q in questions if q.answered)
    told = f"Asked back: {len(questions)} · answered: {answered}. It stands in the thread."
    return [{"type": "context", "block_id": "asked", "elements": [kit.mrkdwn(told)]}]


def said(asked: Inquiry) -> list[Block]:
    """The question and, where there is one, the answer, as they were written."""
    most = _of_each([asked], _MESSAGE)
    blocks = [_quoted("q", "The question", asked.text, most)]
    return [*blocks, _quoted("a", "The answer", asked.answer, most)] if asked.answered else blocks


def history(card: Card, room: int) -> list[Block]:
    """All of them for a window, each text cut where together they would take more than `room` units."""
    most = _of_each(card.approval.questions, room)
    blocks: list[Block] = []
    for number, asked in enumerate(card.approval.questions, 1):
        blocks.append(_quoted(f"asked:{number}", f"{name(asked.by)} asked", asked.text, most))
        if asked.answered and asked.answered_by is not None:
            told = f"{name(asked.answered_by)} answered"
            blocks.append(_quoted(f"answered:{number}", told, asked.answer, most))
    return blocks


def _of_each(questions: Sequence[Inquiry], room: int) -> int:
    """The most units of one text, where all of them have `room`."""
    whole = sum(weight(visible(text)[0]) for q in questions for text in (q.text, q.answer))
    return _WHOLE if whole <= room else room // (2 * len(questions))


def name(actor: Actor) -> str:
    """Somebody, by name where there is one."""
    return line(actor.name or actor.id, 80)


def _quoted(key: str, label: str, words: str, most: int) -> Block:
    """In pieces that Slack takes; what does not fit in all is cut, and that is said."""
    text, shortened = shorten(visible(words)[0], most)
    parts = [kit.section(kit.bold(label))]
    while weight(text) > _PART:
        piece = text[: _PART // 2]
        parts.append(kit.preformatted(piece))
        text = text[len(piece) :]
    parts.append(kit.preformatted(text))
    if shortened:
        parts.append(kit.section(kit.text(f"{shortened}. All of it is in the HTTP API.")))
    return {"type": "rich_text", "block_id": key, "elements": parts}
