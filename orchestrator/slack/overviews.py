"""The message over several questions, of a turn or of an hour: posted once, redrawn as often as needed.

Sources: Slack, `chat.postMessage`, `chat.update`.
"""

from datetime import datetime

import structlog

from orchestrator.domain.cards import DigestCard, Overview
from orchestrator.domain.consent import Place
from orchestrator.slack.batches import draw_batch, plain_batch
from orchestrator.slack.digests import draw_digest, plain_digest
from orchestrator.slack.history import about
from orchestrator.slack.message import Message
from orchestrator.slack.sending import MessageSender, stands

log = structlog.get_logger(__name__)


class Overviews(MessageSender):
    """Messages over the questions of a turn, and over those that were collected."""

    async def post_batch(self, batch: Overview, *, seen_before: bool) -> Place:
        """Show it, with one attempt; arguments and errors as in `Requests.post`."""
        channel, now = batch.place.channel, self._clock()
        if seen_before and (found := await self._history.overview(batch)) is not None:
            log.info("slack_message_adopted", **about(batch), ts=found)
            return Place(channel, found)
        data = await self._taken(batch, *_drawn(batch, now), lambda message: self._post(channel, message))
        return Place(*stands(data))

    async def update_batch(self, batch: Overview) -> None:
        """Redraw it; errors as in `Requests.update`."""
        ts, now = batch.place.ts or await self._history.overview(batch), self._clock()
        if ts:
            await self._draw_over(Place(batch.place.channel, ts), batch, *_drawn(batch, now))


def _drawn(batch: Overview, now: datetime) -> tuple[Message, Message]:
    """The message, and a plainer form of it."""
    if isinstance(batch, DigestCard):
        return draw_digest(batch, now=now), plain_digest(batch, now=now)
    return draw_batch(batch, now=now), plain_batch(batch, now=now)
