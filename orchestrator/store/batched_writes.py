"""Many small writes of one kind, each awaited on its own, committed together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from sqlalchemy.orm import Session

from orchestrator.store.database import Database
from orchestrator.store.sql.crowded import admit

Item = TypeVar("Item")

MOST: Final = 200
"""Items in one transaction."""


class BatchedWrites(Generic[Item]):
    """While one transaction is under way, what arrives gathers for the next one.

    Nobody waits for company: a lone item is written at once. Each caller returns after the COMMIT
    that holds its item; one that fails, fails for all of its items.

    Args:
        job: Writes the items.
    """

    def __init__(self, database: Database, job: Callable[[Session, Sequence[Item]], None]) -> None:
        self._db = database
        self._job = job
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> None:
        """Write it with whatever else is there; a caller that is cancelled leaves it to be written.

        Raises `CrowdedError`.
        """
        admit(len(self._waiting))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                await self._db.write(self._job, [item for item, _ in batch])
            except Exception as e:  # noqa: BLE001  every caller is told
                _tell(batch, e)
            else:
                _tell(batch)


def _tell(batch: Sequence[tuple[object, asyncio.Future[None]]], error: Exception | None = None) -> None:
    for _, done in batch:
        if done.done():  # its caller was cancelled
            continue
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(None)
