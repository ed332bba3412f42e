"""What unattended runs ask: one message of a channel at its hour, over however many of them."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.conversation import ANNA, BEN, TERMS
from support.deaths import arm
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.cards import DigestCard
from orchestrator.domain.consent import Approval, Verdict
from orchestrator.domain.daily import Daily
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.domain.values import replace
from orchestrator.engine.answers import DecisionContext, Person, Wish, decide_each
from orchestrator.store import locking, outbox
from orchestrator.store.tables import RunRow, table

pytestmark = pytest.mark.asyncio

AT = Daily(time(7, 30), "Europe/Berlin")
DUE = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)  # the morning after the clock of these tests
ASKING = replace(TERMS, channel="C0APPR", together=True, expires_after=timedelta(hours=4))
WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="told"))}


def world_on(url: str, *, slack: bool = True) -> World:
    rules = {"refund": Rule(Ruling.ASK, terms=ASKING)}
    return World(url, stories=STORIES, rules=rules, slack=slack)


async def asked(world: World, count: int = 3) -> list[Approval]:
    """So many runs ask; the question of each."""
    recipe = Recipe("nightly", model="gemini-3.8-flash", tools=("refund",), collect=AT)
    ids = [(await world.intake.start(recipe, "ask", ANNA)).run_id for _ in range(count)]
    await world.settle()
    return [approval for run_id in ids for approval in await world.open_approvals(run_id)]


async def runs_of(world: World) -> list[str]:
    return [str(row["id"]) for row in await world.database.read(_ids)]


def _ids(s: Session) -> Sequence[Mapping[Any, Any]]:
    return s.connection().execute(sa.select(table(RunRow).c.id)).mappings().all()


def message(world: World) -> DigestCard:
    (digest,) = world.slack.digests.values()
    return digest


async def over(world: World) -> None:
    """Every run at its end, every button gone, and the promises kept."""
    ids = await runs_of(world)
    await world.to_the_end(*ids)
    await world.drain()
    assert {(await world.run(run_id)).status for run_id in ids} == {RunStatus.COMPLETED}
    await world.check(*ids)


@pytest.mark.parametrize("fault", ["fine", "busy", "lost", "lost_after"])
async def test_one_message_at_the_hour_and_each_question_under_it(sqlite_url: str, fault: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.faults["post_batch"].extend([fault] * 2)
        approvals = await asked(world)
        assert len(approvals) == 3
        world.clock.reach(DUE - timedelta(seconds=1))
        await world.settle()
        assert (world.slack.digests, world.slack.messages) == ({}, {})
        for seconds in (1, 10, 10, 10, 10, 10):
            world.clock.advance(seconds=seconds)
            await world.settle()
        (ts,) = world.slack.digests
        assert {card.thread for card in world.slack.messages.values()} == {ts}
        shown = [(await world.open_approvals(run_id))[0] for run_id in await runs_of(world)]
        assert all(a.since is not None and a.expires_at == a.since + timedelta(hours=4) for a in shown)
        assert all(card.approval.since is not None for card in world.slack.messages.values())
        for approval in approvals:
            await world.decide(approval, True)
        await over(world)
        assert world.slack.posts == 3
        assert not any(card.approval.open for card in message(world).cards)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("name", ["before_post", "after_post"])
async def test_a_crash_around_the_message_or_its_first_question_loses_neither(
    sqlite_url: str, name: str, nth: int
) -> None:
    arm(name, nth)
    async with world_on(sqlite_url) as world:
        approvals = await asked(world)
        world.clock.reach(DUE + timedelta(hours=5))  # the hour was slept through
        await world.settle()
        assert world.deaths == [name]
        for _ in range(4):
            world.clock.advance(seconds=40)
            await world.settle()
        assert (len(world.slack.digests), world.slack.posts) == (1, 3)
        for approval in approvals:
            await world.decide(approval, False)
        await over(world)


async def test_two_workers_post_one_message(database_url: str) -> None:
    async with world_on(database_url) as world:
        approvals = await asked(world)
        world.clock.reach(DUE)
        other = world.second_worker()
        for _ in range(6):
            await asyncio.gather(other.run_once(), world.turn())
            world.clock.advance(seconds=2)
        assert (len(world.slack.digests), world.slack.posts) == (1, 3)
        pairs = [(a.id, a.digest[:16]) for a in approvals]
        answers = await world.intake.decide_all(pairs[:2], approve=True, by=ANNA, entitled_as=ANNA.id)
        assert [a.refused for a in answers] == [None] * 2
        again = await world.intake.decide_all(pairs, approve=False, by=BEN, entitled_as=BEN.id)
        assert [a.refused for a in again] == [Refusal.ALREADY_DECIDED] * 2 + [None]
        await over(world)
        assert sorted(world.toolkit.effects().values()) == [1, 1]


async def test_decided_before_its_hour_it_is_not_listed(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        first, *others = await asked(world)
        await world.decide(first, True)
        world.clock.reach(DUE)
        await world.settle()
        assert world.slack.posts == 2
        assert {c.approval.id for c in message(world).cards} == {a.id for a in others}
        for approval in others:
            await world.decide(approval, True)
        await over(world)


async def test_all_decided_before_nothing_is_posted(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        for approval in await asked(world):
            await world.decide(approval, True)
        await over(world)
        world.clock.reach(DUE)
        await world.drain()
        assert (world.slack.digests, world.slack.messages) == ({}, {})


async def test_where_the_message_is_refused_each_is_shown_alone(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.faults["post_batch"].append("refused")
        approvals = await asked(world)
        world.clock.reach(DUE)
        await world.settle()
        assert world.slack.digests == {}
        assert [card.thread for card in world.slack.messages.values()] == ["", "", ""]
        for approval in approvals:
            await world.decide(approval, False)
        await over(world)


async def test_nobody_answers_and_each_lapses_in_its_own_time(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        await asked(world)
        world.clock.reach(DUE)
        await world.settle()
        world.clock.reach(DUE + timedelta(hours=4, minutes=1))
        await over(world)
        assert {c.call.outcome.kind for c in message(world).cards if c.call.outcome} == {"expired"}


async def test_without_slack_their_time_begins_at_the_hour(sqlite_url: str) -> None:
    async with world_on(sqlite_url, slack=False) as world:
        (approval,) = await asked(world, 1)
        world.clock.reach(DUE)
        await world.settle()
        (shown,) = await world.open_approvals((await runs_of(world))[0])
        assert (shown.since, shown.expires_at) == (DUE, DUE + timedelta(hours=4))
        await world.decide(approval, True)
        await over(world)


async def test_several_decisions_take_every_run_before_they_write(postgres_url: str) -> None:
    """Else a step of the second run, whose message is the same, and they would wait for each other."""
    async with world_on(postgres_url) as world:
        asked_now = await asked(world, 2)
        world.clock.reach(DUE)
        await world.settle()
        _, second = sorted(await runs_of(world))
        held, tries = threading.Event(), 0
        bench = DecisionContext(world.toolkit, world.policy, world.clock())
        person, yes = Person(ANNA, ANNA.id), Verdict(True, ANNA, world.clock())

        def step_of_the_second(s: Session) -> None:
            locking.run(s, second)
            s.connection().execute(sa.text(WAITS))  # the lock goes with what is asked first
            held.set()
            while not s.connection().execute(sa.text(WAITS)).scalar_one():
                """Until somebody waits for it."""
            outbox.add(s, "", [Effect(EffectKind.UPDATE_DIGEST, message(world).name, world.clock())])

        def several(s: Session) -> None:
            nonlocal tries
            tries += 1
            decide_each(s, [Wish(a.id, person, yes) for a in asked_now], bench)

        beside = asyncio.create_task(world.database.write(step_of_the_second))
        await asyncio.to_thread(held.wait)
        await asyncio.gather(beside, world.database.write(several))
        assert tries == 1
        await over(world)


async def test_asked_for_once_more_a_question_that_may_be_there_is_looked_for(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        (approval,) = await asked(world, 1)
        world.clock.reach(DUE)
        world.slack.faults["post"].append("lost_after")
        await world.settle()
        assert (len(world.slack.digests), world.slack.posts) == (1, 1)  # and nobody knows yet
        answer = await world.intake.ask_back(approval.id, "Why?", by=BEN, entitled_as=BEN.id)
        assert answer.refused is None
        await world.settle()
        world.clock.advance(seconds=10)
        await world.settle()
        assert world.slack.posts == 1
        await world.decide(approval, True)
        await over(world)
