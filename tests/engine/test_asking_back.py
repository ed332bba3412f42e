"""Asking back with a whole engine: told once whatever Slack does, and no button outlives its request."""

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Approval, Terms, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.model import RunStatus
from orchestrator.domain.values import replace
from orchestrator.engine.answers import Person, Wish
from orchestrator.engine.intake import Decided
from orchestrator.engine.posting import UNFAMILIAR_TRIES

pytestmark = pytest.mark.asyncio

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="told"))}
WHY = "Why twice?"


def world_on(url: str, terms: Terms = TERMS) -> World:
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK, terms=terms)})


async def asks(world: World, approval: Approval, text: str = WHY, by: str = BEN.id) -> Decided:
    return await world.intake.ask_back(approval.id, text, by=BEN, entitled_as=by)


async def says(world: World, approval: Approval, text: str = "It broke.") -> Decided:
    return await world.intake.answer_back(approval.id, 1, text, by=ANNA, entitled_as=ANNA.id)


async def again(world: World) -> None:
    for _ in range(5):
        world.clock.advance(seconds=10)
        await world.settle()


def tellings(world: World) -> list[Telling]:
    return sorted((telling for _, telling in world.slack.asked_back.values()), key=_order)


def _order(telling: Telling) -> tuple[bool, str]:
    return telling.answer, telling.what


async def test_asked_answered_and_decided_on_both_databases(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        assert (await asks(world, approval, by="U0EVE")).refused is Refusal.NOT_ENTITLED
        assert (await asks(world, approval)).approval.questions[0].text == WHY
        await world.settle()
        assert tellings(world) == [Telling(1), Telling(1, person=ANNA.id)]
        (shown,) = (await world.open_approvals(run_id))[0].questions
        assert {(p.channel, p.person) for p in shown.places} == {("C0OPS", ""), ("C0OPS", ANNA.id)}
        assert world.slack.can_be_answered() == [WHY, WHY]
        assert (await says(world, approval)).refused is None
        late = await says(world, approval, "Or not.")
        assert (late.refused, "already answered by anna" in late.note) == (Refusal.ALREADY_DECIDED, True)
        await world.settle()
        assert tellings(world)[-1] == Telling(1, answer=True)
        assert world.slack.can_be_answered() == []
        assert all(card.approval.questions[0].answered for card, _ in world.slack.asked_back.values())
        assert (await world.decide(approval, True, by=BEN)).refused is None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        after = await asks(world, approval, "And?")
        assert after.refused is Refusal.RUN_ENDED
        assert "already approved by ben" in after.note
        await world.check(run_id)


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after", "odd"])
async def test_each_is_said_once_whatever_slack_does(sqlite_url: str, fault: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        world.slack.faults["ask_back"].extend([fault, fault])
        world.slack.faults["redraw_asked_back"].append("odd" if fault == "odd" else "lost_after")
        await asks(world, approval)
        await again(world)
        assert tellings(world) == [Telling(1), Telling(1, person=ANNA.id)]
        world.slack.faults["ask_back"].append(fault)
        await says(world, approval)
        await again(world)
        assert (tellings(world)[2:], world.slack.can_be_answered()) == ([Telling(1, answer=True)], [])
        await world.check(run_id)


async def test_one_that_is_not_redrawn_for_a_word_we_do_not_know_is_kept_for_people_to_see(
    sqlite_url: str,
) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        await asks(world, approval)
        await again(world)
        world.slack.weather = lambda operation: "odd" if operation == "redraw_asked_back" else "fine"
        await says(world, approval)
        await world.drain()
        (dead,) = await world.effects(run_id, state="dead")
        assert (dead["kind"], dead["attempts"]) == (EffectKind.UPDATE_INQUIRY, UNFAMILIAR_TRIES)


async def test_who_takes_no_direct_messages_is_asked_in_the_thread_alone(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.unreachable = {ANNA.id}
        run_id, approval = await world.one_question()
        await asks(world, approval)
        await world.settle()
        assert tellings(world) == [Telling(1)]
        assert (await says(world, approval)).refused is None
        await world.check(run_id)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("end", ["rejected", "cancelled"])
async def test_no_button_outlives_its_request(sqlite_url: str, end: str, lost: bool) -> None:
    """Also of a message whose post had no answer before the request was over."""
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        if lost:
            world.slack.faults["ask_back"].extend(["lost_after", "lost_after"])
        await asks(world, approval)
        await world.settle()
        assert world.slack.can_be_answered() == [WHY, WHY]
        if end == "rejected":
            await world.decide(approval, False, by=BEN)
        else:
            await world.cancel(run_id)
        assert (await says(world, approval)).refused in (Refusal.NOT_FOUND, Refusal.RUN_ENDED)
        await again(world)
        await world.to_the_end(run_id)
        await world.drain()
        assert world.slack.can_be_answered() == []
        await world.check(run_id)


async def test_what_is_asked_before_the_request_is_shown_is_said_under_it(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.faults["post"].append("busy")
        run_id, approval = await world.one_question()
        assert not approval.ts
        await asks(world, approval)
        await world.settle()
        assert tellings(world) == [Telling(1, person=ANNA.id)]
        await again(world)
        assert tellings(world) == [Telling(1), Telling(1, person=ANNA.id)]
        await world.check(run_id)


async def test_without_slack_the_other_doors_do(sqlite_url: str) -> None:
    rules = {"refund": Rule(Ruling.ASK, terms=replace(TERMS, channel=""))}
    async with World(sqlite_url, stories=STORIES, rules=rules, slack=False) as world:
        run_id, approval = await world.one_question()
        await asks(world, approval)
        await says(world, approval)
        await world.settle()
        assert (await world.open_approvals(run_id))[0].questions[0].answer == "It broke."
        assert await world.effects(run_id, state="dead") == []
        await world.check(run_id)


async def test_several_decisions_pass_the_gate_one_by_one_in_one_commit(database_url: str) -> None:
    async with world_on(database_url) as world:
        found = [await world.one_question() for _ in range(3)]
        await world.decide(found[1][1], False, by=ANNA)

        def wish(approval: Approval, digest: str = "") -> Wish:
            person = Person(BEN, BEN.id, digest=digest or approval.digest[:16])
            return Wish(approval.id, person, Verdict(True, BEN, world.clock()))

        wishes = [wish(found[2][1], "0" * 16), wish(found[1][1]), wish(found[0][1])]
        gone = Wish("apr_gone", wishes[0].person, wishes[0].verdict)
        answers = await world.intake.decide_each([*wishes, gone])
        assert [a and a.refused for a in answers] == [Refusal.CHANGED, Refusal.NOT_FOUND, None, None]
        assert [a is None for a in answers] == [False, False, False, True]
        await world.to_the_end(*(run for run, _ in found))
        assert [e.approved_by for e in world.toolkit.ledger] == [BEN.id]
        await world.check(*(run for run, _ in found))
