"""One continuation per turn, whatever becomes of the request on its way (promise P5)."""

from datetime import timedelta

import pytest
import structlog
from support.conversation import ANNA
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.creates import MOST_UNREAD
from orchestrator.domain.events import Choice
from orchestrator.domain.exchange import Correlation, CreateRequest
from orchestrator.domain.model import Policy, Recipe, RunStatus, TurnStatus

pytestmark = pytest.mark.asyncio

STORIES = {"work": (Plan((("lookup", {"n": 1}),)), Plan(output="worked"))}


def world_on(url: str, **more: object) -> World:
    return World(url, stories=STORIES, rules={"lookup": Rule()}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_lost_answer_is_resolved_by_the_metadata(database_url: str, turn: int) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend(["fine"] * (turn - 1) + ["lost_after"])
        run_id = await world.start("work")
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.gemini.interactions) == 2, "adopted, not sent again"
        await world.check(run_id)


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_lost_answer_without_a_webhook_is_replaced_and_the_orphan_cancelled(
    database_url: str, turn: int
) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend(["fine"] * (turn - 1) + ["lost_after"])
        run_id = await world.start("work")
        while (await world.run(run_id)).turn.attempt == 1:
            await world.settle(webhooks=False)
            held = world.gemini.take_webhooks()
            world.clock.advance(seconds=20)
        orphan = world.gemini.of_turn(run_id, turn)[0]
        orphan.status = "in_progress"
        await world.to_the_end(run_id)
        for late in held:
            await world.deliver(late)
        await world.signal(orphan.id, "interaction.requires_action")
        await world.drain()
        assert orphan.status in ("cancelled", "completed")
        assert len(world.toolkit.ledger) == 1, "nothing of the orphan ran"
        assert (await world.run(run_id)).output == "worked"
        await world.check(run_id)


def away(operation: str) -> str:
    """Creates get through, readings do not: a breaker, or a long Retry-After."""
    return "busy" if operation == "fetch" else "fine"


@pytest.mark.parametrize("story", ["early", "late, doubled", "others before it"])
@pytest.mark.parametrize("turn", [1, 2])
async def test_a_create_that_an_event_has_named_is_read_first_however_long_that_takes(
    database_url: str, turn: int, story: str
) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend(["fine"] * (turn - 1) + ["lost_after"])
        run_id = await world.start("work")
        for _ in range(10):
            await world.settle(model=False, webhooks=False)
            if world.gemini.of_turn(run_id, turn):
                break
            world.gemini.move()
            await world.settle(model=False)
        (lost,) = world.gemini.of_turn(run_id, turn)
        world.gemini.weather = away
        world.gemini.move()
        events = world.gemini.take_webhooks()
        if story == "late, doubled":
            world.clock.advance(seconds=29)
            events = [*events, *events]
        if story == "others before it":
            await world.signal("i_nobody")
        for event in events:
            await world.deliver(event)
        for _ in range(20):  # ten minutes
            world.clock.advance(seconds=30)
            await world.settle(model=False)
        await world.signal(lost.id)  # comes again, much later
        assert world.gemini.creates.total() == turn, "nothing is sent beside it"
        world.gemini.weather = None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.gemini.of_turn(run_id, turn)) == 1, "adopted"
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_an_interaction_too_large_to_be_read_is_not_read_for_ever(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["fetch"].append("too_large")
        run_id = await world.start("work")
        for _ in range(5):
            await world.settle()
            world.clock.advance(seconds=60)
        run = await world.run(run_id)
        assert (run.status, run.reason) == (
            RunStatus.FAILED,
            "what Gemini tells of this interaction is more than can be read (the answer is too large)",
        )
        assert world.gemini.requests["fetch"] == 1
        await world.check(run_id)


async def test_after_an_outage_what_nobody_owns_does_not_hold_a_lost_create_up(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].append("lost")
        world.gemini.weather = away
        run_id = await world.start("work")
        await world.settle()
        await world.signal("i_nobody")
        strange = world.gemini._open(CreateRequest(Recipe("x"), Correlation("run_elsewhere", 1, 1), "work"))
        await world.signal(strange.id)
        for _ in range(10):
            world.clock.advance(seconds=30)
            await world.settle(model=False)
        assert world.gemini.creates[run_id, 1, 2] == 0
        world.gemini.weather = None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).output == "worked"
        assert world.gemini.creates[run_id, 1, 2] == 1
        await world.check(run_id)


async def test_a_gemini_that_stays_away_costs_a_lost_create_its_run_and_no_second_one(
    database_url: str,
) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].append("lost_after")
        world.gemini.weather = away
        run_id = await world.start("work")
        await world.settle(webhooks=False)
        for event in world.gemini.take_webhooks():
            await world.deliver(event)
        for _ in range(3):
            world.clock.advance(seconds=30)
            await world.settle(model=False)
        world.clock.reach((await world.run(run_id)).deadline)
        await world.settle(model=False)
        assert (await world.run(run_id)).status is RunStatus.FAILED
        assert world.gemini.creates.total() == 1
        graces = [e["state"] for e in await world.effects(run_id) if e["kind"] == "end_create_grace"]
        assert graces == ["dropped"], "nothing waits for it any more"


@pytest.mark.parametrize("fault", ["lost", "busy"])
async def test_a_request_that_never_arrived_is_sent_again(database_url: str, fault: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend([fault] * 3)
        run_id = await world.start("work")
        await world.to_the_end(run_id)
        run = await world.run(run_id)
        assert run.output == "worked"
        (first,) = world.gemini.of_turn(run_id, 1)
        assert first.mark.attempt == (4 if fault == "lost" else 1), (
            "a lost attempt is replaced, never repeated"
        )
        await world.check(run_id)


async def test_never_sooner_than_gemini_asked_for(sqlite_url: str) -> None:
    async with world_on(sqlite_url, roll=lambda: 0.0) as world:
        world.gemini.faults["create"].append("busy")  # retry_after = 1 s
        await world.start("work")
        await world.settle()
        assert world.gemini.requests["create"] == 1
        world.clock.advance(seconds=0.999)
        await world.settle()
        assert world.gemini.requests["create"] == 1
        world.clock.advance(seconds=0.001)
        await world.settle()
        assert world.gemini.requests["create"] > 1


async def test_a_refused_request_fails_the_run_at_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].append("refused")
        run_id = await world.start("work")
        await world.settle()
        run = await world.run(run_id)
        assert run.status is RunStatus.FAILED
        assert "does not like" in run.reason
        assert world.gemini.requests["create"] == 1


async def test_answers_nobody_can_read_are_bought_only_so_often(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend(["garbled"] * 100)
        run_id = await world.start("work")
        for _ in range(3 * MOST_UNREAD):
            await world.settle()
            world.clock.advance(timedelta(minutes=10))
        run = await world.run(run_id)
        assert (run.status, run.turn.status) == (RunStatus.ATTENTION, TurnStatus.LOST)
        assert world.gemini.requests["create"] == MOST_UNREAD
        assert f"{MOST_UNREAD} creates" in run.reason


async def test_a_person_decides_where_the_policy_says_so(database_url: str) -> None:
    policy = Policy(retry_lost_create=False, create_grace=timedelta(seconds=30))
    async with world_on(database_url, policy=policy) as world:
        world.gemini.faults["create"].append("lost")
        run_id = await world.start("work")
        await world.to_the_end(run_id)
        run = await world.run(run_id)
        assert (run.status, run.turn.status) == (RunStatus.ATTENTION, TurnStatus.LOST)
        for _ in range(5):
            world.clock.advance(timedelta(hours=1))
            await world.settle()
        assert world.gemini.requests["create"] == 1
        await world.intake.resolve(run_id, Choice.RETRY, ANNA)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.check(run_id)


async def test_a_link_of_the_chain_is_never_cancelled(database_url: str) -> None:
    """A webhook about the first interaction is read while the second one is at work."""
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        world.gemini.move()
        held = world.gemini.take_webhooks()
        for webhook in held:
            await world.deliver(webhook)
        while (await world.run(run_id)).turn.number == 1:
            await world.turn()
        first = world.gemini.of_turn(run_id, 1)[0].id
        snapshot = world.gemini.snapshot(world.gemini.interactions[first])
        from orchestrator.engine import step

        await world.database.write(
            step.observe, (run_id, 1, 1), snapshot, world.toolkit, policy=world.policy, now=world.clock()
        )
        await world.to_the_end(run_id)
        await world.database.write(
            step.observe, (run_id, 1, 1), snapshot, world.toolkit, policy=world.policy, now=world.clock()
        )
        await world.drain()
        assert world.gemini.requests["cancel"] == 0
        await world.check(run_id)


async def test_gemini_forgetting_ends_the_run(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        world.gemini.interactions.clear()
        await world.to_the_end(run_id)
        run = await world.run(run_id)
        assert run.status is RunStatus.FAILED
        assert "no longer has" in run.reason
        assert world.toolkit.ledger == []


async def test_an_interaction_slow_to_appear_is_waited_for(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        world.gemini.unseen[world.gemini.of_turn(run_id, 1)[0].id] = 4
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_a_run_that_gemini_refuses_is_told_in_the_log(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].append("refused")
        with structlog.testing.capture_logs() as logs:
            run_id = await world.start("work")
            await world.to_the_end(run_id)
        run = await world.run(run_id)
    assert run.status is RunStatus.FAILED
    assert [line for line in logs if line.get("run_id") == run_id] == [
        {"event": "run_refused", "log_level": "warning", "run_id": run_id, "why": run.reason}
    ]


async def test_a_refusal_that_waits_for_a_person_is_told_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].extend(["fine", "refused"])
        with structlog.testing.capture_logs() as logs:
            run_id = await world.start("work")
            while (await world.run(run_id)).turn.status is not TurnStatus.REFUSED:
                await world.settle()
                world.clock.advance(seconds=20)
    assert [line["event"] for line in logs if line.get("run_id") == run_id] == ["run_needs_a_look"]
