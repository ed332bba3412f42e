"""What SQLite's only writer knows from one transaction to the next, and when it must not believe it."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import Conversation

from orchestrator.domain.decision import Decision
from orchestrator.domain.model import Run, RunStatus
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError
from orchestrator.store import retention, runs
from orchestrator.store.database import Database
from orchestrator.store.sql.cache import MOST_SEEN, Cache
from orchestrator.store.sql.held import hold

ADD = "INSERT INTO t VALUES (1)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.db"


def opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    conn = opened(path)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("CREATE TABLE t (n INTEGER)")
    yield conn
    conn.close()


def transaction(memory: Cache, conn: sqlite3.Connection, *said: str) -> dict[str, object]:
    """One that writes; returns what was known when it began."""
    conn.execute("BEGIN IMMEDIATE")
    memory.begin(conn)
    known = dict(memory.seen)
    conn.execute(ADD)
    memory.seen.update({name: name for name in said})
    conn.execute("COMMIT")
    memory.end(conn)
    return known


def by_another_process(path: Path, conn: sqlite3.Connection) -> None:
    other = opened(path)
    other.execute(ADD)
    other.close()


def by_who_borrows_the_connection(path: Path, conn: sqlite3.Connection) -> None:
    conn.execute(ADD)


def test_what_one_transaction_saw_the_next_knows(writer: sqlite3.Connection) -> None:
    memory = Cache()
    assert transaction(memory, writer, "run") == {}
    assert transaction(memory, writer) == {"run": "run"}
    assert transaction(memory, writer) == {"run": "run"}


@pytest.mark.parametrize("written", [by_another_process, by_who_borrows_the_connection])
def test_what_somebody_else_may_have_changed_is_not_known(
    path: Path, writer: sqlite3.Connection, written: Callable[[Path, sqlite3.Connection], None]
) -> None:
    memory = Cache()
    transaction(memory, writer, "run")
    written(path, writer)
    assert transaction(memory, writer, "run") == {}
    assert transaction(memory, writer) == {"run": "run"}, "from then on it holds again"


def test_another_connection_begins_with_nothing(path: Path, writer: sqlite3.Connection) -> None:
    memory, other = Cache(), opened(path)
    transaction(memory, writer, "run")
    assert transaction(memory, other) == {}
    other.close()


def test_it_does_not_grow(writer: sqlite3.Connection) -> None:
    memory = Cache()
    transaction(memory, writer, *(f"run {n}" for n in range(MOST_SEEN + 1)))
    newest = [f"run {n}" for n in range(MOST_SEEN + 1)][-(MOST_SEEN // 2) :]
    assert [*transaction(memory, writer)] == newest


def test_what_somebody_else_commits_right_behind_it_is_noticed(
    path: Path, writer: sqlite3.Connection
) -> None:
    memory = Cache()
    writer.execute("BEGIN IMMEDIATE")
    memory.begin(writer)
    memory.seen["run"] = "run"
    writer.execute("COMMIT")
    by_another_process(path, writer)
    memory.end(writer)
    assert transaction(memory, writer) == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("let_go", [retention.let_runs_go, retention.let_files_go])
async def test_a_run_that_was_let_go_is_not_known_any_more(
    sqlite_url: str, let_go: Callable[[Session, Sequence[str], datetime, datetime], int]
) -> None:
    database, closed = Database(sqlite_url), replace(Conversation().run, closed_at=NOON)

    def job(s: Session) -> Run:
        """What comes between two transactions of one process comes between two steps of one, too."""
        opened = runs.insert(s, Decision(closed), now=NOON)
        run = runs.save(s, opened, Decision(replace(closed, status=RunStatus.COMPLETED)), now=NOON)
        assert let_go(s, [run.id], NOON + timedelta(days=1), NOON) == 1
        return run

    known = await database.write(job)
    if let_go is retention.let_runs_go:
        with pytest.raises(NotFoundError):
            await database.write(runs.load, known.id)
    else:
        assert await database.write(runs.load, known.id) is not known
    database.close()


@pytest.mark.anyio
async def test_a_statement_that_is_none_of_ours_and_a_job_that_fails_end_it(path: Path) -> None:
    database = Database(f"sqlite:///{path}")

    def look(s: Session) -> dict[str, object]:
        known = dict(hold(s).seen)
        hold(s).seen["run"] = "run"
        return known

    def change(s: Session) -> None:
        look(s)
        s.connection().execute(sa.text("CREATE TABLE IF NOT EXISTS t (n INTEGER)"))

    def fail(s: Session) -> None:
        look(s)
        raise ValueError("no")

    def both(s: Session) -> list[dict[str, object]]:
        """Nothing comes between, so it was not at rest."""
        return [look(s), look(s)]

    assert await database.write(both) == [{}, {"run": "run"}]
    await database.write(change)
    assert await database.write(look) == {}
    with pytest.raises(ValueError, match="no"):
        await database.write(fail)
    assert await database.write(look) == {}
    database.close()
