"""The storm: callers who send webhooks and ask for runs, whatever happens to the service meanwhile.

What is done to the service is `rage`; the storm of this module kills the one process there is. P1, P4, P5.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
from laboratory import RECOVERY_SECONDS, Laboratory, Wish, until

SENDERS = 6
PACE_SECONDS = 0.04
"""Between two deliveries of one sender."""
DOWN_SECONDS = 0.25
"""Before a sender that met nobody tries again."""
EARLY, SOON = 0.2, 0.25
"""Shares of the kills that come before the service is ready, and at once after it."""
STEPS = 25
"""The other kills come with one of the first so many requests to the neighbours."""
PATIENCE_SECONDS, LOOK_SECONDS = 2.0, 0.005
"""Of whoever waits for those requests: where work has run out there is nothing to be cut off."""
SPARE = 1.1
"""Runs that are asked for, to those that are required."""
LAG_SECONDS, BEHIND = 10.0, 2
"""The longest wait for deliveries, once they are what so many kills should have brought behind."""
MARGIN = 1.02
STORIES = ("refund", "all at once", "look", "note")


def seed() -> int:
    """Where the dice start: `CRASH_SEED=n` plays a printed one again."""
    return int(os.environ.get("CRASH_SEED", "20261121"))


@dataclass(frozen=True, slots=True)
class Size:
    """How much a storm takes at least: kills, acknowledged deliveries, accepted runs."""

    kills: int
    deliveries: int
    runs: int


@dataclass
class Storm:
    """What the callers outside know: which deliveries were acknowledged, which runs were accepted."""

    lab: Laboratory
    size: Size
    dice: random.Random
    acknowledged: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    runs: dict[str, str] = field(default_factory=dict)
    ask_every: float = 0.5

    async def send(self, sender: int) -> None:
        """One sender of webhooks; what is not acknowledged is tried again under its id, as Gemini does."""
        dice = random.Random(self.dice.random())
        async with httpx.AsyncClient(base_url=self.lab.base, timeout=5, trust_env=False) as client:
            number = 0
            while True:
                number += 1
                await self._deliver(client, f"msg_storm_{sender}_{number}", self._event(dice), dice)

    async def _deliver(self, client: httpx.AsyncClient, name: str, body: bytes, dice: random.Random) -> None:
        for _ in range(10):
            await asyncio.sleep(PACE_SECONDS * dice.uniform(0.5, 1.5))
            try:
                answer = await client.post(
                    "/webhooks/gemini", content=body, headers=signed(self.lab.hook_secret, name, body)
                )
            except httpx.TransportError as e:
                self.refused[type(e).__name__] += 1
                await asyncio.sleep(DOWN_SECONDS)
                continue
            if answer.is_success:
                self.acknowledged.add(name)
                return
            self.refused[str(answer.status_code)] += 1

    def _event(self, dice: random.Random) -> bytes:
        """A true, doubled or lying word about an interaction, one about nobody's, or about something else."""
        known = self.lab.gemini.interactions.all()
        kind = dice.choice(("interaction.completed", "interaction.requires_action", "interaction.failed"))
        roll = dice.random()
        if roll < 0.4 and known:
            return event(kind, dice.choice(known).id)
        if roll < 0.42:
            return event(kind, f"v1_nobodys{dice.randrange(20)}")
        return event("batch.succeeded", f"batch_{dice.randrange(10**9)}")

    async def start_runs(self) -> None:
        """Callers who want runs, from the first kill to the last, and ask until they are answered."""
        dice = random.Random(self.dice.random())
        wanted = round(self.size.runs * SPARE)
        for number in range(wanted):
            due = self.size.kills * number // wanted
            await until(partial(self._killed, due), 100, f"{due} kills", told=self.lab.said)
            wish = Wish(f"Please {dice.choice(STORIES)} order A-17.")
            await until(partial(self._accepted, wish), 100, "somebody answers", told=self.lab.said)
            await asyncio.sleep(self.ask_every)

    async def _killed(self, times: int) -> bool:
        return len(self.lab.kills) >= times

    async def _accepted(self, wish: Wish) -> bool:
        if (run_id := await self.lab.ask(wish)) is not None:
            self.runs[wish.key] = run_id
        return wish.key in self.runs

    async def rage(self) -> None:
        """Start and kill, until enough has been killed, acknowledged and asked for."""
        while not self.enough():
            await self.lab.spawn()
            await self.moment()
            await self.lab.kill()

    def enough(self) -> bool:
        """Whether it may end."""
        return (
            len(self.lab.kills) >= self.size.kills
            and len(self.acknowledged) >= self.size.deliveries * MARGIN
            and len(self.runs) >= self.size.runs
        )

    async def moment(self) -> None:
        """Wait for the moment of the next kill: by the clock at the start, later by what is being done."""
        roll = self.dice.random()
        if roll < EARLY:
            await asyncio.sleep(self.dice.uniform(0.2, 1.0) * self.lab.takes_seconds)
            return
        await self.lab.ready()
        if roll < EARLY + SOON:
            await asyncio.sleep(self.dice.uniform(0.0, 0.6))
            return
        await self._look(self._on_schedule, LAG_SECONDS)
        goal = self._steps() + self.dice.randint(1, STEPS)
        await self._look(lambda: self._steps() >= goal, PATIENCE_SECONDS)

    async def _look(self, met: Callable[[], bool], within: float) -> None:
        for _ in range(round(within / LOOK_SECONDS)):
            if met():
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _on_schedule(self) -> bool:
        """Whether deliveries keep up with the kills; on a busy machine they may not, some kills long."""
        share = (len(self.lab.kills) - BEHIND) / max(self.size.kills, 1)
        return len(self.acknowledged) >= self.size.deliveries * MARGIN * share

    def _steps(self) -> int:
        """How often the service has called its neighbours so far."""
        return len(self.lab.gemini.requests) + len(self.lab.slack.calls)


def event(kind: str, subject: str) -> bytes:
    """A webhook's body as Gemini sends it."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"type": kind, "version": "v1", "timestamp": stamp, "data": {"id": subject}}).encode()


def signed(secret: str, webhook_id: str, body: bytes) -> dict[str, str]:
    """The headers of a delivery made now (Standard Webhooks, HMAC-SHA256)."""
    stamp = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{webhook_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


async def play(storm: Storm) -> float:
    """Callers outside while it rages; returns for how many seconds it did."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        outside = [group.create_task(storm.send(n)) for n in range(SENDERS)]
        outside.append(group.create_task(storm.start_runs()))
        await storm.rage()
        for task in outside:
            task.cancel()
    return time.monotonic() - began


async def judged(storm: Storm, told: str) -> None:
    """Wait until every run rests, and judge; every process is stopped at the end.

    Args:
        told: What happened, for the line of figures.
    """
    lab, began = storm.lab, time.monotonic()
    accepted = set(storm.runs.values())
    runs = await lab.settled(sorted(accepted), RECOVERY_SECONDS)
    recovered = time.monotonic() - began
    every = await all_run_ids(lab)
    assert accepted <= every
    runs += await lab.settled(sorted(every - accepted))  # its caller had not heard of it yet
    lab.judge(runs)
    orphans = await lab.judge_chain(runs)
    await lab.buttons_gone()
    assert await lab.stop_all() == {0}, lab.said()
    lost = storm.acknowledged - {str(row[0]) for row in lab.rows("SELECT id FROM delivery")}
    ends = Counter(str(r["status"]) for r in runs)
    print(
        f"\nseed {seed()}: {told};"
        f" {len(storm.acknowledged)} deliveries acknowledged, {len(lost)} lost"
        f" (not acknowledged: {dict(storm.refused)}); {len(accepted)} runs accepted, {dict(ends)},"
        f" all at rest {recovered:.1f} s later;"
        f" {len(lab.entries())} effects, none doubled; {len(orphans)} orphans, all stopped"
    )
    assert not lost, f"acknowledged and lost: {sorted(lost)[:10]}"


async def all_settled(lab: Laboratory) -> list[dict[str, Any]]:
    """Every run there is, at rest. One whose caller was broken off may begin while others are waited for."""
    known: set[str] = set()
    runs: list[dict[str, Any]] = []
    while (found := await all_run_ids(lab)) != known:
        known, runs = found, await lab.settled(found)
    return runs


async def all_run_ids(lab: Laboratory) -> set[str]:
    """Every run there is: a caller may have been killed off before it heard of its run."""
    found: set[str] = set()
    cursor: str | None = None
    while True:
        params = {"limit": "100", **({"cursor": cursor} if cursor else {})}
        page = (await lab.api.get("/v1/runs", params=params)).json()
        found |= {str(r["id"]) for r in page["items"]}
        if (cursor := page["next"]) is None:
            return found
