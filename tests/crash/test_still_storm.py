"""Processes stand still for longer than their lease, again and again, while webhooks come and runs go on.

As many as `CRASH_STILL`, on each database. P1, P4, P5, P8: whoever wakes up late commits nothing that others
have done meanwhile, and what was its own is neither lost nor begun twice. The moments come from a seed,
printed with the figures: `CRASH_SEED=n` plays them again.
"""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from laboratory import Laboratory, Process, laboratory
from storm import Size, Storm, judged, play, seed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]

TIMES = int(os.environ.get("CRASH_STILL", "50"))
LEASE_SECONDS = 2.0
"""The shortest there is."""
STILL_SECONDS = 2.3
"""Longer than any lease that held when it began."""
AT_ONCE = 4
"""Of five workers and the process that answers."""


@dataclass
class StillStorm(Storm):
    """Stops `at_once` of the processes, and lets them go on when their leases have run out."""

    at_once: int = 1

    async def rage(self) -> None:
        while not self.enough():
            await asyncio.sleep(self.dice.uniform(0.3, 1.0))
            await self._still(self.dice.sample(self._processes(), self.at_once))

    async def _still(self, whom: list[Process]) -> None:
        for process in whom:
            process.send_signal(signal.SIGSTOP)
            self.lab.kills.append(time.time())
        await asyncio.sleep(STILL_SECONDS)
        for process in whom:
            process.send_signal(signal.SIGCONT)

    def _processes(self) -> list[Process]:
        assert self.lab.process is not None
        return [self.lab.process, *self.lab.workers.values()]


async def storm_and_judge(lab: Laboratory, at_once: int) -> None:
    size = Size(TIMES, deliveries=10 * TIMES, runs=TIMES)
    storm = StillStorm(lab, size, random.Random(seed()), ask_every=0.1, at_once=at_once)
    raged = await play(storm)
    await judged(storm, f"{len(lab.kills)} times a process stood still in {raged:.0f} s")


async def test_the_only_process_stands_still(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(
        tmp_path, sqlite_url, pause_seconds=0.3, work={"lease_seconds": LEASE_SECONDS}
    ) as lab:
        await lab.start()
        await storm_and_judge(lab, 1)


async def test_most_of_many_stand_still(tmp_path: Path, postgres_url: str) -> None:
    async with laboratory(
        tmp_path, postgres_url, pause_seconds=0.3, work={"lease_seconds": LEASE_SECONDS}
    ) as lab:
        lab.command_line = ("serve", "--web")
        await lab.start()
        names = [f"w{n}" for n in range(5)]
        for name in names:
            await lab.hire(name)
        await lab.at_work(*names)
        await storm_and_judge(lab, AT_ONCE)
