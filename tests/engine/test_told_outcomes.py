"""What came of a decision is said once under its message, where that is wanted."""

from datetime import timedelta

import pytest
from support.conversation import ANNA, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Place
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.model import RunStatus
from orchestrator.domain.outcomes import OUTCOME

pytestmark = pytest.mark.asyncio

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="told"))}


def world_on(url: str, *, outcomes: bool = True) -> World:
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK, terms=TERMS)}, outcomes=outcomes)


@pytest.mark.parametrize("approve", [True, False])
async def test_what_came_of_a_decision_is_said_once(database_url: str, approve: bool) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, approve, by=ANNA)
        await world.to_the_end(run_id)
        await world.drain()
        assert world.slack.notices == [(approval.id, OUTCOME, False)]
        updates = world.slack.updates
        assert await world.intake.stray(approval.id, Place("C0OPS", "99.9"))
        await world.drain()
        assert world.slack.updates > updates, "it is drawn once more"
        (row,) = [e for e in await world.effects(run_id) if e["kind"] == EffectKind.NOTIFY_APPROVAL]
        assert row["wanted"] == 1, "nobody need look whether it was said"
        await world.check(run_id)


async def test_it_is_not_said_where_nobody_wants_that(sqlite_url: str) -> None:
    async with world_on(sqlite_url, outcomes=False) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True, by=ANNA)
        await world.to_the_end(run_id)
        await world.drain()
        assert world.slack.notices == []


async def test_nothing_is_said_of_what_nobody_decided(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        world.clock.reach(approval.expires_at + timedelta(seconds=1))
        await world.to_the_end(run_id)
        cancelled, _ = await world.one_question()
        await world.cancel(cancelled)
        await world.drain()
        assert OUTCOME not in {what for _, what, _ in world.slack.notices}


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after"])
async def test_it_is_still_said_when_the_run_has_ended_meanwhile(database_url: str, fault: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        world.slack.faults["remind"].append(fault)
        await world.decide(approval, True, by=ANNA)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.drain()
        assert world.slack.notices == [(approval.id, OUTCOME, False)]
        assert world.slack.violations == []
