"""How the neighbours' breakers stand where another process works: who works tells, who only answers reads.

Only who calls a neighbour knows whether it is away, and a worker beside others has no door to say so at.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.values import replace
from orchestrator.engine.breakers import Breaker, Position, Standing
from orchestrator.engine.ports import Clock
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.sightings import Sighting

FORGOTTEN: Final = timedelta(minutes=10)
"""After its pause is over, a breaker nobody spoke of any more says nothing: its process may be gone."""
CLOSED: Final = Standing(Position.CLOSED, 0.0, 0, None, 0)

log = structlog.get_logger(__name__)


class Outlook:
    """For one event loop.

    Args:
        names: Of the neighbours there are.
    """

    def __init__(self, database: Database, names: Sequence[str], clock: Clock) -> None:
        self._database, self._names, self._clock = database, names, clock
        self._telling: set[asyncio.Task[None]] = set()

    def watch(self, breakers: Sequence[Breaker]) -> None:
        """Write down, from now on, when one of those opens or closes."""
        for breaker in breakers:
            breaker.tell = partial(self._told, breaker.name)

    @property
    def busy(self) -> bool:
        """Whether something is still being written down."""
        return bool(self._telling)

    async def read(self) -> dict[str, Standing]:
        """How they stand by what was told last. Raises what the database raises."""
        found = await self._database.read(_last, self._names)
        now = self._clock()
        return {name: _standing(seen, now) for name, seen in found.items()}

    def _told(self, name: str, standing: Standing) -> None:
        task = asyncio.create_task(self._keep(name, standing))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _keep(self, name: str, standing: Standing) -> None:
        now = self._clock()
        until = now + timedelta(seconds=standing.rest)
        well = standing.position is Position.CLOSED
        try:
            await self._database.write(sightings.put, _key(name), Sighting(now, well, until.isoformat()))
        except Exception as e:  # noqa: BLE001  the log has said it; monitors hear of the database itself
            log.warning("breaker_not_told", neighbour=name, error=type(e).__name__)


def _key(name: str) -> str:
    return f"breaker:{name}"


def _last(s: Session, names: Sequence[str]) -> dict[str, Sighting | None]:
    return {name: sightings.last(s, _key(name)) for name in names}


def _standing(seen: Sighting | None, now: datetime) -> Standing:
    if seen is None or seen.ok:
        return CLOSED
    rest = datetime.fromisoformat(seen.text) - now
    if rest > timedelta(0):
        return replace(CLOSED, position=Position.OPEN, rest=rest.total_seconds())
    return CLOSED if -rest > FORGOTTEN else replace(CLOSED, position=Position.HALF_OPEN)
