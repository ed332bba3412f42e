"""Slack busy, refusing, or silent; questions that expire; timers under a settable clock."""

from datetime import timedelta

import pytest
from support.conversation import ANNA, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.calls import LAPSED_TEXT
from orchestrator.domain.consent import Terms
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.expiry import EXPIRED_TEXT
from orchestrator.domain.model import RunStatus
from orchestrator.engine.posting import UNFAMILIAR_TRIES
from orchestrator.store import deadletters

pytestmark = pytest.mark.asyncio

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="refunded"))}
SECOND = timedelta(seconds=1)


def world_on(url: str, **more: object) -> World:
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK)}, **more)  # type: ignore[arg-type]


async def waiting(world: World) -> str:
    run_id = await world.start("ask")
    await world.settle()
    return run_id


async def outcome(world: World, run_id: str) -> object:
    (turn, *_) = await world.chain(run_id)
    found = turn.calls[0].outcome
    assert found is not None
    return found.result


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after", "odd"])
async def test_a_question_is_shown_once_whatever_slack_does(database_url: str, fault: str) -> None:
    async with world_on(database_url) as world:
        world.slack.faults["post"].extend([fault] * 2)
        run_id = await waiting(world)
        for _ in range(6):
            world.clock.advance(seconds=10)
            await world.settle()
        assert world.slack.posts == 1
        (approval,) = await world.open_approvals(run_id)
        assert approval.ts in world.slack.messages
        await world.decide(approval, True)
        await world.to_the_end(run_id)
        await world.drain()
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_a_refused_post_leaves_the_other_doors_open(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.slack.faults["post"].append("refused")
        run_id = await waiting(world)
        (approval,) = await world.open_approvals(run_id)
        assert "not in that channel" in approval.trouble
        assert (await world.decide(approval, True)).refused is None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_without_slack_questions_wait_for_the_other_doors(database_url: str) -> None:
    async with world_on(database_url, slack=False) as world:
        run_id = await waiting(world)
        (approval,) = await world.open_approvals(run_id)
        await world.decide(approval, True)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert world.slack.posts == 0


async def test_a_question_without_a_channel_is_not_posted(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.toolkit.rules["refund"].terms = Terms(approvers=TERMS.approvers)
        run_id = await waiting(world)
        assert world.slack.posts == 0
        assert len(await world.open_approvals(run_id)) == 1


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after", "odd"])
async def test_a_message_is_redrawn_until_slack_takes_it(sqlite_url: str, fault: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id = await waiting(world)
        world.slack.faults["update"].extend([fault] * 3)
        (approval,) = await world.open_approvals(run_id)
        await world.decide(approval, False)
        await world.drain()
        assert world.slack.live_buttons() == set()


async def test_what_slack_refuses_by_no_word_of_ours_is_given_up_at_last_and_named(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        world.slack.faults["update"].extend(["odd"] * (UNFAMILIAR_TRIES + 1))
        await world.decide(approval, False)
        await world.drain()
        (dead,) = await world.effects(run_id, state="dead")
        assert (dead["kind"], dead["subject"], dead["attempts"]) == (
            EffectKind.UPDATE_APPROVAL,
            approval.id,
            UNFAMILIAR_TRIES,
        )
        assert "an_error_of_next_year" in dead["error"]
        effect = dead["id"]
        world.slack.faults["update"].clear()
        await world.database.write(lambda s: deadletters.retry(s, effect, ANNA, "", world.clock()))
        await world.drain()
        assert world.slack.live_buttons() == set()


async def test_what_is_refused_by_a_word_we_know_is_not_tried_again(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        world.slack.faults["update"].append("refused")
        await world.decide(approval, False)
        await world.settle()
        (dead,) = await world.effects(run_id, state="dead")
        assert dead["attempts"] == 1


async def test_slack_down_for_long_delays_and_loses_nothing(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.weather = lambda operation: "busy"
        run_id = await waiting(world)
        for _ in range(30):
            world.clock.advance(timedelta(minutes=1))
            await world.settle()
        assert world.slack.posts == 0
        world.slack.weather = None
        for _ in range(62):
            world.clock.advance(seconds=1)
            await world.settle()
        assert world.slack.posts == 1, "visible within a minute of the recovery"
        assert len(await world.open_approvals(run_id)) == 1


async def test_a_question_settled_while_it_was_being_posted_leaves_no_button(database_url: str) -> None:
    """The answer comes by another door, the run goes on, and then Slack says where the message is."""
    async with world_on(database_url) as world:
        run_id = await world.start("ask")
        real = world.slack.post

        async def slow_post(card, *, seen_before):  # type: ignore[no-untyped-def]
            placed = await real(card, seen_before=seen_before)
            answer = await world.decide(card.approval, False)
            assert answer.refused is None
            assert (await world.run(run_id)).turn.number == 2
            return placed

        world.slack.post = slow_post  # type: ignore[method-assign]
        await world.settle()
        await world.drain()
        assert world.slack.posts == 1
        assert world.slack.live_buttons() == set()
        (turn, *_) = await world.chain(run_id)
        assert turn.calls[0].approval is not None
        assert turn.calls[0].approval.ts
        await world.check(run_id)


async def test_questions_expire_and_the_model_is_told_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await waiting(world)
        (approval,) = await world.open_approvals(run_id)
        world.clock.reach(approval.expires_at - SECOND)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.WAITING
        world.clock.reach(approval.expires_at)
        await world.settle()
        assert await outcome(world, run_id) == EXPIRED_TEXT
        assert world.toolkit.ledger == []
        assert world.slack.live_buttons() == set()
        assert (await world.decide(approval, True)).refused is not None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.check(run_id)


async def test_an_approval_lapses_while_the_process_is_down(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await waiting(world)
        (approval,) = await world.open_approvals(run_id)
        await world.decide(approval, True)
        world.clock.advance(TERMS.start_within + SECOND)
        await world.restart("away for an hour")
        await world.settle()
        assert await outcome(world, run_id) == LAPSED_TEXT
        assert world.toolkit.ledger == []


async def test_a_question_that_expired_while_the_process_was_down(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await waiting(world)
        (approval,) = await world.open_approvals(run_id)
        world.clock.advance(timedelta(days=2))
        await world.restart("away for two days")
        assert (await world.decide(approval, True)).refused == "expired"
        await world.settle()
        assert await outcome(world, run_id) == EXPIRED_TEXT


async def test_a_run_ends_at_its_deadline(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("ask", max_duration=timedelta(hours=2))
        await world.settle()
        world.clock.advance(timedelta(hours=2) - SECOND)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.WAITING
        world.clock.advance(SECOND)
        await world.settle()
        run = await world.run(run_id)
        assert run.status is RunStatus.FAILED
        assert "not ended within" in run.reason
        await world.drain()
        assert world.gemini.of_turn(run_id, 1)[0].status == "cancelled"
        assert world.slack.live_buttons() == set()
        await world.check(run_id)
