"""A driver's connection spoken to statement by statement: SQLite's, for which each is a call and no round
trip, and PostgreSQL's where a transaction is not `Database`'s own.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.store.sql.wire import Answer, Check, Hear


class Direct:
    """Implements `Wire`. Whose connection it is ends its transaction.

    Args:
        driver: The driver's own connection.
        dialect: Of the engine it comes from.
    """

    gathers = foreign = False

    def __init__(self, driver: Any, dialect: sa.Dialect) -> None:
        self.dialect = dialect
        self._driver = driver
        self._error: type[Exception] = dialect.loaded_dbapi.Error

    def later(self, sql: str, values: Sequence[Any], check: Check | None = None) -> None:
        """See `Wire`."""
        changed = self.ask(sql, values).rowcount
        if check is not None:
            check(changed)

    def later_each(self, sql: str, rows: Sequence[Any]) -> None:
        """See `Wire`."""
        self.change_each(sql, rows)

    def learn(self, sql: str, values: Sequence[Any], hear: Hear, *, last: bool = False) -> None:
        """See `Wire`."""
        hear(self.ask(sql, values).fetchall())

    def ask(self, sql: str, values: Sequence[Any]) -> Answer:
        """See `Wire`."""
        try:
            answer: Answer = self._driver.execute(sql, values)
        except self._error as e:
            raise self._wrapped(sql, e) from e
        return answer

    def change_each(self, sql: str, rows: Sequence[Any]) -> int:
        """See `Wire`."""
        if len(rows) == 1:
            return self.ask(sql, rows[0]).rowcount
        cursor = self._driver.cursor()
        try:
            cursor.executemany(sql, rows)
            return int(cursor.rowcount)
        except self._error as e:
            raise self._wrapped(sql, e) from e
        finally:
            cursor.close()

    def flush(self) -> None:
        """Nothing waits."""

    def _wrapped(self, sql: str, error: Exception) -> Exception:
        return sa.exc.DBAPIError.instance(
            sql, {}, error, self._error, hide_parameters=True, dialect=self.dialect
        )
