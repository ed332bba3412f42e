"""One PostgreSQL, a process that only answers, and workers beside it. P4, P5, P8, P10, P12.

Workers are killed, stand still, are sent away and are told to stop a tool. `CRASH_KILLS`,
`CRASH_STOPS_CONT` and `CRASH_STOPS` make it longer; `CRASH_LEASE` is that of the workers that stand still.
With those of the small storm (`test_kill_storm`) PostgreSQL's kills are fifty, as are SQLite's.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from laboratory import ENDED, Laboratory, Wish, laboratory, meanwhile, until
from storm import STORIES, Size, Storm, all_settled, judged, play, seed

from orchestrator.engine.commits import LEASE

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("CRASH_KILLS", "42"))
WORKERS = [int(n) for n in os.environ.get("CRASH_WORKERS", "2").split(",")]
STILL = int(os.environ.get("CRASH_STOPS_CONT", "1"))
STOPS = int(os.environ.get("CRASH_STOPS", "2"))
LEASE_SECONDS = LEASE.total_seconds()
STILL_LEASE_SECONDS = float(os.environ.get("CRASH_LEASE", "15"))
TAKE_OVER_SECONDS = 5.0
"""Promised: so long after the lease of a worker that fell silent, others have taken an effect over."""
NOTICE_SECONDS = 6.0
"""So long after a cancel, a tool in another process knows of it."""
HELD_SECONDS = 1.5
"""Nothing these runs do takes so long, unless whoever does it is gone."""
SWING = 7
"""Of the ten tool calls of those runs, so many must run at once."""

Hold = tuple[int, str]
"""An effect and the claim it is under."""


async def opened(lab: Laboratory, *workers: str) -> None:
    """A process that answers, and these beside it, all of them up."""
    lab.command_line = ("serve", "--web")
    await lab.start()
    for name in workers:
        await lab.hire(name)
    await lab.at_work(*workers)


async def asked(lab: Laboratory, *stories: str) -> list[str]:
    ids = await asyncio.gather(*(lab.ask(Wish(f"Please {story} order A-17.")) for story in stories))
    assert all(ids), "all were answered"
    return [str(run_id) for run_id in ids]


async def ask_for_more(lab: Laboratory, run_ids: list[str], dice: random.Random) -> None:
    """Callers who keep asking."""
    while True:
        run_ids += await asked(lab, dice.choice(STORIES))
        await asyncio.sleep(0.15)


def holds(lab: Laboratory) -> dict[Hold, str]:
    """What is being performed now, under which claim; the call's id where it is a tool's."""
    rows = lab.rows("SELECT id, claim, kind, subject FROM effect WHERE state = 'claimed'")
    return {(row[0], row[1]): row[3] if row[2] == "execute_tool" else "" for row in rows}


def closed(runs: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """What came of those runs that have ended: nothing of it may change any more."""
    return {run["id"]: _outcome(run) for run in runs if run["status"] in ENDED}


def _outcome(run: Mapping[str, Any]) -> tuple[Any, ...]:
    calls = [(call["id"], call["status"], call["outcome"]) for call in run["calls"]]
    turns = [turn["interaction_id"] for turn in run["turns"]]
    return run["status"], run["reason"], calls, turns


async def taken_over(
    lab: Laboratory, held: Mapping[Hold, str], since: float, lease: float = LEASE_SECONDS
) -> float:
    """Wait until nothing is held under those claims; how many seconds after `since` that was."""

    async def none_held() -> bool:
        return not held.keys() & holds(lab).keys()

    within = since + lease + TAKE_OVER_SECONDS - time.time()
    await until(none_held, within, "it is taken over", told=partial(_in_the_way, lab))
    return time.time() - since


def _in_the_way(lab: Laboratory) -> str:
    """Which sessions hold something in the database, and which wait for that."""
    sessions = lab.rows(
        "SELECT pid, state, wait_event_type, wait_event, now() - xact_start, now() - state_change,"
        " pg_blocking_pids(pid), query FROM pg_stat_activity"
        " WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
    )
    return "\n".join(map(str, sessions)) + "\n" + lab.said()


@pytest.mark.parametrize("workers", WORKERS)
async def test_runs_end_with_any_number_of_workers(tmp_path: Path, postgres_url: str, workers: int) -> None:
    async with laboratory(tmp_path, postgres_url) as lab:
        await opened(lab, *(f"w{n}" for n in range(workers)))
        runs = await lab.settled(await asked(lab, *STORIES * 3))
        assert {r["status"] for r in runs} == {"completed"}, [r["reason"] for r in runs]
        lab.judge(runs)
        await lab.judge_chain(runs)
        await lab.buttons_gone()


class CrewStorm(Storm):
    """Kills whoever the dice say: the process that answers, or one that works."""

    async def rage(self) -> None:
        while not self.enough():
            await self.moment()
            await self._strike(self.dice.choice(["", *self.lab.workers]))
        await self.lab.ready()
        await self.lab.at_work(*self.lab.workers)

    async def _strike(self, whom: str) -> None:
        """The next one is started at once, or a little later."""
        if whom:
            await self.lab.fell(whom)
        else:
            await self.lab.kill()
        await asyncio.sleep(self.dice.choice((0.0, 0.7)))
        await (self.lab.hire(whom) if whom else self.lab.spawn())


async def test_kills_among_many_lose_nothing_and_double_nothing(tmp_path: Path, postgres_url: str) -> None:
    async with laboratory(tmp_path, postgres_url) as lab:
        await opened(lab, "w0", "w1")
        size = Size(KILLS, deliveries=40 * KILLS, runs=3 * KILLS)
        storm = CrewStorm(lab, size, random.Random(seed()), ask_every=0.3)
        raged = await play(storm)
        await judged(storm, f"{len(lab.kills)} kills among three processes in {raged:.0f} s")


async def test_what_a_dead_worker_did_an_idle_one_takes_over(tmp_path: Path, postgres_url: str) -> None:
    async with laboratory(tmp_path, postgres_url) as lab:
        await opened(lab, "idle")
        lab.pause_seconds = 240
        await lab.hire("busy")
        await lab.at_work("busy")
        lab.workers["idle"].send_signal(signal.SIGSTOP)  # so that there is one busy worker, by force
        run_ids = await asked(lab, "look", "all at once", "all at once", "note")

        async def in_full_swing() -> bool:
            return sum(map(bool, holds(lab).values())) >= SWING

        await until(in_full_swing, 20, f"{SWING} tools run", every=0.05, told=lab.said)
        held = holds(lab)
        await lab.fell("busy")
        lab.workers["idle"].send_signal(signal.SIGCONT)
        took = await taken_over(lab, held, lab.kills[-1])
        runs = await lab.settled(run_ids)
        lab.judge(runs)
        await lab.judge_chain(runs)
        ends = sorted(r["status"] for r in runs)
        print(f"\n{len(held)} effects of a killed worker taken over {took:.1f} s after its death; {ends}")


@pytest.mark.timeout(400 + 80 * STILL)
@pytest.mark.skipif(not STILL, reason="CRASH_STOPS_CONT=0 leaves it out")
async def test_a_worker_that_stood_still_is_too_late(tmp_path: Path, postgres_url: str) -> None:
    """Longer than its lease: others do its work, and whatever it wanted to commit is refused."""
    dice = random.Random(seed())
    work = {"lease_seconds": STILL_LEASE_SECONDS}
    async with laboratory(tmp_path, postgres_url, pause_seconds=0.3, work=work) as lab:
        await opened(lab, "w0", "w1")
        doubtable: set[str] = set()
        took = []
        for _ in range(STILL):
            whom = dice.choice(("w0", "w1"))
            held = await _frozen_in_mid_work(lab, whom, dice)
            doubtable |= {call for call in held.values() if call}
            took.append(await taken_over(lab, held, lab.kills[-1], STILL_LEASE_SECONDS))
            before = closed(await all_settled(lab))
            await _thawed(lab, whom)
            now = closed(await lab.settled(before.keys()))
            assert {run_id: now[run_id] for run_id in before} == before, "it committed something"
        runs = await all_settled(lab)
        lab.judge(runs)
        doubted = {c["id"] for r in runs for c in r["calls"] if c["status"] == "in_doubt"}
        assert doubted <= doubtable, "in doubt, though not held by the one that stood still"
        await lab.judge_chain(runs)
        late = sum('"claim_lost"' in line for line in lab.log.read_text().splitlines())
        print(
            f"\nseed {seed()}: {STILL} workers stood still with {len(runs)} runs, {len(doubtable)} of their"
            f" tool calls; taken over after {max(took):.1f} s at the most, {len(doubted)} in doubt,"
            f" {late} lost claims noticed, none doubled"
        )


async def _frozen_in_mid_work(lab: Laboratory, whom: str, dice: random.Random) -> dict[Hold, str]:
    """SIGSTOP while it holds work under a load; what it holds.

    The load ends in the middle of a question: there are runs whose callers never heard of them.
    """

    async def tools_run() -> bool:
        return sum(map(bool, holds(lab).values())) >= 2

    for _ in range(8):
        async with meanwhile(ask_for_more(lab, [], dice)):
            await asyncio.sleep(dice.uniform(0.5, 1.5))
            await until(tools_run, 15, "two tools run", every=0.02, told=lab.said)
            lab.workers[whom].send_signal(signal.SIGSTOP)
            lab.kills.append(time.time())
            before = holds(lab)
            await asyncio.sleep(HELD_SECONDS)
            held = {hold: call for hold, call in before.items() if hold in holds(lab)}
        if any(held.values()):
            return held
        lab.workers[whom].send_signal(signal.SIGCONT)
    raise AssertionError(f"{whom} never held a tool call\n{lab.said()}")


async def _thawed(lab: Laboratory, whom: str) -> None:
    """SIGCONT; returns when it has gone round and had the time to finish what it had begun."""
    lab.pulse(whom).unlink()
    lab.workers[whom].send_signal(signal.SIGCONT)
    await lab.at_work(whom)
    await asyncio.sleep(2 * lab.pause_seconds)


async def test_a_cancel_reaches_a_tool_in_another_process(tmp_path: Path, postgres_url: str) -> None:
    async with laboratory(tmp_path, postgres_url) as lab:
        await opened(lab, "w0")
        [run_id] = await asked(lab, "watch")
        await until(partial(_entered, lab, "begun"), 10, "the tool runs", told=lab.said)
        began = time.time()
        assert await lab.cancel(run_id) == 200
        await until(partial(_entered, lab, "stopped"), NOTICE_SECONDS, "the tool hears of it", told=lab.said)
        noticed = lab.entries()[-1].at - began
        [run] = await lab.settled([run_id], within=1)
        assert run["status"] == "cancelled"
        assert len(run["turns"]) == 1, "nothing went on"
        assert len(lab.entries()) == 2
        print(f"\na tool in another process knew of the cancel {noticed:.1f} s after it")


async def _entered(lab: Laboratory, what: str) -> bool:
    return any(entry.tool == what for entry in lab.entries())


async def test_workers_sent_away_under_load_leave_nothing_behind(tmp_path: Path, postgres_url: str) -> None:
    """Tools of 0.4 s under a long grace: the others need no lease to run out to finish the rest."""
    dice = random.Random(seed())
    long: dict[str, Any] = {"server": {"graceful_seconds": 300}, "work": {"lease_seconds": 300}}
    async with laboratory(tmp_path, postgres_url, pause_seconds=0.4, **long) as lab:
        await opened(lab, "w0", "w1")
        took = []
        async with meanwhile(ask_for_more(lab, [], dice)):
            for n in range(STOPS):
                await asyncio.sleep(dice.uniform(0.5, 1.5))
                began = time.monotonic()
                assert await lab.dismiss(f"w{n % 2}") == 0, lab.said()
                took.append(time.monotonic() - began)
                assert not lab.kills
                await lab.hire(f"w{n % 2}")
                await lab.at_work(f"w{n % 2}")
        began = time.monotonic()
        # All there are: the last question may have been broken off before its answer was heard.
        runs = await all_settled(lab)
        assert {r["status"] for r in runs} == {"completed"}, [r["reason"] for r in runs]
        lab.judge(runs)
        assert await lab.judge_chain(runs) == [], "a clean stop leaves no orphan"
        print(
            f"\n{STOPS} workers sent away with {len(runs)} runs: the longest took {max(took):.2f} s,"
            f" all done {time.monotonic() - began:.1f} s after the last"
        )
