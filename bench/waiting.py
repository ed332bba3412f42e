"""What many waiting runs cost a service that has nothing to do, and how fast one of them is woken.

    python -m bench.waiting                     ten thousand
    python -m bench.waiting --runs 100000       ten times as many
    python -m bench.waiting --database postgresql

A tenth of the runs, a thousand at most, wait for Gemini; the others wait for a person, their questions
shown in Slack. Beside it the same service over an empty database. A run is woken by a webhook and
answers with a read of its interaction, timed when that arrives. Without news a live run is read every
`gemini.reconcile_seconds`; here that is a day, so that what is measured is waiting. On PostgreSQL the
database's server is not counted; it is told to ANALYZE after seeding, as its autovacuum would.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from bench import load, process, seed
from bench.interactions import Interactions
from bench.loop import databases
from orchestrator import jobs
from orchestrator.emulator.serving import free_port, running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.store.sql import standstill

RUNS: Final = 10_000
MOST_LIVE: Final = 1000
STARTS: Final = 3
WAKES: Final = 500
SETTLE_SECONDS: Final = 8.0
"""After being ready; the client library is imported meanwhile."""
IDLE_SECONDS: Final = 20.0
PATIENCE_SECONDS: Final = 10.0
"""A wake-up that takes longer is lost, and the measurement ends with an error."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What is promised for so many runs."""

    mib: float
    cpu: float
    ready: float = 5.0
    wake_ms: float = 100.0


SMALL: Final = Bars(20, 0.01)
LARGE: Final = Bars(100, 0.02)


@dataclass(frozen=True, slots=True)
class Cost:
    """One service at rest. `cpu` is a share of one core; `ready` holds seconds from each start to ready."""

    resident_mib: float
    cpu: float
    ready: list[float]
    wakes: list[float] = field(default_factory=list)


class Gemini(Interactions):
    """Everything is in progress, and was read when it was read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[str, asyncio.Future[float]] = {}

    def fetch(self, interaction_id: str) -> dict[str, Any]:
        if (waiting := self.read.pop(interaction_id, None)) is not None:
            waiting.set_result(time.perf_counter())
        return {"id": interaction_id, "status": "in_progress", "steps": []}


async def main(count: int = RUNS, database: str = "sqlite") -> None:
    """Print the table."""
    gemini = Gemini()
    with databases.server(database) as server, server.fresh() as a, server.fresh() as b:
        empty, full = (url.replace("postgresql://", "postgresql+psycopg://") for url in (a, b))
        (_, empty_mib), (live, full_mib) = await _prepared(empty, 0), await _prepared(full, count)
        async with running(gemini) as address, running(build_slack()) as slack:
            costs = [await _cost(empty, address, slack), await _cost(full, address, slack, gemini, live)]
    print(
        f"{server.about}: a service at rest, with nothing and with {count} waiting runs,"
        f" {len(live)} of them for Gemini"
    )
    size_mib = [empty_mib, full_mib]
    for name, cost, mib in zip(("empty", f"{count} waiting"), costs, size_mib, strict=True):
        print(
            f"  {name:14} {cost.resident_mib:6.1f} MiB resident   {cost.cpu:7.3%} of a core"
            f"   ready in {statistics.median(cost.ready):.2f} s (longest {max(cost.ready):.2f})"
            f"   {mib:5.1f} MiB on disk"
        )
    _against(costs, SMALL if count <= RUNS else LARGE)


def _against(costs: Sequence[Cost], bars: Bars) -> None:
    empty, full = costs
    more = full.resident_mib - empty.resident_mib
    print(
        f"  waiting costs {more:+.1f} MiB   (bar: at most {bars.mib:g} MiB, under {bars.cpu:.0%} of a core,"
        f" ready in {bars.ready:g} s)"
    )
    if len(full.wakes) > 1:
        cuts = [cut * 1000 for cut in statistics.quantiles(full.wakes, n=100, method="inclusive")]
        print(
            f"  webhook → read on the wire, {len(full.wakes)} picked at random: p50 {cuts[49]:.1f} ms,"
            f" p99 {cuts[98]:.1f} ms   (bar: p99 at most {bars.wake_ms:g} ms)"
        )


async def _prepared(url: str, count: int) -> tuple[list[str], float]:
    """A database with so many waiting runs: the interactions of those that wait for Gemini, and its MiB."""
    database = Database(url)
    try:
        migrate.upgrade(database.engine)
        if not database.sqlite:
            await asyncio.to_thread(jobs.install, database.engine)
        live = min(MOST_LIVE, count // 10)
        await seed.copied(database, seed.waiting, count - live)
        interactions = await seed.copied(database, seed.live, live)
        return interactions, await asyncio.to_thread(_rested, database.engine)
    finally:
        database.close()


def _rested(engine: sa.Engine) -> float:
    """MiB it takes, once it is as its own keeper would leave it."""
    with engine.begin() as conn:
        if engine.dialect.name == "sqlite":
            counted = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        else:
            standstill.unhurried(conn)
            conn.exec_driver_sql("ANALYZE")
            counted = "SELECT pg_database_size(current_database())"
        return int(conn.exec_driver_sql(counted).scalar_one()) / 2**20


async def _cost(
    url: str, address: str, slack: str, gemini: Gemini | None = None, live: Sequence[str] = ()
) -> Cost:
    """Started several times; the last one is watched while it has nothing to do, then its runs are woken."""
    port = free_port()
    env = process.environment(Path(tempfile.gettempdir()), port, address, slack) | {"DATABASE_URL": url}
    env["ORCHESTRATOR_GEMINI__RECONCILE_SECONDS"] = "86400"
    ready: list[float] = []
    for _ in range(STARTS - 1):
        async with _service(env, port, ready):
            pass
    async with _service(env, port, ready) as pid:
        await asyncio.sleep(SETTLE_SECONDS)
        before, began = process.cpu_seconds(pid), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        cpu = (process.cpu_seconds(pid) - before) / (time.monotonic() - began)
        resident = process.resident_mib(pid)
        picked = random.choices(live, k=WAKES) if live and gemini is not None else []
        wakes = [await _woken(gemini, port, which) for which in picked] if gemini is not None else []
        return Cost(resident, cpu, ready, wakes)


async def _woken(gemini: Gemini, port: int, interaction: str) -> float:
    """Seconds from the webhook's first byte to the read of its interaction; then a moment of rest."""
    read: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    gemini.read[interaction] = read
    began = time.perf_counter()
    await load.flood(f"http://127.0.0.1:{port}", [load.signed(process.SECRET, interaction, 256)], 1)
    arrived = await asyncio.wait_for(read, PATIENCE_SECONDS)
    await asyncio.sleep(0.02)
    return arrived - began


@asynccontextmanager
async def _service(env: Mapping[str, str], port: int, ready: list[float]) -> AsyncIterator[int]:
    """The service until the block ends; notes how long it took to be ready, yields its pid."""
    base, began = f"http://127.0.0.1:{port}", time.monotonic()
    async with process.started(["-m", "orchestrator", "serve"], env, f"{base}/healthz") as pid:
        while not await asyncio.to_thread(_ready, f"{base}/readyz"):
            if time.monotonic() - began > process.READY_SECONDS:
                raise RuntimeError("the service does not become ready")
            await asyncio.sleep(0.02)
        ready.append(time.monotonic() - began)
        yield pid


def _ready(probe: str) -> bool:
    try:
        with urllib.request.urlopen(probe, timeout=5):  # noqa: S310  our own loopback server
            return True
    except urllib.error.HTTPError:
        return False  # it says what is missing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.waiting")
    parser.add_argument("--runs", type=int, default=RUNS, help="how many wait (%(default)s)")
    parser.add_argument(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="(%(default)s)"
    )
    options = parser.parse_args()
    asyncio.run(main(options.runs, options.database))
