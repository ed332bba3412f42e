"""Keep and let go: what ended long ago goes whole, what lives or is needed stays, and the audit holds."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.conversation import ANNA
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.announcements import Announcement
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.callbacks import CallbackState, News
from orchestrator.domain.jobs import JobKind, JobWish
from orchestrator.domain.model import Limits, Recipe, RunStatus
from orchestrator.engine.retention import Keep, Retention
from orchestrator.errors import NotFoundError, UnavailableError
from orchestrator.storage.files import Storage, opened
from orchestrator.store import audit, callbacks, digests, jobs, outbox, run_rows, views
from orchestrator.store.callbacks import CallbackRow, callback_t
from orchestrator.store.database import Database
from orchestrator.store.digests import DigestRow
from orchestrator.store.jobs import JobRow
from orchestrator.store.migrate import TABLES
from orchestrator.store.retention import LeavingRow
from orchestrator.store.tables import RunRow

pytestmark = pytest.mark.asyncio

DAY = timedelta(days=1)
STORIES = {
    "ask": (Plan((("refund", {}),)), Plan(output="done")),
    "wait": (Plan((("refund", {}),)), Plan(output="done")),
    "hello": (Plan(output="hi"),),
    "film": (Plan((("film", {}),)), Plan(output="shown")),
}
FILM = JobWish(JobKind.VIDEO, {"model": "veo-3.1", "prompt": "a cat"})
RULES = {"refund": Rule(Ruling.ASK), "film": Rule(idempotent=True, waits=(FILM,))}
KEPT_APART = {"audit", "delivery", "occurrence"}
"""Tables that name runs and are not theirs."""


@asynccontextmanager
async def world_on(url: str) -> AsyncIterator[World]:
    async with World(url, stories=STORIES, rules=RULES) as world:
        yield world


async def ended(world: World, text: str = "hello") -> str:
    """A run that is over; nothing is left to do behind it."""
    run_id = await world.start(text)
    await world.settle()
    for approval in await world.open_approvals(run_id):
        await world.decide(approval, True)
    await world.settle()
    world.jobs.end()
    await world.to_the_end(run_id)
    await world.drain()
    assert (await world.run(run_id)).status is RunStatus.COMPLETED
    return run_id


def storage_in(folder: Path) -> Storage:
    return opened(str(folder / "files"), max_bytes=1 << 20, min_free_bytes=0)


def laid(folder: Path, run_id: str, *names: str) -> Path:
    """Files of a run, as its jobs have made them; the folder they are in."""
    place = folder / "files" / run_id
    place.mkdir(parents=True)
    for name in names:
        (place / name).write_bytes(b"film")
    return place


def letting_go(world: World, files: Any, keep: Keep, **more: Any) -> Retention:
    return Retention(world.database, files, keep, world.clock, **more)


async def rows_of(world: World, run_id: str) -> dict[str, int]:
    """By table, how many rows are of that run."""

    def job(s: Session) -> dict[str, int]:
        found = {}
        for t in TABLES:
            name = "id" if t.name == "run" else "folder" if t.name == "leaving" else "run_id"
            if name in t.c and t.name not in KEPT_APART:
                query = sa.select(sa.func.count()).select_from(t).where(t.c[name] == run_id)
                found[t.name] = s.connection().execute(query).scalar_one()
        return {table: count for table, count in found.items() if count}

    return await world.database.read(job)


class Falling:
    """Files whose place fails: before it deletes, after it did, or not at all."""

    def __init__(self, files: Storage, *faults: str) -> None:
        self._files, self.faults = files, list(faults)

    async def clear(self, folder: str) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "away":
            raise UnavailableError("no such bucket now")
        if fault == "before":
            raise KeyboardInterrupt
        await self._files.clear(folder)
        if fault == "after":
            raise KeyboardInterrupt


# ------------------------------------------------------------------ runs


async def test_an_old_run_goes_whole_and_the_audit_still_holds(database_url: str, tmp_path: Path) -> None:
    async with world_on(database_url) as world:
        waiting = await world.start("wait")
        await world.settle()
        old, young = await ended(world, "ask"), await ended(world)
        [interaction] = {t.interaction_id for t in await world.chain(old) if t.number == 1}
        before, told = await world.record_hash(waiting), await rows_of(world, old)
        assert {"run", "turn", "call", "approval", "event", "effect", "interaction"} <= told.keys()
        world.clock.advance(89 * DAY)
        await world.database.write(_ended_now, young, world.clock())
        tidying = letting_go(world, storage_in(tmp_path), Keep(runs=90 * DAY))
        assert await tidying.round() == Counter()

        world.clock.advance(2 * DAY)
        assert await tidying.round() == Counter(runs=1)
        assert await rows_of(world, old) == {}
        with pytest.raises(
            NotFoundError, match=r"removed on 2027-02-20 .* retention\.runs_days .* audit keeps"
        ):
            await world.database.read(views.run, old)
        entries = await world.database.read(audit.entries, run_id=old)
        assert [e["kind"] for e in entries][-2:] == ["run_closed", "run_removed"]
        assert entries[-1]["approval"] is None
        assert await rows_of(world, young), "its time is not up"

        assert await world.record_hash(waiting) == before
        assert (await world.run(waiting)).status is RunStatus.WAITING
        [approval] = await world.open_approvals(waiting)
        assert approval.open
        await world.signal(str(interaction))  # Gemini tells late of what nobody remembers
        await world.settle()
        assert await rows_of(world, old) == {}
        await world.check(young)


def _ended_now(s: Session, run_id: str, now: datetime) -> None:
    s.connection().execute(run_rows.run_t.update().where(run_rows.run_t.c.id == run_id).values(closed_at=now))


async def test_its_idempotency_key_goes_with_the_run(sqlite_url: str, tmp_path: Path) -> None:
    async with world_on(sqlite_url) as world:
        recipe = Recipe("refunds", model="gemini-3.8-flash")

        async def asked() -> Any:
            return await world.intake.start(recipe, "hello", ANNA, owner="shop", idempotency_key="k")

        first = await asked()
        await world.to_the_end(first.run_id)
        await world.drain()
        assert (await asked()).run_id == first.run_id
        world.clock.advance(2 * DAY)
        assert await letting_go(world, storage_in(tmp_path), Keep(runs=DAY)).round() == Counter(runs=1)
        again = await asked()
        assert again.fresh
        assert again.run_id != first.run_id


async def test_what_is_still_done_behind_a_run_keeps_it(database_url: str, tmp_path: Path) -> None:
    async with world_on(database_url) as world:
        run_id = await ended(world)

        def tell(s: Session) -> None:
            told = Announcement("msg_late", "https://hooks.example.com/x", News.RUN_COMPLETED, "{}")
            outbox.add(s, run_id, callbacks.put(s, run_id, [told], world.clock()))

        await world.database.write(tell)
        world.clock.advance(100 * DAY)
        tidying = letting_go(world, storage_in(tmp_path), Keep(runs=DAY, files=DAY))
        assert await tidying.round() == Counter(), "its message waits"
        await world.settle()  # nothing signs, so it is given up
        assert await tidying.round() == Counter(runs=1)
        assert await world.rows(CallbackRow) == []


async def test_few_at_a_time_and_those_that_stay_hold_nobody_up(database_url: str, tmp_path: Path) -> None:
    async with world_on(database_url) as world:
        needed = [await ended(world) for _ in range(3)]
        for _ in range(5):
            await ended(world)
        live = (await world.intake.start(_recipe(), f"wait for {' and '.join(needed)}", ANNA)).run_id
        world.clock.advance(100 * DAY)
        world.database.write = counting = Counting(world.database)  # type: ignore[method-assign, assignment]
        assert await letting_go(world, storage_in(tmp_path), Keep(runs=DAY), at_once=2).round() == Counter(
            runs=5
        )
        came = counting.came["let_runs_go"]
        assert (sum(came), max(came)) == (5, 2), "never more than two in one transaction"
        assert {r["id"] for r in await world.rows(RunRow)} == {*needed, live}


class Counting:
    """Writes as before, and keeps what each kind of transaction came to."""

    def __init__(self, database: Database) -> None:
        self._write = database.write
        self.came: dict[str, list[Any]] = {}

    async def __call__(self, job: Any, *args: Any, **kwargs: Any) -> Any:
        value = await self._write(job, *args, **kwargs)
        self.came.setdefault(getattr(job, "__name__", ""), []).append(value)
        return value


async def test_three_processes_do_it_together_and_each_run_goes_once(
    postgres_url: str, tmp_path: Path
) -> None:
    async with world_on(postgres_url) as world:
        old = [await ended(world) for _ in range(12)]
        world.clock.advance(100 * DAY)
        databases = [Database(postgres_url, threads=4) for _ in range(3)]
        try:
            keep, files = Keep(runs=DAY), storage_in(tmp_path)
            many = [Retention(d, files, keep, world.clock, at_once=2) for d in databases]
            gone = await asyncio.gather(*(each.round() for each in many))
            gone.append(await many[0].round())  # what each passed by because another had it
            assert sum(gone, Counter())["runs"] == len(old)
            entries = await world.database.read(audit.entries, limit=10_000)
            assert Counter(e["run_id"] for e in entries if e["kind"] == "run_removed") == Counter(old)
            await world.check()
        finally:
            for database in databases:
                database.close()


async def test_one_process_takes_the_round_and_the_next_comes_an_hour_later(
    database_url: str, tmp_path: Path
) -> None:
    async with world_on(database_url) as world:
        await ended(world)
        world.clock.advance(2 * DAY)
        many = [letting_go(world, storage_in(tmp_path), Keep(runs=DAY)) for _ in range(2)]
        await many[0].run()
        assert await world.rows(RunRow) == []
        kept = await ended(world)
        keen = letting_go(world, storage_in(tmp_path), Keep(runs=timedelta(0)))
        world.clock.advance(timedelta(seconds=1))
        await keen.run()
        assert await rows_of(world, kept)
        world.clock.advance(timedelta(hours=1))
        await keen.run()
        assert not await rows_of(world, kept)


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("fault", ["before", "after", "away"])
@pytest.mark.parametrize("only_files", [True, False], ids=["files", "runs"])
async def test_a_crash_leaves_nothing_that_names_a_missing_file(
    new_database_url: Any, tmp_path: Path, fault: str, only_files: bool
) -> None:
    async with world_on(new_database_url()) as world:
        run_id = await ended(world, "film")
        [(_, job)] = await world.database.read(jobs.of_run, run_id)
        assert [f.path for f in job.files] == [f"{run_id}/{job.id}-1.mp4"]
        place = laid(tmp_path, run_id, f"{job.id}-1.mp4", "of-a-harvest-nobody-recorded.mp4")
        world.clock.advance(100 * DAY)
        keep = Keep(files=DAY) if only_files else Keep(runs=DAY)
        files = Falling(storage_in(tmp_path), fault)
        tidying = letting_go(world, files, keep)
        if fault == "away":
            assert (await tidying.round())["folders"] == 0
        else:
            with pytest.raises(KeyboardInterrupt):
                await tidying.round()
        known = await world.database.read(jobs.of_run, run_id)
        assert [j.files for _, j in known] == ([()] if only_files else []), "nobody refers to them"
        assert place.exists() is (fault != "after")
        assert [r["folder"] for r in await world.rows(LeavingRow)] == [run_id]

        assert await letting_go(world, files, keep).round() == Counter(folders=1)
        assert not place.exists()
        assert await world.rows(LeavingRow) == []
        if only_files:
            [row] = await world.rows(JobRow)
            assert row["files_gone_at"] is not None
            assert row["files"], "what it had made stays written down"
            assert (await world.run(run_id)).status is RunStatus.COMPLETED


@pytest.mark.parametrize("named", ["file", "job", "tool"])
async def test_what_a_live_run_needs_stays_until_it_ends(
    database_url: str, tmp_path: Path, named: str
) -> None:
    async with world_on(database_url) as world:
        old = await ended(world, "film")
        [(_, job)] = await world.database.read(jobs.of_run, old)
        place = laid(tmp_path, old, f"{job.id}-1.mp4")
        path = job.files[0].path
        if named == "tool":
            again = JobWish(JobKind.BATCH, {"model": "gemini-3.8-flash", "file": path})
            world.toolkit.rules["film"] = Rule(idempotent=True, waits=(again,))
            live = await world.start("film")
        else:
            text = f"wait: what of {path if named == 'file' else job.id}?"
            world.gemini.stories = {**world.gemini.stories, text: STORIES["wait"]}
            live = (await world.intake.start(_recipe(), text, ANNA)).run_id
        await world.settle()
        assert not (await world.run(live)).closed
        world.clock.advance(100 * DAY)
        tidying = letting_go(world, storage_in(tmp_path), Keep(runs=DAY, files=DAY))
        assert await tidying.round() == Counter()
        assert place.exists()
        await world.cancel(live)
        await world.drain()
        assert await tidying.round() == Counter(runs=1, folders=1)
        assert not place.exists()


def _recipe() -> Recipe:
    return Recipe("talks", model="gemini-3.8-flash", tools=("refund",), limits=Limits())


# ------------------------------------------------------------------ logs


async def test_messages_and_digests_go_but_for_those_that_wait(database_url: str, tmp_path: Path) -> None:
    async with world_on(database_url) as world:
        run_id = await ended(world)
        open_one = await world.start("wait")
        await world.settle()
        [asked] = await world.open_approvals(open_one)
        states = [*CallbackState] * 2

        def put(s: Session) -> None:
            told = [
                Announcement(f"msg_{n}", "https://hooks.example.com/x", News.RUN_COMPLETED, "{}")
                for n in range(len(states))
            ]
            callbacks.put(s, run_id, told, world.clock())
            for n, state in enumerate(states):
                s.connection().execute(
                    callback_t.update().where(callback_t.c.id == f"msg_{n}").values(state=state)
                )
            for name in ("digest_old", "digest_open"):
                digests.begin(s, name, world.clock())
            s.connection().execute(
                run_rows.approval_t.update()
                .where(run_rows.approval_t.c.id == asked.id)
                .values(collected="digest_open")
            )

        await world.database.write(put)
        tidying = letting_go(world, storage_in(tmp_path), Keep(), rows=4)
        world.clock.advance(30 * DAY)
        assert await tidying.round() == Counter()
        world.clock.advance(timedelta(seconds=1))
        assert await tidying.round() == Counter(callbacks=6, digests=1)
        assert {r["state"] for r in await world.rows(CallbackRow)} == {CallbackState.WAITING}
        assert [r["name"] for r in await world.rows(DigestRow)] == ["digest_open"]
        assert len(await world.rows(RunRow)) == 2, "runs are kept for ever unless somebody says otherwise"


# ------------------------------------------------------------------ the worker


async def test_the_worker_lets_go_beside_its_work_and_stops_at_once(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        begun, free = list[int](), asyncio.Event()

        async def tidy() -> None:
            begun.append(1)
            await free.wait()

        world.worker._tidy = tidy
        run_id = await world.start("hello")
        await world.to_the_end(run_id)  # which it does not hold up
        assert len(begun) == 1
        world.clock.advance(timedelta(hours=2))
        await world.turn()
        assert len(begun) == 1, "one at a time"
        await world.worker.stop(0.0)
        assert world.worker._tidying is not None
        assert world.worker._tidying.cancelled()
