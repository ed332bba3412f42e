"""Credentials of ours that a neighbour refuses, told by the process that met it to all others.

Who only answers requests posts no message, and would never find out that nobody is asked any more. Each
process tells of its own: another one may have been started with newer ones.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.engine.meters import Stopwatch
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.sightings import Sighting

LASTS: Final = timedelta(minutes=3)
"""So long it counts, unless it is said again: what waits to be sent is tried each minute or two."""
AGAIN_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class RefusedCredentials:
    """Of one neighbour; for one process and its event loop.

    Args:
        moment: The time that all processes agree on.
        stopwatch: Says when the same thing is to be told again.
    """

    def __init__(
        self,
        database: Database,
        neighbour: str,
        moment: Callable[[Session], datetime] = sightings.moment,
        stopwatch: Stopwatch = time.monotonic,
    ) -> None:
        self._database, self._moment, self._stopwatch = database, moment, stopwatch
        self._all = f"refused:{neighbour}:"
        self._ours = self._all + secrets.token_hex(8)
        self._why, self._told_at = "", 0.0
        self._telling: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether something is still being written down."""
        return bool(self._telling)

    def answered(self, why: str) -> None:
        """The neighbour answered: it refused them, or took them where `why` is empty."""
        now = self._stopwatch()
        if why != self._why or (why and now - self._told_at >= AGAIN_SECONDS):
            self._why, self._told_at = why, now
            task = asyncio.create_task(self._keep())
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def why(self) -> str:
        """The newest word of all processes; empty where none is refused. Raises what the database raises."""
        return await self._database.read(self._newest)

    async def leave(self) -> None:
        """This process sends nothing any more; the next one may have others."""
        self._why = ""
        await self._keep()

    async def _keep(self) -> None:
        """As it is by then; one after the other, so that none overtakes what is newer."""
        async with self._turn:
            try:
                await self._database.write(self._write, self._why)
            except Exception as e:  # noqa: BLE001  the log has said it; monitors hear of the database itself
                log.warning("refused_credentials_not_told", error=type(e).__name__)

    def _write(self, s: Session, why: str) -> None:
        now = self._moment(s)
        for key, seen in sightings.of(s, self._all).items():
            if key == self._ours or now - seen.at >= LASTS:
                sightings.forget(s, key)
        if why:
            sightings.put(s, self._ours, Sighting(now, False, why))

    def _newest(self, s: Session) -> str:
        now = self._moment(s)
        lasting = [seen for seen in sightings.of(s, self._all).values() if now - seen.at < LASTS]
        return max(lasting, default=Sighting(now, True, "")).text
