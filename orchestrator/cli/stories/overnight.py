"""Fifty films overnight: ordered at dusk by a trigger, made by events alone, picked in the morning."""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.cli.stage import ALICE, PATIENCE_SECONDS, POLL_SECONDS, Setting, Stage, staged
from orchestrator.cli.stories.telling import Json, Teller, asking, follow, triggered

BERLIN = ZoneInfo("Europe/Berlin")
TRIGGER = {"workflow": "overnight", "cron": "0 22 * * *", "timezone": "Europe/Berlin", "missed": "skip"}
TEXT = (
    "The workflow `overnight` of config.yaml: a shot list at ten in the evening, its films overnight, one"
    " message at eight in the morning.\n\n"
    "Not as in real life: the trigger `dusk`, which stands there commented out, is switched on; a film takes"
    " a second instead of minutes; and the clocks of all three processes are moved on, to dusk and then to"
    " the morning."
)


async def tell(teller: Teller) -> bool:
    """Play it; whether the record is closed and each film was made once and lies in the storage."""
    teller.begin("A night's work", TEXT)
    # An hour before dusk: the clocks go on while everything starts, and a slow machine must not miss it.
    evening = (datetime.now(BERLIN) + timedelta(days=1)).replace(hour=21, minute=0, second=0, microsecond=0)
    setting = Setting(
        gemini={"video_seconds": 1.0},
        changes={"triggers": {"dusk": {**TRIGGER, "text": "'evening'"}}},
        moves=evening,
    )
    async with staged(teller.console, teller.host, setting) as stage:
        return await _night(stage, teller, evening.replace(hour=22))


async def _night(stage: Stage, teller: Teller, dusk: datetime) -> bool:
    await _armed(stage, dusk)
    _moved(stage, teller, dusk)
    run_id = await triggered(stage, teller, "dusk")

    async def asked(_: str, posted: Mapping[str, Any]) -> None:
        await _answer(stage, teller, posted)

    run, seen = await follow(stage, teller, run_id, asked, until=lambda run: run["status"] == "waiting")
    if run["status"] == "waiting":
        teller.say("\n  The films are there. The question waits for the morning: nobody is disturbed.")
        _moved(stage, teller, (dusk + timedelta(days=1)).replace(hour=8))
        run, _ = await follow(stage, teller, run_id, asked, seen=seen)
    return await _told(stage, teller, run)


async def _answer(stage: Stage, teller: Teller, posted: Mapping[str, Any]) -> None:
    reject = teller.verdict == "reject"
    asking(stage, teller, ALICE, "Reject" if reject else "the third of the films")
    if not teller.auto:
        return
    place = {"channel": posted["channel"], "ts": posted["ts"], "user": ALICE}
    await stage.slack_does("click", action_id="reject_reason" if reject else "choose_2", **place)
    if reject:
        typed = {"reason": {"reason": "None of these: the light is wrong."}}
        await stage.slack_does("submit", user=ALICE, values=typed)


async def _armed(stage: Stage, dusk: datetime) -> None:
    """Until the trigger has worked out that dusk is next: of a time that was never planned none is missed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            planned = (await stage.get("/v1/triggers/dusk"))["next_at"]
            if planned is not None and datetime.fromisoformat(planned) == dusk:
                return
            await asyncio.sleep(POLL_SECONDS)


def _moved(stage: Stage, teller: Teller, to: datetime) -> None:
    teller.say(f"\n[bold]It is {to:%A, %H:%M} in Berlin[/], {to.astimezone(UTC):%H:%M} in the record.")
    stage.leap(to)


async def _told(stage: Stage, teller: Teller, run: Json) -> bool:
    files = (await stage.get(f"/v1/runs/{run['id']}/files"))["items"]
    whole = sum(_is_whole(stage.folder / "files" / file["path"], file["sha256"]) for file in files)
    ledger = stage.emulator.ledger()
    begun, made = len(ledger["jobs"]), run["outputs"]
    ordered, shown = (len(made.get(a, {}).get(b, ())) for a, b in (("shots", "prompts"), ("best", "files")))
    picked = made.get("pick", {}).get("answer", {}).get("file", "")
    rows = [
        ("films ordered", str(ordered)),
        ("films begun at Gemini", f"{begun}, {len(ledger['doubled'])} of them twice"),
        ("readings of films", f"{ledger['polls']}: of each one after its event, and one for its file"),
        ("files in the storage", f"{len(files)}, {whole} of them with the right checksum"),
        ("shown together in the morning", str(shown)),
        ("picked", picked or "none"),
    ]
    teller.result(run, rows)
    right = 0 < ordered == begun == len(files) == whole and not ledger["doubled"]
    if run["status"] != "completed":
        return right and (teller.verdict == "reject" or not teller.auto)
    return bool(right and picked in made["best"]["files"])


def _is_whole(path: Path, checksum: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == checksum
