"""Both games on DBOS: an async workflow of steps, `recv` for the event and the person, `send` to them.

As its documentation has it, each effect is a step of its own: three in the loop, six in the job. Runs in
the peers' environment and knows nothing of our program. What may be chosen is chosen for speed on two
cores, by trial: async workflows beat threads, few executor threads beat the default; on SQLite a
write-ahead log beats the rollback journal it makes by itself, and a look for messages every 50 ms the
default of a second. Commits stay at SQLite's default `synchronous=FULL`.
"""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

import uvloop
from dbos import DBOS, DBOSConfig

from bench.loop import games, player

THREADS: Final = 8
LOOK_SECONDS: Final = 0.05
"""Between two looks for messages; SQLite only, PostgreSQL notifies."""
WAIT_SECONDS: Final = 3600.0

woken_at: dict[str, float] = {}
"""When the step after the event began, by workflow."""
waiting: dict[tuple[str, str], asyncio.Future[None]] = {}
"""Told when a workflow comes to a wait; what it did before is recorded by then."""


@DBOS.step()
async def create(run: str) -> str:
    return "in_progress"


@DBOS.step()
async def read(run: str, event: str) -> str:
    woken_at[run] = time.perf_counter()
    return event


@DBOS.step()
async def post(run: str) -> str:
    return "posted"


@DBOS.step()
async def execute(run: str, answer: str) -> str:
    return answer


@DBOS.step()
async def send(run: str, result: str) -> str:
    return result


@DBOS.step()
async def redraw(run: str) -> str:
    return "redrawn"


@DBOS.workflow()
async def loop(run: str) -> tuple[str, str]:
    await create(run)
    event = await read(run, await _wait(run, "event"))
    answer = await send(run, await _wait(run, "person"))
    return event, answer


@DBOS.workflow()
async def job(run: str) -> tuple[str, str]:
    await create(run)
    event = await read(run, await _wait(run, "event"))
    await post(run)
    result = await execute(run, await _wait(run, "person"))
    answer = await send(run, result)
    await redraw(run)
    return event, answer


PLAYED: Final = {games.LOOP.name: loop, games.JOB.name: job}


async def _wait(run: str, what: str) -> str:
    """Say that the workflow comes to this wait; then the message."""
    _told(run, what)
    message: str = await DBOS.recv_async(what, timeout_seconds=WAIT_SECONDS)
    return message


def _told(run: str, what: str) -> None:
    told = waiting.pop((run, what))
    told.get_loop().call_soon_threadsafe(told.set_result, None)


class Dbos:
    """Implements `player.Engine`."""

    def __init__(self, game: str, about: str) -> None:
        self._workflow = PLAYED[game]
        self._numbers = itertools.count(1)
        self.about = about

    async def one(self) -> float:
        run, here = f"run_{next(self._numbers)}", asyncio.get_running_loop()
        event = waiting[run, "event"] = here.create_future()
        person = waiting[run, "person"] = here.create_future()
        handle = await DBOS.start_workflow_async(self._workflow, run)
        await event
        happened = time.perf_counter()
        await DBOS.send_async(handle.get_workflow_id(), "requires_action", "event")
        await person
        await DBOS.send_async(handle.get_workflow_id(), "approved", "person")
        done = await handle.get_result()
        if done != ("requires_action", "approved"):
            raise RuntimeError(f"the run ended as {done}")
        return woken_at.pop(run) - happened


@asynccontextmanager
async def opened(url: str, game: str) -> AsyncIterator[Dbos]:
    """DBOS over that system database."""
    setup = _log_ahead(url.partition("///")[2]) if url.startswith("sqlite") else "notified by the database"
    config: DBOSConfig = {
        "name": "bench-loop",
        "system_database_url": url,
        "log_level": "WARNING",
        "max_executor_threads": THREADS,
        "notification_listener_polling_interval_sec": LOOK_SECONDS,
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        yield Dbos(game, f"{version('dbos')}: async, {THREADS} threads, {setup}")
    finally:
        DBOS.destroy()


def _log_ahead(path: str) -> str:
    """Give the file a write-ahead log, which it keeps; says what a new connection then has."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.close()
    db = sqlite3.connect(path)
    kept = ", ".join(str(db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("journal_mode", "synchronous"))
    db.close()
    return f"looks for messages every {LOOK_SECONDS:g} s, journal and synchronous {kept}"


if __name__ == "__main__":
    player.main(opened, uvloop.run)
