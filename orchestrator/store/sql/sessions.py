"""A session on a connection whose transaction has begun; of PostgreSQL's, where no pipeline is needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.sql.held import attach
from orchestrator.store.sql.memory import Memory

T = TypeVar("T")


@contextmanager
def session(source: sa.Engine | sa.Connection, memory: Memory | None = None) -> Iterator[Session]:
    """A session whose transaction is there already; it begins one of its own only where Core is used."""
    with source.begin() as begun:
        connection = begun if isinstance(begun, sa.Connection) else begun.connection
        s = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        attach(s, connection, seen=memory.seen if memory else None)
        if memory is not None:
            memory.begin(connection.connection.driver_connection)
        yield s
        if s.in_transaction():
            s.commit()
    if memory is not None:
        memory.end(connection.connection.driver_connection)


def once(engine: sa.Engine, job: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """A transaction of its own for that job."""
    with session(engine) as s:
        return job(s, *args, **kwargs)
