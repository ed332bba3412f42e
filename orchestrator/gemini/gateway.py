"""Gemini's Interactions API as the engine knows it: create, fetch, cancel, and what each answer means.

The one question behind every error here: may it have happened? A create is sent once and never
repeated, for there is no idempotency key, and a second one starts a second interaction. What may be
repeated (fetch, cancel) is repeated here for seconds; outages of minutes are the caller's to wait out.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

from tenacity import wait_random_exponential

from orchestrator.domain.exchange import CreateRequest, Snapshot
from orchestrator.errors import ConfigError, RejectedError, UnavailableError, UncertainError
from orchestrator.gemini import wire
from orchestrator.gemini.library import Answer, Form, Library, Silence
from orchestrator.gemini.mapping import (
    TRIES,
    UNIMPLEMENTED,
    BlipError,
    Refusal,
    Words,
    retrying,
    usable_key,
)

BASE_URL: Final = "https://generativelanguage.googleapis.com"
_MISSING: Final = (404, 410)
_VERSION: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")

T = TypeVar("T")


class GeminiGateway:
    """Gemini as the engine knows it (`GeminiPort`). One per process; safe for concurrent use.

    Args:
        api_key: The project's key. It appears in no error and no log line.
        base_url: Without a trailing slash; a path in it is kept.
        timeout_seconds: For each answer; to connect, at most ten of them. A create deserves 30 or more.
        resend_tools, webhook_uris: See `wire.create_body`. The addresses appear in no error either: they
            end in a secret.
        tries: Of a fetch or cancel, within seconds; 1 where each request has to keep to a budget.
        retry_wait_seconds: Before the second try of a fetch or cancel, on average half of it; doubles,
            up to `retry_wait_max_seconds`.
        now: The clock against which a `Retry-After` date is read.

    Raises:
        ConfigError: A key that cannot be sent, an address, version or timeout that is none.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str = BASE_URL,
        api_version: str = "v1beta",
        timeout_seconds: float = 30.0,
        resend_tools: bool = True,
        webhook_uris: Sequence[str] = (),
        tries: int = TRIES,
        retry_wait_seconds: float = 0.5,
        retry_wait_max_seconds: float = 2.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        key = usable_key(api_key)
        if not timeout_seconds > 0:
            raise ConfigError("the Gemini timeout must be above zero")
        if not _VERSION.fullmatch(api_version):
            raise ConfigError("the Gemini API version must be a word such as v1beta")
        base_url = _checked(base_url)
        self._open = lambda: Library(
            key=key,
            base_url=base_url,
            api_version=api_version,
            timeout_seconds=timeout_seconds,
            now=now,
        )
        self._resend_tools = resend_tools
        self._uris = tuple(webhook_uris)
        self._tries = tries
        # An address in parts too: a message may quote its path alone.
        addresses = (part for uri in self._uris for part in (uri, uri.rpartition("/")[2]))
        self._words = Words("Gemini", (key, *addresses))
        self._wait = wait_random_exponential(multiplier=retry_wait_seconds, max=retry_wait_max_seconds)
        self._library: Library | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def warm(self) -> None:
        """Import and prepare the library, about a second of CPU, in a thread; else the first call does it."""
        await self._opened()

    async def aclose(self) -> None:
        """Close the connections; later calls raise `UnavailableError`."""
        self._closed = True
        async with self._opening:
            library, self._library = self._library, None
        if library is not None:
            await library.aclose()

    async def create(self, request: CreateRequest) -> Snapshot:
        """Start or continue an interaction; exactly one request on the wire.

        Raises:
            RejectedError: Refused for good: 4xx other than below, and 501. `code` is Gemini's word.
            UnavailableError: Nothing started: no connection, 429 (with `retry_after`), or a refused key
                (401, 403): people mend keys, so the work waits for them and is not lost.
            UncertainError: It may have started: no answer after sending, 408, 409, 499, any other 5xx,
                or an answer that is not a 200 with an interaction.

        Source: Gemini API, "Errors"; there is no idempotency key and no way to search interactions.
        """
        body = wire.create_body(request, resend_tools=self._resend_tools, webhook_uris=self._uris)
        content = wire.encode(body)
        library = await self._opened()
        answer = await library.exchange(library.create, content)
        if isinstance(answer, Silence):
            raise (UncertainError if answer.sent else UnavailableError)(
                self._words.tell("create", answer.why)
            )
        if answer.status == 200:
            return _read(answer)
        raise self._refusal("create", answer).of_once()

    async def fetch(self, interaction_id: str) -> Snapshot:
        """Read an interaction; blips are tried again for a few seconds.

        Raises:
            RejectedError: `not_found` (404, 410, an impossible id), or Gemini's word for another 4xx.
            UnavailableError: No reading now: no answer, 429 or any `Retry-After` (not tried again here),
                a refused key (401, 403), 408, 409, 5xx, or an answer that is not this interaction.
        """
        if not wire.is_interaction_id(interaction_id):
            raise RejectedError("Gemini has no such interaction: the id is impossible", code="not_found")
        library = await self._opened()
        return await self._retried(self._fetch, library, interaction_id)

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        """Stop an interaction if it still runs, and say what it is then.

        Whatever Gemini objects to the cancel itself (it has ended, it waits for us, the method is
        missing), the interaction is read and its status counts; None where Gemini has none.

        Raises:
            UnavailableError, RejectedError: As in `fetch`, but never `not_found`.
        """
        if not wire.is_interaction_id(interaction_id):
            return None
        library = await self._opened()
        cancelled = await self._retried(self._cancel, library, interaction_id)
        if cancelled is not None:
            return cancelled
        try:
            return await self.fetch(interaction_id)
        except RejectedError as refused:
            if refused.code == "not_found":
                return None
            raise

    # -------------------------------------------------------------- one try

    async def _fetch(self, library: Library, interaction_id: str) -> Snapshot:
        answer = await self._heard("fetch", library, library.fetch.of(interaction_id))
        if answer.status != 200:
            raise self._refusal("fetch", answer, missing=_MISSING).of_repeatable()
        snapshot = _readable(answer, interaction_id)
        if snapshot is None:
            raise BlipError(self._words.tell("fetch", "the answer is not this interaction"))
        return snapshot

    async def _cancel(self, library: Library, interaction_id: str) -> Snapshot | None:
        """None where the interaction has to be read to know."""
        answer = await self._heard("cancel", library, library.cancel.of(interaction_id))
        if answer.status == 408 or (answer.status >= 500 and answer.status != UNIMPLEMENTED):
            raise BlipError(self._refusal("cancel", answer).text)
        return _readable(answer, interaction_id)

    async def _heard(self, what: str, library: Library, form: Form) -> Answer:
        """An answer to something that may be repeated, unless it only says not now."""
        answer = await library.exchange(form)
        if isinstance(answer, Silence):
            raise BlipError(self._words.tell(what, answer.why))
        if answer.status != 200:
            refusal = self._refusal(what, answer)
            if refusal.not_now or (refusal.retry_after is not None and not refusal.final):
                raise refusal.of_repeatable()
        return answer

    async def _retried(
        self, attempt: Callable[[Library, str], Awaitable[T]], library: Library, interaction_id: str
    ) -> T:
        again = retrying("gemini_blip", self._wait, self._tries)
        return await again(attempt, library, interaction_id)

    # -------------------------------------------------------------- answers

    def _refusal(self, what: str, answer: Answer, *, missing: Collection[int] = ()) -> Refusal:
        try:
            body = wire.decode(answer.content)
        except ValueError:
            body = None  # a page for people, from something in between
        return self._words.refusal(what, answer.status, body, answer.retry_after, missing=missing)

    async def _opened(self) -> Library:
        if self._library is None:
            async with self._opening:
                if self._closed:
                    raise UnavailableError("the Gemini client is closed")
                if self._library is None:
                    self._library = await asyncio.to_thread(self._open)
        return self._library


def _checked(base_url: str) -> str:
    try:
        address = urlsplit(base_url)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        usable = False
    if not usable or "?" in base_url or "#" in base_url:
        raise ConfigError("the Gemini base address must be http:// or https:// and a host")
    return base_url.rstrip("/")


def _read(answer: Answer) -> Snapshot:
    try:
        return wire.snapshot(wire.decode(answer.content))
    except ValueError as error:
        raise UncertainError(f"the answer is not JSON: {error}"[: wire.MAX_TEXT]) from error


def _readable(answer: Answer, interaction_id: str) -> Snapshot | None:
    """The reading of that very interaction, if the answer is one."""
    if answer.status != 200:
        return None
    try:
        snapshot = _read(answer)
    except UncertainError:
        return None
    return snapshot if snapshot.interaction_id == interaction_id else None
