"""How much of one tool or workflow goes on at once: what has no room waits as a row, and nothing is lost."""

import asyncio
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.gemini import Plan
from support.patience import until
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Finding
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.engine.limits import WINDOW, Ceilings, RateLimit
from orchestrator.store import claims, outbox
from orchestrator.store.tables import EffectState

pytestmark = pytest.mark.asyncio

CALL = ("lookup", {"n": 1})
_WAIT = sa.and_(outbox.effect_t.c.state == EffectState.PENDING, outbox.effect_t.c.line != "")
STORIES = {"one": [Plan((CALL,)), Plan()], "three": [Plan((CALL, CALL, CALL)), Plan()]}
SECOND = timedelta(seconds=1)


def _pauses(s: Session, now: datetime) -> dict[str, timedelta]:
    """By run: until when its effect in line waits."""
    found = s.execute(sa.select(outbox.effect_t.c.run_id, outbox.effect_t.c.due_at).where(_WAIT))
    return {run: due_at - now for run, due_at in found}


async def _started(world: World, text: str = "one", *, model: bool = True) -> str:
    """A run that has come as far as it can at this moment."""
    run_id = await world.start(text)
    await world.settle(model=model)
    return run_id


@pytest.mark.parametrize("calls", [16, 17, 500])
async def test_of_too_many_calls_no_more_is_found_out_than_that(sqlite_url: str, calls: int) -> None:
    """Each costs time in a transaction that others wait for."""
    looked: list[str] = []
    stories = {"many": [Plan((CALL,) * calls), Plan()]}
    async with World(sqlite_url, stories=stories, rules={"lookup": Rule()}) as world:
        find = world.toolkit.find

        def counting(recipe: Recipe, call: FunctionCall) -> Finding:
            looked.append(call.id)
            return find(recipe, call)

        world.toolkit.find = counting  # type: ignore[method-assign]
        run = await world.run(await _started(world, "many"))
        assert (run.reason == f"{calls} calls in one turn: over the limit of 16") is (calls > 16)
        assert len(dict.fromkeys(looked)) <= 17


def world_with(url: str, rule: Rule, limits: Ceilings) -> World:
    return World(url, stories=STORIES, rules={"lookup": rule}, limits=limits)


async def _at_the_gate(world: World, running: int) -> None:
    """Until the model has asked, so many calls are running, and no more came of a few looks."""
    while not any(i.status == "requires_action" for i in world.gemini.interactions.values()):
        await asyncio.wait({asyncio.create_task(world.turn())}, timeout=0.2)
        world.gemini.move()
        for webhook in world.gemini.take_webhooks():
            await world.deliver(webhook)
    async with asyncio.timeout(60):
        while sum(world.toolkit.starts.values()) < running:
            await asyncio.wait({asyncio.create_task(world.turn())}, timeout=0.2)
    for _ in range(2):
        await asyncio.wait({asyncio.create_task(world.turn())}, timeout=0.2)


async def test_no_more_calls_of_a_tool_run_at_once_than_it_may(database_url: str) -> None:
    rule = Rule(gate=asyncio.Event())
    async with world_with(database_url, rule, Ceilings({"lookup": RateLimit(at_once=2)})) as world:
        run_id = await world.start("three")
        await _at_the_gate(world, 2)
        running = [c for c in (await world.run(run_id)).turn.calls if c.status == "executing"]
        assert len(running) == 2
        assert rule.gate is not None
        rule.gate.set()
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert sum(world.toolkit.starts.values()) == 3
        await world.check(run_id)


async def test_a_tool_is_started_so_often_in_a_minute_and_then_waits(database_url: str) -> None:
    async with world_with(database_url, Rule(), Ceilings({"lookup": RateLimit(per_minute=2)})) as world:
        run_id = await world.start("three")
        await world.settle()
        assert sum(world.toolkit.starts.values()) == 2
        world.clock.advance(60 * SECOND)
        await world.settle()
        assert sum(world.toolkit.starts.values()) == 2, "they may have begun a moment later than counted"
        world.clock.advance(1 * SECOND)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert sum(world.toolkit.starts.values()) == 3
        await world.check(run_id)


@pytest.mark.parametrize("back", [timedelta(minutes=10), timedelta(days=1)])
async def test_a_clock_that_was_set_back_does_not_stretch_the_minute(
    database_url: str, back: timedelta
) -> None:
    """What began in a time that is yet to come, by the clock as it is now, began long ago or just now."""
    async with world_with(database_url, Rule(), Ceilings({"lookup": RateLimit(per_minute=2)})) as world:
        await _started(world, "one")
        await _started(world, "one")
        world.clock.advance(-back)
        for count in (3, 4):
            await _started(world, "one")
            assert sum(world.toolkit.starts.values()) == count
        await _started(world, "one")
        assert sum(world.toolkit.starts.values()) == 4, "the minute holds for what began since"


async def test_other_tools_are_not_held_back(database_url: str) -> None:
    async with world_with(database_url, Rule(), Ceilings({"another": RateLimit(1, 1)})) as world:
        run_id = await world.start("three")
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_runs_of_a_workflow_wait_for_their_turn(database_url: str) -> None:
    async with world_with(database_url, Rule(), Ceilings(workflows={"refunds": 1})) as world:
        first = await world.start("one")
        second = await world.start("one")
        await world.settle(model=False)
        found = await world.statuses()
        assert sorted(found[r] for r in (first, second)) == [RunStatus.QUEUED, RunStatus.RUNNING]
        await world.to_the_end(first, second)
        found = await world.statuses()
        assert {found[first], found[second]} == {RunStatus.COMPLETED}
        await world.check(first, second)


async def test_a_run_that_waits_for_its_turn_can_be_cancelled(database_url: str) -> None:
    from support.conversation import ANNA

    async with world_with(database_url, Rule(), Ceilings(workflows={"refunds": 1})) as world:
        first = await world.start("one")
        await world.settle(model=False)
        second = await world.start("one")
        await world.settle(model=False)
        await world.intake.cancel(second, ANNA)
        await world.to_the_end(first)
        found = await world.statuses()
        assert (found[first], found[second]) == (RunStatus.COMPLETED, RunStatus.CANCELLED)
        assert set(world.gemini.creates.values()) == {1}
        await world.check(first, second)


async def test_who_leaves_a_place_calls_the_first_in_line(database_url: str) -> None:
    limits = Ceilings({"lookup": RateLimit(at_once=1)}, {"refunds": 1})
    async with world_with(database_url, Rule(), limits) as world:
        waiting = [await _started(world, "three", model=False) for _ in range(3)]
        moment = world.clock()
        await world.settle()
        assert world.clock() == moment, "nobody waited for a look"
        assert set((await world.statuses()).values()) == {RunStatus.COMPLETED}
        assert [run for run, turn, _ in world.gemini.creates if turn == 1] == waiting, "in their order"
        await world.check(*waiting)


async def test_a_cancel_makes_room(database_url: str) -> None:
    from support.conversation import ANNA

    async with world_with(database_url, Rule(), Ceilings(workflows={"refunds": 1})) as world:
        first, second = await world.start("one"), await world.start("one")
        await world.settle(model=False)
        await world.intake.cancel(first, ANNA)
        await world.settle()
        found = await world.statuses()
        assert (found[first], found[second]) == (RunStatus.CANCELLED, RunStatus.COMPLETED)


async def test_a_run_whose_create_is_sent_again_keeps_its_place(database_url: str) -> None:
    """Also while that has to wait: nobody asks it for a place a second time."""
    async with world_with(database_url, Rule(), Ceilings(workflows={"refunds": 1})) as world:
        world.gemini.faults["create"].extend(["lost", "busy"])
        first = await _started(world, model=False)
        while (await world.run(first)).turn.attempt == 1:
            world.clock.advance(10 * SECOND)
            await world.settle(model=False)
        second = await _started(world, model=False)
        assert second not in {run for run, _, _ in world.gemini.creates}
        await world.to_the_end(first, second)
        found = await world.statuses()
        assert {found[first], found[second]} == {RunStatus.COMPLETED}


async def test_who_finds_the_one_ahead_at_the_door_waits_behind_him(postgres_url: str) -> None:
    """He is being claimed at this moment and need not be called; nor is who has just been told to wait."""
    engine = sa.create_engine(postgres_url)
    async with world_with(postgres_url, Rule(), Ceilings(workflows={"refunds": 1})) as world:
        first, second, third = [await _started(world, model=False) for _ in range(3)]
        with engine.begin() as claiming:
            mine = sa.select(outbox.effect_t).where(_WAIT, outbox.effect_t.c.run_id == second)
            assert len(claiming.execute(mine.with_for_update()).all()) == 1
            await world.cancel(first)
            async with asyncio.timeout(30):
                await world.turn()
            pauses = await world.database.read(_pauses, world.clock())
            assert pauses == {second: SECOND, third: 2 * SECOND}
        await world.to_the_end(second, third)
        assert [run for run, turn, _ in world.gemini.creates if turn == 1] == [first, second, third]
    engine.dispose()


async def test_who_is_just_being_told_to_wait_is_called(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He stands in line when that is committed: who leaves a place meanwhile waits for him to stand there."""
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    standing, go_on, put_off = threading.Event(), threading.Event(), claims.put_off

    def slowly(*args: Any) -> None:
        put_off(*args)
        standing.set()
        go_on.wait(30)

    def waits() -> bool:
        with engine.connect() as conn:
            asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return bool(conn.exec_driver_sql(asked).scalar_one())

    async with world_with(postgres_url, Rule(), Ceilings(workflows={"refunds": 1})) as world:
        first = await _started(world, model=False)
        second = await world.start("one")
        monkeypatch.setattr(claims, "put_off", slowly)
        told = asyncio.create_task(world.turn())
        await until(standing.is_set, "the second, that is told to wait")
        leaving = asyncio.create_task(world.cancel(first))
        await until(lambda: leaving.done() or waits(), "the first, that leaves its place")
        go_on.set()
        await asyncio.gather(told, leaving)
        pauses = await world.database.read(_pauses, world.clock())
        assert pauses.get(second, timedelta(0)) == timedelta(0)
    engine.dispose()


async def test_the_further_back_in_line_the_more_seldom_one_looks(database_url: str) -> None:
    async with world_with(database_url, Rule(), Ceilings(workflows={"refunds": 1})) as world:
        first, *behind = [await _started(world, model=False) for _ in range(5)]
        pauses = await world.database.read(_pauses, world.clock())
        assert pauses == {run: SECOND * n for n, run in enumerate(behind, 1)}
        assert first not in pauses


async def test_of_those_who_wait_for_the_minute_each_knows_its_own(database_url: str) -> None:
    async with world_with(database_url, Rule(), Ceilings({"lookup": RateLimit(per_minute=2)})) as world:
        first, second, *behind = [await _started(world) for _ in range(6)]
        pauses = await world.database.read(_pauses, world.clock())
        assert pauses == {run: WINDOW * (1 + n // 2) for n, run in enumerate(behind)}
        assert not {first, second} & {*pauses}


async def test_two_tools_with_long_names_that_begin_alike_have_each_its_own_line(sqlite_url: str) -> None:
    long = "look_up_what_the_shop_knows_about_an_order_that_was_placed_in_"
    first, other = f"{long}it", f"{long}us"
    stories = {name: [Plan(((name, {"n": 1}),)), Plan()] for name in (first, other)}
    limits = Ceilings({name: RateLimit(per_minute=1) for name in (first, other)})
    async with World(sqlite_url, stories=stories, rules={n: Rule() for n in stories}, limits=limits) as world:
        _, waits, free = [await _started(world, name) for name in (first, first, other)]
        assert {*await world.database.read(_pauses, world.clock())} == {waits}
        assert (await world.run(free)).status is RunStatus.COMPLETED
