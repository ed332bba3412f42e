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
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from orchestrator.errors import ConflictError
from orchestrator.store import audit, standstill
from orchestrator.store.encoding import dumps, loads
from orchestrator.store.prepared import Memory, attach, forget, hold, speak
from orchestrator.store.recollection import Recollection
from orchestrator.store.telling import Telling
from orchestrator.store.threads import Threads, tell
from orchestrator.store.wire import ForgottenError, Wire

P = ParamSpec("P")
T = TypeVar("T")
Job = Callable[[Session], Any]

log = structlog.get_logger(__name__)

RACES = 10
"""How often a transaction is tried that others are faster than."""
LOCK_SECONDS = 60.0
"""How long a lock is waited for, by one short wait after the other; see `standstill`."""
KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Seconds, the last milliseconds; a machine that is gone without a word is noticed, and what it held let go.

Linux asks nothing of a machine that has not acknowledged what it was sent, and gives that up after some
15 minutes: hence the last, as long as the others come to together.
"""
SETTLED = {
    "standard_conforming_strings": "on",
    "DateStyle": "ISO",
    "default_transaction_isolation": "read committed",
}
"""How each session on PostgreSQL has it, whatever the server or our role is set to: bytes and literals are
written, and instants read, in one way only; and who waited for a lock sees what was committed meanwhile.
"""
KEPT_SECONDS = 0.02
"""How long the writer keeps its connection after a commit; getting one takes longer than a small step."""
KEPT_AT_MOST = 1.0
"""So long at a stretch, in seconds: others of this process write seldom, and must get their turn."""
GUARDED_SECONDS = 30.0
"""So long after a job failed each has its SAVEPOINT from the start: failures come in swarms, and a job done
twice also spends twice what is no row."""
TIDY_SECONDS = 2.0
"""Between two checkpoints, as long as there is something to move."""
LONGEST_LOG = 16_000
"""Pages of 4 KiB: a log longer than that is moved by the commit that finds it so."""
_SERIALIZATION = ("40001", "40P01")  # PostgreSQL: serialization failure, deadlock detected
_GREW = "grew"
_LATER = "later"
_SINCE = "since"


def grew(s: Session, run_id: str) -> None:
    """Say within a transaction that a run's record grows; who watches here hears of it after the COMMIT."""
    s.info.setdefault(_GREW, set()).add(run_id)


def after_commit(s: Session, call: Callable[[], None]) -> None:
    """Have something done once the transaction is committed, in its thread and before its caller hears of
    it; not if it never is. It must not raise.
    """
    s.info.setdefault(_LATER, []).append(call)


def age(s: Session) -> timedelta:
    """How long ago this transaction began, at the most: what PostgreSQL calls `now()` is not longer ago."""
    return timedelta(seconds=time.monotonic() - s.info.get(_SINCE, time.monotonic()))


class StaleRowError(Exception):
    """A conditional update changed no row: somebody else was first. Read again, decide again."""


class TakenBackError(sa.exc.InvalidRequestError):
    """SQLite rolled back more than the statement that failed; what was said since may have been done."""


class Database:
    """One database.

    Args:
        url: SQLAlchemy URL, `sqlite:///path` or `postgresql+psycopg://…`.
        readers: Reading connections (SQLite).
        threads: Connections (PostgreSQL).
        max_batch: Most jobs in one commit (SQLite).
        still_seconds: How long a transaction may wait for this process, should it stand still (PostgreSQL).

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
    ) -> None:
        self.url = sa.make_url(url)
        self.still_seconds = still_seconds
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._max = max_batch
        self.watcher: Callable[[set[str]], None] | None = None
        """Told after a COMMIT here whose records grew, in the committing thread; must not raise."""
        self.ending: Callable[[Session], None] = lambda s: None
        """Called within each writing transaction of PostgreSQL, when its job is done, before the COMMIT.
        Where it uses the driver itself, it calls `prepared.flush` first."""
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._lock = _lock_file(self.url.database) if self.sqlite else None
        self._thread: threading.Thread | None = None
        self._kept: sa.Connection | None = None
        self._kept_since = 0.0
        self._guarded_until = 0.0
        self._memory = Memory()
        self._runs = Recollection()
        self._telling: Telling | None = None
        self._grown, self._closing = threading.Event(), threading.Event()
        if self.sqlite:
            self.engine = _sqlite_engine(self.url, writer=True)
            sa.event.listen(self.engine, "before_cursor_execute", self._memory.unsettle)
            self._read_engine = _sqlite_engine(self.url, writer=False, pool=readers)
            self._pool = Threads(readers, "db-read")
            self._thread = threading.Thread(target=self._writer, name="db-write", daemon=True)
            self._thread.start()
            self._tidier = threading.Thread(target=self._tidy, name="db-checkpoint", daemon=True)
            self._tidier.start()
        else:
            self.engine = self._read_engine = _postgres_engine(self.url, threads, still_seconds)
            # It may lead to a server that took over, and lost what was committed last.
            sa.event.listen(self.engine, "connect", lambda *_: self._runs.clear())
            self._pool = Threads(threads, "db")
            self._telling = Telling(self.engine)
        self._aside = ThreadPoolExecutor(1, "db-aside")

    async def write(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a transaction; returns after COMMIT.

        Once begun it is never interrupted: a caller that is cancelled stops waiting, the
        transaction still completes.
        """
        if self._thread is None:
            return await self._hop(lambda: _retried(lambda: self._transact(job, *args, **kwargs)))
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((partial(_called, job, args, kwargs), done))
        return await done

    async def read(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a transaction that must not write."""
        if self._thread is None:
            return await self._hop(lambda: _retried(lambda: self._look(job, *args, **kwargs)))
        return await self._hop(lambda: _once(self._read_engine, job, *args, **kwargs))

    async def let_go(self) -> int:
        """End what processes that stand still hold (PostgreSQL); returns how many sessions that were.

        On a thread and a connection beside the pool's, which may all be waiting for just that.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._aside, _once, self.engine, standstill.end, self.still_seconds)

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
            self._closing.set()
            self._grown.set()
            self._tidier.join()
        self._pool.close()
        if self._telling is not None:
            self._telling.close()
        self._aside.shutdown()
        self._read_engine.dispose()
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _hop(self, call: Callable[[], T]) -> T:
        return await self._pool.run(call)

    def _transact(self, job: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            with _spoken(self.engine) as (s, wire):
                self._runs.offer(s)
                value = job(s, *args, **kwargs)
                self.ending(s)
                seen = hold(s).seen
                _write_down(s, wire)
                foreign = wire.foreign  # the connection is another thread's at once
        except StaleRowError:
            self._runs.clear()  # a row that was changed by hand has no other version: read all of it anew
            raise
        if foreign:
            self._runs.clear()
        else:
            self._runs.keep(seen)
        self._tell(s)
        return value

    def _look(self, job: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        with _spoken(self.engine) as (s, wire):
            self._runs.offer(s)
            wire.loose = True
            value = job(s, *args, **kwargs)
            _end(s, wire)
        return value

    def _tell(self, s: Session) -> None:
        """It is committed: what fails here is no reason to tell its caller otherwise, or to do it again."""
        calls = list(s.info.get(_LATER, ()))
        grown = s.info.get(_GREW)
        if grown and self._telling is not None:
            calls.append(partial(self._telling.put, grown))
        if grown and self.watcher is not None:
            calls.append(partial(self.watcher, grown))
        for call in calls:
            try:
                call()
            except Exception:
                with suppress(Exception):  # the log itself may be what fails
                    log.exception("commit_not_told")

    def _writer(self) -> None:
        stop = False
        while not stop:
            try:
                batch = [self._queue.get(timeout=KEPT_SECONDS if self._kept else None)]
            except queue.Empty:
                self._lay_down()
                self._memory.forget()  # at rest it holds nothing
                continue
            if self._kept is not None and time.monotonic() - self._kept_since > KEPT_AT_MOST:
                self._lay_down()  # somebody else may wait for it
            while len(batch) < self._max:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            stop = None in batch
            jobs = [b for b in batch if b is not None and not b[1].cancelled()]
            if jobs:
                self._commit(jobs)
                self._grown.set()
        self._lay_down()

    def _lay_down(self) -> None:
        """The writer's connection back into its pool, for whoever else writes in this process."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _tidy(self) -> None:
        """Move what is committed from the log into the file (SQLite), beside the commits.

        Left to SQLite, every so-manieth commit would do it, and all that wait for that one with it.
        """
        while self._grown.wait() and not self._closing.wait(TIDY_SECONDS):
            self._grown.clear()
            connection = self._read_engine.raw_connection()
            try:
                connection.driver_connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # type: ignore[union-attr]
            except sqlite3.Error:
                log.exception("checkpoint_failed")  # SQLite still does it, at LONGEST_LOG
            finally:
                connection.close()

    def _commit(self, jobs: list["_Asked"]) -> None:
        """Several jobs, one COMMIT; nobody hears of success before it.

        First as if none could fail: where one does, all is taken back and each done in its own SAVEPOINT, and
        so are those that come soon after.
        """
        guarded = len(jobs) > 1 and time.monotonic() < self._guarded_until
        try:
            try:
                s, results = self._committed(jobs, _attempt if guarded else _unguarded)
            except BaseException as e:
                if guarded or len(jobs) == 1 or isinstance(e, TakenBackError):
                    raise
                s, results = self._committed(jobs, _attempt)
        except BaseException as e:  # noqa: BLE001  alone, or the COMMIT failed: every caller is told
            s, results = None, [(done, None, _known(e)) for _, done in jobs]
        if any(error is not None for _, _, error in results):
            self._guarded_until = time.monotonic() + GUARDED_SECONDS
        if s is not None:
            self._tell(s)
        _answer(results)

    def _committed(self, jobs: list["_Asked"], attempt: "_Attempt") -> tuple[Session, list["_Result"]]:
        if self._kept is None:
            self._kept, self._kept_since = self.engine.connect(), time.monotonic()
        try:
            with _session(self._kept, self._memory) as s:
                results = [attempt(s, job, done) for job, done in jobs]
        except BaseException:
            self._memory.forget()
            self._lay_down()  # rolled back, whatever state it is in
            raise
        return s, results


_Asked = tuple[Job, "asyncio.Future[Any]"]
_Result = tuple["asyncio.Future[Any]", Any, BaseException | None]
_Attempt = Callable[[Session, Job, "asyncio.Future[Any]"], _Result]


def _called(job: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], s: Session) -> T:
    return job(s, *args, **kwargs)


def _answer(results: list[_Result]) -> None:
    """Each caller hears in its own loop; one whose loop has ended no longer waits."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Result]] = {}
    for result in results:
        by_loop.setdefault(result[0].get_loop(), []).append(result)
    for loop, told in by_loop.items():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_hand_over, told)


def _hand_over(results: list[_Result]) -> None:
    for done, value, error in results:
        tell(done, value, error)


def _unguarded(s: Session, job: Job, done: "asyncio.Future[Any]") -> _Result:
    value = job(s)
    audit.append(s)
    _still_begun(hold(s).connection)  # or its neighbours' statements would be transactions of their own
    return done, value, None


def _attempt(s: Session, job: Job, done: "asyncio.Future[Any]") -> _Result:
    """One job of several: when it fails, its neighbours are kept."""
    sqlite, later = hold(s).connection, len(s.info.get(_LATER, ()))
    sqlite.execute("SAVEPOINT job")
    try:
        value = job(s)
        audit.append(s)
    except BaseException as e:  # noqa: BLE001  its caller is told
        _undo(sqlite)
        forget(s)
        audit.unnote(s)
        del s.info.get(_LATER, [])[later:]
        return done, None, e
    sqlite.execute("RELEASE job")
    return done, value, None


def _write_down(s: Session, wire: Wire) -> None:
    """The audit's part of a transaction, its last, and the COMMIT; who finds the chain grown all the same
    begins anew.
    """
    wrote = audit.append(s)
    try:
        _end(s, wire)
    except sa.exc.IntegrityError as e:
        if not wrote or getattr(getattr(e.orig, "diag", None), "table_name", None) != audit.audit_t.name:
            raise  # of something the job had written
        # The server's own isolation showed an older head.
        raise StaleRowError("the audit is no longer what was read") from e


def _end(s: Session, wire: Wire) -> None:
    if s.in_transaction():
        s.commit()  # sends what the ORM has left; the COMMIT is the wire's
    wire.commit()


@contextmanager
def _spoken(engine: sa.Engine) -> Iterator[tuple[Session, Wire]]:
    """A session on PostgreSQL, whose transaction begins with its first statement; see `_end`."""
    from orchestrator.store import pipeline  # needs the driver

    with engine.begin() as connection:
        s = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        wire = pipeline.begin(connection)
        speak(s, connection, wire)
        s.info[_SINCE] = time.monotonic()
        try:
            yield s, wire
        except BaseException:
            wire.rollback()
            if wire.lost:
                connection.invalidate()  # or its rollback, which fails, would be what is told
            raise


def _known(error: BaseException) -> BaseException:
    """As SQLAlchemy raises it, also what the driver said to a statement of ours."""
    if not isinstance(error, sqlite3.Error):
        return error
    return sa.exc.DBAPIError.instance("", {}, error, sqlite3.Error, hide_parameters=True)


def _undo(sqlite: Any) -> None:
    """Take back what the job did, and nothing else.

    SQLite may answer a full disk or an I/O error by rolling back everything, not just the statement.

    Then nothing of the batch is left to commit, and nobody may hear otherwise.
    """
    _still_begun(sqlite)
    sqlite.execute("ROLLBACK TO job")
    sqlite.execute("RELEASE job")


def _still_begun(sqlite: Any) -> None:
    if not sqlite.in_transaction:
        raise TakenBackError("the database rolled the whole transaction back")


@contextmanager
def _session(source: sa.Engine | sa.Connection, memory: Memory | None = None) -> Iterator[Session]:
    """A session whose transaction is there already; it begins one of its own only where Core is used."""
    with source.begin() as begun:
        connection = begun if isinstance(begun, sa.Connection) else begun.connection
        s = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        attach(s, connection, memory.seen if memory else None)
        if memory is not None:
            memory.begin(connection.connection.driver_connection)
        yield s
        if s.in_transaction():
            s.commit()
    if memory is not None:
        memory.end(connection.connection.driver_connection)


def _once(engine: sa.Engine, job: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    with _session(engine) as s:
        return job(s, *args, **kwargs)


def _retried(transaction: Callable[[], T]) -> T:
    """A transaction that lost a race is read and decided again from the start."""
    try:
        return transaction()  # nearly always that is all
    except Exception as e:
        if not lost_race(e):
            raise
        lost: list[Exception] = [e]
    for attempt in Retrying(
        retry=retry_if_exception(lost_race),
        stop=_enough,
        wait=wait_random_exponential(0.005, max=0.5),
        reraise=True,
    ):
        with attempt:
            if lost:
                raise lost.pop()  # the first try was that one
            return transaction()
    raise AssertionError("unreachable: tenacity returns or raises")


def _enough(state: RetryCallState) -> bool:
    if state.outcome is not None and standstill.kept_waiting(state.outcome.exception()):
        return (state.seconds_since_start or 0.0) >= LOCK_SECONDS
    return state.attempt_number >= RACES


def lost_race(error: BaseException) -> bool:
    """Whether the transaction may simply be tried again."""
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    again = isinstance(error, StaleRowError | ForgottenError)
    return again or code in _SERIALIZATION or standstill.kept_waiting(error)


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


def _postgres_engine(url: sa.URL, threads: int, still_seconds: float) -> sa.Engine:
    engine = sa.create_engine(
        url,
        pool_size=threads,
        max_overflow=2,  # for `let_go`, and for what is told
        json_serializer=dumps,
        json_deserializer=loads,
        hide_parameters=True,
        connect_args={
            **KEEPALIVES,
            "client_encoding": "utf8",
            "fallback_application_name": standstill.APPLICATION,
        },
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        dbapi.execute(";".join(f"SET {name} = '{value}'" for name, value in SETTLED.items()))
        standstill.limit(dbapi, still_seconds)

    from orchestrator.store import pipeline  # needs the driver, which comes with the extra `postgres`

    pipeline.listen(engine)
    return engine


def _sqlite_engine(url: sa.URL, *, writer: bool, pool: int = 1) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False},
        poolclass=sa.pool.QueuePool,
        hide_parameters=True,  # rows hold arguments and webhooks, error texts end up in logs
        json_serializer=dumps,
        json_deserializer=loads,
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
            f"wal_autocheckpoint={LONGEST_LOG}",
            f"query_only={'OFF' if writer else 'ON'}",
        ):
            dbapi.execute(f"PRAGMA {pragma}")

    start = "BEGIN IMMEDIATE" if writer else "BEGIN"

    @sa.event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        try:
            conn.connection.driver_connection.execute(start)  # type: ignore[union-attr]
        except sqlite3.Error as e:
            raise _known(e) from e

    return engine
