"""Several gated calls of one turn in Slack: one message, a card for each under it, one go or one by one."""

from pathlib import Path

import pytest
from looking import Json, buttons, text_of, until
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged

from orchestrator.emulator.slack.workspace import Message

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

CALLS = [call("charge", item=item, amount=100 * n) for n, item in enumerate(("book", "pen", "ink"), 1)]
STORY = asks(*CALLS), says("Charged.", "Not charged.")
TERMS = {"approvers": ["U0ALICE", "U0BOB"], "timeout_seconds": 3600, "together": True}


async def asked(stage: Stage) -> tuple[str, list[Json], Message]:
    """The run, its questions, and the message they stand under."""
    run_id = await stage.play(*STORY)
    approvals = await stage.asked(run_id, 3)
    [thread] = {stage.message(approval).thread_ts for approval in approvals}
    assert thread
    over = stage.slack.workspace.find(approvals[0]["channel"], thread)
    assert over is not None
    return run_id, approvals, over


async def says_at_last(over: Message, words: str) -> None:
    async def probe() -> bool:
        return words in text_of(over.blocks)

    await until(probe, f"{words!r} in the message over the questions")


def about(approvals: list[Json], item: str) -> Json:
    return next(a for a in approvals if a["arguments"]["item"] == item)


async def test_one_decided_on_its_own_card_and_the_others_in_one_window(
    tmp_path: Path, database_url: str
) -> None:
    async with staged(tmp_path, database_url, approvals=TERMS) as stage:
        run_id, approvals, over = await asked(stage)
        assert "wants to do 3 things" in text_of(over.blocks)
        assert buttons(over) == ["approve_all", "reject_all"]
        await stage.slack.click(over.channel, over.ts, "approve_all", "U0DANA")
        assert "not an approver" in await stage.told("U0DANA")
        await stage.slack.click(over.channel, over.ts, "approve_all", "U0ALICE")
        [window] = stage.slack.views.stack("U0ALICE")
        assert all(f'"item": "{item}"' in text_of(window.blocks) for item in ("book", "pen", "ink"))
        await stage.click(about(approvals, "pen"), "reject", "U0BOB", reason="No pens.")
        await stage.slack.submit("U0ALICE")
        said = text_of(stage.slack.views.stack("U0ALICE")[-1].blocks)
        assert "2 of 3 recorded" in said
        assert "Already rejected by" in said
        await stage.ended(run_id)
        assert stage.bought() == ["book", "ink"]
        await says_at_last(over, "Done")
        assert buttons(over) == []
        decided = [e for e in await stage.record(run_id) if e["kind"] == "ApprovalDecided"]
        assert len([e for e in decided if not e["refused"]]) == 3  # one decision for each


async def test_one_that_was_edited_while_the_window_was_open_is_told_of_as_changed(
    tmp_path: Path, database_url: str
) -> None:
    async with staged(
        tmp_path,
        database_url,
        approvals={**TERMS, "edits": "other", "approvers": [*TERMS["approvers"], "api:operator"]},
    ) as stage:
        _, approvals, over = await asked(stage)
        await stage.slack.click(over.channel, over.ts, "approve_all", "U0ALICE")
        pen = about(approvals, "pen")["id"]
        edited = await stage.decide(pen, "edit", arguments={"item": "pen", "amount": 150})
        assert edited.status_code == 200
        await stage.slack.submit("U0ALICE")
        said = text_of(stage.slack.views.stack("U0ALICE")[-1].blocks)
        assert "2 of 3 recorded" in said
        assert "It has changed since it was shown: look at its card." in said


async def test_all_at_once_each_runs_once_or_none(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals={**TERMS, "reason_required": True}) as stage:
        run_id, _, over = await asked(stage)
        await stage.slack.click(over.channel, over.ts, "approve_all", "U0BOB")
        await stage.slack.submit("U0BOB")
        assert stage.slack.views.stack("U0BOB") == []
        assert (await stage.ended(run_id))["output"] == "Charged."
        assert stage.bought() == ["book", "ink", "pen"]
        assert {row["approved_by"] for row in stage.book()} == {"U0BOB"}
        run_id, _, over = await asked(stage)
        await stage.slack.click(over.channel, over.ts, "reject_all", "U0ALICE")
        await stage.slack.submit("U0ALICE", {"reason": {"reason": "Too dear."}})
        await stage.ended(run_id)
        results = stage.creates(run_id)[1]["body"]["input"]
        assert [r["result"].endswith('In their words: "Too dear."') for r in results] == [True] * 3
        assert len(stage.bought()) == 3


async def test_one_by_one_on_their_cards_where_the_terms_say_so(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, approvals={**TERMS, "together": False}) as stage:
        run_id, approvals, over = await asked(stage)
        assert buttons(over) == []
        for item in ("book", "pen"):
            await stage.click(about(approvals, item))
        await stage.click(about(approvals, "ink"), "reject")
        await stage.ended(run_id)
        assert stage.bought() == ["book", "pen"]
        await says_at_last(over, "Rejected")
