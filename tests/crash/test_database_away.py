"""The database is away, locked or full, in mid-load. P1, P7, P11.

Nothing acknowledged is lost, every process stays up and is back by itself. `CRASH_AWAY_SECONDS`,
`CRASH_LOCK_SECONDS` and `CRASH_FULL_SECONDS` make it longer.
"""

import asyncio
import json
import os
import random
import resource
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from laboratory import BUSY_SECONDS, Laboratory, laboratory, meanwhile, until
from storm import Size, Storm, judged, play, seed
from support.line import Line, line_to
from support.postgres import Server, stoppable

from orchestrator import jobs
from orchestrator.store import migrate

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

AWAY_SECONDS = float(os.environ.get("CRASH_AWAY_SECONDS", "6"))
LOCK_SECONDS = float(os.environ.get("CRASH_LOCK_SECONDS", "12"))
FULL_SECONDS = float(os.environ.get("CRASH_FULL_SECONDS", "5"))
BACK_SECONDS = 10.0
"""Promised: so long after the database is back, every process works again."""
PULSE_SECONDS = 15.0
"""Promised: a worker touches its file at least so often."""
CALM_SECONDS = 2.0
"""With the database, under load, before it goes away."""
FULL_BYTES = 64 * 1024
UNAVAILABLE = frozenset({500, 503})


@pytest.fixture
def server() -> Iterator[Server]:
    with stoppable() as made:
        engine = sa.create_engine(made.url)
        migrate.upgrade(engine)
        jobs.install(engine)
        engine.dispose()
        yield made


class Outage(Storm):
    """A time without the database between two times with it; nobody is killed."""

    back = 0.0

    async def rage(self) -> None:
        self.lab.not_now = UNAVAILABLE
        await asyncio.sleep(CALM_SECONDS)
        self.lab.kills.append(time.time())  # for the judge: from here on a call may be in doubt
        await self.away()
        ended, before = time.monotonic(), len(self.acknowledged)

        async def works() -> bool:
            self._all_live()
            return len(self.acknowledged) > before and await self.works()

        await until(works, BACK_SECONDS, "every process works again", told=self.lab.said)
        self.back = time.monotonic() - ended
        await until(self._whole, 30, f"{self.size} is reached", told=self.lab.said)
        self._all_live()

    async def away(self) -> None:
        """The time without."""
        raise NotImplementedError

    async def works(self) -> bool:
        """Whether every process works, besides the one that took a delivery."""
        return True

    async def _whole(self) -> bool:
        return self.enough()

    def _all_live(self) -> None:
        for process in (self.lab.process, *self.lab.workers.values()):
            assert process is not None
            assert process.returncode is None, self.lab.said()


class OfPostgres(Outage):
    """Of a PostgreSQL, from which workers have their jobs."""

    async def works(self) -> bool:
        """Each worker listens for jobs, and the process that answers says that it can."""
        [(count,)] = self.lab.rows(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'orchestrator jobs' AND starts_with(query, 'LISTEN')"
        )
        ready = await self.lab.api.get("/readyz")
        return int(count) == len(self.lab.workers) and ready.status_code == httpx.codes.OK


class Restart(OfPostgres):
    """PostgreSQL is stopped, and started again."""

    server: Server
    mode = "fast"

    async def away(self) -> None:
        await asyncio.to_thread(self.server.stop, self.mode)
        touched = [*map(self._touched, self.lab.workers)]

        async def all_beat() -> bool:
            return all(self._touched(name) > at for name, at in zip(self.lab.workers, touched, strict=True))

        await asyncio.sleep(AWAY_SECONDS)
        await until(all_beat, PULSE_SECONDS, "a pulse of each worker while it is away", told=self.lab.said)
        await asyncio.to_thread(self.server.start)

    def _touched(self, name: str) -> float:
        return self.lab.pulse(name).stat().st_mtime


class StandsStill(OfPostgres):
    """PostgreSQL says nothing for a while, and refuses nothing."""

    line: Line

    async def away(self) -> None:
        self.line.hold()
        await asyncio.sleep(AWAY_SECONDS)
        self.line.release()


class TakenOver(OfPostgres):
    """The server dies behind something that keeps the connections to it open, and another takes over."""

    server: Server
    line: Line

    async def away(self) -> None:
        self.line.hold()
        await asyncio.to_thread(self.server.stop, "immediate")
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(self.server.start)
        self.line.release(anew=True)


@asynccontextmanager
async def several(folder: Path, url: sa.URL) -> AsyncIterator[Laboratory]:
    """One process that answers and two that work."""
    async with laboratory(folder, url.render_as_string(hide_password=False), pause_seconds=0.5) as lab:
        lab.command_line = ("serve", "--web")
        await lab.start()
        for name in ("w0", "w1"):
            await lab.hire(name)
        await lab.at_work(*lab.workers)
        yield lab


async def test_postgresql_stands_still_in_mid_load(tmp_path: Path, server: Server) -> None:
    with line_to(server.url) as line:
        async with several(tmp_path, line.url) as lab:
            storm = StandsStill(lab, Size(0, deliveries=150, runs=15), random.Random(seed()), ask_every=0.2)
            storm.line = line
            raged = await play(storm)
            told = f"PostgreSQL stood still for {AWAY_SECONDS:g} s within {raged:.0f}"
            await judged(storm, f"{told}, all back {storm.back:.1f} s later")
            _told_once(lab)


async def test_another_postgresql_takes_over_in_mid_load(tmp_path: Path, server: Server) -> None:
    with line_to(server.url) as line:
        async with several(tmp_path, line.url) as lab:
            storm = TakenOver(lab, Size(0, deliveries=150, runs=15), random.Random(seed()), ask_every=0.2)
            storm.server, storm.line = server, line
            raged = await play(storm)
            told = f"PostgreSQL was taken over from for {AWAY_SECONDS:g} s within {raged:.0f}"
            await judged(storm, f"{told}, all back {storm.back:.1f} s later")
            _told_once(lab)


async def test_postgresql_is_restarted_in_mid_load(tmp_path: Path, server: Server) -> None:
    async with several(tmp_path, server.url) as lab:
        storm = Restart(lab, Size(0, deliveries=150, runs=15), random.Random(seed()), ask_every=0.2)
        storm.server = server
        pulses: dict[str, float] = {}
        async with meanwhile(_watch_pulses(lab, pulses)):
            raged = await play(storm)
        told = (
            f"PostgreSQL stopped for {AWAY_SECONDS:g} s within {raged:.0f}, all back {storm.back:.1f} s later"
        )
        await judged(storm, f"{told}; longest pause between two pulses {pulses} s")
        assert max(pulses.values()) <= PULSE_SECONDS + BUSY_SECONDS
        _told_once(lab)


def _told_once(lab: Laboratory) -> None:
    """What fails says so once in each process for each of the reasons it meets, and when it is over."""
    lines = [json.loads(text) for text in lab.log.read_text().splitlines() if text.startswith("{")]
    assert not [line for line in lines if "exception" in line], "it is no mistake of the program's"
    at_length = Counter(
        (line["event"], line.get("error", ""), line.get("why", ""))
        for line in lines
        if line["event"].endswith("_failed")
    )
    assert max(at_length.values(), default=0) <= len(lab.workers) + 1, at_length
    failed = [line["error"] for line in lines if line["event"] == "worker_failed"]
    assert max(Counter(failed).values(), default=0) <= len(lab.workers), failed
    recovered = [line for line in lines if line["event"] == "worker_recovered"]
    assert bool(recovered) == bool(failed)
    assert len([1 for line in lines if line["event"] == "sessions_not_looked_at"]) <= len(lab.workers)


async def _watch_pulses(lab: Laboratory, longest: dict[str, float]) -> None:
    """The longest each worker left its file alone, in seconds."""
    while True:
        for name in lab.workers:
            age = time.time() - lab.pulse(name).stat().st_mtime
            longest[name] = max(longest.get(name, 0.0), round(age, 1))
        await asyncio.sleep(0.1)


class Locked(Outage):
    """Somebody else's transaction holds the SQLite file."""

    async def away(self) -> None:
        path = self.lab.database_url.removeprefix("sqlite:///")
        connecting = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        with closing(connecting) as connection:
            # On a busy machine it takes its time to find the file free: nobody queues for a lock of SQLite's.
            await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
            stored = {str(row[0]) for row in connection.execute("SELECT id FROM delivery")}
            await asyncio.sleep(LOCK_SECONDS)
            assert self.acknowledged <= stored, "acknowledged without having been stored"
            connection.execute("ROLLBACK")


async def test_the_file_is_locked_by_somebody_else(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url, pause_seconds=0.5) as lab:
        await lab.start()
        storm = Locked(lab, Size(0, deliveries=150, runs=12), random.Random(seed()), ask_every=0.2)
        raged = await play(storm)
        await judged(
            storm, f"locked for {LOCK_SECONDS:g} s within {raged:.0f}, back {storm.back:.1f} s later"
        )


class Full(Outage):
    """No file of the process may grow beyond a few pages: what a full disk looks like to it."""

    async def away(self) -> None:
        assert self.lab.process is not None
        pid, hard = self.lab.process.pid, resource.RLIM_INFINITY
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, hard))
        await until(self._refused, 30, "a delivery is refused", told=self.lab.said)
        stored = {str(row[0]) for row in self.lab.rows("SELECT id FROM delivery")}
        await asyncio.sleep(FULL_SECONDS)
        assert self.acknowledged <= stored, "acknowledged without having been stored"
        ready = await self.lab.api.get("/readyz")
        assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE, ready.text
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    async def works(self) -> bool:
        return (await self.lab.api.get("/readyz")).status_code == httpx.codes.OK

    async def _refused(self) -> bool:
        return bool(self.refused["503"])


async def test_the_disk_is_full(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url, pause_seconds=0.5) as lab:
        lab.piped = True
        await lab.start()
        storm = Full(lab, Size(0, deliveries=150, runs=12), random.Random(seed()), ask_every=0.2)
        raged = await play(storm)
        assert {"503"} <= storm.refused.keys() <= {"503", "ReadTimeout", "ConnectTimeout"}, storm.refused
        await judged(storm, f"full for {FULL_SECONDS:g} s within {raged:.0f}, back {storm.back:.1f} s later")
        assert lab.rows("PRAGMA integrity_check") == [("ok",)]
