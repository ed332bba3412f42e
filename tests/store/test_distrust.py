"""What goes wrong beside a transaction: nobody is told of what was not, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import Conversation
from support.things import MOVE, NEW, TEXT, THING, opened

from orchestrator.domain.decision import Decision
from orchestrator.domain.model import Run
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError
from orchestrator.store import retention, runs
from orchestrator.store.database import Database
from orchestrator.store.sql.after_commit import after_commit
from orchestrator.store.sql.held import hold
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.sql.races import StaleRowError
from orchestrator.store.sql.threads import Threads

pytestmark = pytest.mark.asyncio

IDS = Prepared(sa.select(THING.c.id))
PATIENCE = 30


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    """With one thread, so that every transaction comes to the same connection."""
    with opened(postgres_url, threads=1) as database:
        yield database


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


@pytest.fixture
def either(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


def new(s: Session, number: int) -> int:
    NEW.later(s, id=number, text="")
    return number


async def there(database: Database) -> set[int]:
    def job(s: Session) -> set[int]:
        return {row["id"] for row in IDS.rows(s)}

    return await database.read(job)


async def at_once(database: Database, *jobs: Any) -> list[Any]:
    """What each came to, who waited for the writer together; on SQLite that is one commit."""
    go = threading.Event()
    first = asyncio.ensure_future(database.write(lambda _: go.wait(PATIENCE)))
    rest = [asyncio.ensure_future(database.write(job)) for job in jobs]
    await asyncio.sleep(0)
    go.set()
    await first
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*rest, return_exceptions=True)


# ------------------------------------------------------------------ jobs


async def test_what_fails_after_the_commit_neither_undoes_nor_redoes_it(either: Database) -> None:
    tries: list[int] = []

    def trips() -> None:
        raise BrokenPipeError("nobody reads the log")

    def job(s: Session) -> int:
        tries.append(1)
        after_commit(s, trips)
        return new(s, 1)

    assert await at_once(either, job, lambda s: new(s, 2)) == [1, 2]
    assert len(tries) == 1
    assert await there(either) == {1, 2}


class GoneError(BaseException):
    """As `SystemExit`, which asyncio would let through to its caller."""


@pytest.mark.parametrize("error", [GoneError, StopIteration])
async def test_no_error_of_a_job_keeps_others_waiting(either: Database, error: type[BaseException]) -> None:
    def job(s: Session) -> None:
        raise error("mine")

    told = await at_once(either, lambda s: new(s, 1), job, lambda s: new(s, 2))
    assert told[::2] == [1, 2]
    assert isinstance(told[1], RuntimeError if error is StopIteration else error)
    assert await there(either) == {1, 2}


async def test_a_thread_that_cannot_begin_leaves_nothing_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, done = Threads(1, "t"), list[int]()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            await threads.run(lambda: done.append(1))
    await threads.run(lambda: done.append(2))
    threads.close()
    assert done == [2]


# ------------------------------------------------------------------ transactions on PostgreSQL


async def test_a_check_that_failed_ends_the_transaction_whoever_caught_it(postgres: Database) -> None:
    def refuse(rows: int) -> None:
        if rows != 1:
            raise StaleRowError("somebody was first")

    def job(s: Session) -> str:
        MOVE.later(s, refuse, which=1, text="")
        with pytest.raises(StaleRowError):
            IDS.rows(s)
        new(s, 2)
        return "done"

    with pytest.raises(sa.exc.SQLAlchemyError):
        await postgres.write(job)
    assert await there(postgres) == set()
    assert await postgres.write(new, 3) == 3


async def test_the_server_says_why_it_ended_a_session(postgres: Database) -> None:
    def job(s: Session) -> None:
        new(s, 1)
        pid = hold(s).connection.info.backend_pid
        IDS.rows(s)
        with postgres.engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 10000)")
        IDS.rows(s)

    with pytest.raises(sa.exc.OperationalError, match="thing"):
        await postgres.write(job)
    assert await there(postgres) == set()


async def test_a_statement_whose_columns_changed_is_prepared_anew(postgres: Database) -> None:
    await postgres.write(NEW.later, id=1, text="one")
    assert await postgres.read(lambda s: TEXT.value(s, which=1)) == "one"
    with postgres.engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE thing ALTER COLUMN text TYPE varchar(100)")
    assert await postgres.read(lambda s: TEXT.value(s, which=1)) == "one"


# ------------------------------------------------------------------ what is known


def rename(s: Session, run_id: str, output: str, minutes: int = 0) -> Run:
    run = runs.load(s, run_id)
    return runs.save(s, run, Decision(replace(run, output=output)), now=NOON + timedelta(minutes=minutes))


async def begun(database: Database) -> str:
    run = Conversation().run
    await database.write(lambda s: runs.insert(s, Decision(run), now=NOON))
    return str(run.id)


async def test_who_takes_the_connection_next_does_not_hide_what_was_changed_by_hand(
    postgres: Database,
) -> None:
    run_id = await begun(postgres)

    def poke(s: Session) -> None:
        s.connection().exec_driver_sql("UPDATE run SET output = 'poked'")

    @sa.event.listens_for(postgres.engine, "checkin")
    def _next(_: Any, record: Any) -> None:
        record.info["wire"].reset()  # what the next transaction begins with, in another thread

    await postgres.write(poke)
    assert (await postgres.write(runs.load, run_id)).output == "poked"


@pytest.mark.parametrize("saves", [1, 2])
async def test_a_version_that_came_about_twice_is_not_taken_for_the_other(
    postgres: Database, postgres_url: str, saves: int
) -> None:
    """After a backup was restored, or a standby took over that had not heard the last of it."""
    run_id = await begun(postgres)
    await postgres.write(rename, run_id, "lost")
    theirs = Database(postgres_url, threads=1)
    with theirs.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE run SET version = 1, seq = 1, output = ''")
        conn.exec_driver_sql("DELETE FROM event WHERE seq > 1")
    await theirs.write(rename, run_id, "theirs", minutes=1)
    theirs.close()
    assert (await postgres.write(runs.load, run_id)).output == "theirs"
    if saves > 1:
        assert (await postgres.write(rename, run_id, "ours", minutes=2)).version == 3
    assert (await postgres.write(runs.load, run_id)).output == ("theirs" if saves == 1 else "ours")


async def test_what_was_restored_is_not_known_better(postgres: Database) -> None:
    run_id = await begun(postgres)
    await postgres.write(rename, run_id, "lost")
    with postgres.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE run SET version = 1, seq = 1, output = ''")
        conn.exec_driver_sql("DELETE FROM event WHERE seq > 1")
    assert (await postgres.write(rename, run_id, "again", minutes=1)).output == "again"
    assert (await postgres.write(runs.load, run_id)).output == "again"


async def test_a_run_that_was_let_go_is_not_known_any_more(either: Database) -> None:
    run_id = await begun(either)
    end = NOON + timedelta(days=2)

    def close(s: Session) -> None:
        run = runs.load(s, run_id)
        runs.save(s, run, Decision(replace(run, closed_at=NOON)), now=NOON)

    def let_go_and_look(s: Session) -> None:
        assert retention.let_runs_go(s, [run_id], end, end) == 1
        with pytest.raises(NotFoundError):
            runs.load(s, run_id)

    await either.write(close)
    await either.write(let_go_and_look)
    with pytest.raises(NotFoundError):
        await either.write(runs.load, run_id)
