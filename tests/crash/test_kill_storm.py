"""SIGKILLs at random moments while webhooks arrive and runs go on; as many as `CRASH_KILLS`. P1, P4, P5, P7.

Whatever was acknowledged is there afterwards; whatever was started ends; nothing happened twice. The
moments come from a seed, printed with the figures: `CRASH_SEED=n` plays them again.
"""

import os
import random
from pathlib import Path

import pytest
from laboratory import Laboratory, laboratory
from storm import Size, Storm, judged, play, seed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]


async def test_many_kills_lose_nothing_and_double_nothing(tmp_path: Path, sqlite_url: str) -> None:
    size = Size(int(os.environ.get("CRASH_KILLS", "50")), deliveries=2_000, runs=40)
    async with laboratory(tmp_path, sqlite_url) as lab:
        await storm_and_judge(lab, size)
        assert lab.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
async def test_a_small_storm_on_postgresql(tmp_path: Path, database_url: str) -> None:
    """Nobody tells the next process that the last one is gone: its leases must run out first."""
    async with laboratory(tmp_path, database_url) as lab:
        await storm_and_judge(lab, Size(kills=8, deliveries=200, runs=6))


async def storm_and_judge(lab: Laboratory, size: Size) -> None:
    """The whole of a storm; the service is stopped at its end."""
    storm = Storm(lab, size, random.Random(seed()))
    raged = await play(storm)
    await lab.start()
    await judged(storm, f"{len(lab.kills)} kills in {raged:.0f} s")
