"""Two services on one PostgreSQL database: either may do any step, and each step is done once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from scenery import asks, call, says
from stage import Stage, staged

from orchestrator import app, settings
from orchestrator.emulator.serving import running
from orchestrator.store.database import Database

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def another(stage: Stage) -> AsyncIterator[str]:
    """A second service beside the first, with its own connections; its address."""
    chosen = settings.load(stage.folder / "config.yaml", environ=stage.environ)
    database = Database(stage.url)
    try:
        async with running(app.build(chosen, database, clock=stage.clock).web) as base:
            yield base
    finally:
        database.close()


async def test_two_services_do_the_work_of_one(tmp_path: Path, postgres_url: str) -> None:
    async with (
        staged(tmp_path, postgres_url, gemini={"reconcile_seconds": 1}) as stage,
        another(stage) as base,
    ):
        doors = [f"{base}/slack/interactivity", f"{stage.base}/slack/interactivity"]
        stage.gemini.inject("create", "accept_then_reset", skip=5, times=2)
        turns = (
            asks(call("look_up", item="a"), call("charge", item="a", amount=1)),
            asks(call("pack", item="a"), call("refund", item="a", amount=1)),
            says("Done."),
        )
        stage.let_go()
        runs = [await stage.play(*turns) for _ in range(8)]
        for round_number in (1, 2):
            for n, run_id in enumerate(runs):
                approval = (await stage.asked(run_id, round_number))[-1]
                payload = await stage.payload(approval)
                presses = [stage.press(payload, door=door) for door in doors]
                answers = await asyncio.gather(*(presses if n % 2 else presses[::-1]))
                assert {a.status_code for a in answers} == {200}
        for run_id in runs:
            run = await stage.ended(run_id)
            assert [c["outcome"] for c in run["calls"]] == ["succeeded"] * 4
            decided = [e for e in await stage.record(run_id) if e["kind"] == "ApprovalDecided"]
            assert [e["refused"] for e in decided].count(None) == 2
        assert len(stage.book()) == 3 * len(runs)
        assert len(stage.book("starts")) == 2 * len(runs)
