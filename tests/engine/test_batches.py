"""Several gated calls of a turn: one message over their questions, posted once and before any of them."""

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.deaths import arm
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.cards import BatchCard
from orchestrator.domain.consent import Approval, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.model import RunStatus
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError

pytestmark = pytest.mark.asyncio

ASKING = replace(TERMS, channel="C0APPR", together=True)
CALLS = (("refund", {"n": 1}), ("pay", {"n": 2}), ("ship", {"n": 3}))
STORIES = {"ask": (Plan(CALLS), Plan(output="told"))}


def world_on(url: str, terms: Terms = ASKING, *, slack: bool = True) -> World:
    rules = {name: Rule(Ruling.ASK, terms=terms) for name, _ in CALLS}
    return World(url, stories=STORIES, rules=rules, slack=slack)


async def asked(world: World) -> tuple[str, list[Approval]]:
    run_id = await world.start("ask")
    await world.settle()
    return run_id, await world.open_approvals(run_id)


def parent(world: World) -> BatchCard:
    (batch,) = world.slack.batches.values()
    return batch


async def ended(world: World, run_id: str) -> None:
    await world.to_the_end(run_id)
    await world.drain()
    assert (await world.run(run_id)).status is RunStatus.COMPLETED
    assert not any(card.approval.open for card in parent(world).cards)
    await world.check(run_id)


@pytest.mark.parametrize("fault", ["fine", "busy", "lost", "lost_after"])
async def test_the_message_comes_first_and_once_and_the_questions_under_it(
    sqlite_url: str, fault: str
) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.faults["post_batch"].extend([fault] * 2)
        run_id, _ = await asked(world)
        assert world.slack.posts == (3 if fault == "fine" else 0)  # none of them before it
        for _ in range(6):
            world.clock.advance(seconds=10)
            await world.settle()
        (ts,) = world.slack.batches
        assert {card.thread for card in world.slack.messages.values()} == {ts}
        for approval in await world.open_approvals(run_id):
            await world.decide(approval, True)
            await world.settle()
        await ended(world, run_id)
        assert world.slack.posts == 3


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("name", ["before_post", "after_post"])
async def test_a_crash_around_the_message_or_its_first_question_loses_neither(
    sqlite_url: str, name: str, nth: int
) -> None:
    """The first post is that of the message, the second that of a question under it."""
    arm(name, nth)
    async with world_on(sqlite_url) as world:
        run_id, approvals = await asked(world)
        assert world.deaths == [name]
        for _ in range(4):
            world.clock.advance(seconds=40)
            await world.settle()
        assert (len(world.slack.batches), world.slack.posts) == (1, 3)
        for approval in approvals:
            await world.decide(approval, True)
        await ended(world, run_id)


async def test_a_message_that_is_not_redrawn_for_a_word_we_do_not_know_is_kept_for_people_to_see(
    sqlite_url: str,
) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approvals = await asked(world)
        world.slack.weather = lambda operation: "odd" if operation == "update_batch" else "fine"
        for approval in approvals:
            await world.decide(approval, True)
        await world.to_the_end(run_id)
        await world.drain()
        (dead,) = await world.effects(run_id, state="dead")
        assert (dead["kind"], dead["subject"]) == (EffectKind.UPDATE_BATCH, "1")
        assert "an_error_of_next_year" in dead["error"]


async def test_where_the_message_is_refused_the_questions_are_shown_alone(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.faults["post_batch"].append("refused")
        run_id, approvals = await asked(world)
        assert world.slack.batches == {}
        assert [card.thread for card in world.slack.messages.values()] == ["", "", ""]
        for approval in approvals:
            await world.decide(approval, False)
        await world.to_the_end(run_id)
        await world.drain()
        await world.check(run_id)


async def test_without_slack_the_questions_wait_for_the_other_doors(sqlite_url: str) -> None:
    async with world_on(sqlite_url, slack=False) as world:
        run_id, approvals = await asked(world)
        assert (await world.run(run_id)).turn.batch is None
        for approval in approvals:
            await world.decide(approval, True)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_all_decided_before_it_could_be_shown_nothing_is_posted(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.faults["post_batch"].extend(["busy"] * 2)
        run_id, approvals = await asked(world)
        for approval in approvals:
            await world.decide(approval, True)
        await world.to_the_end(run_id)
        await world.drain()
        assert (world.slack.batches, world.slack.messages) == ({}, {})
        await world.check(run_id)


async def test_one_after_the_other_they_are_drawn_as_they_are_decided(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, (first, second, third) = await asked(world)
        assert parent(world).together
        await world.decide(first, True)
        await world.decide(second, False)
        await world.settle()
        cards = parent(world).cards
        assert [card.approval.status for card in cards] == ["approved", "rejected", "pending"]
        assert not parent(world).together  # one that is left is decided on its own card
        world.clock.reach(third.expires_at)
        await ended(world, run_id)
        assert sorted(card.call.outcome.kind for card in parent(world).cards if card.call.outcome) == [
            "expired",
            "rejected",
            "succeeded",
        ]


async def test_approved_in_one_go_each_runs_once_and_is_a_decision_of_its_own(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approvals = await asked(world)
        pairs = [(a.id, a.digest[:16]) for a in approvals]
        answers = await world.intake.decide_all(pairs, approve=True, by=ANNA, entitled_as=ANNA.id)
        assert [a.refused for a in answers] == [None] * 3
        again = await world.intake.decide_all(pairs, approve=False, by=BEN, entitled_as=BEN.id)
        assert {a.refused for a in again} == {Refusal.ALREADY_DECIDED}
        await ended(world, run_id)
        assert sorted(world.toolkit.effects().values()) == [1, 1, 1]
        decided = [e for e in await world.events(run_id) if e["kind"] == "ApprovalDecided"]
        taken = sorted(e["data"]["approval"] for e in decided if not e["refused"])
        assert taken == sorted(a.id for a in approvals)


async def test_one_that_was_decided_meanwhile_or_is_no_question_at_all(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approvals = await asked(world)
        pairs = [(a.id, a.digest[:16]) for a in approvals]
        with pytest.raises(NotFoundError):
            await world.intake.decide_all(
                [*pairs, ("apr_none", "0" * 16)], approve=True, by=ANNA, entitled_as=ANNA.id
            )
        assert len(await world.open_approvals(run_id)) == 3  # nothing of it was recorded
        await world.decide(approvals[1], False, by=BEN)
        answers = await world.intake.decide_all(pairs, approve=True, by=ANNA, entitled_as=ANNA.id)
        assert [a.refused for a in answers] == [None, Refusal.ALREADY_DECIDED, None]
        await ended(world, run_id)
        assert len(world.toolkit.ledger) == 2


async def test_a_cancel_draws_it_as_over(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, _ = await asked(world)
        await world.cancel(run_id)
        await world.drain()
        assert not any(card.approval.open for card in parent(world).cards)
        await world.check(run_id)
