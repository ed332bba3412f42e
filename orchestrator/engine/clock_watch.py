"""Notices that the clock was set: what it says and what a stopwatch says have parted."""

from datetime import timedelta
from typing import Final

from orchestrator.engine.meters import Stopwatch
from orchestrator.engine.ports import Clock
from orchestrator.engine.shared_clock import NOT_AT_ALL, awake_or_not

SET: Final = timedelta(seconds=10)
"""By less a clock is trimmed, and what is planned by it comes so much late at most."""


class ClockWatch:
    """Compares a clock with a stopwatch.

    Args:
        stopwatch: Goes on evenly, also while the machine sleeps.
    """

    def __init__(self, clock: Clock, stopwatch: Stopwatch = awake_or_not) -> None:
        self._clock, self._stopwatch = clock, stopwatch
        self._ahead = self._lead()

    def _lead(self) -> float:
        return self._clock().timestamp() - self._stopwatch()

    def step(self) -> timedelta:
        """By how much it was set since it was last heeded: below zero if back, zero if by less than `SET`."""
        by = timedelta(seconds=self._lead() - self._ahead)
        return by if abs(by) >= SET else NOT_AT_ALL

    def heed(self, step: timedelta) -> None:
        """What had to be done about that step is done."""
        self._ahead += step.total_seconds()
