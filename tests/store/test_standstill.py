"""A process that stands still keeps no rows for long, whatever it was about. P8.

To the server a process that was stopped is a session that sends nothing more and reads nothing more, so
that is what stands for it here.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.database import Database
from orchestrator.store.sql import standstill

pytestmark = pytest.mark.asyncio

STILL_SECONDS = 1.0
WAITERS = 5
CANCELED = b"57014"
"""What PostgreSQL says of a statement that its client gives up, and of nothing that it ends itself."""
ROW = "SELECT n FROM t WHERE id = 1 FOR UPDATE"
LONG_ROW = "SELECT repeat('x', 3000000) FROM t WHERE id = 1 FOR UPDATE"

Stand = Callable[[str], Any]


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url, still_seconds=STILL_SECONDS)
    with database.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
        conn.exec_driver_sql("INSERT INTO t VALUES (1, 0)")
    yield database
    database.close()


@pytest.fixture
def open_session(database: Database) -> Iterator[Callable[[], sa.Connection]]:
    """Sessions as the service has them, in a transaction."""
    with ExitStack() as stack:

        def make() -> sa.Connection:
            conn = database.engine.connect()
            conn.detach()
            stack.callback(driver(conn).close)
            conn.exec_driver_sql("SELECT 1")
            return conn

        yield make


def driver(conn: sa.Connection) -> Any:
    return conn.connection.dbapi_connection


def send(conn: sa.Connection, statement: str) -> None:
    """Send it, and never look at the answer."""
    driver(conn).pgconn.send_query_params(statement.encode(), None)
    driver(conn).pgconn.flush()


def send_half_a_batch(conn: sa.Connection) -> None:
    """The first statement of several that go together, as `executemany` sends them."""
    pgconn = driver(conn).pgconn
    pgconn.nonblocking = 1
    pgconn.enter_pipeline_mode()
    pgconn.send_query_params(b"UPDATE t SET n = n + 1 WHERE id = 1", None)
    pgconn.send_flush_request()
    pgconn.flush()


def take(s: Session) -> int:
    """What another process does with the row."""
    return int(s.connection().exec_driver_sql(ROW).scalar_one())


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = %s"


def waiting(s: Session, what: str) -> int:
    """How many sessions wait for that with a statement under way."""
    working = s.connection().exec_driver_sql(f"{WAITS} AND state = 'active'", (what,))
    return int(working.scalar_one())


async def counted(database: Database, n: int, what: str) -> None:
    """Wait until so many sessions wait for that."""
    for _ in range(1500):
        if await database.read(waiting, what) == n:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never {n} sessions that wait for {what}")


async def test_those_that_wait_for_a_row_do_not_have_it_one_after_the_other(
    database: Database, open_session: Callable[[], sa.Connection]
) -> None:
    sessions = [open_session() for _ in range(1 + WAITERS)]
    for session in sessions:
        send(session, ROW)
    assert await database.write(take) == 0
    ends = [driver(session).pgconn.get_result().status for session in sessions]
    assert ends.count(psycopg.pq.ExecStatus.TUPLES_OK) <= WAITERS / 2, "each of them came to have it"


@pytest.mark.parametrize(
    "hold", [send_half_a_batch, lambda conn: send(conn, LONG_ROW)], ids=["half a batch", "an unread answer"]
)
async def test_what_the_server_takes_for_work_is_ended_by_another(
    hold: Callable[[sa.Connection], None],
    database: Database,
    open_session: Callable[[], sa.Connection],
) -> None:
    hold(open_session())
    await counted(database, 1, "Client")
    taking = asyncio.ensure_future(database.write(take))
    assert await database.read(standstill.end, 600) == 0, "it has its time first"
    await asyncio.sleep(STILL_SECONDS)
    assert not taking.done(), "the server has no clock for this"
    assert await database.let_go() == 1
    async with asyncio.timeout(30):
        assert await taking == 0


async def test_whoever_works_or_needs_no_hurry_is_left_alone(
    database: Database, open_session: Callable[[], sa.Connection], postgres_url: str
) -> None:
    busy, unhurried = open_session(), open_session()
    send(busy, "SELECT pg_sleep(600)")
    standstill.unhurried(unhurried)
    with psycopg.connect(
        sa.make_url(postgres_url).set(drivername="postgresql").render_as_string(False)
    ) as other:
        other.execute("SELECT 'of the same role, and none of ours'")
        await asyncio.sleep(STILL_SECONDS * 1.5)
        assert await database.let_go() == 0
        other.execute("SELECT 1")
    unhurried.exec_driver_sql("SELECT 1")
    driver(busy).cancel()
    assert driver(busy).pgconn.get_result().error_field(psycopg.pq.DiagnosticField.SQLSTATE) == CANCELED


async def test_a_lock_is_waited_for_longer_than_one_wait(
    database: Database, open_session: Callable[[], sa.Connection]
) -> None:
    """Somebody else's long transaction makes us late, no more; readers are kept waiting like writers."""
    owner = open_session()
    standstill.unhurried(owner)
    owner.exec_driver_sql("LOCK TABLE t")
    both = [asyncio.ensure_future(do(take)) for do in (database.write, database.read)]
    await asyncio.sleep(STILL_SECONDS * standstill.LOCK_SHARE * 2.5)
    assert not any(one.done() for one in both)
    owner.rollback()
    assert [await one for one in both] == [0, 0]
