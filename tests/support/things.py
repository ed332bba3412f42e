"""A table of a test's own, statements about it, and jobs that share a COMMIT, for stories of transactions."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store import group_commit
from orchestrator.store.database import Database
from orchestrator.store.sql.prepared import Prepared

THING = sa.Table(
    "thing", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text)
)
NEW = Prepared(THING.insert())
MOVE = Prepared(THING.update().where(THING.c.id == sa.bindparam("which")), ["text"])
TEXT = Prepared(sa.select(THING.c.text).where(THING.c.id == sa.bindparam("which")))


@contextmanager
def opened(url: str, **more: Any) -> Iterator[Database]:
    """A database with that table in it, empty."""
    database = Database(url, **more)
    with database.engine.begin() as conn:
        THING.create(conn)
    yield database
    database.close()


async def batch(database: Database, *jobs: Callable[[Session], Any]) -> list[Any]:
    """Those jobs waiting at the same moment, so that they share one COMMIT; what each came to."""
    async with busy(database):
        told = [asyncio.ensure_future(database.step(job)) for job in jobs]
        await asyncio.sleep(0)  # each of them is asked for
    return await asyncio.gather(*told, return_exceptions=True)


@asynccontextmanager
async def busy(database: Database) -> AsyncIterator[threading.Event]:
    """While steps have to wait, until the block ends or the event is set."""
    loop, go = asyncio.get_running_loop(), threading.Event()
    first: list[asyncio.Future[None]] = []
    for _ in range(1 if database.sqlite else group_commit.AT_ONCE):
        begun = asyncio.Event()

        def holds(s: Session, begun: asyncio.Event = begun) -> None:
            loop.call_soon_threadsafe(begun.set)
            go.wait(30)

        first.append(asyncio.ensure_future(database.step(holds)))
        await begun.wait()  # else the next would come along
    try:
        yield go
    finally:
        go.set()
    await asyncio.gather(*first)
