"""Failures of a loop in a row, such as while the database is away, logged as one event and not one by one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from orchestrator.outages import outage

AGAIN_SECONDS: Final = 60.0
"""Between two lines that say that it still lasts."""

log = structlog.get_logger(__name__)


class FailureStreak:
    """Of a loop, or of all that do one thing: its first failure is told with the traceback, or in the words
    of a database that is away; its end with how long it took.

    Between them a line a minute says that it lasts. A failure of another kind is told at length again.

    Args:
        name: Begins the events' names: `<name>_failed`, `<name>_still_failing`, `<name>_recovered`.
        traced: At length is with the traceback.
    """

    def __init__(
        self, name: str, clock: Callable[[], float] = time.monotonic, *, traced: bool = True
    ) -> None:
        self._name, self._clock, self._traced = name, clock, traced
        self._since: float | None = None
        self._told_at = 0.0
        self._times = 0
        self.ever = 0
        """How often it failed or recovered, in this streak and before."""
        self._over = 0
        """`ever` when the last streak was over."""
        self._kinds: set[str] = set()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What is done once; whatever goes wrong there is told, and not raised."""
        try:
            yield
        except Exception as e:  # noqa: BLE001  told here
            self.failed(e)
        else:
            self.worked()

    def failed(self, error: Exception, kind: str = "", begun: int | None = None, /, **about: Any) -> None:
        """It failed once more; called where it was caught. `about` tells what it failed at, on its lines.

        Args:
            kind: Of failure, by default the error's name.
            begun: As `worked` has it: what began before the last streak was over fails of that one.
        """
        if begun is not None and begun < self._over:
            return
        now, name = self._clock(), type(error).__name__
        kind = kind or name
        self._since = now if self._since is None else self._since
        self._times += 1
        self.ever += 1
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._told_at = now
            log.error(f"{self._name}_failed", **{"error": name, **self._why(error), **about})
        elif now - self._told_at >= AGAIN_SECONDS:
            self._told_at = now
            log.warning(f"{self._name}_still_failing", error=name, **about, **self._so_far(now))

    def _why(self, error: Exception) -> dict[str, Any]:
        """A database that is away is no mistake to be looked for in the program."""
        if why := outage(error):
            return {"why": why}
        return {"exc_info": error} if self._traced else {}

    def worked(self, begun: int | None = None) -> None:
        """It did its work: whatever was is over.

        Args:
            begun: `ever` when this work began, where several do theirs at once: what began before the last
                failure may have had what it needs from before, and shows nothing.
        """
        if self._since is not None and begun in (None, self.ever):
            log.info(f"{self._name}_recovered", **self._so_far(self._clock()))
            self._since, self._times = None, 0
            self._kinds.clear()
            self.ever += 1
            self._over = self.ever

    def _so_far(self, now: float) -> dict[str, Any]:
        since = now if self._since is None else self._since
        return {"seconds": round(now - since, 1), "failures": self._times}
