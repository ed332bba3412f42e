"""The agent asks people by `ask_human`: on buttons, in a form, over the API; and a no that stops the run."""

from pathlib import Path

import pytest
from looking import Json, buttons, text_of
from scenery import asks, call, says, workflow
from stage import ON_SQLITE, Stage, staged

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

WORKFLOWS = {"asking": workflow(("ask_human", "charge"))}
SCHEMA = {
    "type": "object",
    "properties": {
        "size": {"type": "string", "enum": ["S", "M"]},
        "count": {"type": "integer", "minimum": 1},
    },
    "required": ["size", "count"],
}


async def asked(stage: Stage, *calls: Json) -> tuple[str, list[Json]]:
    run_id = await stage.play(asks(*calls), says("Thank you.", "Never mind."), workflow="asking")
    return run_id, await stage.asked(run_id, len(calls))


async def test_the_agent_asks_and_goes_on_with_the_answer(tmp_path: Path, database_url: str) -> None:
    """A choice is one press; a form is filled in, and told what does not fit; words come over the API."""
    async with staged(tmp_path, database_url, workflows=WORKFLOWS) as stage:
        colour = call("ask_human", question="Which <colour>?", kind="choice", choices=["red", "deep blue"])
        order = call("ask_human", question="What shall I order?", kind="form", schema=SCHEMA)
        words = call("ask_human", question="Anything else?", kind="text")
        run_id, approvals = await asked(stage, colour, order, words)
        by_kind = {a["arguments"]["kind"]: a for a in approvals}
        card = stage.message(by_kind["choice"])
        assert buttons(card) == ["choose_0", "choose_1", "reject_reason", "ask"]
        assert "Question from asking" in card.text
        assert "Which <colour>?" in text_of(card.blocks)
        await stage.press_button(by_kind["choice"], "choose_1")

        await stage.press_button(by_kind["form"], "answer")
        [window] = stage.slack.views.stack("U0ALICE")
        fields = {b["label"]["text"]: b["block_id"] for b in window.blocks if b["type"] == "input"}
        size, count = fields["size"], fields["count"]
        await stage.slack.submit("U0ALICE", {size: {"v": "1"}, count: {"v": "0"}})
        assert "at least 1" in stage.slack.views.stack("U0ALICE")[0].errors[count]
        await stage.slack.submit("U0ALICE", {size: {"v": "1"}, count: {"v": "2"}})
        assert stage.slack.views.stack("U0ALICE") == []

        path = f"/v1/approvals/{by_kind['text']['id']}/decision"
        unfit = await stage.call("POST", path, json={"verdict": "answer", "answer": 5})
        assert (unfit.status_code, "should be text" in unfit.text) == (400, True)
        assert (await stage.call("POST", path, json={"verdict": "approve"})).status_code == 409
        given = await stage.call("POST", path, json={"verdict": "answer", "answer": "No."})
        assert (given.json()["status"], given.json()["verdict"]["answer"]) == ("approved", "No.")

        assert (await stage.ended(run_id))["output"] == "Thank you."
        told = [r["result"] for r in stage.creates(run_id)[1]["body"]["input"]]
        assert told == [
            {"answer": a, "answered_by": "a person"} for a in ("deep blue", {"size": "M", "count": 2}, "No.")
        ]
        over = await stage.redrawn(by_kind["choice"], "Answered: question from asking")
        assert "deep blue" in text_of(over.blocks)
        assert buttons(over) == ["details"]
        assert stage.book() == []


async def test_a_person_answers_in_the_place_of_a_tool(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, workflows=WORKFLOWS, approvals={"answers": True}) as stage:
        run_id, [approval] = await asked(stage, call("charge", item="book", amount=500))
        assert "answer" in buttons(stage.message(approval))
        await stage.press_button(approval, "answer")
        [window] = stage.slack.views.stack("U0ALICE")
        [field] = [b["block_id"] for b in window.blocks if b["type"] == "input"]
        await stage.slack.submit("U0ALICE", {field: {"v": "It was paid in cash."}})
        await stage.ended(run_id)
        [result] = stage.creates(run_id)[1]["body"]["input"]
        assert result["result"] == {
            "answered_by_a_person": "It was paid in cash.",
            "note": "The tool did not run.",
        }
        await stage.redrawn(approval, "Answered instead: charge")
        assert stage.book() == []


async def test_a_rejection_stops_the_whole_run(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, workflows=WORKFLOWS) as stage:
        run_id, [approval] = await asked(stage, call("charge", item="book", amount=500))
        await stage.press_button(approval, "reject_reason")
        await stage.slack.submit("U0ALICE", {"reason": {"reason": "Wrong shop."}, "stop": {"stop": ["stop"]}})
        run = await stage.ended(run_id, "cancelled")
        assert run["reason"].endswith("who rejected charge: Wrong shop.")
        assert stage.book() == []
