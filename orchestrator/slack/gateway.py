"""The messages themselves: posted once, redrawn as often as needed, whispered when they may.

One request on the wire per post. An answer that got lost is looked for in the channel before anything is sent
again; reading and redrawing are safe to repeat and ride out blips here.

Sources: Slack, `chat.postMessage`, `chat.update`, `chat.postEphemeral`, `conversations.history`, `auth.test`,
"Handling user interaction" (response_url), "Rate limits".
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from orchestrator.domain.model import Card
from orchestrator.errors import OrchestratorError, RejectedError, UnavailableError, UncertainError
from orchestrator.slack.blocks import EVENT_TYPE, Message, draw, plain, whisper
from orchestrator.slack.refusals import (
    DRAWING,
    FROZEN,
    METADATA,
    UNREADABLE,
    SlackRefusalError,
    SlackUnavailableError,
)
from orchestrator.slack.web_api import WebApi, answerable

log = structlog.get_logger(__name__)

BASE_URL: Final = "https://slack.com/api/"
RESPONSE_HOSTS: Final = ("hooks.slack.com",)
_QUIET: Final = {"unfurl_links": False, "unfurl_media": False, "parse": "none", "link_names": False}
_STEADY: Final = {"parse": "none", "link_names": False}  # chat.update takes no unfurl flags
_PAGES: Final = 5  # of history, 100 messages each
_SLACK_SIDE: Final = timedelta(seconds=5)  # how far Slack's clock may be behind ours


@dataclass(frozen=True, slots=True)
class Identity:
    """Who our token is: the workspace we serve and the bot our messages are from."""

    team_id: str
    bot_user_id: str
    bot_id: str


class SlackGateway:
    """Slack's Web API for approvals, by one bot token.

    Args:
        token: The bot token (`xoxb-…`).
        clock: Wall-clock time, aware.
        base_url: Where the Web API is; a loopback address never goes through a proxy.
        timeout_seconds: For one whole request.
        response_hosts: Hosts a `response_url` may name, over https; plain http only if it is a loopback host.
        blip_seconds: First pause before a safe request is repeated; it doubles, with jitter.
    """

    def __init__(
        self,
        token: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        base_url: str = BASE_URL,
        timeout_seconds: float = 10.0,
        response_hosts: Collection[str] = RESPONSE_HOSTS,
        blip_seconds: float = 0.3,
    ) -> None:
        self._api = WebApi(
            token,
            clock=clock,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            blip_seconds=blip_seconds,
        )
        self._clock = clock
        self._response_hosts = frozenset(response_hosts)
        self._me: Identity | None = None

    async def aclose(self) -> None:
        """Close the connections; the gateway may be used again afterwards."""
        await self._api.aclose()

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
        if seen_before and (found := await self._find(card)) is not None:
            log.info("slack_message_adopted", approval_id=card.approval.id, ts=found[1])
            return found
        data = await self._sturdy(card, lambda message: self._post(card.approval.terms.channel, message))
        channel, ts = data.get("channel"), data.get("ts")
        if not (isinstance(channel, str) and isinstance(ts, str)):
            raise UncertainError("Slack took the message and did not say where it is")
        return channel, ts

    async def update(self, card: Card) -> None:
        """Redraw the message of `card.approval`; one whose place was never learned is looked for first.

        Raises:
            UnavailableError: Not known to be redrawn; safe to try again.
            RejectedError: `message_not_found` when it was deleted, or another final no.
        """
        placed = await self._placed(card)
        if placed is None:
            return
        try:
            await self._sturdy(placed, lambda message: self._redraw(placed, message))
        except SlackRefusalError as e:
            if e.code not in FROZEN:
                raise
            await self._tell_in_thread(placed, e.code)
        except UncertainError as e:
            raise UnavailableError(str(e)) from e

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        """Tell one person our own words, by the click's `response_url` or as an ephemeral message.

        `text` is shown as written; only `<@U…>` is markup. Best effort: trouble is logged, never raised.
        """
        message = whisper(text)
        if response_url and await self._respond(response_url, message):
            return
        if not (channel and user):
            log.warning("slack_whisper_lost", reason="no place to say it")
            return
        try:
            await self._api.call(
                "chat_postEphemeral",
                channel=channel,
                user=user,
                text=message.text,
                blocks=message.blocks,
                **_STEADY,
            )
        except OrchestratorError as e:
            log.warning("slack_whisper_lost", channel=channel, user=user, reason=str(e))

    # --- what a message goes through ------------------------------------------------------------

    async def _sturdy(
        self, card: Card, send: Callable[[Message], Awaitable[Mapping[str, Any]]]
    ) -> Mapping[str, Any]:
        """`send` the drawing; refused as a drawing it goes out plain, refused for metadata without."""
        message = draw(card, now=self._clock())
        try:
            return await send(message)
        except SlackRefusalError as e:
            if e.code in DRAWING:
                log.error(
                    "slack_drawing_refused", approval_id=card.approval.id, code=e.code, details=e.details
                )
                return await send(plain(card, now=self._clock()))
            if e.code in METADATA:
                log.error("slack_metadata_refused", approval_id=card.approval.id, code=e.code)
                return await send(replace(message, metadata={}))
            raise

    async def _post(self, channel: str, message: Message) -> Mapping[str, Any]:
        return await self._api.call("chat_postMessage", channel=channel, **_fields(message), **_QUIET)

    async def _redraw(self, card: Card, message: Message) -> Mapping[str, Any]:
        """Without blocks Slack removes those there were, buttons and all."""
        where = {"channel": card.approval.channel, "ts": card.approval.ts}
        return await self._api.safely("chat_update", **where, **_fields(message), **_STEADY)

    async def _tell_in_thread(self, card: Card, code: str) -> None:
        """A message that cannot be changed gets its news as a reply; the row refuses its old buttons."""
        log.warning("slack_message_frozen", approval_id=card.approval.id, code=code)
        message = draw(card, now=self._clock())
        told = [block for block in message.blocks if block["type"] not in ("actions", "input")]
        reply = {"thread_ts": card.approval.ts, "text": message.text, "blocks": told}
        try:
            await self._api.call("chat_postMessage", channel=card.approval.channel, **reply, **_QUIET)
        except UncertainError as e:
            raise UnavailableError(str(e)) from e

    async def _respond(self, response_url: str, message: Message) -> bool:
        """Whisper through the click's own address; False when that did not work."""
        if not answerable(response_url, self._response_hosts):
            log.warning("slack_response_url_refused")
            return False
        body = {"response_type": "ephemeral", "replace_original": False, **_fields(message)}
        return await self._api.respond(response_url, body)

    # --- finding a message whose answer got lost ---------------------------------------------------

    async def _placed(self, card: Card) -> Card | None:
        """`card` with the place of its message, or None when there is no message."""
        if card.approval.channel and card.approval.ts:
            return card
        found = await self._find(card) if card.approval.terms.channel else None
        if found is None:
            return None
        return replace(card, approval=replace(card.approval, channel=found[0], ts=found[1]))

    async def _find(self, card: Card) -> tuple[str, str] | None:
        """Our message about this question, by its metadata; None too where the history cannot be read."""
        channel, cursor = card.approval.terms.channel, ""
        me = self._me or await self.identity()
        for _ in range(_PAGES):
            page = await self._page(card, channel, cursor)
            messages = page.get("messages")
            for message in messages if isinstance(messages, list) else []:
                if isinstance(message, dict) and _is_ours(message, card, me):
                    return channel, str(message.get("ts"))
            more = page.get("response_metadata")
            cursor = str(more.get("next_cursor") or "") if isinstance(more, dict) else ""
            if not cursor:
                break
        return None

    async def _page(self, card: Card, channel: str, cursor: str) -> Mapping[str, Any]:
        oldest = (card.approval.requested_at - _SLACK_SIDE).timestamp()
        paging = {"cursor": cursor} if cursor else {}
        try:
            return await self._api.safely(
                "conversations_history",
                channel=channel,
                oldest=f"{oldest:.6f}",
                limit=100,
                include_all_metadata=True,
                **paging,
            )
        except RejectedError as e:
            reason = str(e)
        except SlackUnavailableError as e:
            if e.code not in UNREADABLE:
                raise
            reason = str(e)
        log.warning("slack_history_unreadable", approval_id=card.approval.id, reason=reason)
        return {}


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"text": message.text}
    if message.blocks:
        fields["blocks"] = message.blocks
    if message.metadata:
        fields["metadata"] = message.metadata
    return fields


def _is_ours(message: Mapping[str, Any], card: Card, me: Identity) -> bool:
    """Written by our bot about this question. Metadata alone proves nothing: any app may copy it."""
    if message.get("bot_id") != me.bot_id and message.get("user") != me.bot_user_id:
        return False
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != EVENT_TYPE:
        return False
    payload = metadata.get("event_payload")
    if not isinstance(payload, dict):
        return False
    return payload.get("request_id") == card.approval.id and payload.get("rev") == card.approval.revision
