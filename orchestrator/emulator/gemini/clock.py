"""Time for the stand-in: the real one, or one that moves only when a test says so.

Think time, retries and retention are all jobs on one clock; nothing else in the emulator sleeps
on its own account, apart from faults that make a client wait (a client's timeouts are real).
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

log = logging.getLogger(__name__)
Job = Callable[[], Awaitable[None]]


class Cancellable(Protocol):
    """A job that waits for its time."""

    def cancel(self) -> None:
        """Forget the job; a job that has begun is not stopped."""


class Clock(Protocol):
    """What the emulator needs of time."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def schedule(self, seconds: float, job: Job) -> Cancellable:
        """Run `job` once, `seconds` from now; nothing is due before zero."""

    async def advance(self, seconds: float) -> None:
        """Move time on and run everything that falls due on the way.

        Raises:
            RuntimeError: This clock cannot be moved.
        """

    def clear(self) -> None:
        """Forget every job that has not begun."""

    async def aclose(self) -> None:
        """Forget every job, and stop those that run."""


class RealClock:
    """The computer's clock. Jobs run as tasks of the loop that scheduled them."""

    def __init__(self) -> None:
        self._timers: set[_Timer] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def schedule(self, seconds: float, job: Job) -> Cancellable:
        """Run `job` as a task, `seconds` from now. What it raises is logged."""
        timer = _Timer(self, job)
        self._timers.add(timer)
        timer.handle = asyncio.get_running_loop().call_later(max(0.0, seconds), timer.fire)
        return timer

    async def advance(self, seconds: float) -> None:
        """Refused: only a virtual clock can be moved."""
        raise RuntimeError("the real clock cannot be advanced; build the emulator with a VirtualClock")

    def clear(self) -> None:
        """Forget every job that has not begun."""
        for timer in list(self._timers):
            timer.cancel()

    async def aclose(self) -> None:
        """Forget every job, and stop those that run."""
        self.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, timer: "_Timer", job: Job) -> None:
        """Turn a timer that fired into a task."""
        self.forget(timer)
        task = asyncio.ensure_future(_logged(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, timer: "_Timer") -> None:
        """Drop a timer that fired or was cancelled."""
        self._timers.discard(timer)


@dataclass(eq=False)
class _Timer:
    clock: RealClock
    job: Job
    handle: asyncio.TimerHandle | None = None

    def fire(self) -> None:
        self.clock.begin(self, self.job)

    def cancel(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
        self.clock.forget(self)


async def _logged(job: Job) -> None:
    try:
        await job()
    except Exception:
        log.exception("a scheduled job of the emulator failed")


@dataclass(order=True)
class _Entry:
    due: datetime
    order: int
    job: Job = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class VirtualClock:
    """A clock that stands still until `advance`.

    Jobs run one after the other inside `advance`, each at its own due time, so that when `advance`
    returns every delivery that fell due has been sent. A job must not itself call `advance`.

    Args:
        start: The first instant, aware; the present (whole seconds) by default, so that
            signatures are fresh for a receiver with a real clock.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC).replace(microsecond=0)
        self._queue: list[_Entry] = []
        self._count = 0
        self._turn = asyncio.Lock()

    @property
    def pending(self) -> int:
        """How many jobs wait."""
        return sum(not entry.cancelled for entry in self._queue)

    def now(self) -> datetime:
        """The instant to which the clock was last moved."""
        return self._now

    def schedule(self, seconds: float, job: Job) -> Cancellable:
        """Run `job` when the clock has moved on by `seconds`; with 0, at the next `advance(0)`."""
        self._count += 1
        entry = _Entry(self._now + timedelta(seconds=max(0.0, seconds)), self._count, job)
        heapq.heappush(self._queue, entry)
        return entry

    async def advance(self, seconds: float) -> None:
        """Run what falls due in the next `seconds`, in order; what a job raises is raised here."""
        async with self._turn:
            target = self._now + timedelta(seconds=seconds)
            while self._queue and self._queue[0].due <= target:
                entry = heapq.heappop(self._queue)
                if not entry.cancelled:
                    self._now = max(self._now, entry.due)
                    await entry.job()
            self._now = max(self._now, target)

    def clear(self) -> None:
        """Forget every job."""
        self._queue.clear()

    async def aclose(self) -> None:
        """Forget every job."""
        self.clear()
