"""How often a worker looks at rows that it has no room for: not at all, until there is some."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import pass_by
from support.patience import until
from support.processes import Probed
from support.world import World

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.engine.worker import LONGEST_SLEEP, PRUNE_MOST, SLOTS, Worker
from orchestrator.store import inbox, outbox

pytestmark = pytest.mark.asyncio

KIND = EffectKind.CANCEL_INTERACTION
SECOND = timedelta(seconds=1)


class Bell(asyncio.Event):
    """Counts how often somebody began to wait for it."""

    waits = 0

    async def wait(self) -> Literal[True]:
        self.waits += 1
        return await super().wait()


class Counting(Worker):
    """Counts its looks, and how often it went to sleep after one."""

    looks = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bell = self._wake = Bell()

    async def _take(self, *, mail: bool = True) -> int:
        self.looks += 1
        return await super()._take(mail=mail)


@asynccontextmanager
async def at_work(world: World) -> AsyncIterator[Counting]:
    """With one place for what talks to Gemini, which is taken."""
    slots = {**SLOTS, "gemini": 1}
    worker = Counting(world.database, world.performer, policy=world.policy, clock=world.clock, slots=slots)
    assert worker.reserve(KIND)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop(30)
        await running


async def at_rest(worker: Counting) -> None:
    """It sleeps after its last look, and knows for how long."""
    await until(lambda: 0 < worker.bell.waits == worker.looks, "a worker that sleeps")


async def later(seconds: float) -> None:
    """The loop's time goes on, and whoever waited for that does too."""
    pass_by(seconds)
    for _ in range(10):
        await asyncio.sleep(0)


async def ask(world: World, subject: str, in_time: timedelta = timedelta(0)) -> None:
    effects = [Effect(KIND, subject, world.clock() + in_time)]
    await world.database.write(outbox.add, "", effects)


async def test_what_has_no_room_is_looked_for_when_there_is_some(database_url: str) -> None:
    """Due now, and when the lane is full for long already."""
    async with World(database_url) as world:
        world.gemini = gemini = Probed({})
        world.boot()
        await ask(world, "now")
        await ask(world, "later", SECOND)
        async with at_work(world) as worker:
            await at_rest(worker)
            await later(LONGEST_SLEEP - 5)  # a busy machine takes some of its own
            assert worker.looks == 1
            world.clock.advance(SECOND)
            worker.give_back(KIND)
            await until(lambda: {"now", "later"} <= gemini.came.keys(), "both")


async def test_what_has_room_is_looked_for_when_it_is_due(database_url: str) -> None:
    """However much is due that has none."""
    async with World(database_url) as world:
        await ask(world, "now")
        soon = Effect(EffectKind.END_RUN, "soon", world.clock() + 10 * SECOND)
        await world.database.write(outbox.add, "", [soon])
        async with at_work(world) as worker:
            await at_rest(worker)
            await later(5)
            assert worker.looks == 1
            await later(6)
            await until(lambda: worker.looks == 2, "a look")


async def test_old_webhooks_are_forgotten_some_in_a_turn_and_the_rest_at_once_behind(sqlite_url: str) -> None:
    """Everybody who writes waits for the transaction that deletes them."""
    many = 2 * PRUNE_MOST + 1
    async with World(sqlite_url) as world:
        at = world.clock() - timedelta(days=8)
        old = [inbox.Arrived(f"w{n}", "k", "i", 1, b"{}", at, run_id="r") for n in range(many)]
        await world.database.write(inbox.put, old)
        worker = Counting(world.database, world.performer, policy=world.policy, clock=world.clock)
        for left in (many - PRUNE_MOST, 1, 0):
            worker.bell.clear()
            await worker.run_once()
            assert await world.database.read(_kept) == left
            assert worker.bell.is_set() is (left > 0)


def _kept(s: Session) -> int:
    return s.connection().execute(sa.select(sa.func.count()).select_from(inbox.delivery_t)).scalar_one()
