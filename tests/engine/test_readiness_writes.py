"""A database that answers and takes no writes makes its service not ready; asking costs no write each."""

from contextlib import closing
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import SettableClock

from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.writable import LOOK, LOOK_AGAIN_SECONDS, LOOK_BYTES, LOOK_SECONDS, Writes

pytestmark = pytest.mark.asyncio

FULL = "it takes no writes: the disk is full"
ONLY_READ = "it takes no writes: it may only be read"
TRIGGER = f"""
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF length(NEW.text) > {LOOK_BYTES // 4} THEN
    RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER no_room BEFORE INSERT ON sighting FOR EACH ROW EXECUTE FUNCTION no_room()
"""


class Bench:
    """The check, and both its clocks."""

    def __init__(self, database: Database) -> None:
        self.seconds = 1000.0
        self.clock = SettableClock()
        self.database = database
        self.writes = Writes(database, self.clock, lambda: self.seconds)

    async def after(self, seconds: float) -> str:
        self.seconds += seconds
        return await self.writes.told()

    async def put(self, letters: int) -> None:
        seen = sightings.Sighting(self.clock(), True, "x" * letters)
        await self.database.write(sightings.renew, "somebody", seen)

    def say(self, sqlite: str, postgresql: str) -> None:
        """To the writer's own connection, beside its transactions; to the server."""
        if self.database.sqlite:
            with closing(self.database.engine.raw_connection()) as conn:
                conn.cursor().execute(sqlite)
            return
        with self.database.engine.begin() as conn:
            conn.exec_driver_sql(postgresql.replace("THIS", str(self.database.url.database)))
        self.database.engine.dispose()  # what is set for the database holds for new sessions


def _said(s: Session, statement: str) -> None:
    s.connection().exec_driver_sql(statement)


async def _full(bench: Bench) -> None:
    await bench.put(0)
    bench.say("PRAGMA max_page_count = 1", TRIGGER)
    with pytest.raises(sa.exc.DBAPIError):
        await bench.put(4 * LOOK_BYTES)


async def test_a_refused_write_is_told_at_once_until_there_is_room_again(database: Database) -> None:
    bench = Bench(database)
    assert await bench.after(0) == ""
    await _full(bench)
    assert await bench.after(0) == FULL
    await bench.put(1)  # what needs no new room is still taken, and proves nothing
    assert await bench.after(LOOK_AGAIN_SECONDS) == FULL
    bench.say("PRAGMA max_page_count = 1000000", "DROP TRIGGER no_room ON sighting")
    assert await bench.after(0) == FULL, "one look after the other"
    assert await bench.after(LOOK_AGAIN_SECONDS) == ""
    left = await database.read(sightings.last, LOOK)
    assert left is not None
    assert left.text == "", "the room it asked for is given back"


async def test_who_writes_nothing_finds_out_by_a_look(database: Database) -> None:
    bench = Bench(database)
    assert await bench.after(0) == ""
    only_read = 'ALTER DATABASE "THIS" SET default_transaction_read_only = '
    bench.say("PRAGMA query_only = ON", only_read + "on")
    assert await bench.after(LOOK_SECONDS) == ONLY_READ
    bench.say("PRAGMA query_only = OFF", f"SET TRANSACTION READ WRITE; {only_read}off")
    assert await bench.after(LOOK_AGAIN_SECONDS) == ""


async def test_not_each_question_is_a_write(database: Database) -> None:
    bench = Bench(database)
    await bench.writes.told()
    looked = bench.clock()
    for _ in range(20):
        bench.clock.advance(timedelta(seconds=1))
        assert await bench.after(LOOK_SECONDS / 21) == ""
    seen = await database.read(sightings.last, LOOK)
    assert seen is not None
    assert seen.at == looked


async def test_a_write_that_is_wrong_by_itself_says_nothing_about_the_next(database: Database) -> None:
    bench = Bench(database)
    with pytest.raises(sa.exc.DBAPIError):
        await database.write(_said, "INSERT INTO nowhere VALUES (1)")
    assert await bench.after(0) == ""


async def test_a_role_that_may_not_write_is_named_as_that(postgres_url: str) -> None:
    """Such as after tables were made anew by another one, while this one serves."""
    with closing(Database(postgres_url)) as database:

        def refused(s: Session) -> None:
            _said(s, "SET LOCAL ROLE pg_monitor")
            sightings.forget(s, "anything")

        bench = Bench(database)
        with pytest.raises(sa.exc.OperationalError):
            await database.write(refused)
        assert await bench.writes.told() == "it takes no writes: our role has no right to"
