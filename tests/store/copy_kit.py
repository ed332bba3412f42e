"""Places to move a whole database from and to, and what is in them."""

from collections.abc import Callable

import pytest
from releases.kept import RELEASES, restore

from orchestrator.store import database_copy, migrate
from orchestrator.store.database import Database

NewUrl = Callable[[str], str]
TO = pytest.mark.parametrize("to", ["sqlite", "postgresql"])


class Opened:
    """Databases that are closed at the end."""

    def __init__(self) -> None:
        self.all: list[Database] = []

    def __call__(self, url: str) -> Database:
        self.all.append(Database(url))
        return self.all[-1]

    def full(self, url: str) -> Database:
        """With a run in every state."""
        restore(RELEASES[-1], url)
        database = self(url)
        migrate.upgrade(database.engine)
        return database


def contents(database: Database) -> dict[str, database_copy.Content]:
    with database.engine.connect() as conn:
        return {t.name: database_copy.content(conn, t) for t in migrate.TABLES}
