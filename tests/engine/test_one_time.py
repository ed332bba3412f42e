"""Processes that share a PostgreSQL go by its clock: whose machine's is wrong does nothing early or late."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.orm import Session
from support.signing import WHSEC

from orchestrator import app
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.engine.shared_clock import SharedClock
from orchestrator.settings import Settings, load
from orchestrator.store import outbox, sightings
from orchestrator.store.database import Database
from orchestrator.store.outbox import effect_t
from orchestrator.store.tables import EffectState

FIVE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Settings:
    monkeypatch.chdir(tmp_path)
    Path("tools").mkdir()
    environ = {"GEMINI_API_KEY": "k", "GEMINI_WEBHOOK_SECRETS": WHSEC, "DATABASE_URL": postgres_url}
    Path("config.yaml").write_text(yaml.safe_dump({"slack": {"enabled": False}}), encoding="utf-8")
    return load(Path("config.yaml"), environ=environ)


@pytest.mark.asyncio
@pytest.mark.parametrize("apart", [FIVE, -FIVE], ids=["ahead", "behind"])
async def test_a_worker_whose_clock_is_wrong_fires_timers_when_it_is_time(
    settings: Settings, postgres_url: str, apart: timedelta
) -> None:
    database = Database(postgres_url)
    try:
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
