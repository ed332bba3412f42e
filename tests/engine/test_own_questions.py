"""The run's own questions and its restart, on the rows: what goes out to Gemini is what people decided."""

import asyncio
from dataclasses import replace

import pytest
from support.conversation import ANNA, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.asking import GO_ON, PLAN
from orchestrator.domain.events import Choice
from orchestrator.domain.model import Actor, FunctionResult, Limits, Recipe, RunStatus
from orchestrator.domain.pauses import CARRY_OUT
from orchestrator.engine.intake import Started
from orchestrator.errors import ConflictError
from orchestrator.store import views

pytestmark = pytest.mark.asyncio

BEN = Actor("U0BEN", "ben", "slack")
RESEARCH = Recipe(
    "research",
    agent="deep-research-preview-04-2026",
    agent_config={"type": "deep-research", "collaborative_planning": True},
    terms=TERMS,
)
WORK = Recipe("refunds", model="gemini-3.8-flash", tools=("lookup",))
STORIES = {
    "find out": (Plan(output="the plan"), Plan(output="a better plan"), Plan(output="the report")),
    "work": (Plan((("lookup", {"n": 1}),)), Plan(output="worked")),
}


def world_on(url: str) -> World:
    return World(url, stories=STORIES, rules={"lookup": Rule()})


async def test_a_plan_is_refined_then_carried_out(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = (await world.intake.start(RESEARCH, "find out", ANNA)).run_id
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.WAITING
        (asked,) = await world.open_approvals(run_id)
        await world.decide(asked, False, by=BEN, refine=True, reason="shorter")
        await world.to_the_end(run_id)
        (asked,) = await world.open_approvals(run_id)
        await world.decide(asked, True, by=BEN)
        await world.to_the_end(run_id)
        run = await world.run(run_id)
        assert (run.status, run.output) == (RunStatus.COMPLETED, "the report")
        sent = [i.request for i in world.gemini.interactions.values()]
        assert [r.input for r in sent] == ["find out", "shorter", CARRY_OUT]
        assert [r.planning for r in sent] == [True, True, False]
        assert [t.said for t in await world.chain(run_id)][:2] == ["the plan", "a better plan"]
        assert {c.tool for t in await world.chain(run_id) for c in t.calls} == {PLAN}


async def test_going_on_beyond_the_tokens_hands_over_the_results_alone(database_url: str) -> None:
    async with world_on(database_url) as world:
        recipe = replace(WORK, limits=Limits(max_tokens=10), terms=TERMS)
        run_id = (await world.intake.start(recipe, "work", ANNA)).run_id
        await world.to_the_end(run_id)
        (asked,) = await world.open_approvals(run_id)
        assert len(world.gemini.interactions) == 1, "nothing more is spent before a person has spoken"
        await world.decide(asked, True, by=BEN)
        await world.to_the_end(run_id)
        run = await world.run(run_id)
        assert (run.status, run.granted) == (RunStatus.COMPLETED, 10)
        (results,) = [i.request.input for i in world.gemini.interactions.values() if i.mark.turn == 2]
        assert [type(r) for r in results] == [FunctionResult]
        assert [c.tool for c in (await world.chain(run_id))[0].calls] == ["lookup", GO_ON]
        await world.check(run_id)


async def test_a_run_gemini_does_not_continue_is_taken_up_by_another_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend(["fine", "refused"])
        run_id = (await world.intake.start(WORK, "work", ANNA)).run_id
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        first = await world.intake.restart(run_id, WORK, BEN)
        second = await world.intake.restart(run_id, WORK, BEN)
        assert (first.fresh, second.fresh, second.run_id) == (True, False, first.run_id)
        old, new = await world.run(run_id), await world.run(first.run_id)
        assert (old.status, new.restart_of) == (RunStatus.FAILED, run_id)
        assert first.run_id in old.reason
        assert "Call of lookup with" in new.input
        assert "<request>\nwork\n</request>" in new.input
        await world.to_the_end(first.run_id)
        assert (await world.run(first.run_id)).status is RunStatus.COMPLETED
        assert (await world.database.read(views.run, first.run_id))["restart_of"] == run_id


async def test_restarts_at_once_make_one_run(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend(["fine", "refused"])
        run_id = (await world.intake.start(WORK, "work", ANNA)).run_id
        await world.to_the_end(run_id)
        restarts = (world.intake.restart(run_id, WORK, (ANNA, BEN)[n % 2]) for n in range(8))
        resolved = world.intake.resolve(run_id, Choice.GIVE_UP, BEN)
        *started, given_up = await asyncio.gather(*restarts, resolved, return_exceptions=True)
        assert not isinstance(given_up, BaseException) or isinstance(given_up, ConflictError)
        found = [s for s in started if isinstance(s, Started)]
        assert (len(found), sum(s.fresh for s in found), len({s.run_id for s in found})) == (8, 1, 1)
        assert (await world.run(run_id)).status is RunStatus.FAILED
        await world.to_the_end(found[0].run_id)
        assert len(await world.statuses()) == 2
        await world.check(run_id, found[0].run_id)


async def test_a_run_at_work_or_completed_is_not_restarted(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = (await world.intake.start(WORK, "work", ANNA)).run_id
        with pytest.raises(ConflictError, match="queued"):
            await world.intake.restart(run_id, WORK, BEN)
        await world.to_the_end(run_id)
        with pytest.raises(ConflictError, match="completed"):
            await world.intake.restart(run_id, WORK, BEN)
