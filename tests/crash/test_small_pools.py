"""Processes with one connection to their database, or two: all they do goes on, if more slowly."""

import asyncio
import json
from pathlib import Path

import pytest
from laboratory import Laboratory, Wish, laboratory, meanwhile
from storm import STORIES

from orchestrator.web.stream import MEDIA

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

READY = "/readyz"
STREAMED = 12
"""So many runs, each with somebody who watches it grow."""


@pytest.mark.parametrize("pool", [1, 2])
async def test_everything_goes_on_with_hardly_a_connection(
    tmp_path: Path, postgres_url: str, pool: int
) -> None:
    async with laboratory(tmp_path, postgres_url, database={"pool": pool}) as lab:
        lab.command_line = ("serve", "--web")
        await lab.start()
        for name in ("w0", "w1"):
            await lab.hire(name)
        await lab.at_work("w0", "w1")
        looked: dict[str, list[int]] = {}
        async with meanwhile(look(lab, looked)):
            asked = [
                lab.ask(Wish(f"Please {STORIES[n % len(STORIES)]} order A-17.")) for n in range(STREAMED)
            ]
            run_ids = [str(run_id) for run_id in await asyncio.gather(*asked)]
            watching = [asyncio.create_task(watched(lab, run_id)) for run_id in run_ids]
            runs = await lab.settled(run_ids)
            async with asyncio.timeout(60):
                seen = await asyncio.gather(*watching)
        assert {run["status"] for run in runs} == {"completed"}, [run["reason"] for run in runs]
        assert seen == [{"status": "completed"}] * STREAMED
        assert starved(looked) == {}
        lab.judge(runs)
        await lab.judge_chain(runs)
        await lab.buttons_gone()
        assert await lab.stop_all() == {0}


async def look(lab: Laboratory, looked: dict[str, list[int]]) -> None:
    """Monitors, and a caller who lists."""
    while True:
        for path in (READY, "/metrics", "/v1/runs", "/v1/approvals"):
            looked.setdefault(path, []).append((await lab.api.get(path)).status_code)
        await asyncio.sleep(0.1)


def starved(looked: dict[str, list[int]]) -> dict[str, list[int]]:
    """The paths that had other answers than they should, with those.

    A probe has two seconds, which a busy machine may take: 503 once is a blip, thrice in a row it is not.
    """
    ready = looked[READY]
    blips = set(ready) <= {200, 503} and (503,) * 3 not in zip(ready, ready[1:], ready[2:], strict=False)
    return {path: a for path, a in looked.items() if set(a) != {200} and not (path == READY and blips)}


async def watched(lab: Laboratory, run_id: str) -> dict[str, str]:
    """The last that a run's stream says, which the service ends with the run."""
    last = ""
    async with lab.api.stream("GET", f"/v1/runs/{run_id}/events", headers={"accept": MEDIA}) as answer:
        async for line in answer.aiter_lines():
            last = line.removeprefix("data: ") if line.startswith("data: ") else last
    return dict(json.loads(last))
