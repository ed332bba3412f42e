"""Every fault of Gemini's at once, for as long as it lasts: refusals, lost answers, events that go astray.

`STORM_RUNS=300` plays as many as a release is held to. P2, P3, P4, P5, P11.
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from always import ENDED
from looking import Json, until
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged

from orchestrator.emulator.gemini.faults import storm

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

RUNS: Final = int(os.environ.get("STORM_RUNS", "8"))
SEED: Final = int(os.environ.get("STORM_SEED", "20261122"))
ROUNDS: Final = 600
OFTEN: Final = {
    "gemini": {"reconcile_seconds": 3, "waiting_reconcile_seconds": 60, "timeout_seconds": 1},
    "work": {"gemini_slots": 64},
}


def story(dice: random.Random, number: int) -> list[Json]:
    """One to three turns of one to three calls each, free ones and gated ones."""
    turns = []
    for turn in range(dice.randint(1, 3)):
        calls = []
        for n in range(dice.randint(1, 3)):
            item = f"item-{number}-{turn}-{n}"
            gated = dice.random() < 0.4
            calls.append(call("charge", item=item, amount=n + 1) if gated else call("look_up", item=item))
        turns.append(asks(*calls))
    return [*turns, says("Done.", refused="Not all of it.")]


@ON_SQLITE
async def test_all_faults_at_once_lose_nothing_and_double_nothing(tmp_path: Path, database_url: str) -> None:
    dice = random.Random(SEED)
    async with staged(tmp_path, database_url, **OFTEN) as stage:
        for fault in storm():
            stage.gemini.inject(**fault)
        runs = [await stage.play(*story(dice, n)) for n in range(RUNS)]
        found = await _weathered(stage, runs)
        print(f"seed {SEED}: {Counter(r['status'] for r in found)}, struck {stage.gemini.stats()['struck']}")
        assert {r["status"] for r in found} <= {"completed", "failed", "attention"}
        for run in (r for r in found if r["status"] == "failed"):
            assert run["reason"], run["id"]
        assert sum(r["status"] == "completed" for r in found) >= 0.8 * RUNS
        _no_orphan_acted(stage, found)
        await until(lambda: _one_continuation(stage, found), "every orphan we heard of works no more")


async def _weathered(stage: Stage, runs: list[str]) -> list[Json]:
    """Every run at its end, or before a person who alone can say; somebody approves all the while."""
    left, found = list(runs), []
    for _ in range(ROUNDS):
        for button, place in _open_questions(stage):
            await stage.slack.click(*place, button, "U0ALICE")
        at = {run_id: await stage.run(run_id) for run_id in left}
        found += [run for run in at.values() if run["status"] in (*ENDED, "attention")]
        left = [run_id for run_id, run in at.items() if run["status"] not in (*ENDED, "attention")]
        if not left:
            return found
        await asyncio.sleep(0.05)
        stage.skip(1.0)
    raise AssertionError(f"stuck: {[(r, (await stage.run(r))['status']) for r in left]}")


def _open_questions(stage: Stage) -> list[tuple[str, tuple[str, str]]]:
    return [
        ("approve", (m.channel, m.ts))
        for m in stage.slack.workspace.listed()
        if not m.deleted and '"approve"' in str(m.blocks).replace("'", '"')
    ]


async def _one_continuation(stage: Stage, found: list[Json]) -> bool:
    """What a lost answer left behind works no more, unless nobody ever told us of it.

    One that waits for results cannot be cancelled (Gemini API, 3.9): it is left alone for ever.
    """
    ours = {t["interaction_id"] for run in found for t in run["turns"]}
    heard = {d["subject"] for d in await stage.deliveries()}
    stage.skip(1.0)
    return all(
        i.status not in ("queued", "in_progress") or i.id not in heard
        for i in stage.gemini.interactions.all()
        if i.id not in ours
    )


def _no_orphan_acted(stage: Stage, found: list[Json]) -> None:
    """What happened belongs to a call of the record, once."""
    keys = [row["key"] for row in stage.book()]
    assert len(keys) == len(set(keys)), "done more than once"
    assert set(keys) <= {c["id"] for run in found for c in run["calls"]}
