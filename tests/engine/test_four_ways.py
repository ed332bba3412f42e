"""The four ways through: trigger, webhook in, decision in, resume and close."""

import pytest
from support.conversation import ANNA, BEN
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.decision import Refusal
from orchestrator.domain.model import RunStatus

pytestmark = pytest.mark.asyncio

STORIES = {
    "hello": (Plan(output="hi"),),
    "look it up": (Plan((("lookup", {"order": "A-1"}),)), Plan(output="found")),
    "refund": (Plan((("refund", {"cents": 5}), ("lookup", {}))), Plan(output="refunded")),
}
RULES = {"lookup": Rule(), "refund": Rule(Ruling.ASK)}


async def test_a_run_without_tools(database_url: str) -> None:
    async with World(database_url, stories=STORIES, rules=RULES) as world:
        run_id = await world.start("hello")
        assert (await world.run(run_id)).status is RunStatus.QUEUED
        assert world.gemini.requests["create"] == 0, "nothing is sent before the record is stored"
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, run.output, run.usage) == (RunStatus.COMPLETED, "hi", {"total_tokens": 10})
        await world.check(run_id)


async def test_a_free_tool_runs_once_and_its_result_is_sent(database_url: str) -> None:
    async with World(database_url, stories=STORIES, rules=RULES) as world:
        run_id = await world.start("look it up")
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, run.output, run.turn.number) == (RunStatus.COMPLETED, "found", 2)
        assert [(e.tool, e.arguments) for e in world.toolkit.ledger] == [("lookup", {"order": "A-1"})]
        assert run.usage == {"total_tokens": 20}
        await world.check(run_id)


async def test_a_gated_tool_runs_after_its_approval(database_url: str) -> None:
    async with World(database_url, stories=STORIES, rules=RULES) as world:
        run_id = await world.start("refund")
        await world.settle()
        run = await world.run(run_id)
        assert run.status is RunStatus.WAITING
        assert [e.tool for e in world.toolkit.ledger] == ["lookup"]
        (approval,) = await world.open_approvals(run_id)
        assert world.slack.live_buttons() == {approval.id}
        assert approval.ts
        answer = await world.decide(approval, True)
        assert answer.refused is None
        late = await world.decide(approval, False, by=BEN)
        assert late.refused is Refusal.ALREADY_DECIDED
        assert "anna" in late.note
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        refund = next(e for e in world.toolkit.ledger if e.tool == "refund")
        assert refund.approved_by == ANNA.id
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_a_rejected_tool_does_not_run(database_url: str) -> None:
    async with World(database_url, stories=STORIES, rules=RULES) as world:
        run_id, approval = await world.one_question("refund")
        await world.decide(approval, False, reason="no")
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert [e.tool for e in world.toolkit.ledger] == ["lookup"]
        (answered,) = world.gemini.of_turn(run_id, 2)
        results = {r.name: r for r in answered.request.input}  # type: ignore[union-attr]
        assert results["refund"].is_error
        assert not results["lookup"].is_error
        assert world.slack.live_buttons() == set()
        await world.check(run_id)
