"""What the measurements are made on can still be made: a new table or column must not break it unnoticed."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bench import seed
from orchestrator.domain.model import RunStatus
from orchestrator.store import interactions, migrate, runs
from orchestrator.store.database import Database

pytestmark = pytest.mark.asyncio

COUNT = 3
ENDS = {
    seed.waiting: RunStatus.WAITING,
    seed.live: RunStatus.RUNNING,
    seed.completed: RunStatus.COMPLETED,
    seed.stopped: RunStatus.CANCELLED,
    seed.refused: RunStatus.FAILED,
}


def counts(s: Session) -> dict[str, int]:
    """Rows of every table that has some."""
    found = {
        t.name: s.connection().execute(sa.select(sa.func.count()).select_from(t)) for t in migrate.TABLES
    }
    return {name: n for name, rows in found.items() if (n := rows.scalar_one())}


def owned(s: Session, ids: list[str]) -> list[Any]:
    """The runs behind those interactions, whole."""
    return [runs.load(s, str((interactions.owner_of(s, i) or [""])[0])) for i in ids]


@pytest.mark.parametrize("make", ENDS, ids=lambda make: make.__name__)
async def test_a_run_and_its_copies(database: Database, make: seed.Make) -> None:
    (first,) = await seed.copied(database, make, 1)
    one = await database.read(counts)
    more = await seed.copied(database, make, COUNT)
    assert len({first, *more}) == 1 + COUNT
    shared = {"delivery"}  # a webhook is of nobody before it is sorted, and is not copied
    grown = await database.read(counts)
    assert {n: grown[n] for n in one if n not in shared} == {n: one[n] * 4 for n in one if n not in shared}
    found = await database.read(owned, [first, *more])
    assert {run.status for run in found} == {ENDS[make]}
    calls = [call for run in found for call in run.turn.calls]
    assert len({call.id for call in calls}) == len(calls)
    assert len({c.approval.id for c in calls if c.approval}) == len([c for c in calls if c.approval])


async def test_nothing_is_nothing_and_runs_that_wait_are_made_one_by_one(database: Database) -> None:
    assert await seed.copied(database, seed.live, 0) == []
    asked = await database.read(owned, await seed.waiting_runs(database, 2))
    assert all(run.turn.calls[0].approval.ts for run in asked)
