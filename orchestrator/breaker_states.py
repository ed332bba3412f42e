"""The circuit breakers' states, kept in the database: workers write theirs, processes that only answer read.

Only who calls a neighbour knows whether it is away, and a worker has no HTTP endpoint to say so at. Each
tells of its own breakers; of what several say about one neighbour, the worst counts. Time is the database's:
the clocks of two machines may differ by more than a breaker's pause.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.values import replace
from orchestrator.engine.breakers import Breaker, BreakerState, Position
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.sightings import Sighting

FORGOTTEN: Final = timedelta(minutes=1)
"""After its pause is over, a breaker nobody spoke of any more says nothing: its process may be gone. One that
is there, and has something to call for, soon says how it went."""
CLOSED: Final = BreakerState(Position.CLOSED, 0.0, 0, 0)

log = structlog.get_logger(__name__)


class BreakerStates:
    """Of one process, for one event loop.

    Args:
        names: Of the neighbours there are.
        moment: The time that all processes agree on.
    """

    def __init__(
        self,
        database: Database,
        names: Sequence[str],
        moment: Callable[[Session], datetime] = sightings.moment,
    ) -> None:
        self._database, self._names, self._moment = database, names, moment
        self._process = secrets.token_hex(8)
        self._opened: dict[str, int] = {}
        """How often each opened, as far as that is written down."""
        self._telling: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def watch(self, breakers: Sequence[Breaker]) -> None:
        """Write down, from now on, when one of those opens or closes."""
        for breaker in breakers:
            breaker.tell = partial(self._told, breaker)

    async def leave(self) -> None:
        """This process calls nobody any more: how its own breakers stood says nothing about what comes."""
        async with self._turn:
            try:
                await self._database.write(self._forget)
            except Exception as e:  # noqa: BLE001  then it is forgotten as that of one who was killed
                log.warning("breakers_not_forgotten", error=type(e).__name__)

    def _forget(self, s: Session) -> None:
        for name in self._names:
            sightings.forget(s, _of_all(name) + self._process)

    @property
    def busy(self) -> bool:
        """Whether something is still being written down."""
        return bool(self._telling)

    async def read(self) -> dict[str, BreakerState]:
        """How they stand by what was told last. Raises what the database raises."""
        return await self._database.read(self._read)

    def _read(self, s: Session) -> dict[str, BreakerState]:
        now = self._moment(s)
        return {name: _worst(s, name, now) for name in self._names}

    async def openings(self) -> dict[str, int]:
        """How often they opened, in all processes that ever were. Raises what the database raises."""
        return await self._database.read(
            lambda s: {name: sightings.counted(s, _openings(name)) for name in self._names}
        )

    def _told(self, breaker: Breaker, _: BreakerState) -> None:
        task = asyncio.create_task(self._keep(breaker))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _keep(self, breaker: Breaker) -> None:
        """How it stands by then; one after the other, so that none overtakes what is newer."""
        name = breaker.name
        async with self._turn:
            standing = breaker.state()
            opened = standing.opened - self._opened.get(name, 0)
            try:
                await self._database.write(self._write, name, standing, opened)
            except Exception as e:  # noqa: BLE001  the log has said it; monitors hear of the database itself
                log.warning("breaker_not_told", neighbour=name, error=type(e).__name__)
            else:
                self._opened[name] = standing.opened

    def _write(self, s: Session, name: str, standing: BreakerState, opened: int) -> None:
        now, ours = self._moment(s), _of_all(name) + self._process
        for key, seen in sightings.of(s, _of_all(name)).items():
            if key == ours or _standing(seen, now) is CLOSED:
                sightings.forget(s, key)
        if standing.position is not Position.CLOSED:
            sightings.put(s, ours, Sighting(now, False, str(standing.rest)))
        if opened:
            sightings.add(s, _openings(name), opened, now)


def _of_all(name: str) -> str:
    return f"breaker:{name}:"


def _openings(name: str) -> str:
    return f"breaker opened:{name}"


def _worst(s: Session, name: str, now: datetime) -> BreakerState:
    standings = [_standing(seen, now) for seen in sightings.of(s, _of_all(name)).values()]
    return max(standings, key=lambda at: (at.position is not Position.CLOSED, at.rest), default=CLOSED)


def _standing(seen: Sighting, now: datetime) -> BreakerState:
    """As one process told: open for so many seconds from then on."""
    rest = timedelta(seconds=float(seen.text)) - (now - seen.at)
    if rest > timedelta(0):
        return replace(CLOSED, position=Position.OPEN, rest=rest.total_seconds())
    return CLOSED if -rest > FORGOTTEN else replace(CLOSED, position=Position.HALF_OPEN)
