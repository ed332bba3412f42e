"""Cuts off who stalls, with one timer for all who are waited for instead of one for each."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

T = TypeVar("T")

BODY_SECONDS: Final = 10.0
"""How long a sender may take over its body; honest ones need milliseconds."""


class StallTimeouts:
    """How long anybody is waited for. Looks once in a tenth of that, so some wait a little longer.

    Args:
        seconds: At least so long.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until: dict[asyncio.Task[Any], float] = {}
        self._stalled: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self, what: Awaitable[T]) -> T:
        """Wait for it. Raises `TimeoutError` when it takes too long."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101  a coroutine that runs has one
        self._until[task] = loop.time() + self.seconds
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(self.seconds / 10, self._look, loop)
        try:
            return await what
        except asyncio.CancelledError:
            if task in self._stalled and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            del self._until[task]
            self._stalled.discard(task)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, until in self._until.items():
            if until <= now and task not in self._stalled:
                self._stalled.add(task)
                task.cancel()
        if self._until:
            loop.call_later(self.seconds / 10, self._look, loop)
        elif self._loop is loop:
            self._loop = None


BODIES: Final = StallTimeouts(BODY_SECONDS)
"""With whoever sends a body, at every door."""
