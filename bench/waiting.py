"""What ten thousand waiting runs cost a service that has nothing to do: memory, processor, restart.

Each run waits for a person, its question shown in Slack. Beside it the same service over an empty database.
"""

import asyncio
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import process, seed
from orchestrator.emulator.gemini.app import build as build_gemini
from orchestrator.emulator.serving import free_port, running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.store import migrate
from orchestrator.store.database import Database

RUNS = 10_000
STARTS = 3
SETTLE_SECONDS = 8.0
"""After being ready; the client library is imported meanwhile."""
IDLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One service at rest. `cpu` is a share of one core; `ready` holds seconds from each start to ready."""

    resident_mib: float
    cpu: float
    ready: list[float]


async def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="bench-waiting-") as folder:
        empty, full = Path(folder, "empty"), Path(folder, "full")
        size_mib = [await _prepared(empty, 0), await _prepared(full, RUNS)]
        async with running(build_gemini()) as gemini, running(build_slack()) as slack:
            costs = [await _cost(where, gemini, slack) for where in (empty, full)]
    print(f"a service at rest, with nothing and with {RUNS} runs that wait for a person")
    for name, cost, mib in zip(("empty", f"{RUNS} waiting"), costs, size_mib, strict=True):
        print(
            f"  {name:14} {cost.resident_mib:6.1f} MiB resident   {cost.cpu:7.3%} of a core"
            f"   ready in {statistics.median(cost.ready):.2f} s (longest {max(cost.ready):.2f})"
            f"   {mib:5.1f} MiB on disk"
        )
    more = costs[1].resident_mib - costs[0].resident_mib
    print(f"  waiting costs {more:+.1f} MiB   (bar: at most 20 MiB, under 1% of a core, ready in 5 s)")


async def _prepared(folder: Path, count: int) -> float:
    """A database with so many waiting runs; its size in MiB."""
    database = Database(f"sqlite:///{folder / 'bench.db'}")  # makes the folder
    try:
        migrate.upgrade(database.engine)
        await seed.waiting_runs(database, count)
    finally:
        database.close()
    return _mib(folder / "bench.db")


def _mib(file: Path) -> float:
    return file.stat().st_size / 2**20


async def _cost(folder: Path, gemini: str, slack: str) -> Cost:
    """Started several times; the last one is watched while it has nothing to do."""
    port = free_port()
    env = process.environment(folder, port, gemini, slack)
    ready: list[float] = []
    for _ in range(STARTS - 1):
        async with _service(env, port, ready):
            pass
    async with _service(env, port, ready) as pid:
        await asyncio.sleep(SETTLE_SECONDS)
        before, began = process.cpu_seconds(pid), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        cpu = (process.cpu_seconds(pid) - before) / (time.monotonic() - began)
        return Cost(process.resident_mib(pid), cpu, ready)


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
    asyncio.run(main())
