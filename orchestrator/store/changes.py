"""Who waits for a run hears when its record grew, whichever process wrote it.

    a COMMIT here        Database.watcher ─┐
    a COMMIT elsewhere   NOTIFY → LISTEN ──┴► Changes ─► the signals of that run's watchers

A signal is a hint and carries nothing: who hears it reads the database. One may be lost, while the
listening connection is down or behind a pooler that shares connections between transactions, or when the
process that wrote dies before it told (see `sql.notify`), so who must not miss anything also looks now and
then by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from orchestrator.store.database import Database
from orchestrator.store.sql.notify import CHANNEL

if TYPE_CHECKING:
    from orchestrator.silence import ListeningAsync

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 5.0
"""Without a notice, until the server is asked whether it is still there."""
ANSWER_SECONDS: Final = 5.0
"""That it may take to say so."""
CONNECTION: Final = {
    "application_name": "orchestrator-changes",
    "connect_timeout": 5,
    # It mostly waits: these tell that the other side is gone, unless something on the way takes its place.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""libpq's parameters of the listening connection, in seconds; those in the database's URL come first."""


class ChangeSignal:
    """Rings when a run's record may have grown. Rings that nobody waited for count as one."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """In the event loop's thread."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """True at the first ring since the last wait, False after so many seconds without one."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class Changes:
    """The hub of one process. It is the database's one watcher while `owned` lasts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._signals: dict[str, set[ChangeSignal]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopped = False
        """Nobody should wait any longer: the process is about to end."""

    @contextmanager
    def watch(self, run_id: str) -> Iterator[ChangeSignal]:
        """A signal for that run. Watch first, read then: what is committed in between rings."""
        signal = ChangeSignal()
        watching = self._signals.setdefault(run_id, set())
        watching.add(signal)
        try:
            yield signal
        finally:
            watching.discard(signal)
            if not watching:
                del self._signals[run_id]

    def stop(self) -> None:
        """Ring everywhere, with `stopped` set."""
        self.stopped = True
        self._ring(tuple(self._signals))

    @asynccontextmanager
    async def owned(self, _: object = None) -> AsyncIterator[None]:
        """While the service runs. Returns at once, also while PostgreSQL cannot be reached."""
        self.stopped, self._loop = False, asyncio.get_running_loop()
        self._database.watcher = self._grew
        listening = [] if self._database.sqlite else [asyncio.create_task(self._listen())]
        try:
            yield
        finally:
            self.stop()
            self._database.watcher = None
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)

    def _grew(self, run_ids: Collection[str]) -> None:
        """In the committing thread. Most commits interest nobody, and those cost the loop nothing."""
        if self._loop is not None and any(r in self._signals for r in run_ids):
            with suppress(RuntimeError):  # the loop has ended, and everybody in it
                self._loop.call_soon_threadsafe(self._ring, run_ids)

    def _ring(self, run_ids: Collection[str]) -> None:
        for run_id in run_ids:
            for signal in self._signals.get(run_id, ()):
                signal.ring()

    async def _listen(self) -> None:
        """Hear the other processes, and come back after every loss of the connection."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.introduce(f"LISTEN {CHANNEL}")
                    pause = FIRST_PAUSE_SECONDS
                    log.info("changes_heard")
                    # What was committed while nobody listened was told to nobody.
                    self._ring(tuple(self._signals))
                    while True:
                        connection.hurried = False
                        async for notice in connection.notifies(timeout=QUIET_SECONDS):
                            self._ring((notice.payload,))
                        connection.hurried = True
                        async with connection.pipeline() as asked:  # or it would be listened to for ever
                            await asked.sync()  # no transaction to the server, which counts those
            except Exception as e:  # noqa: BLE001  whatever it is, nobody else would start it again
                log.warning("changes_not_heard", error=type(e).__name__, again_in=pause)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def _connect(self) -> "ListeningAsync":
        """A connection of our own, to where the pool's connections lead."""
        from orchestrator.silence import ListeningAsync, Silence  # need the driver, of the extra `postgres`

        engine = self._database.engine
        positional, named = engine.dialect.create_connect_args(engine.url)
        named = {**CONNECTION, **named, "autocommit": True}
        made = await ListeningAsync.connect(*positional, **named)
        made.silence = Silence(ANSWER_SECONDS)
        made.silence.lead(*positional, **named)
        return made
