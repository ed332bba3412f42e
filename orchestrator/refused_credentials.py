"""Credentials of ours that a neighbour refuses, told by the process that met it to all others.

Who only answers requests posts no message, and would never find out that nobody is asked any more. Each
process tells of its own: another one may have been started with newer ones.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.engine.meters import Stopwatch
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.words import Words

AGAIN_SECONDS: Final = 60.0
"""Between two times that the same is told: what waits to be sent is tried each minute or two, and a word that
is not said again counts no longer than `words.LASTS`."""

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
        self._words = Words(database, f"refused:{neighbour}", moment)
        self._stopwatch = stopwatch
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
        words = await self._words.heard()
        return max(words).text if words else ""

    async def leave(self) -> None:
        """This process sends nothing any more; the next one may have others."""
        self._why = ""
        await self._keep()

    async def _keep(self) -> None:
        """As it is by then; one after the other, so that none overtakes what is newer."""
        async with self._turn:
            try:
                await self._words.say(self._why)
            except Exception as e:  # noqa: BLE001  the log has said it; monitors hear of the database itself
                log.warning("refused_credentials_not_told", error=type(e).__name__)
