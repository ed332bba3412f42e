"""What keeps runs waiting is told by whoever is asked, and is no reason to send requests elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from litestar import Litestar
from support.clock import SettableClock
from support.readiness import readiness

from orchestrator import app, jobs
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.readiness import FILES_TOLD_FOR, LATE_SECONDS
from orchestrator.settings import Settings
from orchestrator.store import outbox, sightings
from orchestrator.store.database import Database

pytestmark = pytest.mark.asyncio
FULL = "the storage folder's disk has 3 MiB left, below storage.min_free_mb"
WELL = (200, "well", "")


Answering = tuple[Litestar, Database, SettableClock]


@pytest.fixture
def answering(settings_of: Callable[[str], Settings], postgres_url: str) -> Iterator[Answering]:
    """A process that only answers."""
    clock = SettableClock()
    with closing(Database(postgres_url)) as database:
        jobs.install(database.engine)
        service = app.build(settings_of(postgres_url), database, role=app.Role.WEB, clock=clock)
        yield service.web, database, clock


async def test_who_only_answers_says_that_nobody_takes_up_due_work(answering: Answering) -> None:
    web, database, clock = answering
    due = Effect(EffectKind.CANCEL_INTERACTION, "i1", clock())
    await database.write(outbox.add, "run_1", [due])
    assert await readiness(web, "backlog") == WELL
    clock.advance(seconds=LATE_SECONDS)
    assert await readiness(web, "backlog") == WELL
    clock.advance(seconds=15)
    late = "work is due for 75 s: no worker runs, or all are busy"
    assert await readiness(web, "backlog") == (200, "degraded", late)


async def test_files_that_cannot_be_stored_are_told_of_while_it_is_tried(answering: Answering) -> None:
    web, database, clock = answering
    assert await readiness(web, "files") == WELL
    await database.write(sightings.put, sightings.FILES, sightings.Sighting(clock(), False, FULL))
    assert await readiness(web, "files") == (200, "degraded", FULL)
    clock.advance(seconds=FILES_TOLD_FOR.total_seconds() + 1)
    assert await readiness(web, "files") == WELL
