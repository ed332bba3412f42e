"""Webhooks that were not taken, on their way into the ledger: beside the door, and never in its way.

Whoever finds the address may send what it likes, so everything here is bounded: what waits to be
written, how often that is done, and what is kept (`store.refused_webhooks`). What finds no room is counted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from orchestrator.engine.ports import Clock
from orchestrator.store import refused_webhooks
from orchestrator.store.database import Database
from orchestrator.store.refused_webhooks import Refused

MOST_WAITING: Final = 64
"""At most 1 MiB of bodies."""
PAUSE_SECONDS: Final = 1.0
"""Between two transactions."""
GRACE_SECONDS: Final = 3.0
"""For the last one, when the service stops."""

log = structlog.get_logger(__name__)


class Refusals:
    """Takes them at once and writes them later, many together.

    Args:
        unkept: Told how many were not written: too many at once, or the database did not take them.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        unkept: Callable[[int], None] = lambda many: None,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._db, self._clock, self._unkept = database, clock, unkept
        self._pause = pause_seconds
        self._waiting: dict[str, Refused] = {}
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def put(self, headers: Mapping[str, str], body: bytes, why: str, *, scheme: str = "") -> None:
        """Keep one soon; returns at once. Arguments as of `store.refused_webhooks.refused`."""
        one = refused_webhooks.refused(headers, body, why, at=self._clock(), scheme=scheme)
        known = self._waiting.get(one.id)
        if known is None and len(self._waiting) >= MOST_WAITING:
            self._unkept(1)
            return
        self._waiting[one.id] = one if known is None else known._replace(times=known.times + 1)
        if self._writing is None or self._writing.done():
            self._hurry = asyncio.Event()
            self._writing = asyncio.create_task(self._write(self._hurry))

    async def _write(self, hurry: asyncio.Event) -> None:
        while self._waiting:
            batch, self._waiting = list(self._waiting.values()), {}
            try:
                await self._db.write(refused_webhooks.keep, batch)
            except Exception as e:  # noqa: BLE001  their senders have their answers; nobody waits for this
                log.warning("refusals_not_kept", many=len(batch), error=type(e).__name__)
                self._unkept(sum(one.times for one in batch))
            with suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), self._pause)

    @asynccontextmanager
    async def owned(self, _: object = None) -> AsyncIterator[None]:
        """While the service runs; at its end what waits is written, if that takes a few seconds at most."""
        try:
            yield
        finally:
            self._hurry.set()
            if self._writing is not None:
                _done, late = await asyncio.wait({self._writing}, timeout=GRACE_SECONDS)
                for task in late:
                    task.cancel()
