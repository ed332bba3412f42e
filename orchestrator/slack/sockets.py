"""Socket Mode: a connection of ours, over which Slack sends what it would else post to our addresses.

    connect ──hello──► heard ──over──► connect anew, then leave the old one

The library's client carries each connection. By itself it would go on with a spent address, and leave the
old connection before it has a new one, so here it only says when one is over. Several processes may each
have a connection: Slack sends each thing to one of them. What could not be handled is not acknowledged: the
person sees a failure, as over HTTP.

Source: Slack, "Using Socket Mode", `apps.connections.open`; slack_sdk, `socket_mode.aiohttp`.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from aiohttp import ClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from orchestrator.domain.plain import JsonObject
from orchestrator.errors import OrchestratorError, UnavailableError
from orchestrator.slack.api_errors import CREDENTIALS, SlackUnavailableError
from orchestrator.slack.web_api import LOOPBACK, WebApi

log = structlog.get_logger(__name__)

PING_SECONDS: Final = 5.0
"""Between two signs of life; a connection without four of them is over."""
CONNECT_SECONDS: Final = 8.0
"""From the address to Slack's hello."""
LEAVE_SECONDS: Final = 3.0
"""For what is being answered, when a connection is left; Slack waits no longer either."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 10.0
"""A connection that lasted so long was a good one: the next is made at once."""

Hear = Callable[[str, JsonObject | None], Awaitable[JsonObject | None]]
"""Takes the kind and payload of an envelope, gives the answer; raises for what is not to be acknowledged.

The payload is None where the envelope had none.
"""


class Socket:
    """Our ear at Slack, by one app-level token (`xapp-…`, scope `connections:write`).

    Args:
        base_url: Where the Web API is, which names the address to connect to.
        timeout_seconds: For asking it.
    """

    def __init__(
        self,
        app_token: str,
        *,
        clock: Callable[[], datetime],
        base_url: str,
        timeout_seconds: float = 10.0,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self._app_token = app_token
        self._ping = ping_seconds
        self._api = WebApi(
            app_token, clock=clock, base_url=base_url, timeout_seconds=timeout_seconds, blip_seconds=0.3
        )
        self._line: _Line | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._why = "not connected yet"

    @property
    def trouble(self) -> str:
        """Why nothing is heard now; empty while connected."""
        return "" if self._line is not None and not self._line.over.is_set() else self._why

    async def address(self) -> str:
        """Ask Slack where to connect (`apps.connections.open`); the address lets one connection in.

        Raises:
            UnavailableError: No answer, or Slack does not accept the token; the text says which.
            RejectedError: A final no.
        """
        try:
            answer = await self._api.safely("apps_connections_open", app_token=self._app_token)
        except SlackUnavailableError as e:
            if e.code not in CREDENTIALS:
                raise
            text = f"Slack does not accept the app token ({e.code}): it is xapp-… with connections:write"
            raise UnavailableError(text, retry_after=e.retry_after) from e
        url = answer.get("url")
        if not isinstance(url, str) or not _believable(url):
            raise UnavailableError("Slack named no address to connect to")
        return url

    async def aclose(self) -> None:
        """Close what `address` opened."""
        await self._api.aclose()

    @asynccontextmanager
    async def hearing(self, hear: Hear) -> AsyncIterator[None]:
        """Connected inside, and again whenever a connection is over; at the end what is heard is answered."""
        keeping = asyncio.create_task(self._keep(hear))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            line, self._line, self._why = self._line, None, "stopped"
            if line is not None:
                await line.leave()
            if self._leaving:
                await asyncio.wait(self._leaving)
            await self.aclose()

    async def _keep(self, hear: Hear) -> None:
        pause, loop = FIRST_PAUSE_SECONDS, asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                line = await self._connected(hear)
            except Exception as e:  # noqa: BLE001  whatever it is, without a connection nobody is heard
                self._why = str(e) if isinstance(e, OrchestratorError) else f"it failed ({type(e).__name__})"
                wait = max(pause, e.retry_after or 0.0) if isinstance(e, UnavailableError) else pause
                log.warning("slack_socket_not_connected", why=self._why, again_in=wait)
            else:
                self._take_over(line)
                await line.over.wait()
                self._why = f"the connection is over ({line.reason or 'lost'}): making another"
                log.info("slack_socket_over", reason=line.reason or "lost")
                if loop.time() - began >= STEADY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                    continue
                wait = pause
            await asyncio.sleep(wait)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    def _take_over(self, line: "_Line") -> None:
        """From here on this one is heard; the one before it is left once it has answered."""
        old, self._line = self._line, line
        log.info("slack_socket_connected")
        if old is not None:
            task = asyncio.create_task(old.leave())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _connected(self, hear: Hear) -> "_Line":
        """A connection Slack has said hello on. Raises `UnavailableError` or `RejectedError`."""
        url = await self.address()
        line = _Line(self._app_token, url, self._ping, hear)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await line.connect()  # type: ignore[no-untyped-call]  # the library's own
                await line.greeted()
        except TimeoutError:
            await line.leave()
            raise UnavailableError("Slack's socket did not open in time") from None
        except BaseException:
            await line.leave()
            raise
        return line


class _Line(SocketModeClient):
    """One connection. `over` is set when another one is needed; `reason` is Slack's word for it."""

    def __init__(self, app_token: str, url: str, ping_seconds: float, hear: Hear) -> None:
        super().__init__(app_token, _LOGGER, ping_interval=ping_seconds)
        self.wss_uri = url
        if urlsplit(url).hostname in LOOPBACK:
            self.proxy = None
        self.over = asyncio.Event()
        self.reason = ""
        self._hello = asyncio.Event()
        self._hear = hear
        self._answering: set[asyncio.Task[None]] = set()
        self.socket_mode_request_listeners.append(self._heard)

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """The library wants another connection: that is not for this one to make."""
        self.over.set()

    async def greeted(self) -> None:
        """Wait for Slack's hello. Raises `UnavailableError` where it sends us away instead."""
        waits = [asyncio.create_task(event.wait()) for event in (self._hello, self.over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._hello.is_set():
            raise UnavailableError(f"Slack's socket closed at once ({self.reason or 'no reason given'})")

    async def leave(self) -> None:
        """Answer what was heard, then close."""
        if self._answering:
            await asyncio.wait(self._answering, timeout=LEAVE_SECONDS)
        self.over.set()
        with suppress(TimeoutError, ClientError, OSError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.close()  # type: ignore[no-untyped-call]  # the library's own
        ended = [self.message_processor, self.current_session_monitor, self.message_receiver]
        tasks = [task for task in (*ended, *self._answering) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.aiohttp_client_session.close()

    async def enqueue_message(self, message: str) -> None:
        """What is nested too deeply goes no further: nobody behind this could read it either."""
        try:
            self._glance(json.loads(message))
        except RecursionError:
            log.warning("slack_message_too_deep", characters=len(message))
            return
        except ValueError:
            pass  # the library tells of it, and goes on
        await super().enqueue_message(message)

    def _glance(self, told: object) -> None:
        """What Slack says about the connection itself."""
        if isinstance(told, dict) and told.get("type") == "hello":
            self._hello.set()
        elif isinstance(told, dict) and told.get("type") == "disconnect":
            self.reason = str(told.get("reason"))[:40]

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        """The library passes by an envelope that lacks something, and Slack would send it again."""
        whole = "type" in message and isinstance(message.get("payload"), dict | str)
        if whole or not isinstance(envelope := message.get("envelope_id"), str):
            await super().run_message_listeners(message, raw_message)
        else:
            self._begin(SocketModeRequest(str(message.get("type")), envelope, {}), None)

    async def _heard(self, _: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        self._begin(request, request.payload)

    def _begin(self, request: SocketModeRequest, payload: JsonObject | None) -> None:
        """Kept as a task of ours, so that leaving waits for it."""
        task = asyncio.create_task(self._answer(request, payload))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, request: SocketModeRequest, payload: JsonObject | None) -> None:
        kind = str(request.type)  # as sent: any JSON
        try:
            answer = await self._hear(kind, payload)
        except OrchestratorError as e:
            log.warning("slack_envelope_refused", kind=kind[:40], reason=str(e))
            return
        except Exception as e:  # noqa: BLE001  whatever it is, the connection goes on
            log.error("slack_envelope_failed", kind=kind[:40], error=type(e).__name__)
            return
        ack: dict[str, Any] = {"envelope_id": request.envelope_id}
        if answer is not None and request.accepts_response_payload:
            ack["payload"] = answer
        try:
            await self.send_socket_mode_response(ack)
        except (ClientError, OSError, RuntimeError) as e:
            # What was decided stands; the person sees a failure, and the redrawn card.
            log.warning("slack_envelope_not_acknowledged", kind=kind[:40], error=type(e).__name__)


def _believable(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "wss" or (parts.scheme == "ws" and parts.hostname in LOOPBACK)


class _Discreet(logging.Filter):
    """The library's errors may quote the address, which is a key as long as nobody used it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = re.sub(r"ticket=[^&\s'\"]+", "ticket=…", record.getMessage())
        record.args, record.exc_info, record.exc_text = (), None, None
        return True


_LOGGER: Final = logging.getLogger(__name__)
_LOGGER.setLevel(logging.WARNING)  # below that it writes down what passes through it
_LOGGER.addFilter(_Discreet())
