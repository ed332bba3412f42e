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
