"""What people are told under a message: reminders, that its time is up, what came of it. No I/O.

Our own words and checked ids only, what the model wrote stays in the message itself; a result or a reason of
others stands as it is written.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import AtTimeout
from orchestrator.domain.deadlines import FORGETTING, OVERDUE, asked_now, place_of
from orchestrator.domain.outcomes import OUTCOME
from orchestrator.domain.terms import barring
from orchestrator.slack import frame, kit
from orchestrator.slack.deciders import mention, named
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import Look, look, sentence
from orchestrator.slack.message import Message
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import wording

NOTICE_TYPE: Final = "approval_reminder"
"""Name of the metadata by which a notice of ours is found again."""

_MOST_LINES: Final = 40
_LINES_A_BLOCK: Final = 5
"""A section takes 3000 characters, and a line has about 500 at most."""

_Written = Callable[[datetime], str]


def draw_notice(card: Card, what: str, others: Sequence[Card] = ()) -> Message:
    """The reply about `what`: the number of a reminder, or a notice of `domain.deadlines` or `outcomes`.

    Args:
        others: Told of in the same words. Everybody who may decide about one of them is mentioned once.
    """
    if what == OUTCOME:
        return _outcome(card)
    cards = (card, *others)
    headline = f"{len(cards)} questions wait for decisions" if others else _headline(card)
    people = named(list(dict.fromkeys(asked for one in cards for asked in _asked(one, what))))
    about = escape(f"{headline} (workflow {line(card.workflow, 100)})")
    text = f"{about}. {_addressed(people, _sentence(cards, what, kit.utc, people))}"
    shown = _addressed(people, _sentence(cards, what, kit.date, people))
    key = f"{card.approval.revision}:{what}"
    blocks = [
        kit.sentence(f"n:{key}", headline),
        {"type": "section", "block_id": f"w:{key}", "text": kit.mrkdwn(shown)},
        *(_listed(cards, key) if others else ()),
    ]
    return Message(text, blocks, _metadata(card, what, others))


def _headline(card: Card) -> str:
    return wording(card).headline(Look.PENDING)


def _listed(cards: Sequence[Card], key: str) -> list[Block]:
    """A line for each: the way to it, its call's fingerprint, and what comes when nobody decides."""
    lines = [_line(card) for card in cards[:_MOST_LINES]]
    if len(cards) > _MOST_LINES:
        lines.append(f"and {len(cards) - _MOST_LINES} more")
    parts = [lines[n : n + _LINES_A_BLOCK] for n in range(0, len(lines), _LINES_A_BLOCK)]
    return [
        {"type": "section", "block_id": f"l{n}:{key}", "text": kit.mrkdwn("\n".join(part))}
        for n, part in enumerate(parts)
    ]


def _line(card: Card) -> str:
    link, name = kit.linked(card.shown_link), escape(line(_headline(card), 100))
    way = f"<{escape(link)}|{name}>" if link else name
    then = _then(card, kit.date(card.approval.expires_at))
    return f"• {way} · sha256 {line(card.approval.digest[:8], 8)} · {then}"


def _outcome(card: Card) -> Message:
    """Whoever asked for the run is told by name, if Slack knows them."""
    state = look(card, card.call.settled_at or card.approval.expires_at)
    headline, who = wording(card).headline(state), mention(card.requester.id)
    about = escape(f"{headline} (workflow {line(card.workflow, 100)})")
    words = _addressed(who, escape(sentence(card, state)))
    key = f"{card.approval.revision}:{OUTCOME}"
    blocks = [
        kit.sentence(f"n:{key}", headline),
        {"type": "section", "block_id": f"w:{key}", "text": kit.mrkdwn(words)},
        *frame.reason(card, state),
        *frame.outcome(card, state),
    ]
    return Message(f"{about}. {who}".rstrip(), blocks, _metadata(card, OUTCOME))


def is_notice(payload: Any, card: Card, what: str) -> bool:
    """Whether a message's metadata say that it is this notice, or that this one is among its several."""
    if not isinstance(payload, dict) or payload.get("notice") != what:
        return False
    first = f"{payload.get('request_id')}.{payload.get('rev')}"
    more = payload.get("with")
    return _named(card) in (first, *(more if isinstance(more, list) else ()))


def mentions(card: Card, what: str) -> str:
    """Who is told, as Slack mentions them; whoever has no id of Slack's is left out."""
    return named(_asked(card, what))


def _asked(card: Card, what: str) -> list[str]:
    terms = barring(card.approval.terms, card.asked_for_it)
    others = what == OVERDUE and terms.at_timeout is AtTimeout.ESCALATE
    asked = [a for a in asked_now(card.approval) if not others or a in terms.escalate_to]
    return [a for a in asked if a not in terms.never and mention(a)]


def _addressed(people: str, words: str) -> str:
    return f"{people} {words}" if people and people not in words else words


def _sentence(cards: Sequence[Card], what: str, written: _Written, people: str) -> str:
    """Of several, with the one whose time is up first."""
    card = min(cards, key=lambda one: one.approval.expires_at)
    approval, several = card.approval, len(cards) > 1
    until = written(approval.expires_at)
    if what == OVERDUE and approval.terms.at_timeout is AtTimeout.ESCALATE:
        who = f"{people} may decide now too" if people else "it can still be decided"
        return f"Nobody has decided: {who}, until {until}."
    if what == OVERDUE:
        return f"Nobody has decided in time, and the run waits. It can still be decided, until {until}."
    if what == FORGETTING and card.forgotten_at is not None:
        this = "these" if several else "this"
        return f"Gemini forgets {this} at {written(card.forgotten_at)}; no answer counts after {until}."
    place = place_of(approval, what)
    which = f"Reminder {place[0]} of {place[1]}: " if place is not None else ""
    if several:
        return f"{which}{len(cards)} questions still wait for a decision, the first until {until}."
    return f"{which}{'this' if which else 'This'} still waits for a decision. {_then(card, until)}"


def _then(card: Card, until: str) -> str:
    """What comes when nobody decides."""
    approval = card.approval
    if not approval.escalated and approval.terms.at_timeout is AtTimeout.ESCALATE:
        return f"Others are asked too at {until}."
    if not approval.escalated and approval.terms.at_timeout is AtTimeout.ATTENTION:
        return f"An operator has to see to it at {until}."
    return f"It lapses at {until}."


def _metadata(card: Card, what: str, others: Sequence[Card] = ()) -> dict[str, Any]:
    """Ids only: everybody in the workspace can read metadata."""
    payload: dict[str, Any] = {"request_id": card.approval.id, "rev": card.approval.revision, "notice": what}
    more = {"with": [_named(other) for other in others]} if others else {}
    return {"event_type": NOTICE_TYPE, "event_payload": payload | more}


def _named(card: Card) -> str:
    return f"{card.approval.id}.{card.approval.revision}"
