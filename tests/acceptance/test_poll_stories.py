"""No public address, no webhooks: the same stories, heard of by asking, within one budget."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

STORY = asks(call("look_up", item="book")), asks(call("charge", item="book", amount=2)), says("Done.")
GETS = 20


@pytest_asyncio.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    polling = {"webhooks": {"mode": "poll"}, "gemini": {"poll_seconds": 1, "gets_per_second": GETS}}
    async with staged(tmp_path, database_url, stand_in={"webhooks": ()}, start=False) as made:
        made.environ.pop("GEMINI_WEBHOOK_SECRETS", None)
        await made.start(**polling)
        yield made


async def test_a_run_ends_without_a_single_webhook(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    await stage.ended(run_id)
    assert await stage.deliveries() == []
    assert stage.counts("get") >= 3
    assert len(stage.book()) == 1


async def test_a_crowd_keeps_to_the_budget_whatever_fails(stage: Stage) -> None:
    began = datetime.now(UTC)
    for _ in range(3):  # refused readings are not simply repeated
        stage.gemini.inject("get", "status", status=503)
    runs = [await stage.play(asks(call("look_up", item=f"book {n}")), says("Done.")) for n in range(15)]
    for run_id in runs:
        await stage.ended(run_id)
    # A machine that stood still sends together what had its moments one after the other, but not more.
    times = [datetime.fromisoformat(r["at"]) for r in stage.gemini.requests if r["operation"] == "get"]
    assert all(n <= GETS * ((at - began).total_seconds() + 1) for n, at in enumerate(sorted(times), 1))
