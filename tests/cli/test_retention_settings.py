"""What the settings say of keeping is what the running service does."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator import app, opening
from orchestrator.domain.consent import Actor
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Recipe
from orchestrator.domain.triggers import Happened
from orchestrator.settings import Settings
from orchestrator.store import runs, triggers
from orchestrator.store.database import Database

NOW = datetime.now(UTC)
KEPT, OLD = timedelta(days=4), timedelta(days=6)


def written(s: Session) -> None:
    """Of each kind one that is old and one that is not; the runs have ended."""
    for name, age in (("kept", KEPT), ("old", OLD)):
        run = open_run(f"run_{name}", Recipe("x", model="m"), "hi", Actor("U0ANNA"), now=NOW - age)
        runs.insert(s, run, now=NOW - age)
        s.connection().execute(
            runs.run_t.update()
            .where(runs.run_t.c.id == f"run_{name}")
            .values(status="cancelled", closed_at=NOW - age)
        )
        triggers.happen(s, "gone", name, NOW - age, Happened.STARTED)


def there(s: Session) -> tuple[set[str], set[str]]:
    conn = s.connection()
    ids, keys = sa.select(runs.run_t.c.id), sa.select(triggers.occurrence_t.c.key)
    return set(conn.execute(ids).scalars()), set(conn.execute(keys).scalars())


async def served(settings: Settings, database: Database) -> Any:
    """What is left once the service has run for a while."""
    service = app.build(settings, database)
    await database.write(written)
    async with service.lifespan(service.web), asyncio.timeout(30):
        while (left := await database.read(there)) != ({"run_kept"}, {"kept"}):  # noqa: ASYNC110  no event
            await asyncio.sleep(0.02)
    return left


def test_the_service_lets_go_by_itself(settings_of: Callable[..., Settings], database: Database) -> None:
    settings = settings_of(
        database.url.render_as_string(hide_password=False),
        webhooks={"check_seconds": 0},
        retention={"runs_days": 5, "occurrences_days": 5},
    )
    opening.prepare_jobs(settings, database)
    assert asyncio.run(served(settings, database)) == ({"run_kept"}, {"kept"})
