"""The wire to Slack: one client, one session, every trouble as one of our errors.

`call` is one request and never a second one; `safely` is for what may be repeated.

Sources: Slack, "Using the Web API", "Rate limits"; slack_sdk, `AsyncWebClient`.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from orchestrator.errors import OrchestratorError, UnavailableError, UncertainError, UnreachedError
from orchestrator.slack.api_errors import BUSY, CREDENTIALS, SlackUnavailableError, refusal

log = structlog.get_logger(__name__)

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ADDRESS: Final = re.compile(
    r"(https?)://(?:([A-Za-z0-9.-]+)|\[(::1)\])(:[0-9]{1,5})?(/[!-\[\]-~]*)?", re.ASCII
)
_MESSAGES: Final = ("chat_postMessage", "chat_update")
_TRIES: Final = 3
_LONGEST_PAUSE_SECONDS: Final = 2.0
_SLOWEST_BYTES: Final = 100_000  # a second, of what is sent
_RETRY_WITHIN_SECONDS: Final = 5.0  # a try that ends later is the last


class WebApi:
    """Slack's Web API by one token, and the addresses Slack gives out for whispers.

    Arguments as for `SlackGateway`.
    """

    def __init__(
        self,
        token: str,
        *,
        clock: Callable[[], datetime],
        base_url: str,
        timeout_seconds: float,
        blip_seconds: float,
    ) -> None:
        self._token = token
        self._clock = clock
        self._base_url = base_url
        self._timeout = timeout_seconds
        self._blip = blip_seconds
        self._opened: tuple[AsyncWebClient, aiohttp.ClientSession] | None = None
        self._held: dict[str, datetime] = {}
        self.name = "slack"
        self.asked: Callable[[str, float], None] = lambda place, seconds: None
        """Called when Slack asks for a wait, with the method and channel it is for, and its seconds."""
        self.scopes: frozenset[str] | None = None
        """What the token may do, as the latest answer said; None before."""
        self.trouble = ""
        """Why Slack takes no messages by this token, as it last said to one; empty where it does."""
        self.answered: Callable[[str], None] = lambda trouble: None
        """Called in the event loop with that, whenever Slack answered to a message."""

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[1].close()

    async def call(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        """One request on the wire, one answer.

        Args:
            method: The SDK's name for it, for example `chat_postMessage`.
            arguments: As the SDK takes them.

        Raises:
            UnavailableError: Nothing happened. `SlackUnavailableError` where Slack itself said so.
            UncertainError: It may have happened.
            SlackRefusalError: A no, final unless it is a `SlackUnfamiliarError`.
        """
        place = f"{method} {arguments.get('channel', '')}"
        self._heed(place)
        try:
            answer = await getattr(self._open()[0], method)(**arguments)
        except SlackApiError as e:
            error = _read(e)
            self._hold(place, error)
            if isinstance(error, SlackUnavailableError) and error.code in CREDENTIALS:
                self._note_trouble(method, str(error))
            raise error from e
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as e:
            raise UnreachedError(f"Slack cannot be reached ({type(e).__name__})") from e
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise UncertainError(f"no answer from Slack ({type(e).__name__})") from e
        except (SlackClientError, ValueError, TypeError, AttributeError, LookupError) as e:
            # the SDK trips over a body that is not Slack's; what was asked may have been done
            raise UncertainError(f"an answer that cannot be read ({type(e).__name__})") from e
        if not isinstance(answer.data, dict):
            raise UncertainError("an answer that is not one of Slack's")
        self._note_scopes(answer.headers)
        self._note_trouble(method, "")
        return answer.data

    def _note_trouble(self, method: str, why: str) -> None:
        """Of messages alone: that history may not be read, say, is no reason for an alarm."""
        if method not in _MESSAGES:
            return
        self.answered(why)
        if why == self.trouble:
            return
        self.trouble = why
        if why:
            log.error("slack_credentials_refused", why=why)
        else:
            log.info("slack_credentials_taken")

    def removed(self, event: str) -> None:
        """The app or its token is gone, Slack said: that is the trouble until it takes a message again."""
        why = f"the app was removed from the workspace ({event}): install it again, and set its new bot token"
        self._note_trouble(_MESSAGES[0], why)

    def _note_scopes(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if name.lower() == "x-oauth-scopes":
                self.scopes = frozenset(scope.strip() for scope in value.split(",") if scope.strip())

    async def safely(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        """A request that may be repeated: rides out blips; what stays uncertain is `UnavailableError`."""
        tries = AsyncRetrying(
            stop=stop_after_attempt(_TRIES) | stop_after_delay(_RETRY_WITHIN_SECONDS),
            wait=wait_random_exponential(multiplier=self._blip, max=_LONGEST_PAUSE_SECONDS),
            retry=retry_if_exception_type((UncertainError, UnreachedError)),
            before_sleep=_note,
            reraise=True,
        )
        try:
            answer: Mapping[str, Any] = await tries(self.call, method, **arguments)
        except UncertainError as e:
            raise UnavailableError(str(e)) from e
        return answer

    async def respond(self, response_url: str, body: Mapping[str, Any]) -> bool:
        """Send `body` to an address Slack gave out with a click; False when that did not work."""
        client, session = self._open()
        proxy = None if _host(response_url) in LOOPBACK else client.proxy
        try:
            async with session.post(response_url, json=body, allow_redirects=False, proxy=proxy) as answer:
                if answer.status == 200:
                    return True
                log.info("slack_response_url_failed", status=answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as e:
            log.info("slack_response_url_failed", error=type(e).__name__)
        return False

    async def send(self, url: str, content: bytes) -> int | None:
        """Send bytes to an address Slack gave out for them; the status of the answer, None without one.

        Our token does not go along: the address is the permission.
        """
        client, session = self._open()
        proxy = None if _host(url) in LOOPBACK else client.proxy
        kind = {"content-type": "application/octet-stream"}
        patience = aiohttp.ClientTimeout(total=self._timeout + len(content) / _SLOWEST_BYTES)
        try:
            async with session.post(
                url, data=content, headers=kind, allow_redirects=False, proxy=proxy, timeout=patience
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as e:
            log.info("slack_upload_failed", error=type(e).__name__)
            return None

    def _open(self) -> tuple[AsyncWebClient, aiohttp.ClientSession]:
        """The client and its session, made inside the running loop; the session has the timeout."""
        if self._opened is None:
            # A fresh connection each time: one that died while idle would make a post uncertain.
            session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                connector=aiohttp.TCPConnector(force_close=True),
            )
            client = AsyncWebClient(self._token, self._base_url, session=session, retry_handlers=[])
            if _host(self._base_url) in LOOPBACK:
                client.proxy = None
            self._opened = (client, session)
        return self._opened

    def leave_alone(self, place: str, seconds: float) -> None:
        """Nothing goes to that method and channel for so long at least."""
        until = self._clock() + timedelta(seconds=seconds)
        self._held[place] = max(until, self._held.get(place, until))

    def _heed(self, place: str) -> None:
        until, now = self._held.get(place), self._clock()
        if until is not None and now < until:
            raise SlackUnavailableError("ratelimited", "Slack asked to wait", (until - now).total_seconds())

    def _hold(self, place: str, error: OrchestratorError) -> None:
        now = self._clock()
        self._held = {key: until for key, until in self._held.items() if until > now}
        if isinstance(error, SlackUnavailableError) and error.code in BUSY and error.retry_after is not None:
            self.leave_alone(place, error.retry_after)
            self.asked(place, error.retry_after)


def answerable(url: str, hosts: Collection[str]) -> bool:
    """Whether we may call an address out of a payload: a listed host over https, spelled without tricks.

    A loopback host may be listed too, for tests and local stand-ins; then any port and plain http will do.
    """
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return False
    scheme, host, port = match[1], (match[2] or match[3]).lower(), match[4]
    if host not in hosts:
        return False
    return host in LOOPBACK or (scheme == "https" and port in (None, ":443"))


def _read(error: SlackApiError) -> OrchestratorError:
    """The SDK hands over its own response, or aiohttp's when the body was not JSON."""
    answer: Any = error.response
    status = getattr(answer, "status_code", None) or getattr(answer, "status", None) or 0
    return refusal(int(status), getattr(answer, "data", None), getattr(answer, "headers", {}))


def _note(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("slack_blip", attempt=state.attempt_number, why=str(error))


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
