"""Working on jobs: short turns on one connection, woken by a second one that listens.

PgQueuer brings the tables and the statements; the loop is ours, because its manager counts limits over
all processes together, does not come back after the database went away, and when it ends waits for every
handler. Here a lost connection costs nothing but itself: handlers run on, and the next connection says
that they do, and writes down what they finished.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import sqlalchemy as sa
import structlog

from orchestrator.jobs.extra import needed
from orchestrator.jobs.handlers import Handle, Handlers

if TYPE_CHECKING:  # comes with the extra
    from orchestrator.jobs.library import Queries
    from orchestrator.silence import ListeningAsync

POLL: Final = timedelta(seconds=5)
"""A commit that put jobs wakes at once; this finds what wakes nobody: jobs of dead workers, lost notices."""
HEARTBEAT: Final = timedelta(seconds=5)
STALE: Final = timedelta(seconds=20)
BATCH: Final = 32

TURN_SECONDS: Final = 10.0
"""A database that does not answer for so long is as good as gone."""
SHORTEST_LOOK_SECONDS: Final = 0.05
"""Between two looks at a ripe job that another process holds for the moment."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
"""Between two attempts to connect."""
LAST_WORDS_SECONDS: Final = 2.0
"""How long `stop` tries to give back what it cut short."""
PRUNE_EVERY: Final = timedelta(minutes=10)
KEEP_LOG: Final = timedelta(hours=1)
_NOBODY: Final = timedelta(days=36500)
_ANY: Final = 1 << 30

log = structlog.get_logger(__name__)


class Jobs:
    """The jobs of some lanes, handled in this process.

    A job is handled by one process at a time, as long as that process can say so to the database every
    `stale`: one that is silent for longer, dead or cut off, has its jobs taken over. A handler that blocks
    the event loop for so long is silent too.

    Args:
        url: As for SQLAlchemy; a pooler on the way has to pool sessions, because of LISTEN. Two connections.
        lanes: How many jobs of each lane at once in this process; jobs of other lanes are left to others.
        handle: Gets the lane and the payload. What it raises is logged and the job is finished.
        room: Where other work has a part in a lane's places: how many jobs of it may be begun now. Who made
            it say none calls `look` when there is room again.
        heartbeat: How often running jobs are vouched for.
        stale: When a job that nobody vouches for is taken over, `poll` later at most.
        batch: Most jobs taken in one statement.

    Raises:
        ConfigError: The extra is not installed.
    """

    def __init__(
        self,
        url: sa.URL,
        *,
        lanes: Mapping[str, int],
        handle: Handle,
        room: Callable[[str], int] = lambda lane: _ANY,
        poll: timedelta = POLL,
        heartbeat: timedelta = HEARTBEAT,
        stale: timedelta = STALE,
        batch: int = BATCH,
    ) -> None:
        with needed():
            from orchestrator.jobs import library  # noqa: F401
        if not lanes or min(lanes.values()) < 1:
            raise ValueError("at least one lane, and one slot in each")
        if stale < 2 * heartbeat:
            raise ValueError("a job is stale after two heartbeats at the earliest")
        self._url = url
        self._poll, self._heartbeat, self._stale = (t.total_seconds() for t in (poll, heartbeat, stale))
        self._batch = batch
        self._me = uuid4()
        self._handlers = Handlers(lanes, handle, self._nudge)
        self._room = room
        self._news = asyncio.Event()
        self._look = True
        self._stopping = False
        self._main: asyncio.Task[None] | None = None
        self._trouble = "not started"

    @property
    def alive(self) -> bool:
        """Whether the last turn reached the database, and the next one is to come."""
        return not self._trouble

    @property
    def trouble(self) -> str:
        """What is wrong, one line; empty while nothing is."""
        return self._trouble

    @property
    def busy(self) -> int:
        """How many jobs are being handled."""
        return len(self._handlers.running)

    def look(self) -> None:
        """There is room again for a lane that had none."""
        self._nudge(True)

    async def run(self) -> None:
        """Until `stop`; a database that goes away is waited for.

        Cancelled, it cancels the handlers at once and gives nothing back: others take over after `stale`.
        """
        if self._main is not None:
            raise RuntimeError("runs once")
        self._main = asyncio.create_task(self._supervise())
        try:
            await asyncio.wait({self._main})
        finally:
            self._main.cancel()
            await self._handlers.let_go()
            await asyncio.wait({self._main})
            self._trouble = "stopped"
        if not self._main.cancelled():
            self._main.result()

    async def stop(self, grace_seconds: float) -> None:
        """Take no more, wait so long for what runs, give back the rest; `run` ends."""
        self._stopping = True
        self._news.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._handlers.idle()
        await self._handlers.let_go()
        if self._main is not None:
            _, late = await asyncio.wait({self._main}, timeout=LAST_WORDS_SECONDS)
            for task in late:
                task.cancel()

    async def _supervise(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not (self._stopping and self._handlers.clean):
            try:
                await self._session()
            except Exception as error:  # noqa: BLE001  reported, with its traceback where it is not the database
                if self.alive:  # it had worked until now
                    pause = FIRST_PAUSE_SECONDS
                self._report(_cause(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _report(self, error: BaseException) -> None:
        from orchestrator.jobs import library

        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if text != self._trouble:  # once, not with every attempt
            log.warning(
                "jobs_interrupted", error=text, exc_info=not isinstance(error, library.LOST) and error
            )
        self._trouble = text

    async def _session(self) -> None:
        """With one pair of connections, until stopped; raises when either is lost."""
        from orchestrator.jobs import library

        async with library.connected(self._url) as conn, library.connected(self._url) as ear:
            listening = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                hearing = group.create_task(self._hear(ear, listening))
                await listening.wait()  # from here on no commit goes unnoticed, so the first look misses none
                await self._turns(library.queries(conn))
                hearing.cancel()

    async def _hear(self, ear: "ListeningAsync", listening: asyncio.Event) -> None:
        from orchestrator.jobs import library

        async for _ in library.heard(ear):
            listening.set()
            self._nudge(True)

    def _nudge(self, look: bool) -> None:
        self._look = self._look or look
        self._news.set()

    async def _turns(self, queries: "Queries") -> None:
        from orchestrator.jobs import library

        clock = asyncio.get_running_loop().time
        look_at = beat_at = prune_at = began = clock()
        while True:
            self._news.clear()
            async with asyncio.timeout(TURN_SECONDS):
                await self._settle(queries)
                if clock() >= beat_at:
                    beat_at = clock() + self._heartbeat
                    await self._vouch(queries)
                if self._look or clock() >= look_at:
                    self._look = False
                    # Whoever lost the same database gets the time to come back to it and vouch for its jobs.
                    settled = clock() >= began + self._stale
                    look_at = clock() + await self._take(queries, take_over=settled)
                if clock() >= prune_at:
                    more = await library.prune(queries, KEEP_LOG)
                    prune_at = clock() + (0 if more else PRUNE_EVERY.total_seconds())
            if self._trouble:
                log.info("jobs_connected", after=self._trouble)
                self._trouble = ""
            if self._stopping and self._handlers.clean:
                return
            await self._rest(min(look_at, beat_at) if self._handlers.running else look_at)

    async def _rest(self, until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._news.wait()

    async def _settle(self, queries: "Queries") -> None:
        """Write down what has ended; kept for the next connection where this one fails."""
        if finished := list(self._handlers.finished):
            await queries.log_jobs([(job, outcome, None) for job, outcome in finished])
            del self._handlers.finished[: len(finished)]
        while self._handlers.returned:
            await queries.retry_job(self._handlers.returned[0], timedelta(0), None)
            del self._handlers.returned[0]

    async def _vouch(self, queries: "Queries") -> None:
        if running := self._handlers.running:
            await queries.update_heartbeat([*running])

    async def _take(self, queries: "Queries", *, take_over: bool) -> float:
        """Start what there is room for. Returns in how many seconds to look again if nobody wakes us."""
        from orchestrator.jobs import library

        most_of = {lane: min(n, self._room(lane)) for lane, n in self._handlers.free.items()}
        free = {lane: n for lane, n in most_of.items() if n > 0}
        if not free or self._stopping:
            return self._poll  # the first slot that comes free makes us look
        # No lane may get more than it has room for, and no job is to wait here while others are idle.
        most = min(self._batch, *free.values())
        abandoned_after = timedelta(seconds=self._stale) if take_over else _NOBODY
        jobs = await library.pick(queries, self._me, free, most, abandoned_after)
        for job in jobs:
            self._handlers.begin(job)
        if jobs:
            await asyncio.sleep(0)  # they take their places before anybody asks for room again
        if len(jobs) == most:
            return 0.0  # there may be more; a turn in between writes down what has ended, and vouches
        due = await library.next_due(queries, free)
        return self._poll if due is None else min(self._poll, max(SHORTEST_LOOK_SECONDS, due.total_seconds()))


def _cause(error: BaseException) -> BaseException:
    """What a task group wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
