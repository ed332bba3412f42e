"""Transactions: what is told to be committed is; one failing job loses only itself."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.things import batch

from orchestrator.errors import ConflictError
from orchestrator.store import group_commit
from orchestrator.store.database import Database
from orchestrator.store.sql.after_commit import after_commit, grew
from orchestrator.store.sql.races import StaleRowError

pytestmark = pytest.mark.asyncio


def run(s: Session, statement: str) -> None:
    s.connection().exec_driver_sql(statement)


def ids(s: Session) -> set[int]:
    return set(s.connection().exec_driver_sql("SELECT id FROM t").scalars())


@pytest.fixture
def table_t(database: Database) -> None:
    with database.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")


def insert(s: Session, n: int) -> int:
    s.connection().execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": n})
    return n


def of(job: Callable[..., Any], *args: Any) -> Callable[[Session], Any]:
    """As `Database.step` takes it."""
    return lambda s: job(s, *args)


def insert_and_fail(s: Session, n: int) -> None:
    insert(s, n)
    raise ValueError(f"job {n} does not want to")


@pytest.mark.usefixtures("table_t")
async def test_a_failing_job_loses_only_itself(database: Database) -> None:
    jobs = (of(insert, 1), of(insert_and_fail, 2), of(insert, 3), of(insert, 1), of(insert, 4))
    told = await batch(database, *jobs)
    refused = [t for t in (told[0], told[3]) if isinstance(t, sa.exc.IntegrityError)]
    assert len(refused) == 1, "on PostgreSQL either may come first"
    assert 1 in (told[0], told[3])
    assert isinstance(told[1], ValueError)
    assert (told[2], told[4]) == (3, 4)
    assert await database.read(ids) == {1, 3, 4}


async def test_what_a_failing_job_wanted_done_afterwards_is_not_done(database: Database) -> None:
    """Its neighbours are committed, it is not."""
    done: list[int] = []

    def job(s: Session, n: int) -> None:
        after_commit(s, lambda: done.append(n))
        if n % 2:
            raise ValueError(f"job {n} does not want to")

    await batch(database, *(of(job, n) for n in range(4)))
    await database.write(job, 4)
    assert sorted(done) == [0, 2, 4], "and is done before the caller hears of the commit"


@pytest.mark.usefixtures("table_t")
async def test_what_fails_after_the_commit_does_not_have_it_done_again(database: Database) -> None:
    """Nor does it end the writer, or keep anybody waiting."""
    tries: list[int] = []

    def job(s: Session, n: int) -> int:
        tries.append(n)
        after_commit(s, lambda: insert_and_fail(s, n))
        return insert(s, n)

    def tells(grown: set[str]) -> None:
        raise ValueError("nobody is there to be told")

    database.watcher = tells
    assert await batch(database, of(insert, 0), of(job, 1), of(grown_and, 2)) == [0, 1, 2]
    assert tries == [1]
    assert await database.write(insert, 3) == 3
    assert await database.read(ids) == {0, 1, 2, 3}


def grown_and(s: Session, n: int) -> int:
    grew(s, "run_1")
    return insert(s, n)


class OddError(BaseException):
    """Nothing that `except Exception` sees."""


@pytest.mark.usefixtures("table_t")
@pytest.mark.parametrize(("raised", "told"), [(StopIteration, RuntimeError), (OddError, OddError)])
async def test_whatever_a_job_raises_its_caller_hears_of_it_and_its_neighbours_do_not(
    database: Database, raised: type[BaseException], told: type[BaseException]
) -> None:
    def job(s: Session) -> None:
        insert(s, 2)
        raise raised

    async with asyncio.timeout(30):
        answers = await batch(database, of(insert, 1), job, of(insert, 3))
        with pytest.raises(told):
            await database.write(job)
    assert (answers[0], type(answers[1]), answers[2]) == (1, told, 3)
    assert await database.read(ids) == {1, 3}


@pytest.mark.usefixtures("table_t")
async def test_where_jobs_fail_their_neighbours_are_not_done_twice_each_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who sends what must be refused would take from the others what is no row and cannot be undone."""
    monkeypatch.setattr(group_commit, "APART_SECONDS", 60.0)
    tries: list[int] = []

    def job(s: Session, n: int) -> int:
        tries.append(n)
        return insert(s, n)

    await batch(database, of(job, 0), of(insert_and_fail, 1))
    del tries[:]
    for n in (2, 4, 6):
        await batch(database, of(job, n), of(insert_and_fail, n + 1))
    assert tries == [2, 4, 6]
    assert await database.read(ids) == {0, 2, 4, 6}


async def test_who_hides_that_all_was_rolled_back_takes_nobody_along_unsaid(sqlite_url: str) -> None:
    """SQLite does so when its disk is full; what neighbours did then would stay, whoever heard what."""
    database = Database(sqlite_url)
    await database.write(run, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    await database.write(insert, 1)

    def hides(s: Session) -> str:
        with suppress(sa.exc.IntegrityError):
            run(s, "INSERT OR ROLLBACK INTO t VALUES (1)")
        return "done"

    told = await batch(database, of(insert, 2), hides, of(insert, 3))
    assert all(isinstance(t, sa.exc.InvalidRequestError) for t in told)
    assert await database.read(ids) == {1}
    assert await database.write(insert, 4) == 4
    database.close()


@pytest.mark.usefixtures("table_t")
async def test_many_writes_at_once_are_all_there(database: Database) -> None:
    assert await asyncio.gather(*(database.write(insert, n) for n in range(200))) == list(range(200))
    assert await database.read(ids) == set(range(200))


@pytest.mark.usefixtures("table_t")
async def test_reads_see_what_was_told_to_be_written(database: Database) -> None:
    for n in range(20):
        await database.write(insert, n)
        assert n in await database.read(ids)


@pytest.mark.usefixtures("table_t")
async def test_a_caller_that_goes_away_does_not_cut_its_job(database: Database, database_url: str) -> None:
    began, go, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(s: Session) -> None:
        insert(s, 1)
        began.set()
        go.wait(60)
        insert(s, 2)
        ended.set()

    task = asyncio.create_task(database.write(slow))
    await asyncio.get_running_loop().run_in_executor(None, began.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.get_running_loop().run_in_executor(None, ended.wait, 60)
    await asyncio.get_running_loop().run_in_executor(None, database.close)  # waits for what is under way
    again = Database(database_url)
    assert await again.read(ids) == {1, 2}
    again.close()


async def test_a_commit_survives_a_power_cut_by_its_own_account(database: Database) -> None:
    assert database.durable()


async def test_closing_finishes_what_is_queued(database_url: str) -> None:
    database = Database(database_url)
    await database.write(run, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    waiting = [asyncio.ensure_future(database.write(insert, n)) for n in range(20)]
    await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, database.close)
    assert await asyncio.gather(*waiting) == list(range(20))
    again = Database(database_url)
    assert await again.read(ids) == set(range(20))
    again.close()


@pytest.mark.usefixtures("table_t")
async def test_a_lost_race_is_read_again(database: Database) -> None:
    """PostgreSQL only: on SQLite nobody can be first, there is one writer."""
    tries = []

    def racing(s: Session) -> int:
        tries.append(1)
        if len(tries) < 3:
            insert(s, 1)
            raise StaleRowError("somebody was first")
        return insert(s, 2)

    if database.sqlite:
        with pytest.raises(StaleRowError):
            await database.write(racing)
        assert await database.read(ids) == set()
    else:
        assert await database.write(racing) == 2
        assert await database.read(ids) == {2}


# --- SQLite alone ---------------------------------------------------------------------


@pytest.fixture
def sqlite(sqlite_url: str):  # type: ignore[no-untyped-def]
    database = Database(sqlite_url)
    with database.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        conn.exec_driver_sql("CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)")
        conn.exec_driver_sql("INSERT INTO t VALUES (0)")
    yield database
    database.close()


async def test_a_failing_commit_is_told_to_all(sqlite: Database) -> None:
    """A deferred constraint makes the COMMIT itself fail."""
    broken = of(run, "INSERT INTO child VALUES (999)")
    told = await batch(sqlite, of(insert, 1), broken, of(insert, 2))
    assert all(isinstance(t, sa.exc.IntegrityError) for t in told), told
    assert await sqlite.read(ids) == {0}
    assert await sqlite.write(insert, 3) == 3, "the writer goes on"


@pytest.mark.parametrize("trouble", ["conflict", "full"])
async def test_when_sqlite_rolls_everything_back_nobody_is_told_otherwise(
    sqlite: Database, trouble: str
) -> None:
    """A full disk or an I/O error may end the whole transaction, jobs that went well included."""

    def job(s: Session) -> None:
        if trouble == "conflict":
            run(s, "INSERT OR ROLLBACK INTO t VALUES (0)")
        else:
            pages = s.connection().exec_driver_sql("PRAGMA page_count").scalar_one()
            run(s, f"PRAGMA max_page_count = {pages}")
            run(s, "CREATE TABLE big AS SELECT zeroblob(9000000) AS b")

    told = await batch(sqlite, of(insert, 1), job, of(insert, 2))
    there = await sqlite.read(ids)
    for n, answer in ((1, told[0]), (2, told[2])):
        assert (answer == n) is (n in there), "told to be stored, and it is not"
    assert isinstance(told[1], sa.exc.DBAPIError | sa.exc.InvalidRequestError)


async def test_readers_cannot_write(sqlite: Database) -> None:
    with pytest.raises(sa.exc.OperationalError, match="readonly"):
        await sqlite.read(insert, 5)
    assert await sqlite.read(ids) == {0}


async def test_the_settings_of_each_connection(sqlite: Database) -> None:
    def pragmas(s: Session) -> dict[str, object]:
        conn = s.connection()
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {n: conn.exec_driver_sql(f"PRAGMA {n}").scalar_one() for n in names}

    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    assert await sqlite.write(pragmas) == await sqlite.read(pragmas) == expected


def open_elsewhere(url: str) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from orchestrator.store.database import Database; Database(sys.argv[1]).close()"
    again = [sys.executable, "-c", code, url]
    return subprocess.run(again, capture_output=True, text=True, check=False, timeout=60)


async def test_a_second_process_is_refused(sqlite_url: str) -> None:
    first = Database(sqlite_url)
    refused = await asyncio.to_thread(open_elsewhere, sqlite_url)
    assert refused.returncode == 1
    assert "in use by another process" in refused.stderr
    with pytest.raises(ConflictError):
        Database(sqlite_url)
    first.close()
    assert (await asyncio.to_thread(open_elsewhere, sqlite_url)).returncode == 0


async def test_a_link_leads_to_the_same_lock(sqlite_url: str, tmp_path: Path) -> None:
    """Two names of one file must not let two services in: each would move the other's log."""
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_url.removeprefix("sqlite:///"))
    for held, other in ((sqlite_url, f"sqlite:///{link}"), (f"sqlite:///{link}", sqlite_url)):
        first = Database(held)
        with pytest.raises(ConflictError, match="in use by another process"):
            Database(other)
        first.close()


async def test_a_link_that_leads_nowhere_yet_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("volume/runs.db")
    database = Database(f"sqlite:///{tmp_path}/link.db")
    assert database.made
    assert {p.name for p in (tmp_path / "volume").iterdir()} == {"runs.db", "runs.db.lock"}
    database.close()


async def test_the_file_and_its_lock_are_made_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    database = Database(f"sqlite:///{folder}/x.db")
    assert [os.stat(folder / name).st_mode & 0o077 for name in ("x.db", "x.db.lock")] == [0, 0]
    database.close()
