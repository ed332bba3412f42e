"""Transactions on SQLite and PostgreSQL behind two methods, `write` and `read`.

SQLite      one writer thread owns the only writing connection; jobs that wait at the same
            moment share one commit, each inside its own SAVEPOINT. Readers cannot write.
PostgreSQL  a thread pool; every job is a transaction of its own.

A job is a plain sync function `job(session, ...) -> value`. It makes no network calls, does not
sleep, and returns values, never rows that still want to load something.
"""

import asyncio
import fcntl
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from orchestrator.errors import ConflictError
from orchestrator.store.prepared import forget, hold

P = ParamSpec("P")
T = TypeVar("T")
Job = Callable[[Session], Any]

_SERIALIZATION = ("40001", "40P01")  # PostgreSQL: serialization failure, deadlock detected
CHANNEL = "orchestrator_run"
"""PostgreSQL's NOTIFY channel; the payload is the id of a run whose record grew."""
_GREW = "grew"


def grew(s: Session, run_id: str) -> None:
    """Say within a transaction that a run's record grows; whoever watches hears of it after the COMMIT."""
    s.info.setdefault(_GREW, set()).add(run_id)
    if s.get_bind().dialect.name == "postgresql":
        s.connection().execute(_NOTIFY, {"channel": CHANNEL, "payload": run_id})


_NOTIFY = sa.text("SELECT pg_notify(:channel, :payload)")


class StaleRowError(Exception):
    """A conditional update changed no row: somebody else was first. Read again, decide again."""


class Database:
    """One database.

    Args:
        url: SQLAlchemy URL, `sqlite:///path` or `postgresql+psycopg://…`.
        readers: Reading connections (SQLite).
        threads: Connections (PostgreSQL).
        max_batch: Most jobs in one commit (SQLite).

    Raises:
        ConflictError: Another process has this SQLite file open.
    """

    def __init__(self, url: str, *, readers: int = 4, threads: int = 16, max_batch: int = 64) -> None:
        self.url = sa.make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._max = max_batch
        self.watcher: Callable[[set[str]], None] | None = None
        """Told after a COMMIT here whose records grew, in the committing thread; must not raise."""
        self._queue: queue.SimpleQueue[tuple[Job, Future[Any]] | None] = queue.SimpleQueue()
        self._lock = _lock_file(self.url.database) if self.sqlite else None
        self._thread: threading.Thread | None = None
        if self.sqlite:
            self.engine = _sqlite_engine(self.url, writer=True)
            self._read_engine = _sqlite_engine(self.url, writer=False, pool=readers)
            self._pool = ThreadPoolExecutor(readers, "db-read")
            self._thread = threading.Thread(target=self._writer, name="db-write", daemon=True)
            self._thread.start()
        else:
            self.engine = self._read_engine = sa.create_engine(
                self.url, pool_size=threads, max_overflow=0, pool_pre_ping=True, hide_parameters=True
            )
            self._pool = ThreadPoolExecutor(threads, "db")

    async def write(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a transaction; returns after COMMIT.

        Once begun it is never interrupted: a caller that is cancelled stops waiting, the
        transaction still completes.
        """
        if self._thread is None:
            return await self._hop(lambda: _retried(self.engine, self._tell, job, *args, **kwargs))
        done: Future[T] = Future()
        self._queue.put((lambda s: job(s, *args, **kwargs), done))
        return await asyncio.wrap_future(done)

    async def read(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a transaction that must not write."""
        return await self._hop(lambda: _once(self._read_engine, job, *args, **kwargs))

    def durable(self) -> bool:
        """Whether a commit survives a power cut, as the database says of itself."""
        with self.engine.connect() as conn:
            if self.sqlite:
                return int(conn.exec_driver_sql("PRAGMA synchronous").scalar_one()) >= 2
            return bool(conn.exec_driver_sql("SHOW synchronous_commit").scalar_one() != "off")

    def close(self) -> None:
        """Finish what is queued and let go of the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._pool.shutdown()
        self._read_engine.dispose()
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _hop(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _tell(self, s: Session) -> None:
        grown = s.info.get(_GREW)
        if grown and self.watcher is not None:
            self.watcher(grown)

    def _writer(self) -> None:
        stop = False
        while not stop:
            batch = [self._queue.get()]
            while len(batch) < self._max:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            stop = None in batch
            jobs = [b for b in batch if b is not None and b[1].set_running_or_notify_cancel()]
            if jobs:
                self._commit(jobs)

    def _commit(self, jobs: list[tuple[Job, Future[Any]]]) -> None:
        """Several jobs, one COMMIT; nobody hears of success before it."""
        try:
            with Session(self.engine, expire_on_commit=False) as s, s.begin():
                # Alone, a job needs no savepoint: what fails is rolled back whole.
                attempt = _attempt if len(jobs) > 1 else _alone
                results = [attempt(s, job, future) for job, future in jobs]
        except Exception as e:  # noqa: BLE001  the COMMIT failed: every caller is told
            results = [(future, None, e) for _, future in jobs]
        for future, value, error in results:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)
        self._tell(s)


_Result = tuple[Future[Any], Any, BaseException | None]


def _alone(s: Session, job: Job, future: Future[Any]) -> _Result:
    return future, job(s), None


def _attempt(s: Session, job: Job, future: Future[Any]) -> _Result:
    """One job of several: when it fails, its neighbours are kept."""
    sqlite = hold(s).connection
    sqlite.execute("SAVEPOINT job")
    try:
        value = job(s)
    except Exception as e:  # noqa: BLE001  its caller is told
        _undo(sqlite)
        forget(s)
        return future, None, e
    sqlite.execute("RELEASE job")
    return future, value, None


def _undo(sqlite: Any) -> None:
    """Take back what the job did, and nothing else.

    SQLite may answer a full disk or an I/O error by rolling back everything, not just the statement.

    Then nothing of the batch is left to commit, and nobody may hear otherwise.
    """
    if not sqlite.in_transaction:
        raise sa.exc.InvalidRequestError("the database rolled the whole transaction back")
    sqlite.execute("ROLLBACK TO job")
    sqlite.execute("RELEASE job")


def _once(engine: sa.Engine, job: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    with Session(engine, expire_on_commit=False) as s, s.begin():
        return job(s, *args, **kwargs)


def _retried(
    engine: sa.Engine, committed: Callable[[Session], None], job: Callable[..., T], *args: Any, **kwargs: Any
) -> T:
    """A transaction that lost a race is read and decided again from the start."""
    for attempt in Retrying(
        retry=retry_if_exception(_lost_race),
        stop=stop_after_attempt(10),
        wait=wait_random_exponential(0.005, max=0.5),
        reraise=True,
    ):
        with attempt:
            with Session(engine, expire_on_commit=False) as s, s.begin():
                value = job(s, *args, **kwargs)
            committed(s)
            return value
    raise AssertionError("unreachable: tenacity returns or raises")


def _lost_race(error: BaseException) -> bool:
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(error, StaleRowError) or code in _SERIALIZATION


def _lock_file(path: str | None) -> int | None:
    """Keep a second process out: two writers, or two checkpointers, would hurt the file."""
    if not path or path == ":memory:":
        return None
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConflictError(
            f"{path} is in use by another process; stop it first, or use PostgreSQL for several"
        ) from None
    return handle


def _sqlite_engine(url: sa.URL, *, writer: bool, pool: int = 1) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False},
        poolclass=sa.pool.QueuePool,
        hide_parameters=True,  # rows hold arguments and webhooks, error texts end up in logs
        pool_size=pool,
        max_overflow=0,
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=5000",
            "temp_store=MEMORY",
            "cache_size=-16000",
            f"query_only={'OFF' if writer else 'ON'}",
        ):
            dbapi.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine
