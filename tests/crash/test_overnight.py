"""A night of films: prompts at dusk, files in the morning, whatever is lost or killed in between.

Of the events 10 % are lost, of the answers to starts 5 %, and the process is killed with SIGKILL where it
hurts most. `OVERNIGHT_FILMS=50` plays the whole night; the usual size is a short one.
`OVERNIGHT_KILLS="before_job=kill@3 after_delivery_taken=kill@9"` chooses other moments.

No film loses both its answer and its event. Where one does, nobody can know that it was begun (Veo's
operations stand in no list), and it is begun again after its grace: that is what remains.
"""

import asyncio
import hashlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from laboratory import Laboratory, laboratory, meanwhile

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]

FILMS: Final = int(os.environ.get("OVERNIGHT_FILMS", "12"))
WHOLE: Final = 50
LOST_EVENTS, LOST_ANSWERS = 0.10, 0.05
UNREAD: Final = ("accept_then_reset", "accept_then_status", "truncated")
FILM_SECONDS: Final = 1.5
FILM_BYTES: Final = 100_000
RECONCILE_SECONDS: Final = 3
WATCH_FROM: Final = 0.75
"""The earliest a live job is read without news, as a share of that."""
KEY: Final = "laboratory-key"
USUAL_KILLS: Final = "after_job=kill@17 after_harvest=kill@12" if FILMS >= WHOLE else "after_harvest=kill@4"
"""Files written and not recorded; and before that a start whose answer nobody has written down."""
KILLS: Final = os.environ.get("OVERNIGHT_KILLS", USUAL_KILLS).split()
WITHIN_SECONDS: Final = 240.0


def sections(folder: Path) -> dict[str, Any]:
    """The laboratory's config with a workflow of films that nobody is asked about."""
    prompts = {"type": "array", "items": {"type": "string"}}
    step = {"name": "films", "kind": "video", "arguments": {"prompts": {"from": "input.prompts"}}}
    films = {
        "input": {"type": "object", "required": ["prompts"], "properties": {"prompts": prompts}},
        "steps": [step],
        "overrides": {"generate_video": {"approval": "allow"}},
    }
    return {
        "storage": {"url": str(folder / "files"), "min_free_mb": 0},
        "jobs": {"at_once": 10 if FILMS >= WHOLE else FILMS, "grace_seconds": 60},
        "gemini": {"reconcile_seconds": RECONCILE_SECONDS},
        "workflows": {"films": films},
    }


async def test_every_film_of_the_night_is_made_once_and_stored(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url, clicking=False, **sections(tmp_path)) as lab:
        night = Night(lab)
        began = time.monotonic()
        async with meanwhile(night.lose_events()):
            run = await night.pass_by(KILLS)
        took = time.monotonic() - began
        said = json.loads(run["output"])
        assert (said["succeeded"], said["failed"]) == (FILMS, 0)
        assert sorted(said["files"]) == sorted(night.stored(run["id"]))
        assert await lab.stop() == 0, lab.said()
        print(f"\n{night.told()}, in {took:.0f} s")
        night.judge()


class Night:
    """What is lost in it, and what Gemini and the storage say in the morning."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.lost: list[str] = []
        lab.gemini.add_jobs(
            [{"match": {"kind": "video"}, "seconds": FILM_SECONDS, "bytes": FILM_BYTES}], replace=True
        )
        every = round(1 / LOST_ANSWERS)
        for n in range(math.ceil(FILMS * LOST_ANSWERS)):
            skip = every // 4 if n == 0 else every - 1
            lab.gemini.inject("videos.create", UNREAD[n % len(UNREAD)], skip=skip)

    async def pass_by(self, kills: Sequence[str]) -> Mapping[str, Any]:
        """Ask for the films, and start the service as often as it is killed; the run at its end."""
        lab = self.lab
        await lab.start(failpoints=kills[0])
        answer = await lab.api.post(
            "/v1/workflows/films/runs",
            json={"input": {"prompts": [f"Night {n}: a harbour." for n in range(FILMS)]}},
        )
        assert answer.status_code == 202, answer.text
        for again in (*kills[1:], ""):
            await lab.died(WITHIN_SECONDS)
            await lab.spawn(failpoints=again)
        await lab.ready()
        [run] = await lab.settled([answer.json()["id"]], WITHIN_SECONDS)
        assert run["status"] == "completed", (run["reason"], lab.said())
        return run

    async def lose_events(self) -> None:
        """Every tenth film that the service knows by its name will end without a word."""
        known: list[str] = []
        while True:
            rows = await asyncio.to_thread(self.lab.rows, "SELECT remote FROM job WHERE status = 'live'")
            live = {job["name"] for job in self.ledger["jobs"] if job["ended"] is None}
            for remote in live.intersection(row[0] for row in rows) - set(known):
                known.append(remote)
                if len(self.lost) < len(known) * LOST_EVENTS:
                    self.lab.gemini.inject("deliver", "lose", subject=remote.rsplit("/", 1)[-1])
                    self.lost.append(remote)
            await asyncio.sleep(0.1)

    # --- in the morning ---------------------------------------------------------------

    @property
    def ledger(self) -> dict[str, Any]:
        return self.lab.gemini.ledger()

    def stored(self, run_id: str) -> list[str]:
        """Paths of what lies in the storage; what a kill cut off is hidden, and swept an hour later."""
        names = (file.name for file in (self.lab.folder / "files" / run_id).iterdir())
        return [f"{run_id}/{name}" for name in names if not name.startswith(".")]

    def judge(self) -> None:
        """Begun once, stored byte for byte, and asked for no more often than allowed."""
        ledger = self.ledger
        assert ledger["doubled"] == []
        assert len(ledger["jobs"]) == FILMS
        assert len(self.lost) >= FILMS * LOST_EVENTS
        struck = self.lab.gemini.stats()["struck"]
        assert self.answers_lost() >= FILMS * LOST_ANSWERS
        assert struck["deliver:lose"] == len(self.lost)
        made = Counter(self._sum(job["files"][0]) for job in ledger["jobs"])
        kept = Counter(str(row[0]) for row in self._files())
        assert kept == made
        for path in (self.lab.folder / "files").rglob("*.mp4"):
            assert made[hashlib.sha256(path.read_bytes()).hexdigest()] == 1
        assert self.beyond_budget() == 0
        assert ledger["polls"] <= 2 * FILMS + len(self.lab.kills) * min(FILMS, 10), ledger["polls"]

    def beyond_budget(self) -> int:
        """Readings of films that were still being made, without those the reconciler may make."""
        beyond = 0
        for job in self.ledger["jobs"]:
            began, ended = datetime.fromisoformat(job["created"]), datetime.fromisoformat(job["ended"])
            early = sum(at < ended for at in self._read_at(job["name"]))
            allowed = (ended - began) // timedelta(seconds=RECONCILE_SECONDS * WATCH_FROM)
            beyond += max(early - allowed, 0)
        return beyond

    def told(self) -> str:
        """The night in figures."""
        ledger = self.ledger
        again = self.lab.rows("SELECT count(*) FROM job WHERE attempt > 1")[0][0]
        return (
            f"{FILMS} films: {len(ledger['jobs'])} begun, {len(ledger['doubled'])} doubled,"
            f" {len(self._files())} stored; {len(self.lost)} events and {self.answers_lost()} answers lost,"
            f" {len(self.lab.kills)} kills, {again} starts sent again after their grace;"
            f" {ledger['polls']} readings, {self.beyond_budget()} beyond the budget;"
            f" {sum(ledger['downloads'].values())} downloads"
        )

    def answers_lost(self) -> int:
        struck = self.lab.gemini.stats()["struck"]
        return sum(n for fault, n in struck.items() if fault.startswith("videos.create:"))

    def _read_at(self, name: str) -> Iterator[datetime]:
        for request in self.lab.gemini.requests:
            if request["operation"] == "videos.get" and str(request["path"]).endswith(f"/{name}"):
                yield datetime.fromisoformat(request["at"])

    def _sum(self, name: str) -> str:
        return hashlib.sha256(self.lab.gemini.files.find(KEY, name).content).hexdigest()

    def _files(self) -> list[tuple[Any, ...]]:
        """Checksums that the service has written down, one for each file."""
        rows = self.lab.rows("SELECT files FROM job")
        return [(file["sha256"],) for (files,) in rows for file in json.loads(files)]
