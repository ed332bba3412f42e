"""A clock that several processes share is set back while they run, or while none of them does."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.orm import Session
from structlog.testing import capture_logs
from support.world import World

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.shared_clock import SharedClock
from orchestrator.store import outbox
from orchestrator.store.outbox import effect_t
from orchestrator.store.tables import EffectState

HOUR = timedelta(hours=1)
HALF_A_MINUTE = timedelta(seconds=30)
LEASE = timedelta(seconds=15)


class NoJobs:
    """Whoever works looks for himself."""

    def __init__(self, **_: Any) -> None:
        pass


class Machine:
    """One worker's; its time is that of the database as it last heard it."""

    def __init__(self, world: World) -> None:
        self._shared = world.clock
        self._time = SharedClock(world.clock, lambda: 0.0)
        self._worker = QueuedWorker(
            world.database,
            world.performer,
            policy=world.policy,
            clock=self._time,
            make_jobs=NoJobs,
            moment=lambda _: world.clock(),
        )

    def hear(self) -> None:
        self._time.agree(self._shared(), 0.0)

    async def look(self) -> None:
        """What it does now and then."""
        self._worker._near_at = self._worker._sweep_at = 0.0
        await self._worker._sweep()


@pytest_asyncio.fixture
async def world(postgres_url: str) -> AsyncIterator[World]:
    async with World(postgres_url) as made:
        yield made


async def plan(world: World) -> None:
    """In half a minute: a reading, another try, and the end of a run, at a time that was told. And somebody
    who is gone holds one until then.
    """
    now = world.clock()
    kinds = {
        "reading": EffectKind.FETCH_INTERACTION,
        "again": EffectKind.CANCEL_INTERACTION,
        "told": EffectKind.END_RUN,
        "held": EffectKind.CANCEL_INTERACTION,
    }
    await world.database.write(
        outbox.add, "", [Effect(kind, subject, now + HALF_A_MINUTE) for subject, kind in kinds.items()]
    )

    def went_on(s: Session) -> None:
        one = sa.update(effect_t)
        s.execute(one.where(effect_t.c.subject == "again").values(attempts=1))
        held = {"state": EffectState.CLAIMED, "lease_until": now + LEASE}
        s.execute(one.where(effect_t.c.subject == "held").values(held))

    await world.database.write(went_on)


async def ahead(world: World) -> dict[str, timedelta]:
    """How far ahead what is planned lies, or what is held until then."""
    rows = await world.database.read(
        lambda s: s.execute(
            sa.select(effect_t.c.subject, sa.func.coalesce(effect_t.c.lease_until, effect_t.c.due_at))
        ).all()
    )
    return {subject: at - world.clock() for subject, at in rows}


AS_PLANNED = {"reading": HALF_A_MINUTE, "again": HALF_A_MINUTE, "told": HALF_A_MINUTE + HOUR, "held": LEASE}


@pytest.mark.asyncio
async def test_a_shared_clock_set_back_puts_off_no_reading_no_retry_and_no_dead_workers_work(
    world: World,
) -> None:
    first, second = Machine(world), Machine(world)
    await first.look()
    await plan(world)
    world.clock.advance(-HOUR)
    with capture_logs() as logs:
        await first.look()
        assert (await ahead(world))["reading"] == HALF_A_MINUTE + HOUR, "some still go by the old"
        for each in (first, second):
            each.hear()
        for each in (first, second, first, second):
            await each.look()
    assert await ahead(world) == AS_PLANNED
    assert [x["by_seconds"] for x in logs if x["event"] == "clock_set"] == [-3600], "once, and by one of them"


@pytest.mark.asyncio
async def test_a_clock_that_was_set_back_while_nobody_worked_is_noticed_too(world: World) -> None:
    await Machine(world).look()
    await plan(world)
    world.clock.advance(-HOUR)
    started = Machine(world)
    for _ in range(3):
        await started.look()
    assert await ahead(world) == AS_PLANNED


@pytest.mark.asyncio
@pytest.mark.parametrize("trimmed", [timedelta(seconds=9), timedelta(seconds=-9)])
async def test_a_clock_that_goes_on_or_is_trimmed_changes_no_plan(world: World, trimmed: timedelta) -> None:
    machine = Machine(world)
    await machine.look()
    await plan(world)
    planned = await ahead(world)
    world.clock.advance(trimmed)
    for _ in range(3):
        await machine.look()
    assert await ahead(world) == {subject: left - trimmed for subject, left in planned.items()}
