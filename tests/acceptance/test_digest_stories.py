"""Unattended runs that ask at night: one message in the morning, answered in one go or one by one."""

from datetime import timedelta
from pathlib import Path

import pytest
from looking import Json, buttons, text_of, until
from scenery import TOOLS, asks, call, says, workflow
from stage import ON_SQLITE, Stage, staged

from orchestrator.emulator.slack.workspace import Message
from orchestrator.slack.digests import DIGEST_TYPE

pytestmark = [pytest.mark.asyncio]

TERMS = {"approvers": ["U0ALICE", "U0BOB"], "timeout_seconds": 3600, "together": True}
ITEMS = ("book", "pen", "ink")


def digests(stage: Stage) -> list[Message]:
    told = [(m, m.metadata or {}) for m in stage.slack.workspace.listed()]
    return [m for m, about in told if about.get("event_type") == DIGEST_TYPE]


async def night(stage: Stage) -> list[str]:
    """Three runs of one workflow have asked, and nobody has been told."""
    # The hour is some two hours away, whenever this is.
    hour = {"at": f"{stage.clock() + timedelta(hours=2):%H:%M}", "timezone": "UTC"}
    flow = workflow(TOOLS, attended=False)
    await stage.start(approvals={**TERMS, "digest": hour}, workflows={"nightly": flow})
    ids = []
    for item in ITEMS:
        turns = asks(call("charge", item=item, amount=100)), says("Charged.", "Not charged.")
        ids.append(await stage.play(*turns, workflow="nightly"))
        await stage.asked(ids[-1], shown=False)
    assert digests(stage) == []
    return ids


async def morning(stage: Stage, ids: list[str]) -> tuple[Message, dict[str, Json]]:
    """The message, and each question as it stands under it, by what it is about."""
    found = [(await stage.asked(run_id))[0] for run_id in ids]
    [over] = digests(stage)
    assert {stage.message(a).thread_ts for a in found} == {over.ts}
    return over, {a["arguments"]["item"]: a for a in found}


async def says_at_last(over: Message, words: str) -> None:
    async def probe() -> bool:
        return words in text_of(over.blocks)

    await until(probe, f"{words!r} in the digest message")


async def test_two_approved_in_one_go_one_rejected_alone_each_runs_once(
    tmp_path: Path, database_url: str
) -> None:
    async with staged(tmp_path, database_url, start=False) as stage:
        ids = await night(stage)
        stage.skip(7200)
        over, asked = await morning(stage, ids)
        assert "3 questions of unattended runs: 3 to be decided" in text_of(over.blocks)
        assert all(f'"item": "{item}"' in text_of(over.blocks) for item in ITEMS)
        assert all(run_id in text_of(over.blocks) for run_id in ids)
        assert buttons(over) == ["approve_all", "reject_all"]
        await stage.slack.click(over.channel, over.ts, "approve_all", "U0DANA")
        assert "not an approver" in await stage.told("U0DANA")
        await stage.slack.click(over.channel, over.ts, "approve_all", "U0ALICE")
        [window] = stage.slack.views.stack("U0ALICE")
        whole = text_of(window.blocks)
        assert all(a["digest"][:8] in whole for a in asked.values())  # exactly what would be decided
        assert all(run_id in whole for run_id in ids)
        await stage.click(asked["pen"], "reject", "U0BOB", reason="No pens.")
        await stage.slack.click(over.channel, over.ts, "reject_all", "U0BOB")  # and leaves that window open
        await stage.slack.submit("U0ALICE")
        said = text_of(stage.slack.views.stack("U0ALICE")[-1].blocks)
        assert "2 of 3 recorded" in said
        assert "Already rejected by" in said
        await stage.slack.submit("U0BOB")
        said = text_of(stage.slack.views.stack("U0BOB")[-1].blocks)
        assert "0 of 2 recorded" in said
        assert "Already approved by" in said
        for run_id in ids:
            await stage.ended(run_id)
        assert stage.bought() == ["book", "ink"]
        await says_at_last(over, "nothing to be decided")
        assert buttons(over) == []
        for run_id in ids:
            decided = [e for e in await stage.record(run_id) if e["kind"] == "ApprovalDecided"]
            assert len([e for e in decided if not e["refused"]]) == 1
        assert len(digests(stage)) == 1


@ON_SQLITE
async def test_an_hour_that_was_slept_through_is_made_up_for_once(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, start=False) as stage:
        ids = await night(stage)
        await stage.stop()
        stage.skip(3 * 86_400)  # longer than a question is open
        await stage.start()
        over, asked = await morning(stage, ids)  # at once: their time runs from then on
        await stage.restart()
        for approval in asked.values():
            await stage.click(approval)
        for run_id in ids:
            await stage.ended(run_id)
        assert stage.bought() == sorted(ITEMS)
        assert digests(stage) == [over]
