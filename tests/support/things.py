"""A table of a test's own, and statements about it, for stories of transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from orchestrator.store.database import Database
from orchestrator.store.prepared import Prepared

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
