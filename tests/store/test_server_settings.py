"""What a server, a database or a role is set to changes nothing of what is written and read here."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa
from support.clock import NOON

from orchestrator.domain.evidence import Entry, EntryKind
from orchestrator.store import audit, inbox
from orchestrator.store.database import Database
from orchestrator.store.sql import standstill
from orchestrator.store.sql.prepared import Prepared

pytestmark = pytest.mark.asyncio

ODD = (
    "standard_conforming_strings = off",
    "client_encoding = 'LATIN1'",
    "DateStyle = 'German, DMY'",
    "default_transaction_isolation = 'serializable'",
)
EVERY_BYTE = bytes(range(256))
TEXT = "\u4e2d\u6587 \\ ' \U0001f600"
ISOLATION = Prepared(sa.select(sa.func.current_setting("transaction_isolation").label("value")))
KEPT = Prepared(sa.select(inbox.delivery_t.c.received_at, inbox.delivery_t.c.headers))


@pytest.fixture
def administered(postgres_url: str) -> Iterator[sa.Connection]:
    """A session that is none of ours, on the same database."""
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as conn:
        yield conn


def name(url: str) -> str:
    return str(sa.make_url(url).database)


async def test_what_is_written_is_read_again_whatever_the_server_is_set_to(
    postgres_url: str, administered: sa.Connection
) -> None:
    for setting in ODD:
        administered.exec_driver_sql(f"ALTER DATABASE {name(postgres_url)} SET {setting}")
    arrived = inbox.Arrived("wh_1", "k", "s", 1, EVERY_BYTE, NOON, headers={"a": TEXT})
    with closing(Database(postgres_url)) as database:
        await database.write(inbox.put, [arrived])
        await database.write(audit.note, [Entry(EntryKind.RUN_OPENED, "run_1", {"said": TEXT})], NOON)
        assert await database.read(inbox.body_of, "wh_1") == EVERY_BYTE
        assert await database.read(KEPT.rows) == [{"received_at": NOON, "headers": {"a": TEXT}}]
        (entry,) = await database.read(audit.entries)
        assert TEXT.replace("\\", "\\\\") in entry["body"]
        assert await database.write(ISOLATION.value) == "read committed"


async def test_a_server_that_only_reads_is_left_for_one_that_writes(
    postgres_url: str, administered: sa.Connection
) -> None:
    """As a standby is that a name leads to for a while, or for good: its sessions are not kept."""
    ours = f"ALTER DATABASE {name(postgres_url)}"
    arrived = inbox.Arrived("wh_1", "k", "s", 1, b"", NOON)
    administered.exec_driver_sql(f"{ours} SET default_transaction_read_only = on")
    with closing(Database(postgres_url, threads=1)) as database:
        assert database.durable()  # it has a session
        administered.exec_driver_sql(f"{ours} RESET default_transaction_read_only")
        with pytest.raises(sa.exc.OperationalError, match="read-only"):  # as of one that is away
            await database.write(inbox.put, [arrived])
        await database.write(inbox.put, [arrived])


async def test_a_machine_that_is_gone_is_not_waited_for_longer_where_something_was_sent(
    postgres_url: str,
) -> None:
    with closing(Database(postgres_url)) as database, database.engine.connect() as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        told = driver.info.get_parameters()
    idle, every, often = (int(told[f"keepalives_{n}"]) for n in ("idle", "interval", "count"))
    assert int(told["tcp_user_timeout"]) == (idle + every * often) * 1000


class NotNowError(Exception):
    """Nobody is called in this test."""


async def test_a_server_whose_clocks_are_short_is_none_of_our_clocks(
    postgres_url: str, administered: sa.Connection
) -> None:
    for clock in ("statement_timeout", "idle_in_transaction_session_timeout"):
        administered.exec_driver_sql(f"ALTER DATABASE {name(postgres_url)} SET {clock} = '200ms'")
    with closing(Database(postgres_url)) as database, database.engine.begin() as conn:
        standstill.unhurried(conn)
        conn.exec_driver_sql("SELECT pg_sleep(0.5)")


@pytest.mark.parametrize(("asked", "waits"), [("", 5), ("?connect_timeout=3", "3")])
async def test_a_server_that_hangs_is_not_waited_for_as_long_as_libpq_would(
    asked: str, waits: int | str
) -> None:
    with closing(Database(f"postgresql+psycopg://anna@127.0.0.1:1/runs{asked}")) as database:
        seen: list[object] = []

        @sa.event.listens_for(database.engine, "do_connect")
        def called(_dialect: object, _record: object, _args: object, given: dict[str, object]) -> None:
            seen.append(given["connect_timeout"])
            raise NotNowError

        with pytest.raises(NotNowError):
            database.durable()
    assert seen == [waits]
