"""How long neighbours asked to be left alone, kept in the database for other processes and the next start.

    `Retry-After` ──heard──► held by who heard it, and written down ──read──► held by all who call there

An effect carries its own wait in its due time; this is for all others. A row is written only when a wait is
heard, and read at the start and every `LOOK_SECONDS` by those who work beside others.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

import structlog
from sqlalchemy.orm import Session

from orchestrator.engine.meters import Stopwatch
from orchestrator.failure_streak import FailureStreak
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.sightings import Sighting

LOOK_SECONDS: Final = 3.0

log = structlog.get_logger(__name__)


class Waiter(Protocol):
    """Calls one neighbour, and waits where that one asks for it."""

    name: str
    asked: Callable[[str, float], None]
    """Called in the event loop with the place ("" for all of it) and the seconds of a wait that was heard."""

    def leave_alone(self, place: str, seconds: float) -> None:
        """Send nothing there for so long at least; does not call `asked`."""
        ...


class RetryAfter:
    """Of one process, for one event loop.

    Args:
        moment: The time that all processes agree on.
        stopwatch: Seconds that only grow.
    """

    def __init__(
        self,
        database: Database,
        waiters: Sequence[Waiter],
        moment: Callable[[Session], datetime],
        stopwatch: Stopwatch = time.monotonic,
    ) -> None:
        self._database, self._waiters, self._moment = database, waiters, moment
        self._stopwatch = stopwatch
        self._telling: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        for waiter in waiters:
            waiter.asked = partial(self._heard, waiter.name)

    async def run(self) -> None:
        """Heed, from now on, what others hear; a failing database is waited for."""
        streak = FailureStreak("respites")
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with streak.attempt():
                await self.recall()

    async def recall(self) -> None:
        """Heed what is written down. Raises what the database raises."""
        for waiter, place, seconds in await self._database.read(self._read):
            waiter.leave_alone(place, seconds)

    async def told(self) -> None:
        """Until all that was heard is written down, or could not be."""
        if self._telling:
            await asyncio.wait(self._telling)

    def _read(self, s: Session) -> list[tuple[Waiter, str, float]]:
        kept = sightings.of(s, _ALL)
        if not kept:
            return []
        now, rests = self._moment(s), []
        for waiter in self._waiters:
            begins = _name(waiter.name, "")
            found = [(key.removeprefix(begins), at) for key, at in kept.items() if key.startswith(begins)]
            rests += [(waiter, place, rest) for place, at in found if (rest := _rest(at, now)) > 0]
        return rests

    def _heard(self, neighbour: str, place: str, seconds: float) -> None:
        task = asyncio.create_task(self._keep(_name(neighbour, place), self._stopwatch() + seconds))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _keep(self, name: str, until: float) -> None:
        async with self._turn:
            try:
                await self._database.write(self._write, name, until)
            except Exception as e:  # noqa: BLE001  this process holds it, and so does the effect that heard it
                log.warning("respite_not_kept", name=name, error=type(e).__name__)

    def _write(self, s: Session, name: str, until: float) -> None:
        """The longer wait stays; those that are over go."""
        now, seconds = self._moment(s), until - self._stopwatch()
        kept = sightings.of(s, _ALL)
        for key, seen in kept.items():
            if _rest(seen, now) <= 0:
                sightings.forget(s, key)
        if name not in kept or _rest(kept[name], now) < seconds:
            sightings.renew(s, name, Sighting(now, False, str(seconds)))


_ALL: Final = "asked to wait:"


def _name(neighbour: str, place: str) -> str:
    return f"{_ALL}{neighbour}:{place}"


def _rest(seen: Sighting, now: datetime) -> float:
    """Seconds left; never more than were asked for, should the clock have been set back."""
    asked = float(seen.text)
    return min(asked, asked - (now - seen.at) / timedelta(seconds=1))
