"""What is taken from PgQueuer, and the names under which it lies in the database.

The only module that imports the extra's libraries at its top; import it inside `extra.needed()`.

Its tables have a schema of their own, so they meet neither our tables nor our migrations, which look at
the connection's default schema. Its names never come from the environment: PgQueuer would read variables
as common as `CHANNEL`, and two processes that disagree about a name would not hear each other.
"""

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
import sqlalchemy as sa
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.db import PsycopgDriver, SyncDriver
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.models import Job as Picked
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries, SyncQueries
from pgqueuer.types import QueueEntrypoint, QueueManagerId
from psycopg import RawCursor, sql
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import dict_row
from pydantic_settings import PydanticBaseSettingsSource

from orchestrator.silence import ListeningAsync, Silence

__all__ = [
    "LOST",
    "NAMES",
    "SCHEMA",
    "InsufficientPrivilege",
    "Picked",
    "Queries",
    "connected",
    "heard",
    "next_due",
    "pick",
    "prune",
    "queries",
    "sync_queries",
]

SCHEMA: Final = "orchestrator_jobs"


class _Names(DBSettings):
    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


NAMES: Final = _Names(db_schema=SCHEMA, durability=Durability.balanced)
"""Jobs survive a crash of the database; the log and the statistics about them need not."""

LOST: Final = (psycopg.Error, OSError, TimeoutError)
"""What a database that goes away, or is not ready for us, makes of a statement."""

_CONNECTION: Final = {
    "application_name": "orchestrator jobs",
    "connect_timeout": 5,
    # A listener only waits: without these it would wait for hours on a host that is gone.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

SILENT_SECONDS: Final = 10.0
"""A database that says nothing for so long is as good as gone; see `silence`."""


class _InTransaction(SyncDriver):
    """PgQueuer's statements on a connection, and in a transaction, of SQLAlchemy's.

    PgQueuer's own driver insists on autocommit. A raw cursor takes its `$1` placeholders.
    """

    def __init__(self, conn: sa.Connection) -> None:
        self._dialect = conn.dialect
        self._driver: Any = conn.connection.driver_connection

    def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        try:
            with RawCursor(self._driver, row_factory=dict_row) as cursor:
                cursor.execute(query, args)
                return cursor.fetchall()
        except psycopg.Error as error:
            # As SQLAlchemy would have told it, so that a lost race is recognised and tried again.
            raise sa.exc.DBAPIError.instance(
                query, None, error, psycopg.Error, hide_parameters=True, dialect=self._dialect
            ) from error


def sync_queries(conn: sa.Connection) -> SyncQueries:
    return SyncQueries(_InTransaction(conn), QueryQueueBuilder(NAMES))


def queries(conn: psycopg.AsyncConnection[Any]) -> Queries:
    return Queries(
        PsycopgDriver(conn),
        QueryBuilderEnvironment(NAMES),
        QueryQueueBuilder(NAMES),
        QuerySchedulerBuilder(NAMES),
    )


@asynccontextmanager
async def connected(url: sa.URL) -> AsyncIterator[ListeningAsync]:
    """A connection of its own, in autocommit mode; closed on the way out, whatever it was doing."""
    dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
    _, given = dialect.create_connect_args(url)
    named = {**_CONNECTION, **given, "client_encoding": "utf8"}
    conn = await ListeningAsync.connect(**named, autocommit=True)
    try:
        conn.silence = Silence(SILENT_SECONDS)
        conn.silence.lead(**named)
        await conn.introduce("SET DateStyle = 'ISO'")  # the only one the driver reads instants in
        yield conn
    finally:
        await conn.close()


async def heard(conn: ListeningAsync) -> AsyncIterator[None]:
    """Once when the connection begins to listen, then after each commit that put jobs.

    The connection is taken up by it whole. Finished jobs are notified of too; nobody waits for those.
    """
    await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(NAMES.channel)))
    conn.hurried = False
    yield
    async for notice in conn.notifies():
        if json.loads(notice.payload).get("operation") != "delete":
            yield


async def pick(
    q: Queries, me: UUID, lanes: Collection[str], most: int, abandoned_after: timedelta
) -> list[Picked]:
    """At most `most` jobs of those lanes, ours from now on: ripe ones, and those of workers gone silent."""
    # PgQueuer's own limits count the jobs of all processes together; ours are kept by what we ask for.
    unlimited = EntrypointExecutionParameter(concurrency_limit=0)
    return await q.dequeue(
        batch_size=most,
        entrypoints={QueueEntrypoint(lane): unlimited for lane in lanes},
        queue_manager_id=QueueManagerId(me),
        global_concurrency_limit=None,
        heartbeat_timeout=abandoned_after,
    )


async def next_due(q: Queries, lanes: Collection[str]) -> timedelta | None:
    """How long until the next job of those lanes is ripe, negative when it is; None without any.

    One row of an index for each lane. PgQueuer's own question sorts every job that is due later, and needs
    a second one for those that became ripe in between.
    """
    rows = await q.driver.fetch(_NEXT_DUE, list(lanes))
    due = rows[0]["due"]
    assert due is None or isinstance(due, timedelta)  # noqa: S101  for the type checker
    return due


async def prune(q: Queries, older_than: timedelta) -> bool:
    """Forget log lines, a bounded number: PgQueuer writes three a job and keeps them for ever.

    Returns whether there are more.
    """
    rows = await q.driver.fetch(_PRUNE, older_than, PRUNE_MOST)
    return rows[0]["gone"] == PRUNE_MOST


PRUNE_MOST: Final = 10_000
_NEXT_DUE: Final = f"""
SELECT min(first.execute_after) - now() AS due
FROM unnest($1::text[]) AS lane
CROSS JOIN LATERAL (
    SELECT job.execute_after FROM {NAMES.qualified.queue_table} AS job
    WHERE job.entrypoint = lane AND job.status = 'queued'
    ORDER BY job.execute_after LIMIT 1
) AS first
"""  # noqa: S608  a constant
_PRUNE: Final = f"""
WITH gone AS (
    DELETE FROM {NAMES.qualified.queue_table_log} WHERE id IN (
        SELECT id FROM {NAMES.qualified.queue_table_log} WHERE created < now() - $1::interval
        ORDER BY created LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING id
)
SELECT count(*) AS gone FROM gone
"""  # noqa: S608  constants
