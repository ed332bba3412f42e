"""The same films by polling every 10 s and by webhook: requests made, time to the file, work while waiting.

    python -m bench.films                          twenty films of half a minute to a minute and a half
    python -m bench.films --films 4 --seconds 5    fewer and shorter, to see that it runs

Each way has a service of its own, a process with a database and a storage folder, beside a stand-in Gemini in
this process. It is asked once for all films; they are begun together and end one by one, at the same moments
of each way. From a film's end to its file: until the record says that the file is stored. Idle is the time
from the last start to the first end, in which there is nothing to do but to find out.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from bench import process
from orchestrator.domain.jobs import Job
from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import free_port, running
from orchestrator.store import jobs
from orchestrator.store.database import Database

FILMS: Final = 20
SECONDS: Final = 60.0
FILM_BYTES: Final = 2_000_000
PATIENCE_SECONDS: Final = 120.0
"""Beyond the longest film, before a way is given up on."""
ENDED: Final = ("completed", "failed", "cancelled")
POLL: Final[dict[str, Any]] = {"poll_seconds": 10, "poll_most_seconds": 10}
WAYS: Final[dict[str, dict[str, Any]]] = {
    "poll every 10 s": {"webhooks": {"mode": "poll"}, "gemini": POLL},
    "webhook, read every 30 s without news (the default)": {},
    "webhook, read every 5 min without news": {"gemini": {"reconcile_seconds": 300}},
}
COLUMNS: Final = (
    "heard of by",
    "films stored",
    "requests to Gemini",
    "of them readings",
    "of films not done",
    "webhooks",
    "film's end to file stored, p50",
    "p95",
    "processor while idle",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one way came to; `late` in seconds, `idle` as a share of one core."""

    stored: int
    requests: int
    readings: int
    vain: int
    webhooks: int
    late: list[float]
    idle: float

    def cells(self) -> list[str]:
        cuts = statistics.quantiles(self.late, n=20, method="inclusive")
        counts = (self.stored, self.requests, self.readings, self.vain, self.webhooks)
        return [*map(str, counts), f"{cuts[9]:.2f} s", f"{cuts[18]:.2f} s", f"{self.idle * 100:.2f} %"]


async def main(count: int, seconds: float) -> None:
    """Print the table."""
    dice = random.Random(20)
    lengths = [dice.uniform(0.5, 1.5) * seconds for _ in range(count)]
    print(f"{count} films of {min(lengths):.0f} to {max(lengths):.0f} s\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|", flush=True)
    for name, changes in WAYS.items():
        seen = await _measured(lengths, changes)
        print(f"| {' | '.join([name, *seen.cells()])} |", flush=True)


async def _measured(lengths: list[float], changes: Mapping[str, Any]) -> Seen:
    port = free_port()
    service = f"http://127.0.0.1:{port}"
    polls = "webhooks" in changes
    hook = StaticWebhook(uri=f"{service}/webhooks/gemini", secret=process.SECRET)
    plans = [_plan(n, length) for n, length in enumerate(lengths)]
    app = build(EmulatorSettings(jobs=plans, webhooks=() if polls else (hook,)))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with running(app) as gemini:
            env = _environment(folder, port, gemini, _config(folder, len(lengths), changes))
            async with process.started(["-m", "orchestrator", "serve"], env, f"{service}/healthz") as pid:
                await asyncio.sleep(process.WARM_SECONDS)
                run_id, idle = await _watched(pid, service, app.state.emulator, lengths)
        # The service has ended by now, and with it its hold on the database.
        return _seen(app.state.emulator, await _jobs(folder, run_id), idle)


def _plan(number: int, seconds: float) -> dict[str, Any]:
    match = {"kind": "video", "input_contains": f"Film {number}."}
    return {"match": match, "seconds": seconds, "bytes": FILM_BYTES}


def _config(folder: Path, films: int, changes: Mapping[str, Any]) -> Path:
    prompts = {"type": "array", "items": {"type": "string"}}
    workflow = {
        "input": {"type": "object", "required": ["prompts"], "properties": {"prompts": prompts}},
        "steps": [{"name": "films", "kind": "video", "arguments": {"prompts": {"from": "input.prompts"}}}],
        "overrides": {"generate_video": {"approval": "allow"}},
    }
    config = {
        "slack": {"enabled": False},
        "approvals": {"approvers": ["api:env"]},
        "storage": {"url": str(folder / "files"), "min_free_mb": 0},
        "jobs": {"at_once": films},
        "workflows": {"films": workflow},
        **changes,
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def _environment(folder: Path, port: int, gemini: str, config: Path) -> dict[str, str]:
    env = process.environment(folder, port, gemini, "http://127.0.0.1:9") | {
        "ORCHESTRATOR_CONFIG": str(config)
    }
    return {k: v for k, v in env.items() if "SLACK_" not in k}


async def _watched(pid: int, service: str, gemini: Emulator, lengths: list[float]) -> tuple[str, float]:
    """Ask for the films and wait for them; the run's id, and the processor's share while idle."""
    headers = {"authorization": f"Bearer {process.TOKEN}"}
    asked = {"input": {"prompts": [f"Film {n}." for n in range(len(lengths))]}}
    async with httpx.AsyncClient(base_url=service, headers=headers, timeout=10) as api:
        answer = await api.post("/v1/workflows/films/runs", json=asked)
        answer.raise_for_status()
        run_id = answer.json()["id"]
        idle = await _idle(pid, gemini, lengths)
        await _ended(api, run_id, max(lengths) + PATIENCE_SECONDS)
    return str(run_id), idle


async def _idle(pid: int, gemini: Emulator, lengths: list[float]) -> float:
    """The processor's share between the last start and the first end."""
    while len(gemini.ledger()["jobs"]) < len(lengths):  # noqa: ASYNC110  it is on the other side of a socket
        await asyncio.sleep(0.05)
    await asyncio.sleep(min(1.0, min(lengths) / 4))
    began, cpu = time.monotonic(), process.cpu_seconds(pid)
    while all(job["ended"] is None for job in gemini.ledger()["jobs"]):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return (process.cpu_seconds(pid) - cpu) / (time.monotonic() - began)


async def _ended(api: httpx.AsyncClient, run_id: str, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            run = (await api.get(f"/v1/runs/{run_id}")).json()
            if run["status"] in ENDED:
                break
            await asyncio.sleep(1)
    if run["status"] != "completed":
        raise RuntimeError(f"{run['status']}: {run['reason']}")


async def _jobs(folder: Path, run_id: str) -> list[Job]:
    database = Database(f"sqlite:///{folder / 'bench.db'}")
    try:
        return [job for _, job in await database.read(jobs.of_run, run_id)]
    finally:
        database.close()


def _seen(gemini: Emulator, made: list[Job], idle: float) -> Seen:
    ends = {job["name"]: datetime.fromisoformat(job["ended"]) for job in gemini.ledger()["jobs"]}
    late = [(j.ended_at - ends[j.remote]).total_seconds() for j in made if j.remote and j.ended_at]
    readings = [r for r in gemini.requests if r["operation"] == "videos.get"]
    vain = sum(datetime.fromisoformat(r["at"]) < _end_of(r["path"], ends) for r in readings)
    stored = sum(len(job.files) for job in made)
    taken = sum(delivery.state == "delivered" for delivery in gemini.courier.deliveries)
    return Seen(stored, len(gemini.requests), len(readings), vain, taken, late, idle)


def _end_of(path: str, ends: Mapping[str, datetime]) -> datetime:
    """When the film ended that a reading was of; `path` has the API's version before its name."""
    return ends[path.strip("/").partition("/")[2]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.films")
    parser.add_argument("--films", type=int, default=FILMS, help="how many (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a film's mean length (%(default)s)")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.films, chosen.seconds))
