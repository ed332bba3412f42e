"""Requests that failed by our own fault, as the log tells of them: which error, where, and never its text.

That of a database error holds the row, so a body or a secret; what a database that is away, locked or full
says of itself is told. An outage of it is one thing, however many requests meet it, by a refusal or in vain.
"""

import traceback
from typing import Final

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.errors import UncertainError
from orchestrator.failure_streak import FailureStreak
from orchestrator.outages import outage

log = structlog.get_logger(__name__)

_LATE: Final = "no answer in time"
FRAMES: Final = 8
"""Innermost places of a traceback that are told."""


class Failures:
    """Of one process. An outage is told as `request_failed`, `request_still_failing`, `request_recovered`."""

    def __init__(self) -> None:
        self._streak = FailureStreak("request", traced=False)
        self._met: set[tuple[str, str]] = set()

    def failed(self, scope: Scope, error: Exception, route: str = "", **more: str) -> None:
        """A request could not be answered as it should; `route` where the router has not said it."""
        method, path = _asked(scope, route)
        why = _LATE if isinstance(error, TimeoutError | UncertainError) else outage(error)
        about = {"method": method, "route": path, "why": why, "where": _where(error), **more}
        if why:
            self._met.add((method, path))
            self._streak.failed(error, why, **about)
        else:
            cause = type(error.__cause__).__name__ if error.__cause__ else ""
            log.error("request_failed", error=type(error).__name__, cause=cause, **about)

    def answered(self, scope: Scope, route: str = "") -> None:
        """One was: where such a one had met the outage, that is over."""
        if self._met and _asked(scope, route) in self._met:
            self._met.clear()
            self._streak.worked()

    def heard(self, app: ASGIApp) -> ASGIApp:
        """The same app, whose good answers show that an outage is over."""

        async def handler(scope: Scope, receive: Receive, send: Send) -> None:
            async def heard(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] < 300:
                    self.answered(scope)
                await send(message)

            await app(scope, receive, heard if self._met else send)

        return handler


def _asked(scope: Scope, route: str) -> tuple[str, str]:
    return str(scope.get("method") or ""), route or str(scope.get("path_template") or "")


def _where(error: Exception) -> list[str]:
    return [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-FRAMES:]]
