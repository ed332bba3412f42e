"""The messages themselves: posted once, redrawn as often as needed, whispered when they may.

One request on the wire per post. An answer that got lost is looked for in the channel before anything is sent
again; reading and redrawing are safe to repeat and ride out blips here.

Sources: Slack, `chat.postMessage`, `chat.update`, `chat.postEphemeral`, `conversations.history`,
`conversations.open`, `conversations.replies`, `auth.test`, "Handling user interaction" (response_url),
"Rate limits".
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from orchestrator.domain.consent import Place
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.pictures import BatchCard, Card, DigestCard, Overview, Picture
from orchestrator.errors import OrchestratorError, RejectedError, UnavailableError, UncertainError
from orchestrator.slack import uploads
from orchestrator.slack.asking_back import INQUIRY_TYPE, draw_inquiry, is_inquiry
from orchestrator.slack.batches import draw_batch, is_batch, plain_batch
from orchestrator.slack.blocks import EVENT_TYPE, Message, draw, plain, whisper
from orchestrator.slack.digests import draw_digest, is_digest, plain_digest
from orchestrator.slack.groups import Groups
from orchestrator.slack.notices import NOTICE_TYPE, draw_notice, is_notice
from orchestrator.slack.refusals import (
    DRAWING,
    FROZEN,
    METADATA,
    UNREADABLE,
    UNTHREADED,
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
        self.groups = Groups(self._api, clock)
        self._me: Identity | None = None
        self._uploads_to = uploads.hosts(base_url)

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
        if seen_before and (found := await self._find(card, card.approval.terms.channel)) is not None:
            log.info("slack_message_adopted", approval_id=card.approval.id, ts=found[1])
            return found
        channel = card.approval.terms.channel
        try:
            data = await self._sturdy(card, lambda message: self._post(channel, message, card.thread))
        except SlackRefusalError as e:
            if not card.thread or e.code not in UNTHREADED:
                raise
            # What it stood under was deleted: it is shown in the channel rather than nowhere.
            data = await self._sturdy(card, lambda message: self._post(channel, message))
        return _stands(data)

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

    async def copy(self, card: Card, person: str, *, seen_before: bool) -> Place:
        """Show a request among the direct messages of a person, with one attempt; errors as of `post`.

        Args:
            person: A Slack user id.
            seen_before: An earlier try had no answer. Its message is looked for and adopted.
        """
        card, channel = replace(card, thread=""), await self._direct(person)
        if seen_before and (found := await self._find(card, channel)) is not None:
            log.info("slack_message_adopted", approval_id=card.approval.id, ts=found[1])
            return Place(*found, person)
        data = await self._sturdy(card, lambda message: self._post(channel, message))
        ts = data.get("ts")
        if not isinstance(ts, str):
            raise UncertainError("Slack took the message and did not say where it is")
        return Place(channel, ts, person)

    async def find_copy(self, card: Card, person: str) -> Place | None:
        """Where the copy for a person is; None too where their messages cannot be read."""
        found = await self._find(replace(card, thread=""), await self._direct(person))
        return None if found is None else Place(*found, person)

    async def members(self, groups: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Who is in those user groups; nobody in one that cannot be read."""
        return await self.groups.members(groups)

    async def post_batch(self, batch: Overview, *, seen_before: bool) -> Place:
        """Show the message over several questions, with one attempt; arguments and errors as in `post`."""
        channel, now = batch.place.channel, self._clock()
        if seen_before and (found := await self._find_batch(batch)) is not None:
            log.info("slack_message_adopted", **_about(batch), ts=found)
            return Place(channel, found)
        drawn, plainer = _drawn(batch, now)
        return Place(
            *_stands(await self._taken(batch, drawn, plainer, lambda message: self._post(channel, message)))
        )

    async def update_batch(self, batch: Overview) -> None:
        """Redraw the message over several questions; errors as in `update`."""
        ts, now = batch.place.ts or await self._find_batch(batch), self._clock()
        if not ts:
            return
        where = {"channel": batch.place.channel, "ts": ts}

        async def send(message: Message) -> Mapping[str, Any]:
            return await self._api.safely("chat_update", **where, **_fields(message), **_STEADY)

        try:
            await self._taken(batch, *_drawn(batch, now), send)
        except UncertainError as e:
            raise UnavailableError(str(e)) from e

    async def remind(self, card: Card, *, what: str, last: bool, seen_before: bool) -> None:
        """Tell those who may decide, in the thread of the message of `card.approval`, with one attempt.

        Args:
            what: The number of a reminder, or a notice of `domain.deadlines`.
            last: It is said in the channel as well.
            seen_before: An earlier try had no answer. Its reply is looked for; where the thread cannot be
                read, a twin is accepted.

        Raises:
            UnavailableError: Nothing was said; `retry_after` says when Slack wants to be asked again.
            UncertainError: It may have been said.
            RejectedError: Slack will not take it there.
        """
        if seen_before and await self._said(card, what):
            log.info("slack_notice_found", approval_id=card.approval.id, what=what)
            return
        message = draw_notice(card, what)
        where = {"channel": card.approval.channel, "thread_ts": _thread(card)}
        aloud = {"reply_broadcast": True} if last else {}

        async def send(drawn: Message) -> Mapping[str, Any]:
            return await self._api.call("chat_postMessage", **where, **aloud, **_fields(drawn), **_QUIET)

        await self._taken(card, message, replace(message, blocks=[]), send)

    async def ask_back(self, card: Card, telling: Telling, *, seen_before: bool) -> Place:
        """Say what was asked back, in the thread of the request or to a person, with one attempt.

        Raises as `post`, whose `seen_before` this is.
        """
        channel = await self._direct(telling.person) if telling.person else card.approval.channel
        if seen_before and (found := await self._find_inquiry(card, telling, channel)) is not None:
            log.info("slack_message_adopted", approval_id=card.approval.id, ts=found)
            return Place(channel, found, telling.person)
        message = draw_inquiry(card, telling)
        thread = "" if telling.person else _thread(card)

        async def send(drawn: Message) -> Mapping[str, Any]:
            return await self._post(channel, drawn, thread)

        return Place(
            *_stands(await self._taken(card, message, replace(message, blocks=[]), send)), telling.person
        )

    async def find_asked_back(self, card: Card, telling: Telling) -> Place | None:
        """Where such a message is; None too where nothing can be read there."""
        channel = await self._direct(telling.person) if telling.person else card.approval.channel
        found = await self._find_inquiry(card, telling, channel)
        return None if found is None else Place(channel, found, telling.person)

    async def redraw_asked_back(self, card: Card, number: int, place: Place) -> None:
        """Redraw a message with a question; errors as in `update`."""
        message = draw_inquiry(card, Telling(number, person=place.person))
        where = {"channel": place.channel, "ts": place.ts}

        async def send(drawn: Message) -> Mapping[str, Any]:
            return await self._api.safely("chat_update", **where, **_fields(drawn), **_STEADY)

        try:
            await self._taken(card, message, replace(message, blocks=[]), send)
        except UncertainError as e:
            raise UnavailableError(str(e)) from e

    async def send_picture(self, picture: Picture) -> str:
        """Leave a picture with Slack, where nobody sees it yet; Slack's id for it. Safe to repeat.

        Raises:
            UnavailableError: Slack has it not, or nobody knows.
            RejectedError: Slack will not have it: the scope `files:write` is missing, for one.
        """
        return await uploads.send(self._api, picture, self._uploads_to)

    async def show_pictures(self, card: Card, files: Sequence[tuple[str, str]], *, seen_before: bool) -> None:
        """Show what `send_picture` left there, in the thread of the message of `card.approval`.

        Args:
            files: Slack's ids and the titles they are shown by.
            seen_before: An earlier try had no answer. They are looked for; where the thread cannot be read,
                the same files may be shown twice.

        Raises as `remind`.
        """
        if seen_before and await self._pictured(card, files):
            log.info("slack_pictures_found", approval_id=card.approval.id)
            return
        told = uploads.shown(card, files, _thread(card))
        await self._api.call("files_completeUploadExternal", **told)

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

    async def say(self, channel: str, text: str) -> None:
        """Post our own words, with one attempt. `text` is shown as written.

        Raises:
            UnavailableError: Nothing was posted.
            UncertainError: It may have been posted.
            RejectedError: Slack will not take it there.
        """
        await self._post(channel, whisper(text))

    async def open_view(self, trigger_id: str, view: Mapping[str, Any], *, push: bool = False) -> None:
        """Open a window for who pressed a button, with one attempt: a trigger works once, for 3 s.

        Args:
            push: On top of the window the button stands in.

        Raises:
            UnavailableError: Not opened, or not known to be.
            RejectedError: Slack will not open it; `code` is its word, for example `expired_trigger_id`.
        """
        method = "views_push" if push else "views_open"
        try:
            await self._api.call(method, trigger_id=trigger_id, view=dict(view))
        except UncertainError as e:
            raise UnavailableError(str(e)) from e

    async def publish(self, user: str, view: Mapping[str, Any]) -> None:
        """Set what a person sees on our Home tab; the same view twice is one.

        Raises:
            UnavailableError: Not known to be shown.
            RejectedError: `not_enabled` where the app has no Home tab, or another final no.
        """
        await self._api.safely("views_publish", user_id=user, view=dict(view))

    # --- what a message goes through ------------------------------------------------------------

    async def _sturdy(
        self, card: Card, send: Callable[[Message], Awaitable[Mapping[str, Any]]]
    ) -> Mapping[str, Any]:
        """`send` the drawing of `card`, in a form Slack takes."""
        now = self._clock()
        return await self._taken(card, draw(card, now=now), plain(card, now=now), send)

    async def _taken(
        self,
        card: Card | Overview,
        message: Message,
        plainer: Message,
        send: Callable[[Message], Awaitable[Mapping[str, Any]]],
    ) -> Mapping[str, Any]:
        """Refused as a drawing it goes out plainer, refused for metadata without."""
        try:
            return await send(message)
        except SlackRefusalError as e:
            if e.code in DRAWING:
                log.error("slack_drawing_refused", **_about(card), code=e.code, details=e.details)
                return await send(plainer)
            if e.code in METADATA:
                log.error("slack_metadata_refused", **_about(card), code=e.code)
                return await send(replace(message, metadata={}))
            raise

    async def _post(self, channel: str, message: Message, thread: str = "") -> Mapping[str, Any]:
        where = {"channel": channel} | ({"thread_ts": thread} if thread else {})
        return await self._api.call("chat_postMessage", **where, **_fields(message), **_QUIET)

    async def _redraw(self, card: Card, message: Message) -> Mapping[str, Any]:
        """Without blocks Slack removes those there were, buttons and all."""
        where = {"channel": card.approval.channel, "ts": card.approval.ts}
        return await self._api.safely("chat_update", **where, **_fields(message), **_STEADY)

    async def _tell_in_thread(self, card: Card, code: str) -> None:
        """A message that cannot be changed gets its news as a reply; the row refuses its old buttons."""
        log.warning("slack_message_frozen", approval_id=card.approval.id, code=code)
        message = draw(card, now=self._clock())
        told = [block for block in message.blocks if block["type"] not in ("actions", "input")]
        reply = {"thread_ts": _thread(card), "text": message.text, "blocks": told}
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

    async def _direct(self, person: str) -> str:
        """The channel of a person's direct messages from us (`conversations.open`, scope `im:write`)."""
        try:
            data = await self._api.safely("conversations_open", users=person)
        except UncertainError as e:
            raise UnavailableError(str(e)) from e
        channel = data.get("channel")
        opened = channel.get("id") if isinstance(channel, dict) else None
        if not isinstance(opened, str):
            raise UnavailableError("Slack did not say which channel it opened")
        return opened

    async def _placed(self, card: Card) -> Card | None:
        """`card` with the place of its message, or None when there is no message."""
        if card.approval.channel and card.approval.ts:
            return card
        channel = card.approval.terms.channel
        found = await self._find(card, channel) if channel else None
        if found is None:
            return None
        return replace(card, approval=replace(card.approval, channel=found[0], ts=found[1]))

    async def _find(self, card: Card, channel: str) -> tuple[str, str] | None:
        """Our message about this question, by its metadata; None too where the history cannot be read."""
        me = self._me or await self.identity()
        if card.thread and channel == card.approval.terms.channel:
            where = {"channel": channel, "ts": card.thread}
            async for message in self._messages(card, "conversations_replies", **where):
                if _is_ours(message, card, me):
                    return channel, str(message.get("ts"))
        oldest = (card.approval.requested_at - _SLACK_SIDE).timestamp()
        async for message in self._messages(
            card, "conversations_history", channel=channel, oldest=f"{oldest:.6f}"
        ):
            if _is_ours(message, card, me):
                return channel, str(message.get("ts"))
        return None

    async def _find_batch(self, batch: Overview) -> str | None:
        """The ts of our message over the questions of that turn; as `_find`."""
        me, oldest = self._me or await self.identity(), (batch.asked_at - _SLACK_SIDE).timestamp()
        where = {"channel": batch.place.channel, "oldest": f"{oldest:.6f}"}
        async for message in self._messages(batch, "conversations_history", **where):
            if _is_from(message, me) and _is_overview(message.get("metadata"), batch):
                return str(message.get("ts"))
        return None

    async def _said(self, card: Card, what: str) -> bool:
        """Whether the notice stands in the thread; False too where that cannot be read."""
        me = self._me or await self.identity()
        where = {"channel": card.approval.channel, "ts": _thread(card)}
        async for message in self._messages(card, "conversations_replies", **where):
            if _is_from(message, me) and is_notice(_payload(message, NOTICE_TYPE), card, what):
                return True
        return False

    async def _pictured(self, card: Card, files: Sequence[tuple[str, str]]) -> bool:
        """Whether they stand in the thread; False too where that cannot be read."""
        where = {"channel": card.approval.channel, "ts": _thread(card)}
        async for message in self._messages(card, "conversations_replies", **where):
            if uploads.stands(message, files):
                return True
        return False

    async def _find_inquiry(self, card: Card, telling: Telling, channel: str) -> str | None:
        """The ts of our message with that question; None too where nothing can be read there."""
        me, oldest = self._me or await self.identity(), (card.approval.requested_at - _SLACK_SIDE).timestamp()
        where = {"oldest": f"{oldest:.6f}"} if telling.person else {"ts": _thread(card)}
        method = "conversations_history" if telling.person else "conversations_replies"
        async for message in self._messages(card, method, channel=channel, **where):
            if _is_from(message, me) and is_inquiry(_payload(message, INQUIRY_TYPE), card, telling):
                return str(message.get("ts"))
        return None

    async def _messages(
        self, card: Card | Overview, method: str, **where: str
    ) -> AsyncIterator[Mapping[str, Any]]:
        """What was written there, page by page; the newest of a channel first, the oldest of a thread."""
        cursor = ""
        for _ in range(_PAGES):
            page = await self._page(card, method, **where, **({"cursor": cursor} if cursor else {}))
            messages = page.get("messages")
            for message in messages if isinstance(messages, list) else []:
                if isinstance(message, dict):
                    yield message
            more = page.get("response_metadata")
            cursor = str(more.get("next_cursor") or "") if isinstance(more, dict) else ""
            if not cursor:
                return

    async def _page(self, card: Card | Overview, method: str, **where: str) -> Mapping[str, Any]:
        try:
            return await self._api.safely(method, limit=100, include_all_metadata=True, **where)
        except RejectedError as e:
            reason = str(e)
        except SlackUnavailableError as e:
            if e.code not in UNREADABLE:
                raise
            reason = str(e)
        log.warning("slack_history_unreadable", **_about(card), reason=reason)
        return {}


def _about(card: Card | Overview) -> dict[str, Any]:
    """What a log line names it by."""
    if isinstance(card, BatchCard):
        return {"run_id": card.run_id, "turn": card.turn}
    if isinstance(card, DigestCard):
        return {"digest": card.name}
    return {"approval_id": card.approval.id}


def _drawn(batch: Overview, now: datetime) -> tuple[Message, Message]:
    """A message over several questions, and a plainer form of it."""
    if isinstance(batch, DigestCard):
        return draw_digest(batch, now=now), plain_digest(batch, now=now)
    return draw_batch(batch, now=now), plain_batch(batch, now=now)


def _is_overview(metadata: Any, batch: Overview) -> bool:
    return is_digest(metadata, batch) if isinstance(batch, DigestCard) else is_batch(metadata, batch)


def _thread(card: Card) -> str:
    """Where replies about it go: under the message it stands under itself, if it does."""
    approval = card.approval
    return card.thread if card.thread and approval.channel == approval.terms.channel else approval.ts


def _stands(data: Mapping[str, Any]) -> tuple[str, str]:
    """Where Slack says that a message was posted."""
    channel, ts = data.get("channel"), data.get("ts")
    if not (isinstance(channel, str) and isinstance(ts, str)):
        raise UncertainError("Slack took the message and did not say where it is")
    return channel, ts


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"text": message.text}
    if message.blocks:
        fields["blocks"] = message.blocks
    if message.metadata:
        fields["metadata"] = message.metadata
    return fields


def _is_ours(message: Mapping[str, Any], card: Card, me: Identity) -> bool:
    """Written by our bot about this question. Metadata alone proves nothing: any app may copy it."""
    payload = _payload(message, EVENT_TYPE) if _is_from(message, me) else {}
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
