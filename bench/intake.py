"""Webhook answers: ours beside the least an endpoint can do, in turns, in one run.

Both verify a Standard Webhooks signature over 2 KB and insert durably before they answer. Ours also
works on each delivery, in the same process, while the next ones come.
"""

import asyncio
import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench import load, process, seed
from orchestrator.emulator.serving import free_port
from orchestrator.store import migrate
from orchestrator.store.database import Database

BODY_BYTES = 2048
CONNECTIONS = 32
REQUESTS = 6000
ROUNDS = 3
WAITING = 200


async def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        interactions = await _prepared(path)
        async with _ours(path) as ours, _raw(path) as raw:
            await asyncio.sleep(process.WARM_SECONDS)
            figures: dict[str, list[load.Figures]] = {"ours": [], "raw ASGI": []}
            for _ in range(ROUNDS):
                for name, address in (("raw ASGI", raw), ("ours", ours)):
                    requests = _requests(interactions, REQUESTS)
                    figures[name].append(await load.flood(address, requests, CONNECTIONS))
                    await asyncio.sleep(2)
            steady = await load.drip(ours, _requests(interactions, 4000), per_second=200)
    speed = {name: statistics.median(f.per_second for f in fs) for name, fs in figures.items()}
    print("webhook answers, 2 KB bodies, 32 connections, each server one process")
    for name, fs in figures.items():
        p99 = statistics.median(f.p99 for f in fs)
        refused = sum(f.refused for f in fs)
        print(f"  {name:9} {speed[name]:7.0f}/s   p99 {p99:6.1f} ms   not 200: {refused}")
    print(f"  ours / raw ASGI: {speed['ours'] / speed['raw ASGI']:.2f}   (bar: at least 0.40, and 1000/s)")
    print(
        f"  at 200/s: p50 {steady.p50:.1f} ms, p99 {steady.p99:.1f} ms, not 200: {steady.refused}"
        "   (bar: p99 at most 50 ms)"
    )


async def _prepared(folder: Path) -> list[str]:
    database = Database(f"sqlite:///{folder / 'bench.db'}")
    migrate.upgrade(database.engine)
    interactions = await seed.waiting_runs(database, WAITING)
    database.close()
    return interactions


def _requests(interactions: list[str], count: int) -> list[bytes]:
    return [
        load.signed(process.SECRET, interactions[i % len(interactions)], BODY_BYTES) for i in range(count)
    ]


@asynccontextmanager
async def _ours(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = process.environment(folder, port, "http://127.0.0.1:9", "http://127.0.0.1:9")
    async with process.started(["-m", "orchestrator", "serve"], env, f"{address}/healthz"):
        yield address


@asynccontextmanager
async def _raw(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = {**os.environ, "BENCH_DB": str(folder / "raw.db"), "BENCH_SECRET": process.SECRET}
    arguments = ["-m", "uvicorn", "bench.raw:app", "--port", str(port), "--loop", "uvloop"]
    quiet = ["--http", "httptools", "--no-access-log", "--log-level", "error", "--lifespan", "off"]
    async with process.started([*arguments, *quiet], env, f"{address}/"):
        yield address


if __name__ == "__main__":
    asyncio.run(main())
