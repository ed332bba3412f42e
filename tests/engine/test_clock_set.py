"""A clock that is set while the service runs: it is told, and what is due after a while stays so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from support.clock import Seconds, SettableClock
from support.patience import until
from support.world import World

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.engine.clock_watch import ClockWatch
from orchestrator.engine.worker import Worker
from orchestrator.store import outbox
from orchestrator.store.outbox import effect_t

HOUR = timedelta(hours=1)
HALF_A_MINUTE = timedelta(seconds=30)


@asynccontextmanager
async def at_work(world: World) -> AsyncIterator[Worker]:
    worker = Worker(
        world.database, world.performer, policy=world.policy, clock=world.clock, stopwatch=Seconds()
    )
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop(30)
        await running


async def ahead(world: World) -> dict[str, timedelta]:
    """How far ahead what is planned lies."""
    rows = await world.database.read(
        lambda s: s.execute(sa.select(effect_t.c.subject, effect_t.c.due_at)).all()
    )
    return {subject: due - world.clock() for subject, due in rows}


async def plan(world: World) -> None:
    """In half a minute: a reading, another try, and the end of a run, at a time that was told."""
    reading = Effect(EffectKind.FETCH_INTERACTION, "reading", world.clock() + HALF_A_MINUTE)
    told = Effect(EffectKind.END_RUN, "told", world.clock() + HALF_A_MINUTE)
    again = Effect(EffectKind.CANCEL_INTERACTION, "again", world.clock() + HALF_A_MINUTE)
    await world.database.write(outbox.add, "", [reading, told, again])
    await world.database.write(
        lambda s: s.execute(sa.update(effect_t).where(effect_t.c.subject == "again").values(attempts=1))
    )


@pytest.mark.asyncio
async def test_a_clock_set_back_puts_off_no_reading_and_no_retry(sqlite_url: str) -> None:
    async with World(sqlite_url) as world:
        await plan(world)
        with capture_logs() as logs:
            async with at_work(world) as worker:
                world.clock.advance(-HOUR)
                worker.wake()
                await until(lambda: any(x["event"] == "clock_set" for x in logs), "word of it")
        assert await ahead(world) == {
            "reading": HALF_A_MINUTE,
            "again": HALF_A_MINUTE,
            "told": HOUR + HALF_A_MINUTE,
        }
        assert [x["by_seconds"] for x in logs if x["event"] == "clock_set"] == [-3600]


@pytest.mark.asyncio
async def test_a_clock_set_ahead_is_told_and_changes_no_plan(sqlite_url: str) -> None:
    async with World(sqlite_url) as world:
        far = Effect(EffectKind.FETCH_INTERACTION, "reading", world.clock() + 2 * HOUR)
        await world.database.write(outbox.add, "", [far])
        with capture_logs() as logs:
            async with at_work(world) as worker:
                world.clock.advance(HOUR)
                worker.wake()
                await until(lambda: any(x["event"] == "clock_set" for x in logs), "word of it")
        assert await ahead(world) == {"reading": HOUR}


def test_a_step_stands_until_it_is_heeded_and_trims_add_up() -> None:
    clock, seconds = SettableClock(), Seconds()
    watch = ClockWatch(clock, seconds)
    clock.advance(seconds=60)
    seconds.now += 60
    assert watch.step() == timedelta(0)
    clock.advance(seconds=-6)
    assert watch.step() == timedelta(0)
    clock.advance(seconds=-6)
    assert watch.step() == timedelta(seconds=-12)
    watch.heed(watch.step())
    assert watch.step() == timedelta(0)
