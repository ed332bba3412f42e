"""A night of films: prompts at dusk, files in the morning, whatever is lost or killed in between.

Of the events 10 % are lost, of the answers to starts 5 %, each by itself, and the process is killed with
SIGKILL where it hurts most. `OVERNIGHT_FILMS=50` plays the whole night; the usual size is a short one.
`OVERNIGHT_KILLS="before_job=kill@3 after_delivery_taken=kill@9"` chooses other moments, `OVERNIGHT_SEED`
other losses.

A film that loses both its answer and its event is one nobody can know of: Veo's operations stand in no list.
It is not begun again but ends as lost, and one resubmission makes all of those. Of the usual seed that is so
with one film of the whole night and with none of the short one, for it takes the minute of its grace.
"""

import asyncio
import hashlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from laboratory import Laboratory, laboratory, meanwhile

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]

FILMS: Final = int(os.environ.get("OVERNIGHT_FILMS", "12"))
WHOLE: Final = 50
LOST_EVENTS, LOST_ANSWERS = 0.10, 0.05
SEED: Final = int(os.environ.get("OVERNIGHT_SEED", "222"))
UNREAD: Final = ("accept_then_reset", "accept_then_status", "truncated")
FILM_SECONDS: Final = 3.0
FILM_BYTES: Final = 100_000
RECONCILE_SECONDS: Final = 6
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
        "tools": {"overrides": {"resubmit_video": {"approval": "allow"}}},
        "workflows": {"films": films},
    }


async def test_every_film_of_the_night_is_made_once_and_stored(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url, clicking=False, **sections(tmp_path)) as lab:
        night = Night(lab)
        began = time.monotonic()
        async with meanwhile(night.lose_events()), meanwhile(night.look_on()):
            run = await night.pass_by(KILLS)
            lost = night.nobody_knew()
            said = json.loads(run["output"])
            assert (said["succeeded"], said["failed"]) == (FILMS - len(lost), len(lost))
            assert sorted(said["files"]) == sorted(night.stored(run["id"]))
            if lost:
                again = await night.make_anew(lost)
                assert len(night.stored(again["id"])) == len(lost)
        took = time.monotonic() - began
        assert await lab.stop() == 0, lab.said()
        print(f"\n{night.told()}, in {took:.0f} s")
        night.judge()


class Night:
    """What is lost in it, and what Gemini and the storage say in the morning."""

    def __init__(self, lab: Laboratory) -> None:
        dice = random.Random(SEED)
        drawn = [(dice.random() < LOST_ANSWERS, dice.random() < LOST_EVENTS) for _ in range(FILMS)]
        answers, self.unlucky = ([n for n in range(FILMS) if drawn[n][k]] for k in (0, 1))
        self.lab = lab
        self.lost: list[str] = []
        self.known: set[str] = set()
        self.gone: set[str] = set()
        self.unread = len(answers)
        lab.gemini.add_jobs(
            [{"match": {"kind": "video"}, "seconds": FILM_SECONDS, "bytes": FILM_BYTES}], replace=True
        )
        for n, (before, start) in enumerate(pairwise([-1, *answers])):
            lab.gemini.inject("videos.create", UNREAD[n % len(UNREAD)], skip=start - before - 1)

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
        """Those that were drawn will end without a word; in the order in which they are begun."""
        unlucky = set(self.unlucky)
        while True:
            for n, film in enumerate(self.lab.gemini.jobs.videos.all()):
                if n in unlucky:
                    unlucky.remove(n)
                    self.lab.gemini.inject("deliver", "lose", subject=film.name.rsplit("/", 1)[-1])
                    self.lost.append(film.name)
            await asyncio.sleep(0.1)

    async def look_on(self) -> None:
        """Which films the service has known by their name."""
        while True:
            rows = await asyncio.to_thread(self.lab.rows, "SELECT remote FROM job WHERE status = 'live'")
            self.known.update(row[0] for row in rows)
            await asyncio.sleep(0.1)

    async def make_anew(self, lost: Sequence[str]) -> Mapping[str, Any]:
        """Resubmit one of the lost films: all of them are made, once."""
        self.lab.gemini.faults.clear()
        told = [await self.lab.api.post(f"/v1/jobs/{job}/resubmit", json={}) for job in lost]
        assert [answer.status_code for answer in told] == [202, *[200] * (len(lost) - 1)], told[0].text
        [run] = await self.lab.settled([told[0].json()["id"]], WITHIN_SECONDS)
        assert run["status"] == "completed", (run["reason"], self.lab.said())
        return run

    # --- in the morning ---------------------------------------------------------------

    def nobody_knew(self) -> list[str]:
        """The films that are lost: those whose answer and event both were, or that were never begun."""
        rows = self.lab.rows("SELECT id, attempt, remote, said FROM job WHERE status = 'lost'")
        begun = {job["job"]: job["name"] for job in self.ledger["jobs"]}
        for job, attempt, remote, said in rows:
            assert (attempt, remote) == (1, None)
            assert "no event named it" in said
            assert "not sent again" in said
            assert job not in begun or begun[job] in self.lost, "an event told of it"
            assert begun.get(job) not in self.known, "its answer was there"
        self.gone = {begun[row[0]] for row in rows if row[0] in begun}
        return [row[0] for row in rows]

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
        assert len(ledger["jobs"]) == FILMS + len(self.gone)
        struck = self.lab.gemini.stats()["struck"]
        assert self.answers_lost() == self.unread > 0
        assert struck["deliver:lose"] == len(self.lost) > 0
        made = Counter(self._sum(job["files"][0]) for job in ledger["jobs"] if job["name"] not in self.gone)
        assert made.total() == FILMS
        kept = Counter(str(row[0]) for row in self._files())
        assert kept == made
        for path in (self.lab.folder / "files").rglob("*.mp4"):
            assert made[hashlib.sha256(path.read_bytes()).hexdigest()] == 1
        assert self.beyond_budget() == 0
        assert ledger["polls"] <= 2 * len(ledger["jobs"]) + len(self.lab.kills) * min(FILMS, 10), ledger[
            "polls"
        ]

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
            f" both of {len(self.gone)}, made anew by a person's word; {len(self.lab.kills)} kills,"
            f" {again} starts sent again;"
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
