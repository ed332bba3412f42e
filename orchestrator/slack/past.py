"""What has become of a question, for who looks it up in its window: asked, decided, run. No I/O.

The card says the same to everybody; here it is told to those who may decide, of discreet questions too.
"""

from datetime import datetime

from orchestrator.domain.cards import Card
from orchestrator.slack import frame, kit
from orchestrator.slack.deciders import progress
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import look, sentence
from orchestrator.slack.wording import wording


def told(card: Card, now: datetime) -> list[Block]:
    """How it stands, when it was asked, who said what and what came of it; five blocks at most."""
    state = look(card, now)
    stands = f"{wording(card).headline(state)}. {sentence(card, state)}".strip()
    fields = [kit.markup("Asked", kit.date(card.approval.requested_at)), *frame.decided(card, state)]
    return [
        kit.sentence("stands", stands),
        {"type": "section", "block_id": "past", "fields": fields},
        *progress(card, state),
        *frame.reason(card, state),
        *frame.result(card, state),
    ]
