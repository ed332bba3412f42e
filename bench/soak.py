"""A service under a steady load for long: what it holds must not grow with what it has done.

    python -m bench.soak                                        ten minutes, five runs a second
    python -m bench.soak --minutes 60 --database postgresql

A run is a free tool and a question in one turn, the real button pressed, the approved tool, a second turn,
the end. Every webhook comes twice. Somebody watches each run's record and goes away before its end; a read,
a list and a probe are asked for beside it. Once a minute a line says what the process holds.

The first fifth is for caches to fill; the growth after it is what counts. On PostgreSQL the database's server
is not counted.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from bench import load, process
from bench.interactions import Interactions
from bench.loop import databases
from orchestrator import jobs
from orchestrator.emulator.serving import free_port, running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.store import migrate
from orchestrator.store.database import Database

MINUTES: Final = 10
RATE: Final = 5.0
SETTLED: Final = 0.2
"""Of the time; what comes before is not judged."""
BAR_MIB: Final = 10.0
"""How much more memory the process may hold at the end than when it had settled."""
PATIENCE_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.25
KEPT_SECONDS: Final = 60.0
"""So long the stand-in knows an interaction after its end."""
AT_ONCE: Final = 40
"""Runs under way. On a machine that is too busy the next one waits, lest their audience choke the service."""
PRESSER: Final = "U0ALICE"
ARGUMENTS: Final = {"order_id": "A-1042", "amount": "1.00", "reason": "It arrived broken."}
CALLS: Final = [
    {"type": "function_call", "id": "c1", "name": "lookup_order", "arguments": {"order_id": "A-1042"}},
    {"type": "function_call", "id": "c2", "name": "refund_order", "arguments": ARGUMENTS},
]


class Gemini(Interactions):
    """Two turns, each over after a moment; told by a webhook that comes twice. Soon forgotten, then."""

    def __init__(self) -> None:
        super().__init__()
        self.service = ""
        self._moving: set[asyncio.Task[None]] = set()

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = super().create(asked)
        moving = asyncio.create_task(self._moves(made["id"], last="previous_interaction_id" in asked))
        self._moving.add(moving)
        moving.add_done_callback(self._moving.discard)
        return made

    async def _moves(self, which: str, *, last: bool) -> None:
        await asyncio.sleep(random.uniform(0.02, 0.3))
        said = {"type": "model_output", "content": [{"type": "text", "text": "Done."}]}
        over = (
            {"status": "completed", "steps": [said]}
            if last
            else {"status": "requires_action", "steps": CALLS}
        )
        self.interactions[which] |= over
        hook = load.signed(process.SECRET, which, 1024)
        await load.flood(self.service, [hook, hook], 1)
        await asyncio.sleep(KEPT_SECONDS)
        del self.interactions[which]


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at one moment, `minutes` after the first run."""

    minutes: float
    runs: int
    mib: float
    files: int
    threads: int
    disk_mib: float


class Load:
    """Runs, one after the other in time, each with its audience."""

    def __init__(self, api: httpx.AsyncClient, slack: LocalSlack) -> None:
        self._api, self._slack = api, slack
        self.ended = 0
        self.took: list[float] = []

    async def run(self) -> None:
        """Start one, press its button, see it end.

        Raises:
            RuntimeError: It ended otherwise, or not in time.
        """
        began = time.perf_counter()
        made = (await self._asked("POST", "/v1/workflows/refund/runs", json={"input": "Refund A-1042."}))[
            "id"
        ]
        watching = asyncio.create_task(self._watch(made))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._press(*await self._question(made))
            while (run := await self._asked("GET", f"/v1/runs/{made}"))["status"] != "completed":
                if run["closed_at"]:
                    raise RuntimeError(f"{made} is {run['status']}: {run['reason']}")
                await asyncio.sleep(LOOK_SECONDS)
            await watching
        await self._asked("GET", "/v1/runs?limit=20")
        self.ended += 1
        self.took.append(time.perf_counter() - began)

    async def _question(self, run: str) -> tuple[str, str]:
        """Where the card stands, once it does."""
        while True:
            shown = [a for a in (await self._asked("GET", f"/v1/runs/{run}/approvals"))["items"] if a["ts"]]
            if shown:
                return shown[0]["channel"], shown[0]["ts"]
            await asyncio.sleep(LOOK_SECONDS)

    async def _press(self, channel: str, ts: str) -> None:
        """Once; and again, as people do where Slack says that it did not work."""
        with suppress(CannotClick):  # a press without an answer was heard all the same: the buttons are gone
            while True:
                if (await self._slack.click(channel, ts, "approve", PRESSER)).status == 200:
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def _watch(self, run: str) -> None:
        """A few entries of its record, as they are written."""
        heard, most = 0, random.randint(1, 12)
        headers = {"accept": "text/event-stream"}
        async with self._api.stream("GET", f"/v1/runs/{run}/events", headers=headers) as record:
            async for line in record.aiter_lines():
                heard += line.startswith("data:")
                if heard >= most:
                    return

    async def _asked(self, method: str, path: str, **more: Any) -> Any:
        answer = await self._api.request(method, path, **more)
        answer.raise_for_status()
        return answer.json()


async def main(minutes: float, rate: float, database: str) -> bool:
    """Print the lines; whether the bar is held."""
    with databases.server(database) as server, server.fresh() as url:
        gemini, app = Gemini(), build_slack()
        url = url.replace("postgresql://", "postgresql+psycopg://")
        async with (
            running(gemini) as google,
            running(app) as workspace,
            _service(url, google, workspace) as (pid, gemini.service),
        ):
            app.state.slack.set_interactivity_url(f"{gemini.service}/slack/interactivity")
            print(f"{server.about}: {rate:g} runs a second for {minutes:g} minutes, one process")
            return _judged(await _soaked(gemini.service, app.state.slack, pid, url, minutes, rate))


@asynccontextmanager
async def _service(url: str, google: str, workspace: str) -> AsyncIterator[tuple[int, str]]:
    database = Database(url)
    migrate.upgrade(database.engine)
    if not database.sqlite:
        await asyncio.to_thread(jobs.install, database.engine)
    database.close()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        env = process.environment(Path(folder), port, google, workspace) | {"DATABASE_URL": url}
        base = f"http://127.0.0.1:{port}"
        async with process.started(["-m", "orchestrator", "serve"], env, f"{base}/healthz") as pid:
            await asyncio.sleep(process.WARM_SECONDS)
            yield pid, base


async def _soaked(
    base: str, slack: LocalSlack, pid: int, url: str, minutes: float, rate: float
) -> list[Held]:
    """At that pace on average, as callers come."""
    headers = {"authorization": f"Bearer {process.TOKEN}"}
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30, limits=limits) as api:
        work, held, began = Load(api, slack), list[Held](), time.monotonic()
        free = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as going:
            while (gone := (time.monotonic() - began) / 60) < minutes:
                await free.acquire()
                going.create_task(work.run()).add_done_callback(lambda _: free.release())
                if gone >= len(held):
                    held.append(_held(gone, work.ended, pid, url))
                    _tell(held[-1], work)
                await asyncio.sleep(random.expovariate(rate))
        held.append(_held((time.monotonic() - began) / 60, work.ended, pid, url))
        _tell(held[-1], work)
        return held


def _held(minutes: float, runs: int, pid: int, url: str) -> Held:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    threads = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
    files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    stored = [Path(url.removeprefix("sqlite:///") + end) for end in ("", "-wal")]
    disk = sum(file.stat().st_size for file in stored if file.exists()) / 2**20
    return Held(minutes, runs, process.resident_mib(pid), files, threads, disk)


def _tell(held: Held, work: Load) -> None:
    took = sorted(work.took) or [0.0]
    slow, work.took = took[int(len(took) * 0.99) - 1], []
    print(
        f"  {held.minutes:5.1f} min   {held.runs:7d} runs ended   {held.mib:7.1f} MiB resident"
        f"   {held.files:4d} files   {held.threads:3d} threads   {held.disk_mib:8.1f} MiB on disk"
        f"   a run within {slow:.1f} s (p99)",
        flush=True,
    )


def _judged(held: list[Held]) -> bool:
    last = held[-1]
    settled = next(h for h in held if h.minutes >= last.minutes * SETTLED)
    more, runs = last.mib - settled.mib, last.runs - settled.runs
    print(
        f"  since minute {settled.minutes:.0f}: {more:+.1f} MiB over {runs} runs"
        f"   (bar: at most {BAR_MIB:g} MiB), {last.files - settled.files:+d} files,"
        f" {last.threads - settled.threads:+d} threads"
    )
    return more <= BAR_MIB


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="runs a second (%(default)s)")
    parser.add_argument(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="(%(default)s)"
    )
    options = parser.parse_args()
    if not asyncio.run(main(options.minutes, options.rate, options.database)):
        raise SystemExit("the bar is missed")
