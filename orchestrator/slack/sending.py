"""What every message goes through on its way out: posted or drawn over, plainer where Slack refuses it.

A post is one request on the wire; drawing over a message is safe to repeat and rides out blips.

Sources: Slack, `chat.postMessage`, `chat.update`, `chat.getPermalink`, `conversations.open`.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import structlog

from orchestrator.domain.cards import Card, Overview
from orchestrator.domain.consent import Place
from orchestrator.domain.values import replace
from orchestrator.errors import OrchestratorError, UnavailableError, UncertainError
from orchestrator.slack.api_errors import DRAWING, METADATA, SlackRefusalError
from orchestrator.slack.history import History, about
from orchestrator.slack.message import Message
from orchestrator.slack.web_api import WebApi

log = structlog.get_logger(__name__)

QUIET: Final = {"unfurl_links": False, "unfurl_media": False, "parse": "none", "link_names": False}
STEADY: Final = {"parse": "none", "link_names": False}  # chat.update takes no unfurl flags

Send = Callable[[Message], Awaitable[Mapping[str, Any]]]


class MessageSender:
    """The way to Slack that all kinds of messages share."""

    def __init__(self, api: WebApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._history = History(api)

    async def _taken(
        self, subject: Card | Overview, message: Message, plainer: Message, send: Send
    ) -> Mapping[str, Any]:
        """Refused as a drawing it goes out plainer, refused for metadata without."""
        try:
            return await send(message)
        except SlackRefusalError as e:
            if e.code in DRAWING:
                log.error("slack_drawing_refused", **about(subject), code=e.code, details=e.details)
                return await send(plainer)
            if e.code in METADATA:
                log.error("slack_metadata_refused", **about(subject), code=e.code)
                return await send(replace(message, metadata={}))
            raise

    async def _post(self, channel: str, message: Message, thread: str = "") -> Mapping[str, Any]:
        where = {"channel": channel} | ({"thread_ts": thread} if thread else {})
        return await self._api.call("chat_postMessage", **where, **fields(message), **QUIET)

    async def _permalink(self, place: Place, card: Card) -> str:
        """The way to a message that `card` names; empty where Slack does not tell: it is drawn without."""
        try:
            told = await self._api.safely("chat_getPermalink", channel=place.channel, message_ts=place.ts)
        except OrchestratorError as e:
            log.warning("slack_link_unknown", approval_id=card.approval.id, reason=str(e))
            return ""
        return str(told.get("permalink") or "")

    async def _draw_over(
        self, place: Place, subject: Card | Overview, message: Message, plainer: Message
    ) -> None:
        """Without blocks Slack removes those there were, buttons and all."""
        where = {"channel": place.channel, "ts": place.ts}

        async def send(drawn: Message) -> Mapping[str, Any]:
            return await self._api.safely("chat_update", **where, **fields(drawn), **STEADY)

        with repeatable():
            await self._taken(subject, message, plainer, send)

    async def _direct(self, person: str) -> str:
        """The channel of a person's direct messages from us (`conversations.open`, scope `im:write`)."""
        with repeatable():
            data = await self._api.safely("conversations_open", users=person)
        channel = data.get("channel")
        opened = channel.get("id") if isinstance(channel, dict) else None
        if not isinstance(opened, str):
            raise UnavailableError("Slack did not say which channel it opened")
        return opened


@contextmanager
def repeatable() -> Iterator[None]:
    """For what does no harm when it is done twice: where nobody knows, it is not done."""
    try:
        yield
    except UncertainError as e:
        raise UnavailableError(str(e)) from e


def bare(message: Message) -> Message:
    """The same without blocks, for when Slack refuses our drawing."""
    return replace(message, blocks=[])


def stands(data: Mapping[str, Any]) -> tuple[str, str]:
    """Where Slack says that a message was posted."""
    channel, ts = data.get("channel"), data.get("ts")
    if not (isinstance(channel, str) and isinstance(ts, str)):
        raise UncertainError("Slack took the message and did not say where it is")
    return channel, ts


def fields(message: Message) -> dict[str, Any]:
    """What Slack is told of a message."""
    fields: dict[str, Any] = {"text": message.text}
    if message.blocks:
        fields["blocks"] = message.blocks
    if message.metadata:
        fields["metadata"] = message.metadata
    return fields
