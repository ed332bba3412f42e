"""The run's own questions and its restart, on the rows: what goes out to Gemini is what people decided."""

import asyncio

import pytest
from support.conversation import ANNA, TERMS
from support.deaths import arm
from support.gemini import Interaction, Plan
from support.toolkit import Rule
from support.world import World

from orchestrator import failpoints
from orchestrator.domain.asking import GO_ON, PLAN, RESTART
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import Choice
from orchestrator.domain.exchange import Correlation, FunctionResult
from orchestrator.domain.model import Limits, Recipe, RunStatus
from orchestrator.domain.pauses import CARRY_OUT
from orchestrator.domain.values import replace
from orchestrator.engine.restarting import Started
from orchestrator.errors import ConflictError
from orchestrator.store import outbox, views

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


# ---------------------------------------------------------------------- the restart people click for

ASKING = replace(WORK, terms=TERMS)


async def refused(world: World, times: int = 1) -> tuple[str, Approval]:
    """A run whose results Gemini refuses so often, and the question about that."""
    world.gemini.faults["create"].extend(["fine", *["refused"] * times])
    run_id = (await world.intake.start(ASKING, "work", ANNA)).run_id
    await world.to_the_end(run_id)
    (asked,) = await world.open_approvals(run_id)
    return run_id, asked


async def restarts(world: World, run_id: str) -> list[str]:
    """The runs beside the first one."""
    return [found for found in await world.statuses() if found != run_id]


def card_of(world: World, asked: Approval) -> Card:
    """The question as it is drawn now."""
    where = world.slack.where(asked.id)
    assert where is not None
    return world.slack.messages[where]


async def come_round(world: World, run_id: str, asked: Approval) -> None:
    """The effect is performed once more, as after a claim that was lost."""
    effect = Effect(EffectKind.RESTART_RUN, asked.id, world.clock())
    await world.database.write(outbox.add, run_id, [effect])
    await world.settle()


async def test_a_click_restarts_the_run_as_its_workflow_stands_now(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, asked = await refused(world)
        shown = card_of(world, asked)
        assert (shown.call.tool, shown.progress, shown.taken_up_as) == (RESTART, "", "")
        assert shown.call.arguments == {"gemini_said": "it does not like this", "turn": 2, "calls_made": 1}
        world.recipes["refunds"] = replace(ASKING, model="gemini-newer")
        answer = await world.decide(asked, True, by=BEN)
        assert (answer.refused, (await world.run(run_id)).status) == (None, RunStatus.ATTENTION)
        await world.settle()
        (new_id,) = await restarts(world, run_id)
        old, new = await world.run(run_id), await world.run(new_id)
        assert (old.status, new.restart_of, new.requester) == (RunStatus.FAILED, run_id, BEN)
        assert new.recipe.model == "gemini-newer"
        assert old.reason.startswith(f"taken up again as {new_id} by ben; before that: Gemini does not go on")
        assert "Call of lookup with" in new.input
        redrawn = card_of(world, asked)
        assert (redrawn.approval.status, redrawn.taken_up_as) == (ApprovalStatus.APPROVED, new_id)
        assert (await world.decide(asked, False, by=ANNA)).refused is Refusal.RUN_ENDED
        await come_round(world, run_id, asked)
        await world.to_the_end(new_id)
        assert (await world.run(new_id)).status is RunStatus.COMPLETED
        assert await restarts(world, run_id) == [new_id]
        await world.check(run_id, new_id)


async def test_a_workflow_that_is_gone_is_restarted_by_the_recipe_of_the_run(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, asked = await refused(world)
        await world.decide(asked, True, by=BEN)
        await world.settle()
        (new_id,) = await restarts(world, run_id)
        assert (await world.run(new_id)).recipe == replace(ASKING, asked_before=(ANNA.id,))


async def test_giving_up_is_a_click_too(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, asked = await refused(world)
        await world.decide(asked, False, by=BEN)
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, await restarts(world, run_id)) == (RunStatus.FAILED, [])
        assert run.reason.startswith("given up by ben")
        assert card_of(world, asked).approval.status is ApprovalStatus.REJECTED
        await world.check(run_id)


async def test_clicks_and_the_api_at_once_make_one_run(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, asked = await refused(world)
        clicks = (world.decide(asked, True, by=(ANNA, BEN)[n % 2]) for n in range(6))
        restarted = world.intake.restart(run_id, ASKING, ANNA)
        *answers, started = await asyncio.gather(*clicks, restarted)
        assert isinstance(started, Started)
        assert sum(a.refused is None for a in answers if not isinstance(a, Started)) <= 1
        await world.settle()
        assert await restarts(world, run_id) == [started.run_id]
        assert asked.id not in world.slack.live_buttons()
        await world.to_the_end(started.run_id)
        await world.check(run_id, started.run_id)


async def test_a_cancel_before_it_is_made_wins(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, asked = await refused(world)
        await world.decide(asked, True, by=BEN)
        await world.cancel(run_id)
        (effect,) = await world.effects(run_id, kind="restart_run")
        assert effect["state"] == "dropped"
        await world.settle()
        await come_round(world, run_id, asked)
        run = await world.run(run_id)
        assert (run.status, await restarts(world, run_id)) == (RunStatus.CANCELLED, [])
        card = card_of(world, asked)
        assert (card.run_status, card.taken_up_as) == (RunStatus.CANCELLED, "")
        await world.check(run_id)


async def test_sending_again_before_it_is_made_wins(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, asked = await refused(world, times=2)
        await world.decide(asked, True, by=BEN)
        await world.intake.resolve(run_id, Choice.RETRY, ANNA)
        await world.to_the_end(run_id)
        (second,) = await world.open_approvals(run_id)
        assert second.id != asked.id
        assert card_of(world, asked).approval.status is ApprovalStatus.WITHDRAWN
        await come_round(world, run_id, asked)  # the answer was about another attempt
        assert ((await world.run(run_id)).status, await restarts(world, run_id)) == (RunStatus.ATTENTION, [])
        await world.intake.resolve(run_id, Choice.RETRY, ANNA)
        await world.to_the_end(run_id)
        run = await world.run(run_id)
        assert (run.status, run.output) == (RunStatus.COMPLETED, "worked")
        assert [c.tool for c in run.turn.calls] == [RESTART, RESTART]
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_results_go_out_alone_beside_a_question_that_was_taken_back(sqlite_url: str) -> None:
    twice = (Plan((("lookup", {"n": 1}),)), Plan((("lookup", {"n": 2}),)), Plan(output="worked"))
    async with World(sqlite_url, stories={"work": twice}, rules={"lookup": Rule()}) as world:
        run_id, _ = await refused(world)
        await world.intake.resolve(run_id, Choice.RETRY, ANNA)
        await world.to_the_end(run_id)
        chain = await world.chain(run_id)
        assert [[c.tool for c in t.calls] for t in chain] == [["lookup"], [RESTART, "lookup"], []]
        (last,) = [i.request.input for i in world.gemini.interactions.values() if i.mark.turn == 3]
        assert [r.call_id for r in last if isinstance(r, FunctionResult)] == ["fc0"]
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.check(run_id)


async def test_an_interaction_that_was_refused_and_shows_itself_is_gone_on_with(sqlite_url: str) -> None:
    twice = (Plan((("lookup", {"n": 1}),)), Plan((("lookup", {"n": 2}),)), Plan(output="worked"))
    async with World(sqlite_url, stories={"work": twice}, rules={"lookup": Rule()}) as world:
        run_id, asked = await refused(world)
        (first,) = world.gemini.interactions.values()
        results = (FunctionResult("fc0", "lookup", {}, is_error=False),)
        sent = replace(
            first.request, correlation=Correlation(run_id, 2, 1), input=results, previous_id=first.id
        )
        world.gemini.interactions["i_late"] = Interaction("i_late", sent, twice[1], 1)
        await world.signal("i_late")
        await world.settle()
        await world.to_the_end(run_id)
        run, chain = await world.run(run_id), await world.chain(run_id)
        assert (run.status, run.output) == (RunStatus.COMPLETED, "worked")
        assert {c.tool for c in chain[1].calls} == {RESTART, "lookup"}
        assert card_of(world, asked).approval.status is ApprovalStatus.WITHDRAWN
        await world.check(run_id)


async def test_a_death_between_the_click_and_the_restart_loses_and_doubles_nothing(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, asked = await refused(world)
        arm("after_decision")
        with pytest.raises(failpoints.FailpointError):
            await world.decide(asked, True, by=BEN)
        await world.restart("after_decision")
        assert await restarts(world, run_id) == []
        assert (await world.decide(asked, True, by=BEN)).refused is Refusal.ALREADY_DECIDED
        await world.settle()
        (new_id,) = await restarts(world, run_id)
        await world.to_the_end(new_id)
        await world.check(run_id, new_id)


async def test_a_restart_that_fails_half_way_leaves_nothing_and_is_made_later(sqlite_url: str) -> None:
    class Broken(dict[str, Recipe]):
        def get(self, name: object, default: object = None) -> Recipe:  # type: ignore[override]
            raise RuntimeError("no answer today")

    async with world_on(sqlite_url) as world:
        run_id, asked = await refused(world)
        world.recipes = Broken()
        await world.decide(asked, True, by=BEN)
        await world.settle()
        assert ((await world.run(run_id)).status, await restarts(world, run_id)) == (RunStatus.ATTENTION, [])
        (effect,) = await world.effects(run_id, kind="restart_run")
        assert "no answer today" in effect["error"]
        world.recipes = {}
        world.clock.reach(effect["due_at"])
        await world.settle()
        assert len(await restarts(world, run_id)) == 1
