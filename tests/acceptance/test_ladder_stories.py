"""Nobody reacts in the channel: the question comes to the people, and ends everywhere at once."""

from pathlib import Path

import pytest
from looking import Json, buttons, headline_of, until
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged
from support.slack_people import Person

from orchestrator.emulator.slack.workspace import Message

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

STORY = asks(call("charge", item="book", amount=3)), says("Charged.", "Not charged.")
TERMS = {"approvers": ["U0ALICE", "U0BOB"], "timeout_seconds": 3600}


async def in_dm(stage: Stage, user: str) -> Message:
    """The one direct message that person has."""

    async def probe() -> list[Message]:
        return Person(stage.slack, user).direct()

    [message] = await until(probe, f"a direct message to {user}")
    return message


async def ended_everywhere(stage: Stage, approval: Json, count: int) -> None:
    async def probe() -> bool:
        shown = stage.messages(approval["id"])
        over = all(
            headline_of(m).startswith("Done: charge") and buttons(m) in ([], ["details"]) for m in shown
        )
        return over and len(shown) == count

    await until(probe, f"{count} message(s) without live buttons")


async def test_alice_approves_among_her_direct_messages(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals={**TERMS, "dm_after": 0.25}) as stage:
        run_id = await stage.play(*STORY)
        [approval] = await stage.asked(run_id)
        assert Person(stage.slack, "U0ALICE").direct() == []
        stage.skip(901)
        copy, bobs = await in_dm(stage, "U0ALICE"), await in_dm(stage, "U0BOB")
        assert Person(stage.slack, "U0DANA").direct() == []
        assert {n.reason for n in Person(stage.slack, "U0BOB").notified() if n.ts == bobs.ts} == {"direct"}
        assert buttons(copy) == buttons(bobs) == buttons(stage.message(approval))
        assert not (await Person(stage.slack, "U0ALICE").press("approve", on=copy)).failed
        assert (await stage.ended(run_id))["output"] == "Charged."
        assert [row["approved_by"] for row in stage.book()] == ["U0ALICE"]
        await ended_everywhere(stage, approval, 3)


async def test_what_the_channel_does_not_take_reaches_the_people(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals=TERMS) as stage:
        stage.slack.fault("chat.postMessage", "ok_false", error="is_archived")
        run_id = await stage.play(*STORY)
        [approval] = await stage.asked(run_id, shown=False)
        copy = await in_dm(stage, "U0BOB")
        await in_dm(stage, "U0ALICE")
        assert (await stage.run(run_id))["status"] == "waiting"
        assert "is_archived" in (await stage.get(f"/v1/approvals/{approval['id']}"))["trouble"]
        await Person(stage.slack, "U0BOB").press("approve", on=copy)
        assert (await stage.ended(run_id))["output"] == "Charged."
        await ended_everywhere(stage, approval, 2)
