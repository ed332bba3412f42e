"""How each connection of ours is set up; a SQLite file, and the lock that keeps a second process from it."""

import errno
import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.errors import ConflictError
from orchestrator.store.sql import standstill
from orchestrator.store.sql.encoding import dumps, loads

PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Seconds, the last milliseconds, unless the address says other ones; a machine that is gone without a word
is noticed, and what it held let go.

For a connection to come about libpq itself waits over two minutes: so long a server that hangs would keep a
start, a command or a thread. Linux asks nothing of a machine that has not acknowledged what it was sent, and
gives that up after some 15 minutes: hence the last, as long as the others come to together.
"""
SILENT_SECONDS = 25.0
"""How long a server is waited for that says nothing, which TCP does not notice: as long as TCP waits. A disk
may be busy for a while, and a transaction of ours that lasts 15 s the server ends; see `standstill`."""
SETTLED = {
    "standard_conforming_strings": "on",
    "DateStyle": "ISO",
    "default_transaction_isolation": "read committed",
}
"""How each session on PostgreSQL has it, whatever the server or our role is set to: bytes and literals are
written, and instants read, in one way only; and who waited for a lock sees what was committed meanwhile.
"""
KNOWN = 512
"""Statements a connection to SQLite keeps compiled: there are some two hundred of ours (the driver's own
measure is 128)."""
LONGEST_LOG = 16_000
"""Pages of 4 KiB: a log longer than that is moved by the commit that finds it so."""


def postgres(url: sa.URL, threads: int, still_seconds: float, silent_seconds: float) -> sa.Engine:
    """As many connections as threads.

    Args:
        still_seconds: How long the server waits for this process; see `standstill`.
        silent_seconds: How long this process waits for the server; see `silence`.
    """
    engine = sa.create_engine(
        url,
        pool_size=threads,
        max_overflow=2,  # for `Database.let_go`, and for what is told
        json_serializer=dumps,
        json_deserializer=loads,
        hide_parameters=True,
        connect_args={
            **{name: value for name, value in PATIENCE.items() if name not in url.query},
            "client_encoding": "utf8",
            "fallback_application_name": standstill.APPLICATION,
        },
    )

    from orchestrator import silence  # needs the driver, of the extra `postgres`
    from orchestrator.store.sql import pipeline

    @sa.event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        settled = {**SETTLED, **standstill.clocks(still_seconds, dbapi.info.server_version)}
        # In one, and in no transaction: whatever clock the server comes with, it finds none that is idle.
        dbapi.autocommit = True
        dbapi.introduce(*(f"SET {name} = '{value}'" for name, value in settled.items()))
        dbapi.autocommit = False

    pipeline.listen(engine, silence.Silence(silent_seconds))
    return engine


def shares_sessions(engine: sa.Engine) -> bool:
    """Whether two connections at the same time hear of one session. A pool may have but one: the second is
    made beside it.
    """
    beside = engine.pool.recreate()
    try:
        with closing(engine.raw_connection()) as one, closing(beside.connect()) as other:
            mine: Any = one.driver_connection
            its: Any = other.driver_connection
            return bool(mine.session == its.session != "")
    except engine.dialect.loaded_dbapi.OperationalError:
        return False  # not so many are let in; who cannot be reached at all is told elsewhere
    finally:
        beside.dispose()


def sqlite(url: sa.URL, *, writer: bool, pool: int = 1) -> sa.Engine:
    """So many connections, which write or cannot."""
    engine = sa.create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False, "cached_statements": KNOWN},
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
            raise raised(e) from e

    return engine


def raised(error: BaseException) -> BaseException:
    """As SQLAlchemy raises it, also what the driver said to a statement of ours."""
    if not isinstance(error, sqlite3.Error):
        return error
    return sa.exc.DBAPIError.instance("", {}, error, sqlite3.Error, hide_parameters=True)


def lock(path: str | None) -> int | None:
    """Keep a second process out: two writers, or two checkpointers, would hurt the file.

    Returns:
        What holds the lock until it is closed, None for a database that is no file.

    Raises:
        ConflictError: Another process has it.
    """
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


def own(path: str | None) -> tuple[int | None, bool]:
    """`lock` and `make` together; raises what they do, and holds nothing then.

    A link is followed first, as SQLite does: by each of its names a file has the same lock.
    """
    if path and path != ":memory:":
        path = os.path.realpath(path)
    handle = lock(path)
    try:
        return handle, make(path)
    except OSError:
        if handle is not None:
            os.close(handle)
        raise


def make(path: str | None) -> bool:
    """See that the file is there, a new one for its owner only: rows hold what people and tools said.

    SQLite gives what it keeps beside the file the same mode.

    Returns:
        Whether there was none.

    Raises:
        PermissionError: It is there and may only be read.
    """
    if not path or path == ":memory:":
        return False
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not os.access(path, os.W_OK):  # SQLite would open it all the same, and say so with the first row
            raise PermissionError(errno.EACCES, "it may not be written by this user", path) from None
        return False
    return True
