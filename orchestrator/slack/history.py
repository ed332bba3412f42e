"""Finding a message of ours whose answer got lost: in a channel, a thread, direct messages.

Metadata says what a message is about, and its author proves it: any app may copy metadata. What cannot be
read holds no message of ours.

Sources: Slack, `conversations.history`, `conversations.replies`, `auth.test`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from orchestrator.domain.cards import BatchCard, Card, DigestCard, Overview
from orchestrator.domain.inquiries import Telling
from orchestrator.errors import RejectedError, UnavailableError
from orchestrator.slack import uploads
from orchestrator.slack.api_errors import UNREADABLE, SlackUnavailableError
from orchestrator.slack.asking_back import INQUIRY_TYPE, is_inquiry
from orchestrator.slack.batches import is_batch
from orchestrator.slack.blocks import EVENT_TYPE, delivery
from orchestrator.slack.digests import is_digest
from orchestrator.slack.notices import NOTICE_TYPE, is_notice
from orchestrator.slack.web_api import WebApi

log = structlog.get_logger(__name__)

_PAGES: Final = 5  # of history, 100 messages each
_SLACK_SIDE: Final = timedelta(seconds=5)  # how far Slack's clock may be behind ours


@dataclass(frozen=True, slots=True)
class Identity:
    """Who our token is: the workspace we serve and the bot our messages are from."""

    team_id: str
    bot_user_id: str
    bot_id: str


class History:
    """What stands in Slack already, as our bot may read it."""

    def __init__(self, api: WebApi) -> None:
        self._api = api
        self._me: Identity | None = None

    async def identity(self) -> Identity:
        """Ask Slack who we are (`auth.test`).

        Raises:
            UnavailableError: No answer, or Slack does not accept the token; the text says which.
        """
        data = await self._api.safely("auth_test")
        ids = [data.get(key) for key in ("team_id", "user_id", "bot_id")]
        if not all(isinstance(value, str) and value for value in ids):
            raise UnavailableError("auth.test did not name a bot: is the token a bot token (xoxb-…)?")
        self._me = Identity(*(str(value) for value in ids))
        return self._me

    async def request(self, card: Card, channel: str) -> tuple[str, str] | None:
        """Channel and ts of our message about this question; None too where the history cannot be read."""
        me = self._me or await self.identity()
        if card.thread and channel == card.approval.terms.channel:
            where = {"channel": channel, "ts": card.thread}
            async for message in self._messages(card, "conversations_replies", **where):
                if _is_ours(message, card, me):
                    return channel, str(message.get("ts"))
        oldest = _since(card.approval.requested_at)
        async for message in self._messages(card, "conversations_history", channel=channel, oldest=oldest):
            if _is_ours(message, card, me):
                return channel, str(message.get("ts"))
        return None

    async def overview(self, batch: Overview) -> str | None:
        """The ts of our message over the questions of that turn; as `request`."""
        me = self._me or await self.identity()
        where = {"channel": batch.place.channel, "oldest": _since(batch.asked_at)}
        async for message in self._messages(batch, "conversations_history", **where):
            if _is_from(message, me) and _is_overview(message.get("metadata"), batch):
                return str(message.get("ts"))
        return None

    async def said(self, card: Card, what: str) -> bool:
        """Whether the notice stands in the thread, maybe with others; False too where that cannot be read."""
        me = self._me or await self.identity()
        where = {"channel": card.approval.channel, "ts": thread_of(card)}
        async for message in self._messages(card, "conversations_replies", **where):
            if _is_from(message, me) and is_notice(_payload(message, NOTICE_TYPE), card, what):
                return True
        return False

    async def pictured(self, card: Card, files: Sequence[tuple[str, str]]) -> bool:
        """Whether they stand in the thread; False too where that cannot be read."""
        where = {"channel": card.approval.channel, "ts": thread_of(card)}
        async for message in self._messages(card, "conversations_replies", **where):
            if uploads.stands(message, files):
                return True
        return False

    async def inquiry(self, card: Card, telling: Telling, channel: str) -> str | None:
        """The ts of our message with that question; None too where nothing can be read there."""
        me = self._me or await self.identity()
        where = {"oldest": _since(card.approval.requested_at)} if telling.person else {"ts": thread_of(card)}
        method = "conversations_history" if telling.person else "conversations_replies"
        async for message in self._messages(card, method, channel=channel, **where):
            if _is_from(message, me) and is_inquiry(_payload(message, INQUIRY_TYPE), card, telling):
                return str(message.get("ts"))
        return None

    async def _messages(
        self, subject: Card | Overview, method: str, **where: str
    ) -> AsyncIterator[Mapping[str, Any]]:
        """What was written there, page by page; the newest of a channel first, the oldest of a thread."""
        cursor = ""
        for _ in range(_PAGES):
            page = await self._page(subject, method, **where, **({"cursor": cursor} if cursor else {}))
            messages = page.get("messages")
            for message in messages if isinstance(messages, list) else []:
                if isinstance(message, dict):
                    yield message
            more = page.get("response_metadata")
            cursor = str(more.get("next_cursor") or "") if isinstance(more, dict) else ""
            if not cursor:
                return

    async def _page(self, subject: Card | Overview, method: str, **where: str) -> Mapping[str, Any]:
        try:
            return await self._api.safely(method, limit=100, include_all_metadata=True, **where)
        except RejectedError as e:
            reason = str(e)
        except SlackUnavailableError as e:
            if e.code not in UNREADABLE:
                raise
            reason = str(e)
        log.warning("slack_history_unreadable", **about(subject), reason=reason)
        return {}


def about(subject: Card | Overview) -> dict[str, Any]:
    """What a log line names it by."""
    if isinstance(subject, BatchCard):
        return {"run_id": subject.run_id, "turn": subject.turn}
    if isinstance(subject, DigestCard):
        return {"digest": subject.name}
    return {"approval_id": subject.approval.id}


def _is_overview(metadata: Any, batch: Overview) -> bool:
    return is_digest(metadata, batch) if isinstance(batch, DigestCard) else is_batch(metadata, batch)


def thread_of(card: Card) -> str:
    """Where replies about it go: under the message it stands under itself, if it does."""
    approval = card.approval
    return card.thread if card.thread and approval.channel == approval.terms.channel else approval.ts


def _is_ours(message: Mapping[str, Any], card: Card, me: Identity) -> bool:
    """Written by our bot about this question. Metadata alone proves nothing: any app may copy it."""
    payload = _payload(message, EVENT_TYPE) if _is_from(message, me) else {}
    if "delivery_id" in payload:
        return bool(payload["delivery_id"] == delivery(card))
    # Posted by an earlier version, which wrote down only these.
    return payload.get("request_id") == card.approval.id and payload.get("rev") == card.approval.revision


def _is_from(message: Mapping[str, Any], me: Identity) -> bool:
    return bool(message.get("bot_id") == me.bot_id or message.get("user") == me.bot_user_id)


def _payload(message: Mapping[str, Any], event_type: str) -> Mapping[str, Any]:
    """What a message says in metadata of that type; empty for none."""
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != event_type:
        return {}
    payload = metadata.get("event_payload")
    return payload if isinstance(payload, dict) else {}


def _since(at: datetime) -> str:
    """The oldest ts to read for what was posted then."""
    return f"{(at - _SLACK_SIDE).timestamp():.6f}"
