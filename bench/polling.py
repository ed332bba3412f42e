"""How an end is noticed: what ten thousand live runs cost in readings, and how late each way hears.

    python -m bench.polling                 both parts
    python -m bench.polling --runs 1000     fewer runs, so less time

First a service polls that many live runs at a stand-in that counts: never more gets in a second than the
budget, and each end noticed within the interval it promises. Time runs as it does, so the budget here is
large enough for a round in about a minute. Then the same story, a turn that asks for a free tool, is heard
by webhook and by polls every 5 s and 10 s.
"""

import argparse
import asyncio
import random
import re
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bench import process, seed, wakeup
from bench.interactions import Interactions
from orchestrator.domain.effects import EffectKind
from orchestrator.emulator.serving import free_port, running
from orchestrator.store import migrate, outbox
from orchestrator.store.database import Database

RUNS: Final = 10_000
PER_SECOND: Final = 200
ENDING: Final = 200
"""How many of them end while we look."""
HOOKED: Final = 40
POLLED: Final = 12
ROUNDS: Final = 2


class Counting(Interactions):
    """Answers gets: still at work, or ended since it was told so. Counts them by second."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []
        self.ended: dict[str, float] = {}
        self.noticed: dict[str, float] = {}

    def fetch(self, interaction_id: str) -> dict[str, Any]:
        now, done = time.monotonic(), interaction_id in self.ended
        self.at.append(now)
        if done:
            self.noticed.setdefault(interaction_id, now)
        return {"id": interaction_id, "status": "completed" if done else "in_progress", "steps": []}

    def most(self) -> int:
        """Gets in any second, wherever it begins."""
        first, most = 0, 0
        for n, at in enumerate(self.at):
            while self.at[first] + 1 <= at:
                first += 1
            most = max(most, n - first + 1)
        return most


async def main(count: int) -> None:
    """Print both tables."""
    await _many(count)
    await _ways()


async def _many(count: int) -> None:
    gemini = Counting()
    with tempfile.TemporaryDirectory() as folder:
        live = await _seeded(Path(folder), count)
        async with running(gemini) as address:
            port = free_port()
            env = process.environment(Path(folder), port, address, "http://127.0.0.1:9")
            env |= {
                "ORCHESTRATOR_WEBHOOKS__MODE": "poll",
                "ORCHESTRATOR_GEMINI__GETS_PER_SECOND": str(PER_SECOND),
                "ORCHESTRATOR_GEMINI__POLL_MOST_SECONDS": "5",
            }
            service = f"http://127.0.0.1:{port}"
            async with process.started(["-m", "orchestrator", "serve"], env, f"{service}/healthz") as pid:
                await asyncio.sleep(process.WARM_SECONDS)
                began, cpu = time.monotonic(), process.cpu_seconds(pid)
                promised = await _promised(service)
                await _end_some(gemini, live, promised)
                promised = max(promised, await _promised(service))
                spent = time.monotonic() - began
                used = (process.cpu_seconds(pid) - cpu) / spent
    late = [gemini.noticed[i] - at for i, at in gemini.ended.items() if i in gemini.noticed]
    lost = len(gemini.ended) - len(late)
    mean = len(gemini.at) / (gemini.at[-1] - gemini.at[0])
    print(f"poll mode, {count} live runs, budget {PER_SECOND} gets a second, looked at for {spent:.0f} s")
    print(f"  gets a second   mean {mean:.1f}   most in any second {gemini.most()}")
    print(f"  promised        {promised:.1f} s")
    print(f"  ends noticed    {len(late)} of {len(gemini.ended)}   not {lost}")
    print(f"  notice delay    p50 {statistics.median(late):.1f} s   worst {max(late):.1f} s")
    print(f"  processor       {used * 100:.0f} % of one core")


async def _seeded(folder: Path, count: int) -> list[str]:
    database = Database(f"sqlite:///{folder / 'bench.db'}")
    migrate.upgrade(database.engine)
    try:
        live = await seed.copied(database, seed.live, count)
        await database.write(_spread, count / PER_SECOND)
        return live
    finally:
        database.close()


def _spread(s: Session, seconds: float) -> None:
    """Their next readings lie over that time, as they would after a while."""
    fetches = outbox.effect_t.c.kind == EffectKind.FETCH_INTERACTION.value
    ids = s.connection().execute(sa.select(outbox.effect_t.c.id).where(fetches)).scalars().all()
    later = datetime.now(UTC) + timedelta(seconds=process.WARM_SECONDS)
    rows = [{"of": n, "at": later + timedelta(seconds=random.uniform(0, seconds))} for n in ids]
    change = outbox.effect_t.update().where(outbox.effect_t.c.id == sa.bindparam("of"))
    s.connection().execute(change.values(due_at=sa.bindparam("at")), rows)


async def _promised(service: str) -> float:
    headers = {"authorization": f"Bearer {process.TOKEN}"}
    async with httpx.AsyncClient(base_url=service, headers=headers) as api:
        for _ in range(100):
            found = re.search(
                r'interval_seconds\{interaction="live"\} (\S+)', (await api.get("/metrics")).text
            )
            if found:
                return float(found[1])
            await asyncio.sleep(0.2)
    raise RuntimeError("the service does not say what it promises")


async def _end_some(gemini: Counting, live: list[str], promised: float) -> None:
    """Over one round, then as long as the last of them may take."""
    for interaction in random.sample(live, min(ENDING, len(live))):
        gemini.ended[interaction] = time.monotonic()
        await asyncio.sleep(promised / ENDING)
    deadline = time.monotonic() + ROUNDS * promised
    while len(gemini.noticed) < len(gemini.ended) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.2)  # the other side of a socket has no event to wait for


async def _ways() -> None:
    print("the same turn, each way of hearing: from its end to the resume request on the wire")
    gemini = wakeup.Gemini()
    async with running(gemini) as address:
        rows = {"webhook": await wakeup.measure(gemini, address, HOOKED)}
        for seconds in (5, 10):
            rows[f"{seconds} s poll"] = await wakeup.measure(gemini, address, POLLED, poll_seconds=seconds)
    for name, found in rows.items():
        print(f"  {name:10}  p50 {statistics.median(found):8.1f} ms   worst {max(found):8.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.polling")
    parser.add_argument("--runs", type=int, default=RUNS, help="how many live runs are polled (%(default)s)")
    asyncio.run(main(parser.parse_args().runs))
