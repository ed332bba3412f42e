"""A session on a connection whose transaction has begun; of PostgreSQL's, where no pipeline is needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.sql.cache import Cache
from orchestrator.store.sql.held import attach

T = TypeVar("T")


@contextmanager
def session(source: sa.Engine | sa.Connection, cache: Cache | None = None) -> Iterator[Session]:
    """A session whose transaction is there already; it begins one of its own only where Core is used."""
    with source.begin() as begun:
        connection = begun if isinstance(begun, sa.Connection) else begun.connection
        s = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        attach(s, connection, seen=cache.seen if cache else None)
        if cache is not None:
            cache.begin(connection.connection.driver_connection)
        yield s
        if s.in_transaction():
            s.commit()
    if cache is not None:
        cache.end(connection.connection.driver_connection)


def once(engine: sa.Engine, job: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """A transaction of its own for that job."""
    with session(engine) as s:
        return job(s, *args, **kwargs)
