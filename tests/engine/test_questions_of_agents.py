"""The agent asks people, and people answer in a tool's place: over the whole loop, each exactly once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Approval
from orchestrator.domain.decision import Refusal
from orchestrator.domain.human import ASK_HUMAN, UNANSWERED_TEXT
from orchestrator.domain.model import CallStatus, OutcomeKind, RunStatus
from orchestrator.errors import InvalidError

pytestmark = pytest.mark.asyncio

COLOUR = {"question": "Which colour?", "kind": "choice", "choices": ["red", "blue"]}
STORIES = {
    "colour": (Plan(((ASK_HUMAN, COLOUR), ("lookup", {"n": 1}))), Plan(output="Painted.")),
    "twice": (Plan((("refund", {"n": 1}),)), Plan((("refund", {"n": 1}),)), Plan(output="Well.")),
    "both": (Plan((("slow", {"n": 1}), ("refund", {"n": 2}))), Plan(output="never")),
}


def world_on(url: str, **more: Any) -> World:
    rules = {ASK_HUMAN: Rule(Ruling.ASK), "lookup": Rule(), "refund": Rule(Ruling.ASK), "slow": Rule()}
    return World(url, stories=STORIES, rules=rules, **more)


async def asked(world: World, story: str) -> tuple[str, Approval]:
    run_id = await world.start(story)
    await world.settle()
    (approval,) = await world.open_approvals(run_id)
    return run_id, approval


async def test_a_question_is_answered_once_and_nothing_runs_by_it(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await asked(world, "colour")
        for wrong in ("green", ["red"], {"colour": "red"}):
            with pytest.raises(InvalidError) as refused:
                await world.decide(approval, False, answer=wrong)
            assert [path for path, _ in refused.value.fields] == ["answer"]
        assert (await world.decide(approval, True)).refused is Refusal.NOT_NOW
        assert (await world.run(run_id)).status is RunStatus.WAITING, "the question stays open"
        answers = await asyncio.gather(
            *(
                world.decide(approval, False, by, answer=colour)
                for by, colour in ((ANNA, "red"), (BEN, "blue"))
            )
        )
        assert sorted(str(a.refused) for a in answers) == ["None", "not_found"]
        assert "already answered by" in next(a.note for a in answers if a.refused)
        await world.to_the_end(run_id)
        (call, looked_up) = (await world.chain(run_id))[0].calls
        assert call.outcome is not None
        assert call.outcome.kind is OutcomeKind.SUCCEEDED
        assert call.outcome.result in ({"answer": c, "answered_by": "a person"} for c in ("red", "blue"))
        assert set(world.toolkit.effects()) == {looked_up.id}
        assert (await world.decide(approval, False, answer="green")).refused is Refusal.RUN_ENDED
        await world.drain()
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_nobody_answers_in_time(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await asked(world, "colour")
        world.clock.reach(approval.expires_at)
        late = await world.decide(approval, False, answer="red")
        assert late.refused is Refusal.EXPIRED
        await world.to_the_end(run_id)
        (call, _) = (await world.chain(run_id))[0].calls
        assert call.outcome is not None
        assert (call.outcome.kind, call.outcome.result) == (OutcomeKind.EXPIRED, UNANSWERED_TEXT)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_the_same_call_comes_again_and_the_card_says_who_said_no(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        cards = []
        real = world.slack.post

        async def post(card, *, seen_before):  # type: ignore[no-untyped-def]
            cards.append(card)
            return await real(card, seen_before=seen_before)

        world.slack.post = post  # type: ignore[method-assign]
        run_id, approval = await asked(world, "twice")
        await world.decide(approval, False, BEN)
        await world.settle()
        first, again = cards
        assert (first.rejected_before, first.rejections) == (None, 0)
        assert again.rejected_before is not None
        assert (again.rejected_before.by, again.rejections) == (BEN, 1)
        (approval,) = await world.open_approvals(run_id)
        await world.decide(approval, True)
        await world.to_the_end(run_id)
        await world.check(run_id)


async def test_a_no_that_stops_the_run_stops_what_is_running(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        gate = asyncio.Event()
        world.toolkit.rules["slow"].gate = gate
        run_id = await world.start("both")
        turning = asyncio.create_task(world.settle())
        await asyncio.wait_for(world.toolkit.before_effect.wait(), 30)
        (approval,) = await world.open_approvals(run_id)
        taken = await world.decide(approval, False, stop=True, reason="enough")
        assert (taken.refused, taken.run) == (None, run_id)
        gate.set()
        await asyncio.wait_for(turning, 30)
        run = await world.run(run_id)
        assert run.status is RunStatus.CANCELLED
        assert run.reason == "stopped by anna, who rejected refund: enough"
        assert len(world.toolkit.heard_cancel) == 1
        assert [c.status for c in run.turn.calls] == [CallStatus.SETTLED] * 2
        world.clock.advance(timedelta(days=2))
        await world.drain()
        assert [e.tool for e in world.toolkit.ledger] == ["slow"]


async def test_requests_beyond_the_limit_are_denied_and_the_run_goes_on(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.policy = type(world.policy)(max_open=1)
        world.boot()
        world.gemini.stories["many"] = (
            Plan((("refund", {"n": 1}), ("refund", {"n": 2}))),
            Plan(output="one"),
        )
        run_id, approval = await asked(world, "many")
        assert approval.terms == TERMS
        await world.decide(approval, True)
        await world.to_the_end(run_id)
        kinds = [c.outcome.kind for c in (await world.chain(run_id))[0].calls if c.outcome]
        assert kinds == [OutcomeKind.SUCCEEDED, OutcomeKind.DENIED]
        await world.check(run_id)
