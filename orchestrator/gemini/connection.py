"""One opened client for all of the API we use, and what its answers mean: `mapping.py` over `library.py`."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from tenacity import wait_random_exponential

from orchestrator.errors import (
    ConfigError,
    RejectedError,
    UnavailableError,
    UncertainError,
    UnreadAnswerError,
)
from orchestrator.gemini import wire
from orchestrator.gemini.library import Answer, Form, Library, Silence
from orchestrator.gemini.mapping import (
    TOO_LARGE,
    TRIES,
    UNIMPLEMENTED,
    BlipError,
    Refusal,
    Words,
    retrying,
    usable_key,
)

BASE_URL: Final = "https://generativelanguage.googleapis.com"
MAX_REFUSAL_BYTES: Final = 1024 * 1024
"""What is larger is no word about a request."""
_VERSION: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")

P = ParamSpec("P")
T = TypeVar("T")


class Connection:
    """The client, opened at its first use; safe for concurrent use. Arguments as `GeminiGateway`'s.

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
        self.base_url = _checked(base_url)
        self._open = lambda: Library(
            key=key,
            base_url=self.base_url,
            api_version=api_version,
            timeout_seconds=timeout_seconds,
            now=now,
        )
        self.uris = tuple(webhook_uris)
        self._tries = tries
        # An address in parts too: a message may quote its path alone.
        addresses = (part for uri in self.uris for part in (uri, uri.rpartition("/")[2]))
        self.words = Words("Gemini", (key, *addresses))
        self._wait = wait_random_exponential(multiplier=retry_wait_seconds, max=retry_wait_max_seconds)
        self._library: Library | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def opened(self) -> Library:
        """The client. Importing and preparing it takes about a second of CPU, in a thread."""
        if self._library is None:
            async with self._opening:
                if self._closed:
                    raise UnavailableError("the Gemini client is closed")
                if self._library is None:
                    self._library = await asyncio.to_thread(self._open)
        return self._library

    async def aclose(self) -> None:
        """Close the connections; later calls raise `UnavailableError`."""
        self._closed = True
        async with self._opening:
            library, self._library = self._library, None
        if library is not None:
            await library.aclose()

    async def once(self, what: str, form: Form, content: bytes) -> Answer:
        """A 200 to something that is sent once and never repeated.

        Raises:
            UnavailableError, RejectedError, UncertainError: As `GeminiGateway.create` says.
        """
        answer = await (await self.opened()).exchange(form, content)
        if isinstance(answer, Silence):
            lost = UnreadAnswerError if answer.too_large else UncertainError
            raise (lost if answer.sent else UnavailableError)(self.words.tell(what, answer.why))
        if answer.status == 200:
            return answer
        raise self.refusal(what, answer).of_once()

    async def heard(
        self, what: str, form: Form, content: bytes | None = None, *, most: int | None = None
    ) -> Answer:
        """An answer to something that may be repeated, unless it only says not now, or is too large."""
        answer = await (await self.opened()).exchange(form, content, most=most)
        if isinstance(answer, Silence):
            why = self.words.tell(what, answer.why)
            raise RejectedError(why, code=TOO_LARGE) if answer.too_large else BlipError(why)
        if answer.status != 200:
            refusal = self.refusal(what, answer)
            if refusal.not_now or (refusal.retry_after is not None and not refusal.final):
                raise refusal.of_repeatable()
        return answer

    async def stop(self, what: str, form: Form) -> Answer:
        """An answer to a wish to end something: whatever it objects, reading the thing tells how it is."""
        answer = await self.heard(what, form)
        if answer.status == 408 or (answer.status >= 500 and answer.status != UNIMPLEMENTED):
            raise BlipError(self.refusal(what, answer).text)
        return answer

    async def retried(self, attempt: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `attempt` brings, tried again for a few seconds while it meets a `BlipError`."""
        return await retrying("gemini_blip", self._wait, self._tries)(attempt, *args, **kwargs)

    def refusal(self, what: str, answer: Answer, *, missing: Collection[int] = ()) -> Refusal:
        """An answer that is a no, read; `missing` as in `Words.refusal`."""
        said = wire.decoded(answer.content) if len(answer.content) <= MAX_REFUSAL_BYTES else None
        return self.words.refusal(what, answer.status, said, answer.retry_after, missing=missing)


def _checked(base_url: str) -> str:
    try:
        address = urlsplit(base_url)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        usable = False
    if not usable or "?" in base_url or "#" in base_url:
        raise ConfigError("the Gemini base address must be http:// or https:// and a host")
    return base_url.rstrip("/")
