"""The service's clock: one time for all processes, which goes on evenly between two looks at it.

Processes that share a PostgreSQL go by its clock and not by their machines', so that none whose own clock is
wrong fires a timer early, counts a minute of its own, or takes another process for gone. That clock may be
set, too; the processes notice it one after the other, each because its stopwatch says otherwise.
"""

import time
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from orchestrator.engine.meters import Stopwatch
from orchestrator.engine.ports import Clock
from orchestrator.store.claims import Hold

PROMPT_SECONDS: Final = 1.0
"""Within so many a question about the time is answered, or the answer is old."""
SETTLE_SECONDS: Final = 60.0
"""So long after the agreed time was set, everybody has heard of it and renewed what he holds."""
NOT_AT_ALL: Final = timedelta(0)
_ID: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def awake_or_not() -> float:
    """Seconds that go on while the machine sleeps, too, where it can tell (Linux)."""
    return time.clock_gettime(_ID)


class _Course(NamedTuple):
    """It was `at` when the stopwatch said `since`; until it says `settled`, others may be so far from that.

    One value, for many threads read the time while it is set.
    """

    at: datetime
    since: float
    agreed: bool = False
    earliest: timedelta = NOT_AT_ALL
    latest: timedelta = NOT_AT_ALL
    settled: float = 0.0

    def shown(self, stopwatch: float) -> datetime:
        return self.at + timedelta(seconds=stopwatch - self.since)

    def others(self, stopwatch: float) -> tuple[timedelta, timedelta]:
        """How far from this time the earliest and the latest may be that others go by."""
        return (self.earliest, self.latest) if stopwatch < self.settled else (NOT_AT_ALL, NOT_AT_ALL)


class SharedClock:
    """Goes on from an instant by a stopwatch; a `Clock`.

    Args:
        machine: Says where it begins, until it is told better.
        settle_seconds: So long after the agreed time was set, others may go by what it was before.
    """

    def __init__(
        self, machine: Clock, stopwatch: Stopwatch = awake_or_not, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        self.machine, self.stopwatch, self._settle = machine, stopwatch, settle_seconds
        self._course = _Course(machine(), stopwatch())

    def __call__(self) -> datetime:
        return self._course.shown(self.stopwatch())

    def hold(self, lease: timedelta) -> Hold:
        """How claims of that length hold now.

        While others may go by another time, leases are judged by the earliest of them all and given by the
        latest, so that nobody looks gone to anybody.
        """
        course, stopwatch = self._course, self.stopwatch()
        now, (earliest, latest) = course.shown(stopwatch), course.others(stopwatch)
        return Hold(now + earliest, now + latest + lease)

    def agree(self, moment: datetime, asked: float) -> None:
        """It was `moment` for all processes when the stopwatch said `asked`, or a little later.

        An answer that waited somewhere would set it ahead by as much; only the first is better than none.
        """
        course, stopwatch = self._course, self.stopwatch()
        if course.agreed and stopwatch - asked > PROMPT_SECONDS:
            return
        step = moment - course.shown(asked)
        agreed = _Course(moment, asked, True, course.earliest, course.latest, course.settled)
        if abs(step.total_seconds()) > PROMPT_SECONDS:
            earliest, latest = course.others(stopwatch)
            agreed = agreed._replace(
                earliest=min(NOT_AT_ALL, earliest - step),
                # By a clock of its own nobody else ever went.
                latest=max(NOT_AT_ALL, latest - step) if course.agreed else NOT_AT_ALL,
                settled=stopwatch + self._settle,
            )
        self._course = agreed
