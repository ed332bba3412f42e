"""Webhooks early, late, doubled, lost, unknown and forged: a hint to read, and nothing more."""

import itertools
from datetime import timedelta

import pytest
from support.conversation import ANNA
from support.gemini import Plan, Webhook
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.exchange import Correlation, CreateRequest
from orchestrator.domain.model import Policy, Recipe, RunStatus
from orchestrator.engine import webhooks
from orchestrator.engine.interactions import PROBES
from orchestrator.store import ledger
from orchestrator.store.tables import DeliveryRow, DeliveryState

pytestmark = pytest.mark.asyncio

STORIES = {
    "hello": (Plan(output="hi"),),
    "work": (Plan((("lookup", {"n": 1}),)), Plan(output="worked")),
}


def world_on(url: str, **more: object) -> World:
    return World(url, stories=STORIES, rules={"lookup": Rule()}, **more)  # type: ignore[arg-type]


async def states(world: World) -> dict[str, str]:
    return {r["id"]: str(r["state"]) for r in await world.rows(DeliveryRow)}


async def verdicts(world: World) -> dict[str, str]:
    rows = await world.rows(DeliveryRow)
    assert {bool(r["verdict"]) for r in rows} == {bool(r["handled_at"]) for r in rows}
    return {r["id"]: r["verdict"] for r in rows}


async def test_a_webhook_overtakes_the_answer_to_its_create(database_url: str) -> None:
    async with world_on(database_url) as world:
        async with world.on_the_wire("work") as run_id:
            world.gemini.move()
            for webhook in world.gemini.take_webhooks():
                await world.deliver(webhook)
            other = world.second_worker()
            while await other.run_once():
                pass
            (interaction,) = world.gemini.of_turn(run_id, 1)
            assert (await world.chain(run_id))[0].interaction_id == interaction.id
            assert world.toolkit.ledger, "its call ran before the create was answered"
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).output == "worked"
        assert set((await states(world)).values()) == {"done"}
        await world.check(run_id)


async def test_a_parked_webhook_is_taken_up_by_the_answer(database_url: str) -> None:
    """The look at the unknown interaction fails, the create's answer comes with an old status."""
    async with world_on(database_url) as world:
        world.gemini.faults["fetch"].append("busy")
        async with world.on_the_wire("hello") as run_id:
            world.gemini.move()
            for webhook in world.gemini.take_webhooks():
                await world.deliver(webhook)
            await world.second_worker().run_once()
            assert set((await states(world)).values()) == {"parked"}
            assert set((await verdicts(world)).values()) == {"parked"}
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED, "without waiting for the watch"
        assert set((await states(world)).values()) == {"done"}
        assert set((await verdicts(world)).values()) == {"adopted"}


async def test_an_early_404_of_an_interaction_that_became_ours_is_patience(database_url: str) -> None:
    """A webhook is looked into; meanwhile the create's answer makes it ours, and GET still says 404."""
    async with world_on(database_url) as world:
        async with world.on_the_wire("hello") as run_id:
            (interaction,) = world.gemini.of_turn(run_id, 1)
            await world.signal(interaction.id)
            other = world.second_worker()
            taken = await other._deliveries()
            assert taken == 1
            world.gemini.unseen[interaction.id] = 2
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        left = await world.effects("")
        assert {e["state"] for e in left} <= {"done"}, "the look came to an end"


async def test_lost_webhooks_are_made_up_for_by_reading(sqlite_url: str) -> None:
    async with world_on(sqlite_url, policy=Policy(watch_every=timedelta(seconds=30))) as world:
        run_ids = [await world.start("work") for _ in range(50)]
        await world.to_the_end(*run_ids, webhooks=False)
        world.gemini.outgoing.clear()
        started = {r: (await world.run(r)).created_at for r in run_ids}
        for run_id in run_ids:
            run = await world.run(run_id)
            assert run.status is RunStatus.COMPLETED
            assert run.closed_at is not None
            assert run.closed_at - started[run_id] <= 2 * timedelta(seconds=40), "two turns, two intervals"
        await world.check(*run_ids)


@pytest.mark.parametrize("status", ["incomplete", "budget_exceeded", "cancelled"])
async def test_states_without_an_event_are_found(sqlite_url: str, status: str) -> None:
    async with World(sqlite_url, stories={"x": (Plan(status=status),)}) as world:
        run_id = await world.start("x")
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).closed


async def test_a_cut_answer_goes_on_with_its_token(database_url: str) -> None:
    plans = (
        Plan((("lookup", {}),)),
        Plan(status="requires_continuation", output="It begins,"),
        Plan(status="requires_continuation", output=" goes on"),
        Plan(output=" and ends."),
    )
    async with World(database_url, stories={"x": plans}, rules={"lookup": Rule()}) as world:
        run_id = await world.start("x")
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).output == "It begins, goes on and ends."
        last = world.gemini.of_turn(run_id, 4)[0].request
        assert last.previous_id == world.gemini.of_turn(run_id, 3)[0].id
        assert (last.input, last.continuation) == ("", f"tok:{last.previous_id}")
        await world.check(run_id)


async def test_every_order_and_number_of_the_webhooks_of_a_run_ends_alike(
    sqlite_url: str,
) -> None:
    """Twelve runs hear the three webhooks of a run in different orders, one to seven times each."""
    async with world_on(sqlite_url) as world:
        run_ids = []
        for count, order in enumerate(itertools.product(itertools.permutations(range(3)), (1, 7))):
            positions, times = order
            run_id = await world.start("work")
            run_ids.append(run_id)
            await world.settle(webhooks=False)
            held = world.gemini.take_webhooks()
            names = [w.interaction_id for w in held] or [world.gemini.of_turn(run_id, 1)[0].id]
            kinds = ["interaction.requires_action", "interaction.completed", "interaction.failed"]
            for position in positions:
                for n in range(times):
                    fresh = Webhook(f"w{count}_{position}_{n}", kinds[position], names[0])
                    await world.deliver(fresh)
                    await world.deliver(fresh)
                await world.turn()
            await world.to_the_end(run_id)
        outcomes = set()
        for run_id in run_ids:
            run = await world.run(run_id)
            outcomes.add((run.status, run.output, run.turn.number, tuple(run.usage.items())))
        assert outcomes == {(RunStatus.COMPLETED, "worked", 2, (("total_tokens", 20),))}
        assert set(world.toolkit.effects().values()) == {1}
        await world.check(*run_ids)


async def test_the_same_delivery_twice_is_worked_on_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("hello")
        await world.settle(model=False)
        world.gemini.move()
        (webhook,) = world.gemini.take_webhooks()
        world.clock.advance(timedelta(seconds=1))
        for _ in range(3):
            await world.deliver(webhook)
        await world.settle()
        fetches = world.gemini.requests["fetch"]
        await world.deliver(webhook)
        await world.settle()
        assert world.gemini.requests["fetch"] == fetches
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        (row,) = await world.rows(DeliveryRow)
        assert (row["duplicates"], row["conflicts"], row["verdict"]) == (3, 0, "woke")
        _, turn, followed = await world.database.read(ledger.told, webhook.id)
        assert (turn, followed[0]["kind"], followed[0]["status"]) == (1, "InteractionObserved", "completed")


async def test_a_replay_reads_what_is_still_open_and_nothing_else(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("hello")
        await world.settle(model=False)
        (interaction,) = world.gemini.of_turn(run_id, 1)
        await world.deliver(Webhook("w1", "interaction.completed", interaction.id))
        await world.settle(model=False, webhooks=False)
        for fetches in (1, 0):  # while it is open, and when it has ended
            before, calls = world.gemini.requests["fetch"], world.gemini.requests["create"]
            replayed = await world.database.write(ledger.replay, "w1", ANNA, "", world.clock())
            assert replayed["state"] == "new"
            await world.settle(model=False, webhooks=False)
            assert world.gemini.requests["fetch"] == before + fetches
            assert world.gemini.requests["create"] == calls
            assert await verdicts(world) == {"w1": "woke" if fetches else "known"}
            await world.to_the_end(run_id, webhooks=False)
        kinds = [e["kind"] for e in await world.events(run_id)]
        assert kinds.count("DeliveryReplayed") == 2


async def test_an_interaction_of_somebody_else_is_looked_at_and_never_acted_on(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        foreign = CreateRequest(Recipe("x"), Correlation("run_elsewhere", 1, 1), "work")
        strange = world.gemini._open(foreign)
        strange.status = "requires_action"
        odd = world.gemini._open(CreateRequest(Recipe("x"), Correlation(run_id, 0, 1), "work"))
        await world.signal(odd.id)  # it names no turn that any run has
        before = await world.record_hash(run_id)
        await world.signal(strange.id, "interaction.requires_action")
        await world.signal("i_nobody", "interaction.completed")
        for _ in range(PROBES + 2):
            await world.settle(model=False)
            world.clock.advance(timedelta(seconds=15))
        assert set((await states(world)).values()) == {"parked"}
        assert {e["state"] for e in await world.effects("")} == {"dead"}
        assert await world.record_hash(run_id) == before or (await world.run(run_id)).status == "running"
        assert world.toolkit.ledger == []
        assert strange.status == "requires_action"
        assert world.gemini.requests["cancel"] == 0


async def test_metadata_that_names_another_runs_turn_changes_nothing(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("hello")
        await world.to_the_end(run_id)
        before = await world.record_hash(run_id)
        live = await world.start("work")
        await world.settle(model=False)
        live_before = (await world.run(live)).turn
        for victim, turn, attempt in ((run_id, 1, 1), (live, 1, 1), (live, 1, 9), (live, 7, 1)):
            request = CreateRequest(Recipe("x"), Correlation(victim, turn, attempt), "work")
            forged = world.gemini._open(request)
            forged.status = "requires_action"
            await world.signal(forged.id, "interaction.requires_action")
            await world.settle(model=False)
        assert await world.record_hash(run_id) == before
        assert (await world.run(live)).turn.interaction_id == live_before.interaction_id
        assert (await world.run(live)).turn.calls == ()
        assert world.toolkit.ledger == []


async def test_events_about_other_things_are_stored_and_done_with(database_url: str) -> None:
    async with world_on(database_url) as world:
        await world.deliver(Webhook("w1", "batch.succeeded", "batches/1"))
        await world.deliver(Webhook("w2", "interaction.completed", ""))
        await world.turn()
        assert await states(world) == {"w1": "done", "w2": "done"}
        assert await verdicts(world) == {"w1": "ignored", "w2": "ignored"}
        assert await world.effects("") == []


async def test_what_is_kept_of_unknown_interactions_is_bounded(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MAX_PARKED", 3)
    async with world_on(sqlite_url) as world:
        for n in range(5):
            await world.signal(f"i_unknown_{n}")
            await world.worker._deliveries()
        found = [str(r["state"]) for r in await world.rows(DeliveryRow)]
        assert sorted(found) == [DeliveryState.DONE] * 2 + [DeliveryState.PARKED] * 3
        assert sorted((await verdicts(world)).values()) == ["overflow"] * 2 + ["parked"] * 3
        assert len(await world.effects("")) == 3
