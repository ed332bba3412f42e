"""A server that says nothing any more: nobody waits for it for ever, and nothing is done twice."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from support.line import Line, line_to
from support.things import NEW, THING, opened

from orchestrator.store.database import Database
from orchestrator.store.sql import standstill
from orchestrator.store.sql.prepared import Prepared

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

SHORT = 0.3


@contextmanager
def over_line(url: str, **more: float) -> Iterator[tuple[Database, Line]]:
    with line_to(url) as line, opened(line.url.render_as_string(hide_password=False), **more) as database:
        yield database, line


def count(s: Session) -> int:
    """By a statement of SQLAlchemy's."""
    return s.connection().execute(sa.select(sa.func.count()).select_from(THING)).scalar_one()


def put(s: Session) -> None:
    """Over the pipeline, with the COMMIT."""
    NEW.later(s, id=1, text="new")


async def test_connections_that_are_silent_are_left_for_new_ones(postgres_url: str) -> None:
    """As after a failover: of those there are none is heard of again."""
    with over_line(postgres_url, threads=4, silent_seconds=SHORT) as (database, line):
        await asyncio.gather(*(database.read(count) for _ in range(4)))
        line.hold()
        line.release(anew=True)
        async with asyncio.timeout(20 * SHORT):  # it is waited once, not for each of them
            assert await database.read(count) == 0
            for _ in range(4):
                assert await database.read(count) == 0


async def test_a_commit_that_is_not_answered_is_not_tried_again(postgres_url: str) -> None:
    """The one over which the server stands still is there afterwards, and once."""
    with over_line(postgres_url, threads=1, silent_seconds=SHORT) as (database, line):
        assert await database.read(count) == 0
        line.hold()
        with pytest.raises(OperationalError, match=r"said nothing for 0\.3 s") as told:
            await database.write(put)
        assert told.value.connection_invalidated, "it may have been done"
        line.release()
        async with asyncio.timeout(30):
            while not await database.read(count):
                pass
        assert await database.read(count) == 1


async def test_what_was_not_committed_is_done_when_the_server_is_back(postgres_url: str) -> None:
    with over_line(postgres_url, threads=1, silent_seconds=SHORT) as (database, line):
        assert await database.read(count) == 0

        tries = []

        def job(s: Session) -> int:
            tries.append(s)
            if len(tries) == 1:
                line.hold()
                line.release(anew=True)
            put(s)
            return count(s)

        assert await database.write(job) == 1
        assert len(tries) == 2
        assert await database.read(count) == 1


async def test_who_looks_for_processes_that_stand_still_does_not_wait_for_ever(postgres_url: str) -> None:
    with over_line(postgres_url, threads=1, silent_seconds=SHORT) as (database, line):
        assert await database.let_go() == 0
        line.hold()
        line.release(anew=True)
        assert await database.let_go() == 0


async def test_who_is_in_no_hurry_waits(postgres_url: str) -> None:
    with over_line(postgres_url, threads=1, silent_seconds=SHORT) as (database, _):
        slow = sa.text(f"SELECT pg_sleep({3 * SHORT})")
        with database.engine.begin() as conn:
            standstill.unhurried(conn)
            conn.execute(slow)
        with database.engine.connect() as conn, pytest.raises(OperationalError, match="said nothing"):
            conn.execute(slow)


# ------------------------------------------------------------------ the server is asked beside

DOUBT = 0.2
SOON = 15.0
"""Far below the 25 s for which a server is listened to that says nothing."""


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.silence.DOUBT_SECONDS", DOUBT)


def write_and_count(s: Session) -> int:
    put(s)
    return count(s)


@pytest.mark.usefixtures("doubtful")
async def test_a_connection_that_leads_nowhere_is_found_by_asking_the_server_beside(
    postgres_url: str,
) -> None:
    with over_line(postgres_url, threads=4) as (database, line):
        await asyncio.gather(*(database.read(count) for _ in range(4)))
        line.hold()
        line.release(anew=True)
        async with asyncio.timeout(SOON):
            assert await asyncio.gather(*(database.read(count) for _ in range(4))) == [0] * 4
            assert await database.write(write_and_count) == 1, "nothing was committed, so it was done anew"


@pytest.mark.usefixtures("doubtful")
async def test_a_commit_that_was_sent_to_nowhere_is_uncertain(postgres_url: str) -> None:
    with over_line(postgres_url, threads=1) as (database, line):
        assert await database.read(count) == 0
        line.hold()
        line.release(anew=True)
        async with asyncio.timeout(SOON):
            with pytest.raises(OperationalError, match="answers others") as told:
                await database.write(put)
        assert told.value.connection_invalidated, "it may have been done"
        assert await database.read(count) == 0


@pytest.mark.usefixtures("doubtful")
async def test_a_server_that_is_slow_is_waited_for(postgres_url: str) -> None:
    """It answers others, and is at work for this one."""
    slow = Prepared(sa.select(sa.func.pg_sleep(10 * DOUBT)))
    with over_line(postgres_url, threads=1) as (database, _):
        assert await database.write(lambda s: len(slow.rows(s))) == 1
        with database.engine.connect() as conn:
            conn.exec_driver_sql(f"SELECT pg_sleep({10 * DOUBT})")


@pytest.mark.usefixtures("doubtful")
async def test_a_server_that_stands_still_for_all_is_waited_for(postgres_url: str) -> None:
    with over_line(postgres_url, threads=1) as (database, line):
        assert await database.read(count) == 0
        line.hold()
        writing = asyncio.ensure_future(database.write(put))
        await asyncio.sleep(10 * DOUBT)
        line.release()
        await writing
        assert await database.read(count) == 1


async def test_a_new_connection_is_used_whatever_others_have_met_with_meanwhile(postgres_url: str) -> None:
    with over_line(postgres_url, threads=1) as (database, _):
        assert await database.read(count) == 0
        sa.event.listen(database.engine, "connect", lambda dbapi, _: dbapi.silence.distrust())
        with database.engine.connect() as conn:
            conn.connection.driver_connection.silence.distrust()  # type: ignore[union-attr]
        assert await database.read(count) == 0
