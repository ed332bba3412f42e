"""What is said under the message of a request: reminders, what was asked back, pictures.

Sources: Slack, `chat.postMessage` (`thread_ts`, `reply_broadcast`), `files.completeUploadExternal`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Place
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.values import replace
from orchestrator.slack import uploads
from orchestrator.slack.asking_back import draw_inquiry
from orchestrator.slack.history import thread_of
from orchestrator.slack.message import Message
from orchestrator.slack.notices import draw_notice
from orchestrator.slack.sending import QUIET, MessageSender, bare, fields, stands

log = structlog.get_logger(__name__)


class Threads(MessageSender):
    """Replies to the message of a request, and questions that go to a person directly."""

    async def remind(
        self, card: Card, *, what: str, last: bool, seen_before: bool, others: Sequence[Card] = ()
    ) -> None:
        """Tell those who may decide, in the thread of the message of `card.approval`, with one attempt.

        Args:
            what: The number of a reminder, or a notice of `domain.deadlines`.
            last: It is said in the channel as well.
            seen_before: An earlier try had no answer. Its reply is looked for; where the thread cannot be
                read, a twin is accepted.
            others: Told of in the same message, in whose thread they stand too.

        Raises:
            UnavailableError: Nothing was said; `retry_after` says when Slack wants to be asked again.
            UncertainError: It may have been said.
            RejectedError: Slack will not take it there.
        """
        if seen_before and await self._history.said(card, what):
            log.info("slack_notice_found", approval_id=card.approval.id, what=what)
            return
        if others:
            card, *others = [await self._shown(one) for one in (card, *others)]
        message = draw_notice(card, what, others)
        where = {"channel": card.approval.channel, "thread_ts": thread_of(card)}
        aloud = {"reply_broadcast": True} if last else {}

        async def send(drawn: Message) -> Mapping[str, Any]:
            return await self._api.call("chat_postMessage", **where, **aloud, **fields(drawn), **QUIET)

        await self._taken(card, message, bare(message), send)

    async def _shown(self, card: Card) -> Card:
        """With the way to its message."""
        place = Place(card.approval.channel, card.approval.ts)
        return replace(card, shown_link=await self._permalink(place, card))

    async def ask_back(self, card: Card, telling: Telling, *, seen_before: bool) -> Place:
        """Say what was asked back, in the thread of the request or to a person, with one attempt.

        Raises as `Requests.post`, whose `seen_before` this is.
        """
        channel = await self._answered_in(card, telling)
        if seen_before and (found := await self._history.inquiry(card, telling, channel)) is not None:
            log.info("slack_message_adopted", approval_id=card.approval.id, ts=found)
            return Place(channel, found, telling.person)
        message = draw_inquiry(card, telling)
        thread = "" if telling.person else thread_of(card)

        async def send(drawn: Message) -> Mapping[str, Any]:
            return await self._post(channel, drawn, thread)

        data = await self._taken(card, message, bare(message), send)
        return Place(*stands(data), telling.person)

    async def find_asked_back(self, card: Card, telling: Telling) -> Place | None:
        """Where such a message is; None too where nothing can be read there."""
        channel = await self._answered_in(card, telling)
        found = await self._history.inquiry(card, telling, channel)
        return None if found is None else Place(channel, found, telling.person)

    async def redraw_asked_back(self, card: Card, number: int, place: Place) -> None:
        """Redraw a message with a question; errors as in `Requests.update`."""
        message = draw_inquiry(card, Telling(number, person=place.person))
        await self._draw_over(place, card, message, bare(message))

    async def _answered_in(self, card: Card, telling: Telling) -> str:
        """The channel, or a person's direct messages."""
        return await self._direct(telling.person) if telling.person else card.approval.channel

    async def show_pictures(self, card: Card, files: Sequence[tuple[str, str]], *, seen_before: bool) -> None:
        """Show what `send_picture` left there, in the thread of the message of `card.approval`.

        Args:
            files: Slack's ids and the titles they are shown by.
            seen_before: An earlier try had no answer. They are looked for; where the thread cannot be read,
                the same files may be shown twice.

        Raises as `remind`.
        """
        if seen_before and await self._history.pictured(card, files):
            log.info("slack_pictures_found", approval_id=card.approval.id)
            return
        told = uploads.shown(card, files, thread_of(card))
        await self._api.call("files_completeUploadExternal", **told)
