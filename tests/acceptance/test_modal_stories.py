"""Windows of Slack: a reason the model hears, arguments changed in a form, details for the entitled."""

import re
from pathlib import Path

import pytest
from looking import Json, buttons, text_of, until
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged

from orchestrator.web.clicks import CHANGED

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

STORY = asks(call("charge", item="book", amount=500)), says("Charged.", "Not charged.")
TERMS = {"approvers": ["U0ALICE", "U0BOB"], "timeout_seconds": 3600}


async def asked(stage: Stage) -> tuple[str, Json]:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    return run_id, approval


async def test_a_reason_is_asked_for_and_told_to_the_model(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals={**TERMS, "reason_required": True}) as stage:
        run_id, approval = await asked(stage)
        await stage.press_button(approval, "reject_reason")
        [window] = stage.slack.views.stack("U0ALICE")
        assert window.definition["title"]["text"] == "Reject"
        await stage.slack.submit("U0ALICE", {"reason": {"reason": "Too <dear>."}})
        assert stage.slack.views.stack("U0ALICE") == []
        assert (await stage.ended(run_id))["output"] == "Not charged."
        [result] = stage.creates(run_id)[1]["body"]["input"]
        assert result["result"].endswith('In their words: "Too <dear>."')
        assert "Too <dear>." in text_of((await stage.redrawn(approval, "Rejected: charge")).blocks)
        assert stage.book() == []


async def test_the_arguments_are_changed_in_a_form(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals={**TERMS, "edits": "same"}) as stage:
        run_id, approval = await asked(stage)
        old = await stage.payload(approval)
        await stage.press_button(approval, "edit")
        [window] = stage.slack.views.stack("U0ALICE")
        amount = next(b for b in window.blocks if b.get("label", {}).get("text") == "amount")["block_id"]
        wrong = await stage.slack.submit("U0ALICE", {amount: {"v": "9007199254740993"}})
        assert wrong.status == 200
        assert "whole number" in stage.slack.views.stack("U0ALICE")[0].errors[amount]
        await stage.slack.submit("U0ALICE", {amount: {"v": "300"}})
        assert stage.slack.views.stack("U0ALICE") == []
        await stage.press(old)  # the old button is spent
        assert (await stage.ended(run_id))["output"] == "Charged."
        assert [(row["item"], row["amount"]) for row in stage.book()] == [("book", 300)]


async def test_who_changed_the_arguments_is_not_asked_about_them(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals={**TERMS, "edits": "other"}) as stage:
        run_id, approval = await asked(stage)
        old = await stage.payload(approval, user="U0BOB")
        await stage.press_button(approval, "edit")
        [window] = stage.slack.views.stack("U0ALICE")
        amount = next(b for b in window.blocks if b.get("label", {}).get("text") == "amount")["block_id"]
        await stage.slack.submit("U0ALICE", {amount: {"v": "300"}})
        await stage.press(old)
        assert await stage.told("U0BOB") == CHANGED
        [anew] = [a for a in await stage.approvals(run_id) if a["status"] == "pending"]

        async def shown() -> bool:
            return f"`{anew['id']}`" in text_of(stage.message(anew).blocks)

        await until(shown, "the new question in the old one's message")
        assert "may decide: <@U0BOB>" in text_of(stage.message(anew).blocks)
        await stage.press_button(anew, "approve", "U0ALICE")
        assert "may not decide about charge" in await stage.told("U0ALICE")
        await stage.press_button(anew, "approve", "U0BOB")
        assert (await stage.ended(run_id))["output"] == "Charged."
        assert [row["amount"] for row in stage.book()] == [300]
        asked_about = [(a["revision"], a["arguments"]["amount"]) for a in await stage.approvals(run_id)]
        assert asked_about == [(1, 500), (2, 300)]
        former = await stage.get(f"/v1/approvals/{approval['id']}")
        assert (former["status"], former["arguments"]) == ("withdrawn", approval["arguments"])


async def test_a_discreet_question_is_decided_in_the_window(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals={**TERMS, "discreet": True}) as stage:
        run_id, approval = await asked(stage)
        assert buttons(stage.message(approval)) == ["details", "reject_reason"]
        assert not re.search(r"\b500\b", text_of(stage.message(approval).blocks))  # an id may hold it
        await stage.press_button(approval, "details", "U0DANA")
        assert "not an approver" in await stage.told("U0DANA")
        assert stage.slack.views.stack("U0DANA") == []
        await stage.press_button(approval, "details", "U0BOB")
        [window] = stage.slack.views.stack("U0BOB")
        assert '"amount": 500' in text_of(window.blocks)
        await stage.slack.submit("U0BOB")
        assert (await stage.ended(run_id))["output"] == "Charged."
        assert [row["approved_by"] for row in stage.book()] == ["U0BOB"]
