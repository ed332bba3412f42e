"""The time by which leases are held: it goes on evenly, and is one for all processes.

A lease says whether somebody is still there. Were it measured by a machine's clock, one that is set forward,
or is ahead of the others' by more than a lease, would make everybody look gone. The clock that all agree on
may be set as well; they hear of that one after the other, but each can tell, his stopwatch says otherwise.
"""

import time
from datetime import datetime, timedelta
from typing import Final

from orchestrator.engine.meters import Stopwatch
from orchestrator.engine.ports import Clock

PROMPT_SECONDS: Final = 1.0
"""Within so many a question about the time is answered, or the answer is old."""
SETTLE_SECONDS: Final = 60.0
"""So long after the agreed time was set, everybody has heard of it and renewed what he holds."""
_ID: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def awake_or_not() -> float:
    """Seconds that go on while the machine sleeps, too, where it can tell (Linux)."""
    return time.clock_gettime(_ID)


class Steady:
    """Goes on from an instant by a stopwatch; a `Clock`, by which the leases of others are judged.

    While the agreed time was set of late, others may go by what it was before. Until all have settled, leases
    are judged by the earliest of those times and given by the latest, so that nobody looks gone to anybody.

    Args:
        clock: Says where it begins, until it is told better.
        settle_seconds: How long that is.
    """

    def __init__(
        self, clock: Clock, stopwatch: Stopwatch = awake_or_not, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        self.stopwatch, self._settle = stopwatch, settle_seconds
        self._agreed = False
        self._earliest = self._latest = timedelta(0)
        self._settled_at = 0.0
        self._set(clock(), stopwatch())

    def __call__(self) -> datetime:
        return self._even() + self._others()[0]

    @property
    def lead(self) -> timedelta:
        """By how much the time is ahead of this one by which leases are given."""
        earliest, latest = self._others()
        return latest - earliest

    def agree(self, moment: datetime, asked: float) -> None:
        """It was `moment` for all processes when the stopwatch said `asked`, or a little later.

        An answer that waited somewhere would set it ahead by as much; only the first is better than none.
        """
        if self._agreed and self.stopwatch() - asked > PROMPT_SECONDS:
            return
        step = moment - self._even(asked)
        if self._agreed and abs(step.total_seconds()) > PROMPT_SECONDS:
            self._settle_from(step)
        self._agreed = True
        self._set(moment, asked)

    def _settle_from(self, step: timedelta) -> None:
        earliest, latest = self._others()
        self._earliest = min(timedelta(0), earliest - step)
        self._latest = max(timedelta(0), latest - step)
        self._settled_at = self.stopwatch() + self._settle

    def _others(self) -> tuple[timedelta, timedelta]:
        """How far from the agreed time the earliest and the latest may be that others go by."""
        settled = self.stopwatch() >= self._settled_at
        return (timedelta(0), timedelta(0)) if settled else (self._earliest, self._latest)

    def _even(self, at: float | None = None) -> datetime:
        """The agreed time, when the stopwatch said so, or now."""
        return self._at + timedelta(seconds=(self.stopwatch() if at is None else at) - self._since)

    def _set(self, at: datetime, since: float) -> None:
        self._at, self._since = at, since
