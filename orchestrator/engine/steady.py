"""The time by which leases are held: it goes on evenly, and is one for all processes.

A lease says whether somebody is still there. Were it measured by a machine's clock, one that is set forward,
or is ahead of the others' by more than a lease, would make everybody look gone.
"""

import time
from datetime import datetime, timedelta
from typing import Final

from orchestrator.engine.meters import Stopwatch
from orchestrator.engine.ports import Clock

PROMPT_SECONDS: Final = 1.0
"""Within so many a question about the time is answered, or the answer is old."""
_ID: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def awake_or_not() -> float:
    """Seconds that go on while the machine sleeps, too, where it can tell (Linux)."""
    return time.clock_gettime(_ID)


class Steady:
    """Goes on from an instant by a stopwatch; a `Clock`.

    Args:
        clock: Says where it begins, until it is told better.
    """

    def __init__(self, clock: Clock, stopwatch: Stopwatch = awake_or_not) -> None:
        self.stopwatch = stopwatch
        self._agreed = False
        self._set(clock(), stopwatch())

    def __call__(self) -> datetime:
        return self._at + timedelta(seconds=self.stopwatch() - self._since)

    def agree(self, moment: datetime, asked: float) -> None:
        """It was `moment` for all processes when the stopwatch said `asked`, or a little later.

        An answer that waited somewhere would set it ahead by as much; only the first is better than none.
        """
        if not self._agreed or self.stopwatch() - asked <= PROMPT_SECONDS:
            self._agreed = True
            self._set(moment, asked)

    def _set(self, at: datetime, since: float) -> None:
        self._at, self._since = at, since
