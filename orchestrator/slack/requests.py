"""The message about one request: posted once, redrawn as often as needed, copied to people.

An answer that got lost is looked for before anything is sent again.

Sources: Slack, `chat.postMessage`, `chat.update`, `conversations.open`.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Place
from orchestrator.domain.values import replace
from orchestrator.errors import UncertainError
from orchestrator.slack.api_errors import FROZEN, UNTHREADED, SlackRefusalError
from orchestrator.slack.blocks import draw, plain
from orchestrator.slack.history import thread_of
from orchestrator.slack.message import Message
from orchestrator.slack.sending import QUIET, MessageSender, repeatable, stands

log = structlog.get_logger(__name__)


class Requests(MessageSender):
    """Messages with one question each."""

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        """Show a request in its channel, with one attempt.

        Args:
            card: What to show; its `approval.terms.channel` says where.
            seen_before: An earlier try had no answer. Its message is looked for and adopted; where the
                history cannot be read, a twin is accepted: it carries the same question.

        Returns:
            Channel id and ts, as Slack names them.

        Raises:
            UnavailableError: Nothing was posted; `retry_after` says when Slack wants to be asked again.
            UncertainError: It may have been posted.
            RejectedError: Slack will not take it there; `code` is its word, the text says how to mend it.
        """
        if not card.approval.terms.channel:
            raise SlackRefusalError("no_channel")
        if (
            seen_before
            and (found := await self._history.request(card, card.approval.terms.channel)) is not None
        ):
            log.info("slack_message_adopted", approval_id=card.approval.id, ts=found[1])
            return found
        channel = card.approval.terms.channel
        try:
            data = await self._show(card, channel, card.thread)
        except SlackRefusalError as e:
            if not card.thread or e.code not in UNTHREADED:
                raise
            # What it stood under was deleted: it is shown in the channel rather than nowhere.
            data = await self._show(card, channel)
        return stands(data)

    async def update(self, card: Card) -> None:
        """Redraw the message of `card.approval`; one whose place was never learned is looked for first.

        Raises:
            UnavailableError: Not known to be redrawn; safe to try again.
            RejectedError: `message_not_found` when it was deleted, or another final no.
        """
        placed = await self._placed(card)
        if placed is None:
            return
        placed, place = await self._linked(placed), Place(placed.approval.channel, placed.approval.ts)
        try:
            await self._draw_over(place, placed, *self._drawn(placed))
        except SlackRefusalError as e:
            if e.code not in FROZEN:
                raise
            await self._tell_in_thread(placed, e.code)

    async def copy(self, card: Card, person: str, *, seen_before: bool) -> Place:
        """Show a request among the direct messages of a person, with one attempt; errors as of `post`.

        Args:
            person: A Slack user id.
            seen_before: An earlier try had no answer. Its message is looked for and adopted.
        """
        card, channel = replace(card, thread=""), await self._direct(person)
        if seen_before and (found := await self._history.request(card, channel)) is not None:
            log.info("slack_message_adopted", approval_id=card.approval.id, ts=found[1])
            return Place(*found, person)
        data = await self._show(card, channel)
        ts = data.get("ts")
        if not isinstance(ts, str):
            raise UncertainError("Slack took the message and did not say where it is")
        return Place(channel, ts, person)

    async def find_copy(self, card: Card, person: str) -> Place | None:
        """Where the copy for a person is; None too where their messages cannot be read."""
        found = await self._history.request(replace(card, thread=""), await self._direct(person))
        return None if found is None else Place(*found, person)

    async def _show(self, card: Card, channel: str, thread: str = "") -> Mapping[str, Any]:
        """Post the drawing of `card`, in a form Slack takes."""
        return await self._taken(
            card, *self._drawn(card), lambda message: self._post(channel, message, thread)
        )

    def _drawn(self, card: Card) -> tuple[Message, Message]:
        """The message, and a plainer form of it."""
        now = self._clock()
        return draw(card, now=now), plain(card, now=now)

    async def _placed(self, card: Card) -> Card | None:
        """`card` with the place of its message, or None when there is no message."""
        if card.approval.channel and card.approval.ts:
            return card
        channel = card.approval.terms.channel
        found = await self._history.request(card, channel) if channel else None
        if found is None:
            return None
        return replace(card, approval=replace(card.approval, channel=found[0], ts=found[1]))

    async def _linked(self, card: Card) -> Card:
        """With the way to the question in its place, beside it or in the channel; drawn without one, too."""
        beside = [place for place in card.replaced_by if place.channel == card.approval.channel]
        for place in (*beside, *card.replaced_by)[:1]:
            return replace(card, replaced_link=await self._permalink(place, card))
        return card

    async def _tell_in_thread(self, card: Card, code: str) -> None:
        """A message that cannot be changed gets its news as a reply; the row refuses its old buttons."""
        log.warning("slack_message_frozen", approval_id=card.approval.id, code=code)
        message = draw(card, now=self._clock())
        told = [block for block in message.blocks if block["type"] not in ("actions", "input")]
        reply = {"thread_ts": thread_of(card), "text": message.text, "blocks": told}
        with repeatable():
            await self._api.call("chat_postMessage", channel=card.approval.channel, **reply, **QUIET)
