"""One stage per story, on SQLite and on PostgreSQL, by one process and by several.

A story does not say who does the work. By default each is played by one process: those of `ON_BOTH` on
either database, the others on one of the two, half of them on each; and some of `BY_SEVERAL` by a process
that only answers and two workers too. (The engine's own stories are all played on both.)
`ACCEPTANCE_DATABASES=both` plays every story on both and all of `BY_SEVERAL` by several,
`ACCEPTANCE_WORKERS=1,2,3` plays all on PostgreSQL, by one that answers and so many workers.
"""

import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from stage import Stage, staged

ON_SQLITE: Final = pytest.param(("sqlite_url", 0), id="sqlite")
ON_POSTGRESQL: Final = pytest.param(("postgres_url", 0), id="postgresql")
BY_SEVERAL: Final = ("test_main_story",)
ON_BOTH: Final = ("test_main_story", "test_batch_stories")
VARIABLE: Final = "ACCEPTANCE_WORKERS"
DATABASES: Final = "ACCEPTANCE_DATABASES"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Who plays this story, and where."""
    if "database_url" in metafunc.fixturenames:
        metafunc.parametrize("cast", _casts(metafunc.definition), indirect=True)


def _casts(story: pytest.Item) -> list[Any]:
    if asked := os.environ.get(VARIABLE):
        if story.get_closest_marker("one_process"):
            return [ON_POSTGRESQL]
        return [_several(int(count)) for count in asked.split(",")]
    if story.get_closest_marker("one_database"):
        return [ON_SQLITE]
    lot, both = zlib.crc32(story.name.encode()), os.environ.get(DATABASES) == "both"
    several = [_several(2)] if story.path.stem in BY_SEVERAL and (both or lot % 3 == 1) else []
    if both or story.path.stem in ON_BOTH:
        return [ON_SQLITE, ON_POSTGRESQL, *several]
    return [(ON_SQLITE, ON_POSTGRESQL)[lot % 2], *several]


def _several(count: int) -> Any:
    return pytest.param(("postgres_url", count), id=f"{count}-workers")


@pytest.fixture
def cast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sets how many workers there are beside the process that answers; the database's fixture."""
    database, workers = request.param
    monkeypatch.setattr(Stage, "workers", workers)
    return str(database)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, cast: str) -> str:
    return str(request.getfixturevalue(cast))


@pytest_asyncio.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    """Everything running, with the usual configuration."""
    async with staged(tmp_path, database_url) as made:
        yield made
