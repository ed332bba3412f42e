"""Processes that share a PostgreSQL go by its clock: whose machine's is wrong does nothing early or late."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator import app
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.engine.shared_clock import SharedClock
from orchestrator.settings import Settings
from orchestrator.store import outbox, sightings
from orchestrator.store.database import Database
from orchestrator.store.outbox import effect_t
from orchestrator.store.tables import EffectState

FIVE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)


@pytest.mark.asyncio
@pytest.mark.parametrize("apart", [FIVE, -FIVE], ids=["ahead", "behind"])
async def test_a_worker_whose_clock_is_wrong_fires_timers_when_it_is_time(
    settings_of: Callable[[str], Settings], postgres_url: str, apart: timedelta
) -> None:
    database = Database(postgres_url)
    try:
        settings = settings_of(postgres_url)
        service = app.build(settings, database, machine=off_by(apart), role=app.Role.WORKER)
        assert service.worker is not None
        async with service.lifespan(service.web):
            now = await database.read(sightings.moment)
            timers = [
                Effect(EffectKind.END_RUN, "over", now - SECOND),
                Effect(EffectKind.END_RUN, "later", now + FIVE - 5 * SECOND),
            ]
            await database.write(outbox.add, "run_nobodys", timers)
            while await service.worker.run_once():
                pass
            found = await database.read(states)
        assert found == {"over": EffectState.DONE, "later": EffectState.PENDING}
    finally:
        database.close()


def states(s: Session) -> dict[str, EffectState]:
    return {row.subject: row.state for row in s.execute(sa.select(effect_t.c.subject, effect_t.c.state))}


@pytest.mark.asyncio
async def test_the_time_is_told_in_utc_wherever_the_database_is(postgres_url: str) -> None:
    """What is written down of a moment says so, such as who was first with an answer."""
    database = Database(postgres_url)
    try:
        clock = SharedClock(lambda: datetime.now(UTC))
        zone = await database.read(lambda s: s.scalar(sa.text("SELECT current_setting('TimeZone')")))
        assert zone != "UTC", "the tests' server is far away"
        clock.agree(await database.read(sightings.moment), clock.stopwatch())
        assert clock().tzinfo is UTC
    finally:
        database.close()


def off_by(apart: timedelta) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + apart
