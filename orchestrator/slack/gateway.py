"""Slack's Web API as the rest of the service asks for it: messages, pictures, windows, words to one person.

One request on the wire per post. An answer that got lost is looked for in the channel before anything is sent
again; reading and redrawing are safe to repeat and ride out blips here.

Sources: Slack, `chat.postEphemeral`, `views.open`, `views.publish`, "Handling user interaction"
(response_url), "Rate limits".
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from orchestrator.domain.cards import Picture
from orchestrator.errors import OrchestratorError, RejectedError
from orchestrator.slack import uploads
from orchestrator.slack.groups import Groups
from orchestrator.slack.history import Identity
from orchestrator.slack.message import Message, whisper
from orchestrator.slack.overviews import Overviews
from orchestrator.slack.requests import Requests
from orchestrator.slack.sending import STEADY, fields, repeatable
from orchestrator.slack.threads import Threads
from orchestrator.slack.web_api import WebApi, answerable

log = structlog.get_logger(__name__)

BASE_URL: Final = "https://slack.com/api/"
RESPONSE_HOSTS: Final = ("hooks.slack.com",)


class SlackGateway(Requests, Overviews, Threads):
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
        api = WebApi(
            token,
            clock=clock,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            blip_seconds=blip_seconds,
        )
        super().__init__(api, clock)
        self._response_hosts = frozenset(response_hosts)
        self.groups = Groups(api, clock)
        self._uploads_to = uploads.hosts(base_url)

    @property
    def connection(self) -> WebApi:
        """What each request goes through, which waits where Slack asks for it."""
        return self._api

    @property
    def trouble(self) -> str:
        """Why Slack takes no messages from us, for an operator; empty where it does, or nobody knows yet."""
        return self._api.trouble

    def removed(self, event: str) -> None:
        """Slack said by that event that the app is gone: told at once, not with the next refused message."""
        self._api.removed(event)

    async def aclose(self) -> None:
        """Close the connections; the gateway may be used again afterwards."""
        await self._api.aclose()

    async def identity(self) -> Identity:
        """Ask Slack who we are (`auth.test`).

        Raises:
            UnavailableError: No answer, or Slack does not accept the token; the text says which.
        """
        return await self._history.identity()

    async def members(self, groups: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Who is in those user groups; nobody in one that cannot be read."""
        return await self.groups.members(groups)

    async def send_picture(self, picture: Picture) -> str:
        """Leave a picture with Slack, where nobody sees it yet; Slack's id for it. Safe to repeat.

        Raises:
            UnavailableError: Slack has it not, or nobody knows.
            RejectedError: Slack will not have it: the scope `files:write` is missing, for one.
        """
        return await uploads.send(self._api, picture, self._uploads_to)

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        """Tell one person our own words, by the click's `response_url` or as an ephemeral message; one who is
        not in the channel, by a direct message.

        `text` is shown as written; only `<@U…>` is markup. Best effort: trouble is logged, never raised.
        """
        message = whisper(text)
        if response_url and await self._respond(response_url, message):
            return
        if not (channel and user):
            log.warning("slack_whisper_lost", reason="no place to say it")
            return
        try:
            await self._whisper(channel, user, message)
        except OrchestratorError as e:
            log.warning("slack_whisper_lost", channel=channel, user=user, reason=str(e))

    async def _whisper(self, channel: str, user: str, message: Message) -> None:
        said = {"text": message.text, "blocks": message.blocks, **STEADY}
        try:
            await self._api.call("chat_postEphemeral", channel=channel, user=user, **said)
        except RejectedError as e:
            if e.code != "user_not_in_channel":
                raise
            await self._post(await self._direct(user), message)

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
        with repeatable():
            await self._api.call(method, trigger_id=trigger_id, view=dict(view))

    async def publish(self, user: str, view: Mapping[str, Any]) -> None:
        """Set what a person sees on our Home tab; the same view twice is one.

        Raises:
            UnavailableError: Not known to be shown.
            RejectedError: `not_enabled` where the app has no Home tab, or another final no.
        """
        await self._api.safely("views_publish", user_id=user, view=dict(view))

    async def _respond(self, response_url: str, message: Message) -> bool:
        """Whisper through the click's own address; False when that did not work."""
        if not answerable(response_url, self._response_hosts):
            log.warning("slack_response_url_refused")
            return False
        body = {"response_type": "ephemeral", "replace_original": False, **fields(message)}
        return await self._api.respond(response_url, body)
