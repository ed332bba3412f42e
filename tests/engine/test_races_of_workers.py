"""Workers that meet each other, or their own past, and the one outcome it has (promises.md §4)."""

import asyncio
from datetime import timedelta

import pytest
from races_kit import until_at_the_gate, world_on
from support.toolkit import Rule

from orchestrator.domain.effects import EffectKind
from orchestrator.domain.model import CallStatus, RunStatus
from orchestrator.store import claims

pytestmark = pytest.mark.asyncio


async def test_two_workers_and_a_paused_one_run_a_call_once(database_url: str) -> None:
    """The first worker holds the call while its lease runs out; the second finds it cut off."""
    gate = asyncio.Event()
    async with world_on(database_url, lookup=Rule(gate=gate)) as world:
        run_id = await world.start("work")
        running = await until_at_the_gate(world)
        world.clock.advance(timedelta(minutes=5))
        await world.second_worker().run_once()
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        gate.set()
        await running
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED, "its result settled the doubt"
        assert sum(world.toolkit.starts.values()) == 1
        await world.check(run_id)


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_worker_paused_before_it_began_leaves_its_successor_alone(
    database_url: str, idempotent: bool
) -> None:
    """It claimed the call and stood still; when it goes on, the call is somebody else's."""
    async with world_on(database_url, lookup=Rule(idempotent=idempotent)) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        world.gemini.move()
        for webhook in world.gemini.take_webhooks():
            await world.deliver(webhook)
        while not (await world.run(run_id)).turn.calls:
            await world.turn()
        now = world.clock()
        ((effect_id, _),) = await world.database.read(claims.due, now, 9, [EffectKind.EXECUTE_TOOL])
        taken = await world.performer.commits.take(effect_id)
        assert taken is not None
        assert taken.own is not None
        paused = taken.own
        world.clock.advance(timedelta(seconds=30))
        await world.second_worker().run_once()  # it takes the call for cut off
        await world.performer.perform(paused)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED, "there was nothing to doubt"
        assert sum(world.toolkit.starts.values()) == 1
        await world.check(run_id)


async def test_a_create_claimed_by_a_paused_worker_is_not_sent_by_it(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        now = world.clock()
        ((effect_id, _),) = await world.database.read(claims.due, now, 9, [EffectKind.CREATE_INTERACTION])
        taken = await world.performer.commits.take(effect_id)
        assert taken is not None
        assert taken.own is not None
        paused = taken.own
        world.clock.advance(timedelta(seconds=30))
        await world.second_worker().run_once()
        assert (await world.run(run_id)).turn.status == "unknown", "it may have been sent"
        await world.performer.perform(paused)
        assert world.gemini.creates == {}, "nobody waits for that answer any more"
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert set(world.gemini.creates.values()) == {1}
        await world.check(run_id)


async def test_a_paused_workers_idempotent_call_is_not_counted_twice(database_url: str) -> None:
    gate = asyncio.Event()
    async with world_on(database_url, lookup=Rule(idempotent=True, gate=gate)) as world:
        run_id = await world.start("work")
        running = await until_at_the_gate(world)
        world.clock.advance(timedelta(minutes=5))
        second = world.second_worker()
        await second.run_once()
        world.toolkit.rules["lookup"].gate = None
        while await second.run_once():
            world.gemini.move()
        gate.set()
        await running
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.toolkit.ledger) == 1
        refused = [e for e in await world.events(run_id) if "no longer holds" in e["note"]]
        assert len(refused) <= 1
        await world.check(run_id)


async def test_a_tool_without_room_is_tried_again(database_url: str) -> None:
    async with world_on(database_url, lookup=Rule(acts=["busy", "busy"])) as world:
        run_id = await world.start("work")
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED, "nobody had to look at it"
        assert len(world.toolkit.ledger) == 1


async def test_a_tool_that_nobody_heard_of_again(database_url: str) -> None:
    async with world_on(database_url, lookup=Rule(acts=["uncertain"])) as world:
        run_id = await world.start("work")
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        assert len(world.toolkit.ledger) == 1


async def test_a_bug_in_the_toolkit_costs_one_call_not_the_loop(database_url: str) -> None:
    async with world_on(database_url, lookup=Rule(acts=["raises"])) as world:
        run_id, other = await world.start("work"), await world.start("ask")
        await world.to_the_end(run_id, other)
        assert (await world.run(run_id)).turn.calls[0].status is CallStatus.IN_DOUBT
        assert (await world.run(other)).status is RunStatus.WAITING
