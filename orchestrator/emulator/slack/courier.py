"""Carries what people do to the app, posted and signed or over a socket; keeps each delivery and its answer.

Source: Slack, "Verifying requests from Slack", "Handling user interaction", "Using the Events API".
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlencode

import httpx

from orchestrator.emulator.serving import authorities
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.sockets import NoSocketError, Sockets
from orchestrator.emulator.slack.workspace import Workspace

Door = Literal["interactive", "slash_commands", "events_api"]
"""The ways in of an app, by the names of Socket Mode's envelopes."""
FORM: Final = "application/x-www-form-urlencoded"
KINDS: Final[Mapping[str, Door]] = {
    "command": "slash_commands",
    "event_callback": "events_api",
    "url_verification": "events_api",
}
KINDS_WORDS: Final[Mapping[Door, str]] = {
    "interactive": "interactivity",
    "slash_commands": "slash command",
    "events_api": "events",
}


@dataclass
class Click:
    """One delivery to the app and its answer. Times are seconds; `sent_at` is Unix time.

    `kind` is the payload's type, `command` for a slash command. `status` is None when no answer came in time,
    and over a socket; `envelope_id` is set over a socket, where `body` is the acknowledgement's payload.
    `error` says in words what went wrong, None if nothing did.
    """

    number: int
    kind: str
    user: str
    payload: dict[str, Any]
    sent_at: float
    channel: str | None = None
    ts: str | None = None
    action_id: str | None = None
    view_id: str | None = None
    status: int | None = None
    body: str = ""
    took_seconds: float = 0.0
    error: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    envelope_id: str | None = None
    attempt: int = 0
    """How often this event was sent before; only events are sent again."""
    reason: str = ""
    """Why it is sent again, as `X-Slack-Retry-Reason` says."""

    @property
    def failed(self) -> bool:
        """Whether the person saw a failure mark."""
        return self.error is not None

    @property
    def door(self) -> Door:
        """Which way into the app it takes."""
        return KINDS.get(self.kind, "interactive")

    def wire(self) -> dict[str, Any]:
        """As the control API shows it."""
        return {**asdict(self), "failed": self.failed}


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The `X-Slack-Signature` of a body sent at `timestamp` (Unix seconds)."""
    base = b"v0:" + str(timestamp).encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


class Courier:
    """Delivers to one app: where, in `urls`, one for each door; how long it may take, in `answer_seconds`."""

    def __init__(
        self,
        settings: SlackEmulatorSettings,
        workspace: Workspace,
        sockets: Sockets,
        clock: Callable[[], float],
    ) -> None:
        self.urls: dict[Door, str | None] = {
            "interactive": settings.interactivity_url,
            "slash_commands": settings.commands_url,
            "events_api": settings.events_url,
        }
        self.answer_seconds = settings.answer_seconds
        self.clicks: list[Click] = []
        self._settings = settings
        self._workspace = workspace
        self._sockets = sockets
        self._clock = clock

    def numbered(self, kind: str, user: str, payload: dict[str, Any]) -> tuple[int, str, str, Any, float]:
        """The first fields of the next delivery."""
        return len(self.clicks) + 1, kind, user, payload, self._clock()

    async def deliver(self, click: Click) -> Click:
        """Bring it to the app; the click keeps the answer, or in words why there was none.

        Raises:
            CannotClick: The app has no address for such a thing.
        """
        by_socket = self._workspace.switches.socket_mode
        url = self.urls[click.door]
        if url is None and not by_socket:
            raise CannotClick(f"no {KINDS_WORDS[click.door]} address is set")
        self.clicks.append(click)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.answer_seconds):
                await (self._send(click) if by_socket else self._post(click, str(url)))
        except TimeoutError:
            click.error = f"no answer within {self.answer_seconds:g} s"
        except NoSocketError as problem:
            click.error = str(problem)
        except httpx.HTTPError as problem:
            click.error = f"the service could not be reached: {problem or type(problem).__name__}"
        click.took_seconds = round(time.perf_counter() - began, 3)
        if click.status is not None and click.status != 200:
            click.error = f"the service answered HTTP {click.status}"
        return click

    async def _send(self, click: Click) -> None:
        extra = {"retry_attempt": click.attempt, "retry_reason": click.reason}
        click.envelope_id, answered = self._sockets.envelope()
        envelope = {
            "envelope_id": click.envelope_id,
            "type": click.door,
            "payload": click.payload,
            "accepts_response_payload": click.kind in ("command", "view_submission"),
            **(extra if click.door == "events_api" else {}),
        }
        payload = await self._sockets.ask(envelope, answered)
        if payload is not None and envelope["accepts_response_payload"]:
            click.body = payload if isinstance(payload, str) else json.dumps(payload)

    async def _post(self, click: Click, url: str) -> None:
        kind, body = _body(click)
        stamp = int(self._clock())
        again = {"X-Slack-Retry-Num": str(click.attempt), "X-Slack-Retry-Reason": click.reason}
        click.headers = {
            "Content-Type": kind,
            "User-Agent": "Slackbot 1.0 (local stand-in)",
            "X-Slack-Request-Timestamp": str(stamp),
            "X-Slack-Signature": sign(self._settings.signing_secret, stamp, body),
            **(again if click.attempt else {}),
        }
        async with httpx.AsyncClient(trust_env=False, verify=authorities()) as http:
            answer = await http.post(url, content=body, headers=click.headers, timeout=None)
            click.status, click.body = answer.status_code, answer.text


def _body(click: Click) -> tuple[str, bytes]:
    """Content type and body: commands are plain forms, interactions JSON in a form, events JSON."""
    match click.door:
        case "slash_commands":
            return FORM, urlencode(click.payload).encode()
        case "events_api":
            return "application/json", json.dumps(click.payload).encode()
        case _:
            return FORM, urlencode({"payload": json.dumps(click.payload)}).encode()
