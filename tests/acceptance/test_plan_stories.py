"""The run's own questions: a plan that people send back and let go ahead, a token limit, a restart."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from looking import Json, headline_of, text_of, until
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

AGENT = "deep-research-preview-04-2026"
RESEARCH = {"agent": AGENT, "agent_config": {"type": "deep-research", "collaborative_planning": True}}
SHOP = {"model": "gemini-3.8-flash", "tools": ["look_up"], "limits": {"max_tokens": 1}}


@pytest_asyncio.fixture
async def agency(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    workflows: dict[str, Any] = {"research": RESEARCH, "frugal": SHOP}
    async with staged(tmp_path, database_url, workflows=workflows) as made:
        yield made


def note(stage: Stage, approval: Json, text: str) -> Json:
    """What somebody types into the card's field."""
    [field] = [b for b in stage.message(approval).blocks if b["type"] == "input"]
    return {field["block_id"]: {field["element"]["action_id"]: text}}


async def press(stage: Stage, approval: Json, action: str, text: str = "", user: str = "U0ALICE") -> None:
    values = note(stage, approval, text) if text else {}
    click = await stage.slack.click(approval["channel"], approval["ts"], action, user, values=values)
    assert click.status == 200


async def drawn(stage: Stage, approval: Json, headline: str) -> str:
    """The card's text once it says so; its buttons and its field are gone with the question."""

    async def probe() -> bool:
        return headline_of(stage.message(approval)) == headline

    await until(probe, f"a card that says {headline!r}")
    message = stage.message(approval)
    assert not [b for b in message.blocks if b["type"] in ("actions", "input")]
    return text_of(message.blocks)


async def test_a_plan_is_sent_back_with_a_note_and_then_carried_out(agency: Stage) -> None:
    run_id = await agency.trigger("Why is the sky blue?", "research")
    [first] = await agency.asked(run_id)
    shown = text_of(agency.message(first).blocks)
    assert "Research plan, version 1, for: Why is the sky blue?\n1. Collect sources\n" in shown
    await press(agency, first, "refine")
    assert "write in the note" in await agency.told("U0ALICE")
    await press(agency, first, "refine", "no", user="U0DANA")
    assert (await agency.told("U0DANA")).startswith("You are not one of those who decide about this plan.")
    assert (await agency.approvals(run_id))[0]["status"] == "pending"

    await press(agency, first, "refine", "Ask <a physicist> too.")
    _, second = await agency.asked(run_id, 2)
    words = await drawn(agency, first, "Plan sent back")
    assert "<@U0ALICE>" in words
    assert "Ask <a physicist> too." in words
    assert "As asked: Ask <a physicist> too." in text_of(agency.message(second).blocks)

    late = await agency.payload(second, "reject")
    await press(agency, second, "approve", user="U0BOB")
    run = await agency.ended(run_id)
    assert run["output"].startswith("Research report on: Why is the sky blue?")
    assert "<@U0BOB>" in await drawn(agency, second, "Plan to be carried out")
    planning = [c["body"]["agent_config"]["collaborative_planning"] for c in agency.creates(run_id)]
    assert planning == [True, True, False]
    assert (await agency.press(late)).status_code == 200
    said = await agency.told("U0ALICE", 2)
    assert said.startswith("Already approved to be carried out by U0BOB at ")


async def test_a_plan_is_stopped(agency: Stage) -> None:
    run_id = await agency.trigger("Is it worth it?", "research")
    [asked] = await agency.asked(run_id)
    await press(agency, asked, "reject", "It is not.")
    run = await agency.ended(run_id, "cancelled")
    assert run["reason"].endswith("It is not.")
    assert "It is not." in await drawn(agency, asked, "Stopped at the plan")


async def test_people_say_whether_a_run_goes_on_beyond_its_tokens(agency: Stage) -> None:
    turns = asks(call("look_up", item="book")), says("Found.")
    on, off = [await agency.play(*turns, workflow="frugal") for _ in range(2)]
    for run_id, action, status, headline in (
        (on, "approve", "completed", "Goes on beyond the token limit"),
        (off, "reject", "failed", "Stopped at the token limit"),
    ):
        [asked] = await agency.asked(run_id)
        shown = text_of(agency.message(asked).blocks)
        assert "used in 1 turn.\nPeople are asked after every 1 token." in shown
        await press(agency, asked, action)
        await agency.ended(run_id, status)
        assert "<@U0ALICE>" in await drawn(agency, asked, headline)


@pytest.mark.parametrize("status", [400, 501])
async def test_a_run_gemini_does_not_go_on_with_is_restarted_by_one_click(agency: Stage, status: int) -> None:
    agency.gemini.inject("create", "status", status=status, message="<Not> these results.", skip=1)
    run_id = await agency.play(asks(call("charge", item="book", amount=3)), says("Never."))
    agency.script("This takes up work that was begun before", says("Taken up."))
    [gated] = await agency.asked(run_id)
    await press(agency, gated, "approve")
    asked = (await agency.asked(run_id, 2))[1]
    assert (await agency.run(run_id))["status"] == "attention"
    shown = text_of(agency.message(asked).blocks)
    assert "Gemini refused the request for turn 2.\n1 call of it succeeded; a new run is told so." in shown
    assert "<Not> these results." in shown
    await press(agency, asked, "approve", user="U0DANA")
    assert "decide whether this run is restarted" in await agency.told("U0DANA")

    late = await agency.payload(asked, "reject")
    await press(agency, asked, "approve", user="U0BOB")
    old = await agency.ended(run_id, "failed")
    words = await drawn(agency, asked, "Restarted")
    [new] = [r for r in (await agency.get("/v1/runs"))["items"] if r["id"] != run_id]
    assert new["id"] in words
    assert "<@U0BOB>" in words
    assert old["reason"].startswith(f"taken up again as {new['id']} by ")
    run = await agency.ended(new["id"])
    assert (run["output"], run["restart_of"], run["requester"]["id"]) == ("Taken up.", run_id, "U0BOB")
    [sent] = agency.creates(new["id"])
    assert "Call of charge with" in sent["body"]["input"]
    assert len(agency.book()) == 1
    assert (await agency.press(late)).status_code == 200
    assert (await agency.told("U0ALICE")).startswith("Already told to be restarted by U0BOB at ")


async def test_a_run_gemini_does_not_go_on_with_is_given_up_or_sent_again(agency: Stage) -> None:
    runs = []
    for _ in range(2):
        agency.gemini.inject("create", "status", status=400, skip=1)
        runs.append(await agency.play(asks(call("look_up", item="book")), says("Found.")))
        await agency.asked(runs[-1])
    off, on = runs
    [asked] = await agency.asked(off)
    await press(agency, asked, "reject")
    assert (await agency.ended(off, "failed"))["reason"].startswith("given up by ")
    await drawn(agency, asked, "Given up")
    [asked] = await agency.asked(on)
    assert (await agency.resolve(on, "retry")).status_code == 200
    await agency.ended(on)
    await drawn(agency, asked, "Restart withdrawn")
    assert len((await agency.get("/v1/runs"))["items"]) == 2
