"""From a press in Slack to its 200, and to the card in its final state, while many runs wait.

    python -m bench.clicks                                  a thousand runs, 20 s at 20 presses a second
    python -m bench.clicks --runs 200 --seconds 5           a small one

The runs are started over the API and asked about as any other, so what is pressed is the real button: signed
by the local Slack, checked, committed, answered; then the approved refund runs and its message is redrawn
until it says how it ended. How often Slack lets a message be redrawn is Slack's to limit, not measured here.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from bench import load, process, wakeup
from orchestrator.emulator.serving import free_port, running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.emulator.slack.courier import Click
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.workspace import Message
from orchestrator.slack.looks import Look

RUNS: Final = 1000
SECONDS: Final = 20
RATE: Final = 20.0
CONNECTIONS: Final = 16
PRESSER: Final = "U0ALICE"
LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 60.0
"""How long anything may take that is waited for before and after the presses."""
CALL: Final = {
    "type": "function_call",
    "id": "c1",
    "name": "refund_order",
    "arguments": {"order_id": "A-1042", "amount": "1.00", "reason": "It arrived broken."},
}


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds: from each press to its 200, and from there to the card in its final state.

    `refused` counts presses without a 200.
    """

    answers: list[float]
    cards: list[float]
    refused: int


async def main(runs: int = RUNS, seconds: int = SECONDS, rate: float = RATE) -> None:
    """Print the table.

    Raises:
        RuntimeError: There are fewer runs than presses, or one of them never got as far as its card.
    """
    presses = round(seconds * rate)
    if presses > runs:
        raise RuntimeError(f"{presses} presses need as many runs, there are {runs}")
    took = await measure(runs, presses, rate)
    print(f"{presses} signed presses on Approve, {rate:g} a second, {runs} live runs, SQLite, one process")
    answers, cards = _cuts(took.answers), _cuts(took.cards)
    print(
        f"  press → 200              p50 {answers[49]:7.1f} ms   p99 {answers[98]:7.1f} ms"
        f"   not 200: {took.refused}   (bar: p99 at most 1000 ms)"
    )
    print(
        f"  200 → card says Done     p50 {cards[49]:7.1f} ms   p99 {cards[98]:7.1f} ms"
        f"   longest {max(cards):.1f} ms   (bar: 2000 ms)"
    )


async def measure(runs: int, presses: int, rate: float) -> Took:
    """Start the runs, wait until each is asked about, then press so many buttons at that pace."""
    gemini, app = wakeup.Gemini(), build_slack()
    slack: LocalSlack = app.state.slack
    port = free_port()
    service = f"http://127.0.0.1:{port}"
    slack.set_interactivity_url(f"{service}/slack/interactivity")
    with tempfile.TemporaryDirectory(prefix="bench-clicks-") as folder:
        async with running(gemini) as google, running(app) as workspace:
            env = process.environment(Path(folder), port, google, workspace)
            async with process.started(["-m", "orchestrator", "serve"], env, f"{service}/healthz"):
                await asyncio.sleep(process.WARM_SECONDS)
                await _waiting(gemini, service, slack, runs)
                return await _pressed(slack, presses, rate)


async def _waiting(gemini: wakeup.Gemini, service: str, slack: LocalSlack, runs: int) -> None:
    """So many runs, each with a card in Slack that waits for a person."""
    headers = {"authorization": f"Bearer {process.TOKEN}"}
    async with httpx.AsyncClient(base_url=service, headers=headers, timeout=PATIENCE_SECONDS) as api:
        numbers = iter(range(runs))

        async def one() -> None:
            for _ in numbers:
                answer = await api.post("/v1/workflows/refund/runs", json={"input": "Refund A-1042."})
                answer.raise_for_status()

        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    await _until(lambda: len(gemini.interactions) >= runs, "every run's interaction")
    for interaction in gemini.interactions.values():
        interaction |= {"status": "requires_action", "steps": [CALL]}
    await asyncio.sleep(1)  # the answers to the last creates are stored
    hooks = [load.signed(process.SECRET, interaction, 256) for interaction in list(gemini.interactions)]
    await load.flood(service, hooks, CONNECTIONS)
    await _until(lambda: len(_cards(slack)) >= runs, "every run's card")
    await asyncio.sleep(2)  # nothing is left to do but wait


async def _pressed(slack: LocalSlack, presses: int, rate: float) -> Took:
    """A late answer does not slow the next press down."""
    began = time.perf_counter()

    async def one(position: int, message: Message) -> Click:
        await asyncio.sleep(max(0.0, began + position / rate - time.perf_counter()))
        return await slack.click(message.channel, message.ts, "approve", PRESSER)

    clicks = await asyncio.gather(*(one(i, m) for i, m in enumerate(_cards(slack)[:presses])))
    taken = {click.ts: click for click in clicks if click.status == 200}
    await _until(lambda: taken.keys() <= _done(slack).keys(), "the final state of every card")
    done = _done(slack)
    answers = [click.took_seconds * 1000 for click in taken.values()]
    cards = [(done[ts] - c.sent_at - c.took_seconds) * 1000 for ts, c in taken.items()]
    return Took(answers, [max(0.0, ms) for ms in cards], len(clicks) - len(taken))


def _cards(slack: LocalSlack) -> list[Message]:
    return [message for message in slack.workspace.listed("C0APPR") if message.only_for is None]


def _done(slack: LocalSlack) -> dict[str | None, float]:
    """By message, when it was first drawn in its final state, in Unix seconds."""
    drawn = [call for call in slack.calls if call.method == "chat.update" and call.outcome == "ok"]
    return {call.args["ts"]: call.at for call in reversed(drawn) if _says(call.args, Look.DONE)}


def _says(arguments: dict[str, Any], state: Look) -> bool:
    blocks = arguments.get("blocks")
    return isinstance(blocks, list) and any(str(b.get("block_id")).endswith(f":{state}") for b in blocks)


async def _until(came: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not came():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not come within {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(LOOK_SECONDS)


def _cuts(took: Sequence[float]) -> list[float]:
    return statistics.quantiles(took, n=100, method="inclusive") if len(took) > 1 else [*took] * 99


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.clicks")
    parser.add_argument("--runs", type=int, default=RUNS, help="how many wait (%(default)s)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long (%(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="presses a second (%(default)s)")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.runs, chosen.seconds, chosen.rate))
