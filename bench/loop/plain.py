"""The loop as bare rows: the least a program that keeps its promises could write, and nothing else.

No engine: four tables without a record for people, without questions, policies, timers, leases, limits or a
chain of what was decided. What is kept is what makes a transition durable: six commits a run, each with a
conditional update of the run, its effect claimed or done, and a line of history; an event that came in is a
row before anybody acts on it. It says how much of a bar is left to whoever wants to do more than that.

SQLite: one writing thread, many waiting transactions in a COMMIT. PostgreSQL: a connection for each
transaction under way, its statements in one pipeline. Both the quickest way known here.
"""

import asyncio
import itertools
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Protocol

import psycopg
import uvloop

from bench.loop import games, player

CONNECTIONS: Final = 16
TABLES: Final = (
    "CREATE TABLE run (id TEXT PRIMARY KEY, state TEXT, version INTEGER, said TEXT)",
    "CREATE TABLE history (run TEXT, seq INTEGER, what TEXT, PRIMARY KEY (run, seq))",
    "CREATE TABLE inbox (id TEXT PRIMARY KEY, run TEXT, body TEXT)",
    "CREATE TABLE effect (run TEXT, step INTEGER, state TEXT, token TEXT, PRIMARY KEY (run, step))",
)
START: Final = "INSERT INTO run VALUES (?, ?, 1, ?)"
MOVE: Final = "UPDATE run SET state = ?, version = version + 1, said = ? WHERE id = ? AND version = ?"
TELL: Final = "INSERT INTO history VALUES (?, ?, ?)"
CLAIM: Final = "INSERT INTO effect VALUES (?, ?, 'claimed', ?)"
DONE: Final = "UPDATE effect SET state = 'done', token = '' WHERE run = ? AND step = ? AND token = ?"
HEAR: Final = "INSERT INTO inbox VALUES (?, ?, ?)"

Statement = tuple[str, Sequence[Any]]


class Rows(Protocol):
    """A database that commits statements together."""

    async def commit(self, *statements: Statement) -> None:
        """Each changes one row, or nothing is committed; on disk when this returns."""
        ...


class Plain:
    """Implements `player.Engine`."""

    def __init__(self, rows: Rows, about: str) -> None:
        self._rows = rows
        self._numbers = itertools.count()
        self.about = about

    async def one(self) -> float:
        run = f"run_{next(self._numbers)}"
        commit = self._rows.commit
        await commit(
            (START, (run, "created", "Please refund A-1042.")),
            (CLAIM, (run, 1, "t1")),
            (TELL, (run, 1, "created")),
        )
        await commit(*_moved(run, 1, "waits for an event"), (DONE, (run, 1, "t1")))
        happened = time.perf_counter()
        await commit((HEAR, (f"wh_{run}", run, "{}")), *_moved(run, 2, "reads"), (CLAIM, (run, 2, "t2")))
        woken = time.perf_counter() - happened
        await commit(*_moved(run, 3, "waits for a person"), (DONE, (run, 2, "t2")))
        await commit(*_moved(run, 4, "answered", "approved"), (CLAIM, (run, 3, "t3")))
        await commit(*_moved(run, 5, "done", "Done."), (DONE, (run, 3, "t3")))
        return woken


def _moved(run: str, version: int, state: str, said: str = "") -> tuple[Statement, Statement]:
    return (MOVE, (state, said, run, version)), (TELL, (run, version + 1, state))


Job = tuple[Sequence[Statement], "asyncio.Future[None]", asyncio.AbstractEventLoop]


class Sqlite:
    """One writing thread; what waits meanwhile shares the next COMMIT."""

    def __init__(self, path: str) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(path,))
        self._thread.start()

    async def commit(self, *statements: Statement) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put((statements, done, loop))
        await done

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _work(self, path: str) -> None:
        db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        for table in TABLES:
            db.execute(table)
        while (job := self._jobs.get()) is not None:
            self._together(db, job)
        db.close()

    def _together(self, db: sqlite3.Connection, first: Job) -> None:
        batch = [first]
        while len(batch) < CONNECTIONS * 4 and not self._jobs.empty():
            if (job := self._jobs.get()) is not None:
                batch.append(job)
        db.execute("BEGIN IMMEDIATE")
        for statements, _, _ in batch:
            for text, values in statements:
                if db.execute(text, values).rowcount != 1:
                    raise RuntimeError(f"not one row: {text}")
        db.execute("COMMIT")
        first[2].call_soon_threadsafe(_answer, [done for _, done, _ in batch])


def _answer(waiting: "Sequence[asyncio.Future[None]]") -> None:
    for done in waiting:
        done.set_result(None)


class Postgres:
    """A pool of connections."""

    def __init__(self, connections: Sequence[psycopg.AsyncConnection[Any]]) -> None:
        self._free: asyncio.LifoQueue[psycopg.AsyncConnection[Any]] = asyncio.LifoQueue()
        for connection in connections:
            self._free.put_nowait(connection)

    async def commit(self, *statements: Statement) -> None:
        connection = await self._free.get()
        try:
            async with connection.pipeline(), connection.transaction():
                done = [
                    await connection.cursor().execute(text.replace("?", "%s"), values, prepare=True)
                    for text, values in statements
                ]
        finally:
            self._free.put_nowait(connection)
        if any(cursor.rowcount != 1 for cursor in done):
            raise RuntimeError("not one row each")


@asynccontextmanager
async def opened(url: str, game: str) -> AsyncIterator[Plain]:
    """Bare rows on that database; of the games only the loop."""
    if game != games.LOOP.name:
        raise RuntimeError(f"bare rows play {games.LOOP.name} only")
    if url.startswith("sqlite"):
        lite = Sqlite(url.partition("///")[2])
        try:
            yield Plain(lite, f"bare rows, SQLite {sqlite3.sqlite_version}, synchronous FULL, shared commits")
        finally:
            lite.close()
        return
    async with AsyncExitStack() as stack:
        connected = [await _connected(stack, url) for _ in range(CONNECTIONS)]
        for table in TABLES:
            await connected[0].execute(table)
        about = f"bare rows, psycopg {psycopg.__version__}, {CONNECTIONS} connections, pipelined"
        yield Plain(Postgres(connected), about)


async def _connected(stack: AsyncExitStack, url: str) -> psycopg.AsyncConnection[Any]:
    return await stack.enter_async_context(await psycopg.AsyncConnection.connect(url, autocommit=True))


if __name__ == "__main__":
    player.main(opened, uvloop.run)
