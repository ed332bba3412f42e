"""What people are told under a message: reminders, that its time is up, what came of it. No I/O.

Our own words and checked ids only, what the model wrote stays in the message itself; a result or a reason of
others stands as it is written.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from orchestrator.domain.consent import AtTimeout
from orchestrator.domain.deadlines import FORGETTING, OVERDUE, asked_now, place_of
from orchestrator.domain.outcomes import OUTCOME
from orchestrator.domain.pictures import Card
from orchestrator.slack import frame, kit
from orchestrator.slack.deciders import mention, named
from orchestrator.slack.looks import Look, look, sentence
from orchestrator.slack.message import Message
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import wording

NOTICE_TYPE: Final = "approval_reminder"
"""Name of the metadata by which a notice of ours is found again."""

_Written = Callable[[datetime], str]


def draw_notice(card: Card, what: str) -> Message:
    """The reply about `what`: the number of a reminder, or a notice of `domain.deadlines` or `outcomes`."""
    if what == OUTCOME:
        return _outcome(card)
    headline = wording(card).headline(Look.PENDING)
    people = mentions(card, what)
    about = escape(f"{headline} (workflow {line(card.workflow, 100)})")
    text = f"{about}. {_addressed(people, _sentence(card, what, kit.utc, people))}"
    shown = _addressed(people, _sentence(card, what, kit.date, people))
    key = f"{card.approval.revision}:{what}"
    blocks = [
        {"type": "section", "block_id": f"n:{key}", "text": kit.plain(headline, 300)},
        {"type": "section", "block_id": f"w:{key}", "text": kit.mrkdwn(shown)},
    ]
    return Message(text, blocks, _metadata(card, what))


def _outcome(card: Card) -> Message:
    """Whoever asked for the run is told by name, if Slack knows them."""
    state = look(card, card.call.settled_at or card.approval.expires_at)
    headline, who = wording(card).headline(state), mention(card.requester.id)
    about = escape(f"{headline} (workflow {line(card.workflow, 100)})")
    words = _addressed(who, escape(sentence(card, state)))
    key = f"{card.approval.revision}:{OUTCOME}"
    blocks = [
        {"type": "section", "block_id": f"n:{key}", "text": kit.plain(headline, 300)},
        {"type": "section", "block_id": f"w:{key}", "text": kit.mrkdwn(words)},
        *frame.reason(card, state),
        *frame.outcome(card, state),
    ]
    return Message(f"{about}. {who}".rstrip(), blocks, _metadata(card, OUTCOME))


def is_notice(payload: Any, card: Card, what: str) -> bool:
    """Whether a message's metadata say that it is this notice."""
    return bool(payload == _metadata(card, what)["event_payload"])


def mentions(card: Card, what: str) -> str:
    """Who is told, as Slack mentions them; whoever has no id of Slack's is left out."""
    terms = card.approval.terms
    others = what == OVERDUE and terms.at_timeout is AtTimeout.ESCALATE
    asked = [a for a in asked_now(card.approval) if not others or a in terms.escalate_to]
    if terms.four_eyes:
        asked = [a for a in asked if a != card.requester.id]
    return named([a for a in asked if mention(a)])


def _addressed(people: str, words: str) -> str:
    return f"{people} {words}" if people and people not in words else words


def _sentence(card: Card, what: str, written: _Written, people: str) -> str:
    approval = card.approval
    until = written(approval.expires_at)
    if what == OVERDUE and approval.terms.at_timeout is AtTimeout.ESCALATE:
        who = f"{people} may decide now too" if people else "it can still be decided"
        return f"Nobody has decided: {who}, until {until}."
    if what == OVERDUE:
        return f"Nobody has decided in time, and the run waits. It can still be decided, until {until}."
    if what == FORGETTING and card.forgotten_at is not None:
        return f"Gemini forgets this at {written(card.forgotten_at)}; no answer counts after {until}."
    place = place_of(approval, what)
    which = f"Reminder {place[0]} of {place[1]}: this" if place is not None else "This"
    return f"{which} still waits for a decision. {_then(card, until)}"


def _then(card: Card, until: str) -> str:
    """What comes when nobody decides."""
    approval = card.approval
    if not approval.escalated and approval.terms.at_timeout is AtTimeout.ESCALATE:
        return f"Others are asked too at {until}."
    if not approval.escalated and approval.terms.at_timeout is AtTimeout.ATTENTION:
        return f"An operator has to see to it at {until}."
    return f"It lapses at {until}."


def _metadata(card: Card, what: str) -> dict[str, Any]:
    """Ids only: everybody in the workspace can read metadata."""
    payload = {"request_id": card.approval.id, "rev": card.approval.revision, "notice": what}
    return {"event_type": NOTICE_TYPE, "event_payload": payload}
