"""One PostgreSQL, a process that only answers, and one, two or three workers on work that waits.

    python -m bench.workers
    python -m bench.workers --seconds 4 --workers 1,2

Each run asks Gemini once, calls a tool of 50 ms four times at once, hands the results back and is done.
A worker runs four tools at a time, so that a worker alone is held up by waiting and not by its processor.
Afterwards nothing happens for a while, and commits are counted: `xact_commit`, reading transactions too.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import sqlalchemy as sa
import yaml

from bench import process
from bench.interactions import Interactions
from bench.loop import databases
from orchestrator.emulator.serving import free_port, running

WORKERS: Final = (1, 2, 3)
SLOTS: Final = 4
CALLS: Final = 4
SECONDS: Final = 10.0
WARM_SECONDS: Final = 3.0
"""Under load, before the clock starts."""
IDLE_SECONDS: Final = 20.0
REPORTED_SECONDS: Final = 12.0
"""An idle connection of PostgreSQL's says what it counted at most ten seconds late."""
IN_FLIGHT: Final = 24
"""Runs for each worker."""
PATIENCE_SECONDS: Final = 60.0
FASTER: Final = 1.6
IDLE: Final = 2.0

TOOL: Final = '''\
"""Work that waits."""

import asyncio

from orchestrator import tool


@tool(approval="allow", idempotent=True)
async def wait_a_little(number: int) -> dict[str, int]:
    """Wait for something else.

    Args:
        number: Which of them it is.
    """
    await asyncio.sleep(0.05)
    return {"number": number}
'''


@dataclass(frozen=True, slots=True)
class Game:
    """With so many workers: runs a second, and everybody's commits a second while nothing happens."""

    workers: int
    per_second: float
    idle: float


class Gemini(Interactions):
    """The first create of a chain asks for the calls at once, the second ends it."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._whose: dict[str, str] = {}
        self.over: dict[str, asyncio.Future[None]] = {}

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = f"v1_{next(self._numbers):016x}"
        said = {"id": made, "webhook_config": asked["webhook_config"]}
        before = asked.get("previous_interaction_id")
        if before is None:
            self._whose[made] = asked["input"]
            return {**said, "status": "requires_action", "steps": [_call(n) for n in range(CALLS)]}
        over = self.over.pop(self._whose.pop(before), None)
        if over is not None and not over.done():
            over.set_result(None)
        done = {"type": "model_output", "content": [{"type": "text", "text": "Done."}]}
        return {**said, "status": "completed", "previous_interaction_id": before, "steps": [done]}


def _call(number: int) -> dict[str, Any]:
    arguments = {"number": number}
    return {"type": "function_call", "id": f"c{number}", "name": "wait_a_little", "arguments": arguments}


async def main(numbers: Sequence[int] = WORKERS, seconds: float = SECONDS) -> None:
    """Print the table."""
    with databases.server("postgresql") as server:
        print(f"{server.about}: work that waits, {SLOTS} tools of 50 ms at once in a worker, {CALLS} a run")
        games = [await _game(server, number, seconds, idle=number == max(numbers)) for number in numbers]
        nobody = await _game(server, 0, 0.0, idle=True)
    for game in games:
        bar = f"   (bar: at least {FASTER}×)" if game.workers == 2 else ""
        ratio = game.per_second / games[0].per_second
        print(f"  workers: {game.workers}   {game.per_second:6.1f} runs/s   {ratio:.2f}×{bar}")
    most = max(games, key=lambda game: game.workers)
    each = (most.idle - nobody.idle) / most.workers
    print(
        f"  idle: {each:.2f} commits/s for each of {most.workers} workers   (bar: at most {IDLE:g}),"
        f" {nobody.idle:.2f} for the process that only answers"
    )


async def _game(server: databases.Server, workers: int, seconds: float, *, idle: bool) -> Game:
    gemini = Gemini()
    with server.fresh() as plain, tempfile.TemporaryDirectory(prefix="bench-workers-") as folder:
        async with running(gemini) as address, _served(Path(folder), plain, address, workers) as api:
            await asyncio.sleep(process.WARM_SECONDS)
            rate = await _played(gemini, api, workers, seconds) if workers else 0.0
            return Game(workers, rate, await _idle(plain) if idle else 0.0)


@asynccontextmanager
async def _served(folder: Path, plain: str, gemini: str, workers: int) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = _settings(folder, plain, port, gemini)
    upgrade = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", "db", "upgrade", env=env, stdout=asyncio.subprocess.DEVNULL
    )
    if await upgrade.wait() != 0:
        raise RuntimeError("the schema could not be made")
    async with AsyncExitStack() as stack:
        serving = process.started(["-m", "orchestrator", "serve", "--web"], env, f"{address}/healthz")
        await stack.enter_async_context(serving)
        for number in range(workers):
            pulse = folder / f"pulse{number}"
            await stack.enter_async_context(_working(env, pulse))
        headers = {"authorization": f"Bearer {process.TOKEN}"}
        yield await stack.enter_async_context(
            httpx.AsyncClient(base_url=address, headers=headers, timeout=60)
        )


@asynccontextmanager
async def _working(env: Mapping[str, str], pulse: Path) -> AsyncIterator[None]:
    """A worker that has gone round at least once."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", "worker", "--pulse", str(pulse), env=dict(env)
    )
    try:
        async with asyncio.timeout(process.READY_SECONDS):
            while not await asyncio.to_thread(pulse.exists):
                if worker.returncode is not None:
                    raise RuntimeError(f"a worker ended with {worker.returncode}")
                await asyncio.sleep(0.05)
        yield
    finally:
        if worker.returncode is None:
            worker.terminate()
        await worker.wait()


def _settings(folder: Path, plain: str, port: int, gemini: str) -> dict[str, str]:
    (folder / "waits.py").write_text(TOOL)
    (folder / "waits.py").chmod(0o600)
    waits = {"model": "gemini-3.8-flash", "tools": ["wait_a_little"]}
    config = {
        "tools": {"folder": str(folder), "modules": ["waits"]},
        "slack": {"enabled": False},
        "work": {"tools_slots": SLOTS},
        "workflows": {"waits": waits},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    env = process.environment(folder, port, gemini, "http://127.0.0.1:9")
    return {name: value for name, value in env.items() if "SLACK" not in name} | {
        "ORCHESTRATOR_CONFIG": str(folder / "config.yaml"),
        "DATABASE_URL": plain.replace("postgresql://", "postgresql+psycopg://"),
        "ORCHESTRATOR_API__RATE_LIMIT_PER_MINUTE": "1000000",
    }


async def _played(gemini: Gemini, api: httpx.AsyncClient, workers: int, seconds: float) -> float:
    """Runs a second that came to their end, as many under way as keep the workers busy."""
    start = time.perf_counter() + WARM_SECONDS
    ended: list[float] = []
    ids: list[str] = []
    names = (f"run {n}" for n in itertools.count())

    async def one() -> None:
        while time.perf_counter() < start + seconds:
            name = next(names)
            over = gemini.over[name] = asyncio.get_running_loop().create_future()
            answer = await api.post("/v1/workflows/waits/runs", json={"input": name})
            ids.append(answer.raise_for_status().json()["id"])
            await asyncio.wait_for(over, PATIENCE_SECONDS)
            ended.append(time.perf_counter())

    await asyncio.gather(*(one() for _ in range(IN_FLIGHT * workers)))
    await _check(api, ids)
    return sum(start <= moment < start + seconds for moment in ended) / seconds


async def _check(api: httpx.AsyncClient, ids: Sequence[str]) -> None:
    """Every run is closed as it should be, the last ones in a moment."""
    until = time.monotonic() + PATIENCE_SECONDS
    for run_id in ids:
        while (
            status := (await api.get(f"/v1/runs/{run_id}")).raise_for_status().json()["status"]
        ) != "completed":
            if status in ("failed", "cancelled", "attention") or time.monotonic() > until:
                raise RuntimeError(f"{run_id} is {status}")
            await asyncio.sleep(0.05)


async def _idle(plain: str) -> float:
    """Commits a second of everybody connected, less our own."""
    await asyncio.sleep(REPORTED_SECONDS)
    before, began = await asyncio.to_thread(_commits, plain), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    after = await asyncio.to_thread(_commits, plain)
    return (after - before) / (time.monotonic() - began)


def _commits(plain: str) -> int:
    """Asked from another database of the server, so that asking counts elsewhere."""
    url = sa.make_url(plain).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url.set(database="postgres"), poolclass=sa.pool.NullPool)
    with engine.connect() as conn:
        question = sa.text("SELECT xact_commit FROM pg_stat_database WHERE datname = :name")
        return int(conn.execute(question, {"name": url.database}).scalar_one())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.workers")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one game (%(default)s)")
    parser.add_argument("--workers", default="1,2,3", help="numbers of them, the first is compared to")
    return parser.parse_args()


if __name__ == "__main__":
    options = _options()
    asyncio.run(main([int(n) for n in options.workers.split(",")], options.seconds))
