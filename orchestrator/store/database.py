"""Transactions on SQLite and PostgreSQL behind three methods: `write`, `step` and `read`.

SQLite      one writer thread owns the only writing connection; jobs that wait at the same
            moment share one commit, each inside its own SAVEPOINT (`writer`). Readers cannot write.
PostgreSQL  a thread pool; every job is a transaction of its own (`transactions`), but for steps, which
            share one where they wait at the same moment (`group_commit`).

A job is a plain sync function `job(session, ...) -> value`. It makes no network calls, does not
sleep, and returns values, never rows that still want to load something.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.group_commit import GroupCommit
from orchestrator.store.sql import after_commit, engines, standstill
from orchestrator.store.sql.checkpoints import Checkpoints
from orchestrator.store.sql.crowded import admit
from orchestrator.store.sql.notify import Notifier
from orchestrator.store.sql.races import retried
from orchestrator.store.sql.sessions import once
from orchestrator.store.sql.threads import Threads
from orchestrator.store.sql.unwritten import Unwritten
from orchestrator.store.transactions import Transactions
from orchestrator.store.writer import Queue, Writer

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """One database.

    Args:
        url: SQLAlchemy URL, `sqlite:///path` or `postgresql+psycopg://…`.
        readers: Reading connections (SQLite).
        threads: Connections (PostgreSQL).
        max_batch: Most jobs in one commit (SQLite).
        still_seconds: How long a transaction may wait for this process, should it stand still (PostgreSQL).
        silent_seconds: How long this process waits for a server that says nothing (PostgreSQL).

    Raises:
        ConflictError: Another process has this SQLite file open.
    """

    def __init__(
        self,
        url: str,
        *,
        readers: int = 4,
        threads: int = 16,
        max_batch: int = 64,
        still_seconds: float = standstill.LONGEST_SECONDS,
        silent_seconds: float = engines.SILENT_SECONDS,
    ) -> None:
        self.url = sa.make_url(url)
        self.still_seconds = still_seconds
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.unwritten = Unwritten()
        self.watcher: after_commit.Grown | None = None
        """Told after a COMMIT here whose records grew, in the committing thread; must not raise."""
        self.ending: Callable[[Session], None] = lambda s: None
        """Called within each writing transaction of PostgreSQL, when its job is done, before the COMMIT.
        Where it uses the driver itself, it calls `held.flush` first."""
        self._lock, self.made = engines.own(self.url.database) if self.sqlite else (None, False)
        """What holds the SQLite file, and whether there was none before."""
        self._queue: Queue = SimpleQueue()
        self._writer: Writer | None = None
        self._checkpoints: Checkpoints | None = None
        self._transactions: Transactions | None = None
        self._group_commit: GroupCommit | None = None
        self._notifier: Notifier | None = None
        if self.sqlite:
            self.engine = engines.sqlite(self.url, writer=True)
            self._read_engine = engines.sqlite(self.url, writer=False, pool=readers)
            self._pool = Threads(readers, "db-read")
            self._checkpoints = Checkpoints(self._read_engine)
            grown = self._checkpoints.due.set
            self._writer = Writer(self.engine, self._queue, most=max_batch, grown=grown, tell=self._tell)
        else:
            self.engine = self._read_engine = engines.postgres(
                self.url, threads, still_seconds, silent_seconds
            )
            self._pool = Threads(threads, "db")
            self._transactions = Transactions(self.engine, tell=self._tell)
            patience = round(standstill.patience(still_seconds) * 1000)
            self._group_commit = GroupCommit(self._transactions, self._pool, self._end, patience)
            self._notifier = Notifier(self.engine)
        self._aside = ThreadPoolExecutor(1, "db-aside")

    async def write(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a transaction; returns after COMMIT.

        Once begun it is never interrupted: a caller that is cancelled stops waiting, the
        transaction still completes. Raises `CrowdedError` where too much waits already.
        """
        try:
            if (server := self._transactions) is not None:
                return await self._pool.run(
                    lambda: retried(lambda: server.write(self.ending, job, *args, **kwargs))
                )
            admit(self._queue.qsize())
            done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            self._queue.put((partial(_called, job, args, kwargs), done))
            return await done
        except Exception as e:
            self.unwritten.heard(e)
            raise

    async def step(self, job: Callable[[Session], T], of: str = "") -> T:
        """`write` for a short one that is one of many: on PostgreSQL, too, it may share the COMMIT of others.

        It is done anew where those with which it was done are taken back.

        Args:
            of: The run it is about, whose row it locks; empty for none, or where that is not known.
        """
        if self._group_commit is None:
            return await self.write(job)
        try:
            return cast(T, await self._group_commit.write(job, of))
        except Exception as e:
            self.unwritten.heard(e)
            raise

    async def read(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a transaction that must not write."""
        if (server := self._transactions) is not None:
            return await self._pool.run(lambda: retried(lambda: server.read(job, *args, **kwargs)))
        return await self._pool.run(lambda: once(self._read_engine, job, *args, **kwargs))

    async def let_go(self) -> int:
        """End what processes that stand still hold (PostgreSQL); returns how many sessions that were.

        On a thread and a connection beside the pool's, which may all be waiting for just that.
        """
        loop, server = asyncio.get_running_loop(), self._transactions
        assert server is not None  # noqa: S101  only there can anybody stand still
        end = lambda: retried(lambda: server.read(standstill.end, self.still_seconds))  # noqa: E731
        return await loop.run_in_executor(self._aside, end)

    def durable(self) -> bool:
        """Whether a commit survives a power cut, as the database says of itself."""
        with self.engine.connect() as conn:
            if self.sqlite:
                return int(conn.exec_driver_sql("PRAGMA synchronous").scalar_one()) >= 2
            return bool(conn.exec_driver_sql("SHOW synchronous_commit").scalar_one() != "off")

    def shares_sessions(self) -> bool:
        """Whether something on the way gives one session of PostgreSQL's to several connections; where
        there is none to spare it may not show.
        """
        return not self.sqlite and engines.shares_sessions(self.engine)

    def close(self) -> None:
        """Finish what is queued and let go of the file."""
        if self._writer is not None:
            self._writer.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._pool.close()
        if self._notifier is not None:
            self._notifier.close()
        self._aside.shutdown()
        self._read_engine.dispose()
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _end(self, s: Session) -> None:
        self.ending(s)

    def _tell(self, s: Session) -> None:
        elsewhere = self._notifier.put if self._notifier is not None else None
        after_commit.follow(s, elsewhere, self.watcher)


def _called(job: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], s: Session) -> T:
    return job(s, *args, **kwargs)
