"""The process dies at each named point, and the next one finishes the work (promises P4, P5, P7)."""

import pytest
from support.conversation import ANNA
from support.deaths import BY_NO_RUN, arm, disarm
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator import failpoints
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.events import Choice
from orchestrator.domain.jobs import JobKind, JobWish
from orchestrator.domain.model import RunStatus
from orchestrator.failpoints import FailpointError
from orchestrator.store.tables import RunRow

pytestmark = pytest.mark.asyncio

STORIES = {
    "work": (
        Plan((("pay", {"cents": 5}), ("note", {"n": 1}), ("refund", {"n": 2}))),
        Plan((("note", {"n": 2}), ("ask_many", {"n": 3}))),
        Plan(output="worked"),
    )
}
NIGHTLY = JobWish(JobKind.BATCH, {"model": "gemini-3.8-flash", "lines": []})
IN_A_TOOL = {"before_tool", "after_tool"}
POINTS = [name for name in failpoints.NAMES if name not in BY_NO_RUN]


def rules() -> dict[str, Rule]:
    return {
        "pay": Rule(),
        "note": Rule(idempotent=True),
        "refund": Rule(Ruling.ASK, idempotent=True, would="less"),
        "ask_many": Rule(idempotent=True, waits=(NIGHTLY, NIGHTLY)),
    }


async def start(world: World, text: str) -> str:
    """The caller asks, gets no answer, and finds its run all the same."""
    try:
        return await world.start(text)
    except FailpointError as e:
        await world.restart(str(e))
    (row,) = await world.rows(RunRow)
    return str(row["id"])


@pytest.mark.parametrize("name", POINTS)
async def test_a_death_at_any_point_loses_and_doubles_nothing(database_url: str, name: str) -> None:
    await dies_once(database_url, name, 1)


@pytest.mark.parametrize("nth", [2, 3, 4])
@pytest.mark.parametrize("name", POINTS)
async def test_nor_does_a_death_when_it_is_passed_again(sqlite_url: str, name: str, nth: int) -> None:
    await dies_once(sqlite_url, name, nth)


async def dies_once(url: str, name: str, nth: int) -> None:
    async with World(url, stories=STORIES, rules=rules()) as world:
        world.jobs.prompt = True
        arm(name, nth)
        run_id = await start(world, "work")
        await world.through(run_id, or_attention=True)
        run = await world.run(run_id)
        assert world.deaths == [name] or nth > 1, "the point was never passed"
        if run.status is RunStatus.ATTENTION:
            (doubtful,) = [c for c in run.turn.calls if c.status == "in_doubt"]
            assert doubtful.tool == "pay", "the others are idempotent"
            assert doubtful.claim, "it was running when the process died, whatever the death hit"
            happened = world.toolkit.effects()[doubtful.id] > 0
            choice = Choice.HAPPENED if happened else Choice.RETRY
            await world.intake.resolve(run_id, choice, ANNA, call=doubtful.id, result="paid")
            await world.through(run_id, or_attention=True)
            run = await world.run(run_id)
        assert (run.status, run.output) == (RunStatus.COMPLETED, "worked")
        calls = [c for t in await world.chain(run_id) for c in t.calls]
        assert [world.toolkit.effects()[c.id] for c in calls] == [1, 1, 1, 1, 1]
        assert list(world.jobs.starts.values()) == [1, 1]
        assert world.slack.posts == 1
        await world.drain()
        await world.check(run_id)


@pytest.mark.parametrize("name", sorted(IN_A_TOOL))
async def test_a_call_cut_off_that_is_not_idempotent_waits_for_a_person(database_url: str, name: str) -> None:
    stories = {"pay": (Plan((("pay", {}),)),)}
    async with World(database_url, stories=stories, rules=rules()) as world:
        arm(name)
        run_id = await world.start("pay")
        await world.to_the_end(run_id)
        run = await world.run(run_id)
        assert run.status is RunStatus.ATTENTION
        assert "pay was cut off" in run.reason
        effects = len(world.toolkit.ledger)
        assert effects == (1 if name == "after_tool" else 0)
        for _ in range(3):
            await world.restart("again")
            await world.settle()
        assert len(world.toolkit.ledger) == effects, "no machine starts it a second time"


@pytest.mark.parametrize("name", sorted(IN_A_TOOL))
async def test_an_idempotent_call_takes_effect_once_however_often_it_is_cut_off(
    sqlite_url: str, name: str
) -> None:
    stories = {"note": (Plan((("note", {}),)),)}
    async with World(sqlite_url, stories=stories, rules=rules()) as world:
        run_id = await world.start("note")
        for nth in range(1, 5):
            arm(name, 1)
            while len(world.deaths) < nth:
                await world.turn()
                world.gemini.move()
                world.clock.advance(seconds=31)
        disarm()
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert list(world.toolkit.effects().values()) == [1]
        (key,) = world.toolkit.starts
        assert world.toolkit.starts[key] > 1 or name == "before_tool"


async def test_a_death_after_the_cancel_was_stored(database_url: str) -> None:
    async with World(database_url, stories=STORIES, rules=rules()) as world:
        run_id = await world.start("work")
        await world.settle()
        arm("after_cancel_stored")
        with pytest.raises(FailpointError):
            await world.cancel(run_id)
        await world.restart("after_cancel_stored")
        await world.drain()
        run = await world.run(run_id)
        assert run.status is RunStatus.CANCELLED
        assert all(i.status == "cancelled" for i in world.gemini.of_turn(run_id, 1))
        await world.check(run_id)


@pytest.mark.parametrize("name", ["after_post", "before_post"])
async def test_a_question_whose_place_was_never_learned_is_still_withdrawn(
    database_url: str, name: str
) -> None:
    """It was posted, the process died, and the run was cancelled before it was looked for."""
    async with World(database_url, stories=STORIES, rules=rules()) as world:
        run_id = await world.start("work")
        arm(name)
        while not world.deaths:
            await world.turn()
            world.gemini.move()
            for webhook in world.gemini.take_webhooks():
                await world.deliver(webhook)
        await world.cancel(run_id)
        await world.drain()
        assert world.slack.posts == (1 if name == "after_post" else 0)
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_a_request_for_the_same_key_after_a_death_is_the_same_run(database_url: str) -> None:
    from orchestrator.domain.model import Recipe

    async with World(database_url, stories=STORIES, rules=rules()) as world:
        arm("after_run_stored")
        recipe = Recipe("w", model="m")
        with pytest.raises(FailpointError):
            await world.intake.start(recipe, "work", ANNA, owner="ci", idempotency_key="k")
        await world.restart("after_run_stored")
        again = await world.intake.start(recipe, "work", ANNA, owner="ci", idempotency_key="k")
        assert not again.fresh
        assert len(await world.rows(RunRow)) == 1
