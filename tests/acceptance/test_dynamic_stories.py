"""An address of our own in each create, deliveries in Google's name: the path is the same from there on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

STORY = asks(call("look_up", item="book")), asks(call("weigh", item="book")), says("Done.")
TOKEN = "t0ken-of-the-stage_0123456789abcdef"
NEXT = "n3xt-of-the-stage_0123456789abcdefg"


async def dynamic(stage: Stage) -> None:
    """Start, or start again, and be told by an address of our own; there is no secret any more."""
    stage.environ.pop("GEMINI_WEBHOOK_SECRETS", None)
    stage.environ.setdefault("GEMINI_WEBHOOK_TOKEN", TOKEN)
    keys = f"{stage.environ['ORCHESTRATOR_GEMINI__BASE_URL']}/.well-known/jwks.json"
    # The reading without news comes so late that only webhooks can move the story.
    await stage.restart(
        public_url=stage.base,
        gemini={"reconcile_seconds": 3600},
        webhooks={"mode": "dynamic", "jwks_url": keys, "check_seconds": 0},
    )


async def told(stage: Stage) -> None:
    """A run that ends by webhooks alone."""
    run_id = await stage.play(*STORY)
    await stage.ended(run_id)
    assert len(stage.creates(run_id)) == 3


@pytest_asyncio.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with staged(tmp_path, database_url, start=False) as made:
        await dynamic(made)
        yield made


async def test_a_run_by_an_address_of_our_own(stage: Stage) -> None:
    await told(stage)
    kept = await stage.deliveries()
    assert {d["scheme"] for d in kept} == {"v1a"}
    assert {d.uri for d in stage.gemini.courier.deliveries} == {f"{stage.base}/webhooks/gemini/{TOKEN}"}
    assert not [line for line in stage.journal.lines if TOKEN in repr(line)]


async def test_the_token_changes_without_losing_a_webhook(stage: Stage) -> None:
    await told(stage)
    stage.environ["GEMINI_WEBHOOK_TOKEN"] = f"{NEXT} {TOKEN}"
    await dynamic(stage)
    await told(stage)
    [last] = {d.uri for d in stage.gemini.courier.deliveries} - {f"{stage.base}/webhooks/gemini/{TOKEN}"}
    assert last == f"{stage.base}/webhooks/gemini/{NEXT}"
    body = {"type": "interaction.completed", "data": {"id": "v1_unknown"}}
    for uri, status in ((last, 200), (f"{stage.base}/webhooks/gemini/{TOKEN}", 200), (f"{last}x", 404)):
        [attempt] = await stage.gemini.deliver(uri=uri, body=body, message_id=f"to-{uri[-5:]}")
        assert attempt.status == status
    [attempt] = await stage.gemini.deliver(
        uri=f"{stage.base}/webhooks/gemini", body=body, message_id="static"
    )
    assert attempt.status == 401  # what the stand-in signs with its static secret, which we know no longer
