"""An approval drawn in Block Kit: a picture of the rows, made anew each time. No I/O.

Where each kind of text may stand:

    our own words, checked ids      mrkdwn (escaped, `verbatim`) and the top-level `text`
    names of people and machines    a mention if it is a user id, else `plain_text` without emoji
    arguments, plans, reasons       `rich_text_preformatted`, made visible; never anywhere else

And no blind approval: the Approve button exists only beside the complete arguments.

Source: Slack, "Block Kit" reference (blocks, limits); the text budget is measured, not documented.
"""

from datetime import datetime
from typing import Any, Final

from orchestrator.domain.cards import Card
from orchestrator.slack import buttons, edits, frame, inquiries, kit
from orchestrator.slack import subject as about
from orchestrator.slack.deciders import progress
from orchestrator.slack.looks import Look, look
from orchestrator.slack.message import Message
from orchestrator.slack.subject import ELSEWHERE, weigh
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import wording

EVENT_TYPE: Final = "approval_request"
"""Name of the metadata by which a message of ours is found again."""

TEXT_BUDGET: Final = 10_000  # UTF-16 units of text in all blocks; Slack refuses somewhere above 13 200
_RESERVE: Final = 1_600  # of these, for notes, labels and the confirm dialog


def draw(card: Card, *, now: datetime) -> Message:
    """The message about `card` as it is true at `now` (aware).

    Within every limit of Block Kit for any arguments.
    """
    state = look(card, now)
    above = [
        frame.header(card, state),
        *frame.words(card, state),
        frame.facts(card, state),
        *progress(card, state),
        *edits.who(card),
    ]
    below = [
        *frame.before(card, state),
        *inquiries.counted(card),
        *frame.reason(card, state),
        *frame.outcome(card, state),
        frame.seal(card, state),
    ]
    note = buttons.note(card) if state is Look.PENDING else []
    room = TEXT_BUDGET - _RESERVE - weigh([*above, *below, *note])
    would, seen = about.would(card, state, room)
    subject, whole = about.subject(card, state, room - weigh(would))
    # The arguments come first: they are what runs.
    changed = edits.what(card, room - weigh([*would, subject]))
    blocks = [*above, *would, subject, *changed, *below, *note]
    if state is Look.PENDING:
        blocks += buttons.decide(card, whole=whole and seen)
    else:
        blocks += buttons.only_details(card)
    named = [kit.renewed(b, card.approval.revision, state) for b in blocks]
    return Message(_summary(card, state), named, _metadata(card))


def plain(card: Card, *, now: datetime) -> Message:
    """The same news without blocks, for when Slack refuses our drawing: no arguments, no buttons."""
    state = look(card, now)
    link = kit.linked(card.link)
    label = "Review it here" if state is Look.PENDING else "See the run"
    more = f" <{escape(link)}|{label}>" if link else ""
    if state is Look.PENDING and not link:
        more = f" {ELSEWHERE}"
    return Message(_summary(card, state) + more, [], _metadata(card))


def _metadata(card: Card) -> dict[str, Any]:
    """Ids only: everybody in the workspace can read metadata."""
    payload = {"request_id": card.approval.id, "delivery_id": delivery(card), "rev": card.approval.revision}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def delivery(card: Card) -> str:
    """By which the message with that question is found again: the same for each try to post it.

    A copy is found in the direct messages it was posted to, so that it needs no id of its own.
    """
    return f"dlv_{card.approval.id.removeprefix('apr_')}_{card.approval.revision}"


def _summary(card: Card, state: Look) -> str:
    """The top-level text. It is mrkdwn and shows on lock screens: our words, tool and workflow only."""
    about = f"{wording(card).headline(state)} (workflow {line(card.workflow, 100)})."
    until = f" Expires {kit.utc(card.approval.expires_at)}." if state is Look.PENDING else ""
    return escape(about + until)
