"""What a no of Gemini's means to us, for each of its resources alike.

    401, 402, 403     a refused key, an unpaid bill: people mend it, the work waits  UnavailableError
    429               too many                                                       UnavailableError
    other 4xx, 501    refused for good                                               RejectedError
    408, 409, 499,    may be repeated: worth another try, at once (`BlipError`)      UnavailableError
    other 5xx         or after `Retry-After`;
                      sent once: it may have happened                                UncertainError

Texts are for people, and hold no secret and no more than `wire.MAX_TEXT` characters.

Source: Gemini API, "Errors".
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from orchestrator.errors import (
    ConfigError,
    OrchestratorError,
    RejectedError,
    UnavailableError,
    UncertainError,
)
from orchestrator.gemini import wire

TRIES: Final = 3
RETRY_WITHIN_SECONDS: Final = 5.0  # a try that ends later is the last
UNIMPLEMENTED: Final = 501
MISSING: Final = (404, 410)
"""Not there, or not any more: for whoever reads by a name that once was given."""
TOO_LARGE: Final = "too_large"
"""The code of an answer that is more than we take."""

_MENDED: Final = {
    401: "check the API key",
    402: "check the billing of the key's project",
    403: "check the API key",
}
"""What people can mend without touching the request; nothing began, and what waits for them is not lost."""
_TOO_MANY: Final = 429
_PASSING_4XX: Final = frozenset({408, 409, 499})  # pass for a get; may stand for a create that was taken
_NO_SUCH_MODEL: Final = "model_not_found"
_CODES: Final = {404: "not_found", 501: "unimplemented"}

log = structlog.get_logger(__name__)


class BlipError(UnavailableError):
    """Worth another try at once."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is a no. `code` is Gemini's word for it, `retry_after` in seconds."""

    status: int
    code: str
    text: str
    retry_after: float | None = None

    @property
    def final(self) -> bool:
        """Another try will not change it."""
        refused = 400 <= self.status < 500 and self.status not in _PASSING_4XX
        return refused or self.status == UNIMPLEMENTED

    @property
    def not_now(self) -> bool:
        """Nothing happened, and another try at once would be no better."""
        return self.status in _MENDED or self.status == _TOO_MANY

    def of_repeatable(self) -> OrchestratorError:
        """What it means for something that may be sent again."""
        if not self.not_now and self.final:
            return RejectedError(self.text, code=self.code)
        if self.not_now or self.retry_after is not None:
            return UnavailableError(self.text, retry_after=self.retry_after)
        return BlipError(self.text)

    def of_once(self) -> OrchestratorError:
        """What it means for something that must not be sent twice."""
        if self.not_now:
            return UnavailableError(self.text, retry_after=self.retry_after)
        if self.final:
            return RejectedError(self.text, code=self.code)
        return UncertainError(self.text)


class Words:
    """Texts about one resource, for people.

    Args:
        about: What they begin with, as `Gemini`.
        untold: Secrets, the key first of all, that appear in none of them.
    """

    def __init__(self, about: str, untold: Sequence[str]) -> None:
        self._about, self._untold = about, tuple(untold)

    def tell(self, what: str, why: str) -> str:
        """That something did not work, and why."""
        # The cut comes last: before, it could leave half a key to see.
        return self._masked(f"{self._about} {what}: {why}")[: wire.MAX_TEXT]

    def refusal(
        self,
        what: str,
        status: int,
        body: object,
        retry_after: float | None = None,
        *,
        missing: Collection[int] = (),
    ) -> Refusal:
        """That answer, read.

        Args:
            body: The JSON it holds, or None.
            missing: Statuses that say that the thing itself is not there, whatever their word is.
                Elsewhere a 404 says so too (in words of several dialects), or that there is no such model.
        """
        word, message = error_of(body)
        told = ": ".join(part for part in (word, message) if part)
        code = self._masked(word) or _CODES.get(status, f"http_{status}")
        hint = f"{_MENDED[status]}; " if status in _MENDED else ""
        text = self.tell(what, f"{hint}HTTP {status} {told}".strip())
        gone = status in missing or (status == 404 and code != _NO_SUCH_MODEL)
        return Refusal(status, "not_found" if gone else code, text, retry_after)

    def _masked(self, text: str) -> str:
        for secret in self._untold:
            text = text.replace(secret, "***")
        return text


def usable_key(api_key: str) -> str:
    """The key as it is sent. Raises `ConfigError` for one that cannot be."""
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError("the Gemini API key is empty or holds characters no header takes")
    return key


def error_of(body: object) -> tuple[str, str]:
    """Code and message of an answer's JSON, empty where it says neither."""
    if isinstance(body, list) and body:
        body = body[0]
    return wire.error_parts(body.get("error")) if isinstance(body, dict) else ("", "")


def retrying(event: str, wait: wait_random_exponential, tries: int = TRIES) -> AsyncRetrying:
    """Repeats what ends in a `BlipError`, for seconds; `event` is what the log calls each repetition."""

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(event, attempt=state.attempt_number, why=str(error))

    return AsyncRetrying(
        stop=stop_after_attempt(tries) | stop_after_delay(RETRY_WITHIN_SECONDS),
        wait=wait,
        retry=retry_if_exception_type(BlipError),
        before_sleep=note,
        reraise=True,
    )
