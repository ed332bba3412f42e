"""The handlers at work in this process. They outlive a lost connection; no database in this file."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog

from orchestrator.failure_streak import FailureStreak

if TYPE_CHECKING:  # comes with the extra
    from pgqueuer.types import JobId

    from orchestrator.jobs.library import Picked

Handle = Callable[[str, bytes], Awaitable[None]]
Outcome = Literal["successful", "exception"]

log = structlog.get_logger(__name__)


class Handlers:
    """As many at once as each lane has slots.

    Args:
        tell: Called when a handler has ended, with whether its lane had been full until then.
    """

    def __init__(self, lanes: Mapping[str, int], handle: Handle, tell: Callable[[bool], None]) -> None:
        self._free = dict(lanes)
        self._handle = handle
        self._tell = tell
        self._tasks: dict[JobId, asyncio.Task[Outcome]] = {}
        self._letting_go = False
        self._streak = FailureStreak("job")
        self.finished: list[tuple[Picked, Outcome]] = []
        """Not yet written down."""
        self.returned: list[Picked] = []
        """Cut short, to be given back."""

    @property
    def free(self) -> dict[str, int]:
        """The lanes with room, and how much."""
        return {lane: n for lane, n in self._free.items() if n > 0}

    @property
    def running(self) -> "list[JobId]":
        """The ids of the jobs at work."""
        return list(self._tasks)

    @property
    def clean(self) -> bool:
        """Nothing runs and nothing is left to be written."""
        return not (self._tasks or self.finished or self.returned)

    def begin(self, job: "Picked") -> None:
        """Start its handler, unless it still runs: a heartbeat that came late makes a job look abandoned."""
        if job.id in self._tasks:
            return
        if self._letting_go:  # picked in the very moment of stopping
            self.returned.append(job)
            return
        self._free[job.entrypoint] -= 1
        task = asyncio.create_task(self._work(job), name=f"job {job.id}")
        self._tasks[job.id] = task
        task.add_done_callback(partial(self._ended, job))

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def let_go(self) -> None:
        """Cancel what runs; it is returned, not finished."""
        self._letting_go = True
        for task in self._tasks.values():
            task.cancel()
        await self.idle()

    async def _work(self, job: "Picked") -> Outcome:
        begun = self._streak.ever
        try:
            await self._handle(job.entrypoint, job.payload or b"")
        except Exception as e:  # noqa: BLE001  told by the streak
            # The rows know about attempts and what comes next; the job has said what it had to say.
            self._streak.failed(e, "", begun, lane=job.entrypoint, job=job.id)
            return "exception"
        self._streak.worked(begun)
        return "successful"

    def _ended(self, job: "Picked", task: asyncio.Task[Outcome]) -> None:
        lane = job.entrypoint
        del self._tasks[job.id]
        self._free[lane] += 1
        if not task.cancelled():
            self.finished.append((job, task.result()))
        elif self._letting_go:
            self.returned.append(job)
        else:  # the handler's own doing
            log.warning("job_cancelled", lane=lane, job=job.id)
            self.finished.append((job, "exception"))
        self._tell(self._free[lane] == 1)
