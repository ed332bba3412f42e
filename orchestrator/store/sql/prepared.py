"""Statements that are compiled once and sent straight to the driver.

A step of a run is some fifteen statements. Built and compiled anew each time, by far most of its
processor time goes into that; here it is a dictionary look-up, and the statement is still written once
for both databases.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from orchestrator.store.sql.held import hold
from orchestrator.store.sql.spelled import Row, Spelled
from orchestrator.store.sql.wire import Check, Hear, Wire


def insert_into(dialect: str) -> Callable[[sa.Table], Any]:
    """The `INSERT` of that database that knows `ON CONFLICT`."""
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def words(values: Iterable[str]) -> list[sa.ColumnElement[str]]:
    """Constants of the program (never input) as literals, for `IN`."""
    return [sa.literal_column(f"'{value}'") for value in sorted(values)]


def listed(dialect: str, name: str) -> sa.Select[tuple[str]]:
    """A parameter that is a list of texts, as what stands behind `IN`."""
    if dialect == "postgresql":
        many = sa.func.unnest(sa.bindparam(name, type_=postgresql.ARRAY(sa.Text)))
        return sa.select(many.column_valued("value"))
    value = sa.func.json_each(sa.bindparam(name, type_=sa.JSON)).table_valued("value")
    return sa.select(value.c.value)


class Prepared:
    """One statement with named parameters.

    Args:
        statement: A Core statement, or a function of the dialect's name that makes one. Lists for
            `IN` are made by `words`; SQLAlchemy's own would grow with each execution.
        columns: Of an `INSERT` or `UPDATE`: the columns set, each by a parameter of its name. None
            where the statement says so itself, or an `INSERT` sets all.
    """

    def __init__(self, statement: Any, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._texts: dict[str, Spelled] = {}

    def run(self, s: Session, **values: Any) -> int:
        """Send it; returns the number of rows it changed."""
        wire, text = self._on(s)
        return wire.ask(text.sql, text.parameters(values)).rowcount

    def later(self, s: Session, check: Check | None = None, /, **values: Any) -> None:
        """Send it, and have `check` told how many rows it changed: on PostgreSQL with what is sent next, or
        before the COMMIT; what it raises ends the transaction.
        """
        wire, text = self._on(s)
        wire.later(text.sql, text.parameters(values), check)

    def learn(self, s: Session, hear: Hear, /, **values: Any) -> None:
        """Send it, and have `hear` told the rows it selects; see `later`."""
        self._learn(s, hear, values, last=False)

    def learn_last(self, s: Session, hear: Hear, /, **values: Any) -> None:
        """`learn` for who decides nothing by it: `hear` may be told with the COMMIT, before that is sure."""
        self._learn(s, hear, values, last=True)

    def later_many(self, s: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same for each of those, in their order, of no matter how many rows."""
        if rows:
            wire, text = self._on(s)
            wire.later_each(text.sql, [text.parameters(row) for row in rows])

    def run_many(self, s: Session, rows: Sequence[Mapping[str, Any]]) -> int:
        """Send it for each of those, in one go; returns the number of rows changed by all together."""
        if not rows:
            return 0
        wire, text = self._on(s)
        return wire.change_each(text.sql, [text.parameters(row) for row in rows])

    def in_one_go(self, s: Session, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Send it for each of those, and say whether each changed a row; where not, none has."""
        wire = hold(s).wire
        wire.later("SAVEPOINT in_one_go", ())
        whole = self.run_many(s, rows) == len(rows)
        if not whole:
            wire.later("ROLLBACK TO SAVEPOINT in_one_go", ())
        wire.later("RELEASE SAVEPOINT in_one_go", ())
        return whole

    def rows(self, s: Session, **values: Any) -> list[Row]:
        """Send it; returns what it selects or returns, by column name."""
        wire, text = self._on(s)
        return [text.row(r) for r in wire.ask(text.sql, text.parameters(values)).fetchall()]

    def first(self, s: Session, **values: Any) -> Row | None:
        """The first row, if there is one."""
        wire, text = self._on(s)
        found = wire.ask(text.sql, text.parameters(values)).fetchone()
        return None if found is None else text.row(found)

    def value(self, s: Session, **values: Any) -> Any:
        """The first column of the first row, None without one."""
        found = self.first(s, **values)
        return None if found is None else next(iter(found.values()))

    def sql(self, dialect: sa.Dialect) -> str:
        """How it goes to that database."""
        return self._spell(dialect).sql

    def _learn(self, s: Session, hear: Hear, values: Mapping[str, Any], *, last: bool) -> None:
        wire, text = self._on(s)
        heard = lambda found: hear([text.row(r) for r in found])  # noqa: E731
        wire.learn(text.sql, text.parameters(values), heard, last=last)

    def _on(self, s: Session) -> tuple[Wire, Spelled]:
        wire = hold(s).wire
        return wire, self._texts.get(wire.dialect.paramstyle) or self._spell(wire.dialect)

    def _spell(self, dialect: sa.Dialect) -> Spelled:
        statement = self._statement(dialect.name) if callable(self._statement) else self._statement
        text = self._texts[dialect.paramstyle] = Spelled(statement, dialect, self._columns)
        return text


class Changing:
    """An `UPDATE` that sets what changed: a statement for each set of columns that did."""

    def __init__(self, statement: sa.Update) -> None:
        self._statement = statement
        self._known: dict[tuple[str, ...], Prepared] = {}

    def run(self, s: Session, to: Mapping[str, Any], **which: Any) -> int:
        """Set those columns; returns the number of rows it changed."""
        return self._of(to).run(s, **to, **which)

    def later(self, s: Session, check: Check | None, to: Mapping[str, Any], **which: Any) -> None:
        """See `Prepared.later`."""
        self._of(to).later(s, check, **to, **which)

    def _of(self, to: Mapping[str, Any]) -> Prepared:
        names = tuple(to)
        known = self._known.get(names)
        if known is None:
            known = self._known[names] = Prepared(self._statement, names)
        return known
