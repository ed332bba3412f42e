"""Gemini's Interactions API as the engine knows it: create, fetch, cancel.

The one question behind every error here: may it have happened? A create is sent once and never
repeated, for there is no idempotency key, and a second one starts a second interaction. What may be
repeated (fetch, cancel) is repeated here for seconds; outages of minutes are the caller's to wait out.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from orchestrator.domain.exchange import CreateRequest, Snapshot
from orchestrator.errors import RejectedError, UncertainError, UnreadAnswerError
from orchestrator.gemini import wire
from orchestrator.gemini.connection import BASE_URL, Connection
from orchestrator.gemini.library import Answer
from orchestrator.gemini.mapping import MISSING, TOO_LARGE, TRIES, BlipError

_PASSING: Final = "there was a problem processing your request"
"""A 400 that comes in short bursts and says nothing about the request (seen live)."""


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
        self._resend_tools = resend_tools
        self.connection = Connection(
            api_key=api_key,
            base_url=base_url,
            api_version=api_version,
            timeout_seconds=timeout_seconds,
            webhook_uris=webhook_uris,
            tries=tries,
            retry_wait_seconds=retry_wait_seconds,
            retry_wait_max_seconds=retry_wait_max_seconds,
            now=now,
        )

    async def warm(self) -> None:
        """Import and prepare the library, about a second of CPU, in a thread; else the first call does it."""
        await self.connection.opened()

    async def aclose(self) -> None:
        """Close the connections; later calls raise `UnavailableError`."""
        await self.connection.aclose()

    async def create(self, request: CreateRequest) -> Snapshot:
        """Start or continue an interaction; exactly one request on the wire.

        Raises:
            RejectedError: Refused for good: 4xx other than below, and 501. `code` is Gemini's word.
            UnavailableError: Nothing started: no connection, 429 (with `retry_after`), a refused key or an
                unpaid bill (401, 402, 403): people mend them, so the work waits and is not lost.
            UncertainError: It may have started: no answer after sending, 408, 409, 499, any other 5xx,
                or an answer that is not a 200. So does a 400 that may pass, the first time: the next
                attempt, after the grace, will tell.
            UnreadAnswerError: A 200 without an interaction that can be read, or not with this create's.

        Source: Gemini API, "Errors"; there is no idempotency key and no way to search interactions.
        """
        body = wire.create_body(request, resend_tools=self._resend_tools, webhook_uris=self.connection.uris)
        content = wire.encode(body)
        library = await self.connection.opened()
        try:
            answer = await self.connection.once("create", library.create, content)
        except RejectedError as refused:
            if request.correlation.attempt == 1 and _PASSING in str(refused).lower():
                raise UncertainError(str(refused)) from refused
            raise
        snapshot = await _read(answer)
        if not _answers(request, snapshot):
            raise UnreadAnswerError(
                self.connection.words.tell("create", "the answer is about another interaction")
            )
        return snapshot

    async def fetch(self, interaction_id: str) -> Snapshot:
        """Read an interaction; blips are tried again for a few seconds.

        Raises:
            RejectedError: `not_found` (404, 410, an impossible id), `too_large` (more than we take), or
                Gemini's word for another 4xx.
            UnavailableError: No reading now: no answer, 429 or any `Retry-After` (not tried again here),
                a refused key or an unpaid bill (401, 402, 403), 408, 409, 5xx, or an answer that is not
                this interaction.
        """
        if not wire.is_interaction_id(interaction_id):
            raise RejectedError("Gemini has no such interaction: the id is impossible", code="not_found")
        return await self.connection.retried(self._fetch, interaction_id)

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        """Stop an interaction if it still runs, and say what it is then.

        Whatever Gemini objects to the cancel itself (it has ended, it waits for us, the method is
        missing), the interaction is read and its status counts; None where Gemini has none, or tells too
        much for us to read.

        Raises:
            UnavailableError, RejectedError: As in `fetch`, but never `not_found` or `too_large`.
        """
        if not wire.is_interaction_id(interaction_id):
            return None
        try:
            cancelled = await self.connection.retried(self._cancel, interaction_id)
            return await self.fetch(interaction_id) if cancelled is None else cancelled
        except RejectedError as refused:
            if refused.code in ("not_found", TOO_LARGE):
                return None
            raise

    # -------------------------------------------------------------- one try

    async def _fetch(self, interaction_id: str) -> Snapshot:
        form = (await self.connection.opened()).fetch.of(interaction_id)
        answer = await self.connection.heard("fetch", form)
        if answer.status != 200:
            raise self.connection.refusal("fetch", answer, missing=MISSING).of_repeatable()
        snapshot = await _readable(answer, interaction_id)
        if snapshot is None:
            raise BlipError(self.connection.words.tell("fetch", "the answer is not this interaction"))
        return snapshot

    async def _cancel(self, interaction_id: str) -> Snapshot | None:
        """None where the interaction has to be read to know."""
        form = (await self.connection.opened()).cancel.of(interaction_id)
        return await _readable(await self.connection.stop("cancel", form), interaction_id)


async def _read(answer: Answer) -> Snapshot:
    try:
        return await answer.read(lambda content: wire.snapshot(wire.decode(content)))
    except ValueError as error:
        raise UnreadAnswerError(f"the answer is not JSON: {error}"[: wire.MAX_TEXT]) from error


def _answers(request: CreateRequest, snapshot: Snapshot) -> bool:
    """Whether it can be what that create began: a new interaction, and not one of another run's."""
    told = snapshot.correlation
    new = snapshot.interaction_id != request.previous_id
    return new and (told is None or told.run == request.correlation.run)


async def _readable(answer: Answer, interaction_id: str) -> Snapshot | None:
    """The reading of that very interaction, if the answer is one."""
    if answer.status != 200:
        return None
    try:
        snapshot = await _read(answer)
    except UnreadAnswerError:
        return None
    return snapshot if snapshot.interaction_id == interaction_id else None
