"""Whether the database takes what is written."""

import asyncio
import secrets
import time
from typing import Final

import structlog

from orchestrator.engine.meters import Stopwatch
from orchestrator.engine.ports import Clock
from orchestrator.store import sightings
from orchestrator.store.database import Database

LOOK: Final = "look"
"""The sighting by which it is seen whether anything can be written."""
LOOK_SECONDS: Final = 15.0
LOOK_AGAIN_SECONDS: Final = 3.0
"""Between two looks while the last one, or somebody else's write, was refused."""
LOOK_PATIENCE_SECONDS: Final = 1.5
LOOK_BYTES: Final = 65536
"""More than a database finds room for where it has none."""

log = structlog.get_logger(__name__)


class Writes:
    """By what commits said of it, and by a look now and then.

    A full disk still takes what needs no new room. After a refusal a look therefore asks for room, and what
    it wrote is taken away again.

    Args:
        stopwatch: Says when the next look is due.
    """

    def __init__(self, database: Database, clock: Clock, stopwatch: Stopwatch = time.monotonic) -> None:
        self._database, self._clock, self._stopwatch = database, clock, stopwatch
        self._turn = asyncio.Lock()
        self._trouble = ""
        self._refused = 0
        self._look_at = 0.0

    async def told(self) -> str:
        """What is amiss, empty where nothing is."""
        async with self._turn:
            unwritten = self._database.unwritten
            if unwritten.times != self._refused:
                self._found(f"it takes no writes: {unwritten.why}")
            elif self._stopwatch() >= self._look_at:
                self._found(await self._look())
            return self._trouble

    def _found(self, trouble: str) -> None:
        self._trouble, self._refused = trouble, self._database.unwritten.times
        self._look_at = self._stopwatch() + (LOOK_AGAIN_SECONDS if trouble else LOOK_SECONDS)

    async def _look(self) -> str:
        try:
            async with asyncio.timeout(LOOK_PATIENCE_SECONDS):
                if self._trouble:
                    await self._write(secrets.token_hex(LOOK_BYTES // 2))
                await self._write("")
        except TimeoutError:
            return f"no write came through within {LOOK_PATIENCE_SECONDS:g} s"
        except Exception as e:  # noqa: BLE001  whatever is wrong with it, it does not write
            log.warning("database_not_written", error=type(e).__name__)
            return f"it takes no writes: {self._database.unwritten.why}".removesuffix(": ")
        return ""

    async def _write(self, text: str) -> None:
        await self._database.write(sightings.renew, LOOK, sightings.Sighting(self._clock(), True, text))
