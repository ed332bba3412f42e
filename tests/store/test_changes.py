"""Who watches a run hears of it: from this process, from another one, and after a lost connection."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from structlog.testing import capture_logs
from support.line import Line, line_to

from orchestrator.store.changes import CONNECTION, Changes
from orchestrator.store.database import Database
from orchestrator.store.sql import notify
from orchestrator.store.sql.after_commit import grew

pytestmark = pytest.mark.asyncio

ON_POSTGRESQL = pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
SOON = 30.0
SILENCE = 0.1


def grow(s: Session, *run_ids: str) -> None:
    for run_id in run_ids:
        grew(s, run_id)


@pytest.fixture
def elsewhere(database: Database) -> Iterator[Database]:
    """A second process on the same PostgreSQL."""
    other = Database(database.url.render_as_string(hide_password=False))
    yield other
    other.close()


@asynccontextmanager
async def listening(changes: Changes) -> AsyncIterator[Changes]:
    """The hub at work, its connection up where it has one."""
    async with changes.owned():
        with changes.watch("anything") as signal:
            assert changes._database.sqlite or await signal.wait(SOON), "it rings when it has begun to listen"
        yield changes


@contextmanager
def over_line(url: str) -> Iterator[tuple[Database, Database, Line]]:
    """A process beside the server, and one behind a line to it."""
    with (
        line_to(url) as line,
        closing(Database(url)) as near,
        closing(Database(line.url.render_as_string(hide_password=False))) as distant,
    ):
        yield near, distant, line


async def told_all(changes: Changes) -> None:
    """PostgreSQL tells twice, by the watcher and by its own NOTIFY; here all of the second has come."""
    told = changes._database._notifier
    if told is None:
        return
    with changes.watch("marker") as signal:
        told.put(["marker"])  # what was put before is told before
        assert await signal.wait(SOON)


async def test_a_commit_rings_for_its_runs_and_no_others(database: Database) -> None:
    async with listening(Changes(database)) as changes:
        with changes.watch("run_a") as a, changes.watch("run_a") as also_a, changes.watch("run_b") as b:
            await database.write(grow, "run_a", "run_c")
            assert [await a.wait(SOON), await also_a.wait(SOON), await b.wait(SILENCE)] == [True, True, False]


async def test_rings_before_the_wait_are_kept_and_count_once(database: Database) -> None:
    async with listening(Changes(database)) as changes:
        with changes.watch("run_a") as signal:
            for _ in range(3):
                await database.write(grow, "run_a")
            await told_all(changes)
            assert await signal.wait(SOON)
            assert not await signal.wait(SILENCE)


async def test_who_watched_leaves_nothing_behind(database: Database) -> None:
    changes = Changes(database)
    async with listening(changes):
        for n in range(100):
            with changes.watch(f"run_{n}"), changes.watch(f"run_{n}"):
                pass
        assert changes._signals == {}
        assert database.watcher is not None
    assert database.watcher is None


async def test_a_stop_rings_everywhere(database: Database) -> None:
    async with listening(Changes(database)) as changes:
        with changes.watch("run_a") as a, changes.watch("run_b") as b:
            waiting = asyncio.gather(a.wait(600), b.wait(600))
            await asyncio.sleep(0)
            changes.stop()
            assert changes.stopped
            async with asyncio.timeout(SOON):
                assert await waiting == [True, True]


async def test_commits_after_the_end_hurt_nobody(database: Database) -> None:
    """Also in a loop that is closed: the watcher is called in the writer's thread."""

    async def shortly() -> None:
        async with listening(changes):
            pass

    changes = Changes(database)
    await asyncio.to_thread(asyncio.run, shortly())
    with changes.watch("run_a"):
        changes._grew({"run_a"})
        await database.write(grow, "run_a")


async def test_it_can_be_begun_again(database: Database) -> None:
    changes = Changes(database)
    for _ in range(2):
        async with listening(changes):
            assert not changes.stopped
            with changes.watch("run_a") as signal:
                await database.write(grow, "run_a")
                assert await signal.wait(SOON)
        assert changes.stopped


# --- PostgreSQL: other processes, lost connections ---------------------------------------------


@ON_POSTGRESQL
async def test_another_process_is_heard(database: Database, elsewhere: Database) -> None:
    async with listening(Changes(database)) as changes, listening(Changes(elsewhere)) as others:
        with changes.watch("run_a") as here, others.watch("run_a") as there, changes.watch("run_b") as b:
            await elsewhere.write(grow, "run_a")
            assert [await here.wait(SOON), await there.wait(SOON), await b.wait(SILENCE)] == [
                True,
                True,
                False,
            ]
            await database.write(grow, "run_b")
            assert await b.wait(SOON)


@ON_POSTGRESQL
async def test_many_are_told_and_the_last_before_the_end(database: Database, elsewhere: Database) -> None:
    many = [f"run_{n}" for n in range(notify.MOST + 1)]
    async with listening(Changes(database)) as changes:
        with changes.watch(many[0]) as first, changes.watch(many[-1]) as last, changes.watch("late") as late:
            await elsewhere.write(grow, *many)
            assert await first.wait(SOON)
            assert await last.wait(SOON)
            await elsewhere.write(grow, "late")
            elsewhere.close()
            assert await late.wait(SOON)


@ON_POSTGRESQL
async def test_what_cannot_be_told_is_said(elsewhere: Database) -> None:
    with capture_logs() as said:
        await elsewhere.write(grow, "x" * 8000)  # longer than what is told may be
        elsewhere.close()
    assert [(line["event"], line["runs"]) for line in said] == [("changes_not_told", 1)]


@ON_POSTGRESQL
async def test_a_log_that_fails_keeps_nobody_from_being_told(
    database: Database, elsewhere: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = threading.Event()

    def fails(*_: object, **__: object) -> None:
        said.set()
        raise OSError("no space left on device")

    monkeypatch.setattr(notify, "log", SimpleNamespace(warning=fails))
    async with listening(Changes(database)) as changes:
        with changes.watch("run_a") as signal:
            await elsewhere.write(grow, "x" * 8000)
            assert await asyncio.to_thread(said.wait, SOON)
            await elsewhere.write(grow, "run_a")
            assert await signal.wait(SOON)


@ON_POSTGRESQL
async def test_who_could_not_begin_to_tell_begins_with_the_next(
    database: Database, elsewhere: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    told, never = notify.Notifier(elsewhere.engine), notify.Notifier(elsewhere.engine)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fails)
        for each in (told, never):
            with pytest.raises(RuntimeError, match="new thread"):
                each.put(["run_a"])
    never.close()  # waits for nobody
    async with listening(Changes(database)) as changes:
        with changes.watch("run_a") as a, changes.watch("run_b") as b:
            told.put(["run_b"])
            assert [await a.wait(SOON), await b.wait(SOON)] == [True, True]
            told.close()


@ON_POSTGRESQL
async def test_after_a_cut_connection_everybody_looks_again(database: Database, elsewhere: Database) -> None:
    async with listening(Changes(database)) as changes:
        with changes.watch("run_a") as a, changes.watch("run_b") as b:
            assert await elsewhere.read(_cut) == 1
            assert [await a.wait(SOON), await b.wait(SOON)] == [True, True]
            await elsewhere.write(grow, "run_b")
            assert [await b.wait(SOON), await a.wait(SILENCE)] == [True, False]


def _cut(s: Session) -> int:
    """End the listening connections, as a restart of the server does."""
    own = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = :name AND datname = current_database()"
    )
    return int(s.connection().execute(own, {"name": CONNECTION["application_name"]}).scalar_one())


@ON_POSTGRESQL
async def test_an_outage_is_sat_out(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed while the server could not be reached was told to nobody: all look again."""
    monkeypatch.setattr("orchestrator.store.changes.LONGEST_PAUSE_SECONDS", 0.2)
    with over_line(database_url) as (near, distant, line):
        async with listening(Changes(distant)) as changes:
            with changes.watch("run_a") as signal:
                line.cut()
                await near.write(grow, "run_a")
                assert not await signal.wait(0.8), "cut off, and nothing rings by itself"
                line.mend()
                assert await signal.wait(SOON), "it looks again once it listens"
                await near.write(grow, "run_a")
                assert await signal.wait(SOON)


@ON_POSTGRESQL
async def test_a_server_that_says_nothing_any_more_is_left(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has taken over behind a proxy that keeps the old connections."""
    for name in ("QUIET_SECONDS", "ANSWER_SECONDS", "FIRST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"orchestrator.store.changes.{name}", 0.2)
    with over_line(database_url) as (near, distant, line):
        async with listening(Changes(distant)) as changes:
            with changes.watch("run_a") as signal:
                line.hold()
                line.release(anew=True)
                assert await signal.wait(SOON), "it looks again once it listens"
                await near.write(grow, "run_a")
                assert await signal.wait(SOON)


@ON_POSTGRESQL
async def test_a_server_that_cannot_be_reached_holds_nobody_up(database_url: str) -> None:
    nowhere = sa.make_url(database_url).set(host="127.0.0.1", port=1, query={})
    database = Database(nowhere.render_as_string(hide_password=False))
    async with asyncio.timeout(SOON):
        async with Changes(database).owned():
            await asyncio.sleep(SILENCE)
    database.close()
