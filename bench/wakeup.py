"""From a webhook to the resume request on the wire, idle, beside the poll it replaces.

The chain in between: store, read the interaction, decide, run a free tool, commit its result, send the
next interaction. The same runs are then played with their webhooks lost, found by a poll every 5 s.
"""

import asyncio
import secrets
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench import load, process
from bench.interactions import Interactions
from orchestrator.emulator.serving import free_port, running

RUNS = 60
POLLED = 8
POLL_SECONDS = 5
CALL = {"type": "function_call", "id": "c1", "name": "lookup_order", "arguments": {"order_id": "A-1042"}}


class Gemini(Interactions):
    """Creates wait for us to move them, and are told one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.created: asyncio.Queue[tuple[str, float, bool]] = asyncio.Queue()

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = super().create(asked)
        self.created.put_nowait((made["id"], time.perf_counter(), "previous_interaction_id" in asked))
        return made


async def main() -> None:
    """Print the table."""
    gemini = Gemini()
    async with running(gemini) as address:
        hooked = await measure(gemini, address, RUNS)
        polled = await measure(gemini, address, POLLED, poll_seconds=POLL_SECONDS)
    cuts = statistics.quantiles(hooked, n=100)
    print("webhook received → resume request on the wire (a free tool runs in between), idle service")
    print(f"  webhook     p50 {cuts[49]:7.1f} ms   p99 {cuts[98]:7.1f} ms   (bar: p50 at most 30 ms)")
    slow = statistics.median(polled)
    print(f"  5 s poll    p50 {slow:7.1f} ms   {slow / cuts[49]:.0f} times as long")


async def measure(gemini: Gemini, address: str, runs: int, *, poll_seconds: float = 0) -> list[float]:
    """Milliseconds from the end of a turn to the next create, by webhook, or without one by such a poll."""
    port = free_port()
    service = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        env = process.environment(Path(folder), port, address, "http://127.0.0.1:9")
        if poll_seconds:
            env["ORCHESTRATOR_WEBHOOKS__MODE"] = "poll"
            env["ORCHESTRATOR_GEMINI__POLL_SECONDS"] = str(poll_seconds)
        async with process.started(["-m", "orchestrator", "serve"], env, f"{service}/healthz"):
            await asyncio.sleep(process.WARM_SECONDS)
            headers = {"authorization": f"Bearer {process.TOKEN}"}
            async with httpx.AsyncClient(base_url=service, headers=headers) as api:
                if poll_seconds:
                    return [await _polled(gemini, api, poll_seconds) for _ in range(runs)]
                return [await _one(gemini, api, service) for _ in range(runs)]


async def _one(gemini: Gemini, api: httpx.AsyncClient, service: str) -> float:
    """Milliseconds from the webhook's first byte to the second create."""
    first = await _start(gemini, api)
    gemini.interactions[first] |= {"status": "requires_action", "steps": [CALL]}
    began = time.perf_counter()
    await load.flood(service, [load.signed(process.SECRET, first, 256)], 1)
    second, arrived, resumed = await gemini.created.get()
    gemini.interactions[second] |= {"status": "completed"}
    await load.flood(service, [load.signed(process.SECRET, second, 256)], 1)
    await asyncio.sleep(0.05)
    return (arrived - began) * 1000 if resumed else float("nan")


async def _polled(gemini: Gemini, api: httpx.AsyncClient, poll_seconds: float) -> float:
    """The same without a webhook; Gemini moves at a random moment, as it does."""
    first = await _start(gemini, api)
    await asyncio.sleep(secrets.randbelow(int(poll_seconds * 1000)) / 1000)
    gemini.interactions[first] |= {"status": "requires_action", "steps": [CALL]}
    began = time.perf_counter()
    _, arrived, _ = await gemini.created.get()
    return (arrived - began) * 1000


async def _start(gemini: Gemini, api: httpx.AsyncClient) -> str:
    answer = await api.post("/v1/workflows/refund/runs", json={"input": "Where is A-1042?"})
    answer.raise_for_status()
    made, _, _ = await gemini.created.get()
    await asyncio.sleep(0.05)  # the answer is stored
    return made


if __name__ == "__main__":
    asyncio.run(main())
