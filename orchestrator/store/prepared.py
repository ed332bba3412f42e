"""Statements that are compiled once and sent straight to the driver.

A step of a run is some fifteen statements. Built and compiled anew each time, by far most of its
processor time goes into that; here it is a dictionary look-up, and the statement is still written once
for both databases.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.visitors import replacement_traverse
from sqlmodel.sql.sqltypes import UTCDateTime

from orchestrator.store.encoding import instant, instant_text, json_text, json_value
from orchestrator.store.wire import Check, Hear, Wire

Row = dict[str, Any]
Convert = Callable[[Any], Any] | None

_HELD: Final = "held"


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
        self._texts: dict[str, _Text] = {}

    def run(self, s: Session, **values: Any) -> int:
        """Send it; returns the number of rows it changed."""
        changed: int = self._on(s).send(values).rowcount
        return changed

    def later(self, s: Session, check: Check | None = None, /, **values: Any) -> None:
        """Send it, and have `check` told how many rows it changed: on PostgreSQL with what is sent next, or
        before the COMMIT; what it raises ends the transaction.
        """
        ready = self._on(s)
        if ready.held.wire is not None:
            ready.held.wire.later(ready.text.sql, ready.text.parameters(values), check)
        elif check is None:
            ready.send(values)
        else:
            check(ready.send(values).rowcount)

    def learn(self, s: Session, hear: Hear, /, **values: Any) -> None:
        """Send it, and have `hear` told the rows it selects; see `later`."""
        ready = self._on(s)
        if ready.held.wire is not None:
            wire, text = ready.held.wire, ready.text
            wire.learn(text.sql, text.parameters(values), lambda found: hear([text.row(r) for r in found]))
        else:
            hear([ready.text.row(r) for r in ready.send(values).fetchall()])

    def learn_last(self, s: Session, hear: Hear, /, **values: Any) -> None:
        """`learn` for who decides nothing by it: `hear` may be told with the COMMIT, before that is sure."""
        ready = self._on(s)
        if ready.held.wire is None:
            self.learn(s, hear, **values)
            return
        wire, text = ready.held.wire, ready.text
        heard = lambda found: hear([text.row(r) for r in found])  # noqa: E731
        wire.learn(text.sql, text.parameters(values), heard, last=True)

    def later_many(self, s: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same for each of those, in their order, of no matter how many rows."""
        ready = self._on(s) if rows else None
        if ready is None or ready.held.wire is None:
            self.run_many(s, rows)
            return
        for row in rows:
            ready.held.wire.later(ready.text.sql, ready.text.parameters(row))

    def run_many(self, s: Session, rows: Sequence[Mapping[str, Any]]) -> int:
        """Send it for each of those, in one go; returns the number of rows changed by all together."""
        if len(rows) == 1:
            return self.run(s, **rows[0])
        return self._on(s).send_many(rows) if rows else 0

    def in_one_go(self, s: Session, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Send it for each of those, and say whether each changed a row; where not, none has."""
        held = hold(s)
        held.say("SAVEPOINT in_one_go")
        whole = self.run_many(s, rows) == len(rows)
        if not whole:
            held.say("ROLLBACK TO SAVEPOINT in_one_go")
        held.say("RELEASE SAVEPOINT in_one_go")
        return whole

    def returned(self, s: Session, rows: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
        """Send it for each of those, in one go; returns for each the one row it returns, in their order.

        As the driver gives it: for columns that are numbers and texts.
        """
        return self._on(s).send_each(rows)

    def rows(self, s: Session, **values: Any) -> list[Row]:
        """Send it; returns what it selects or returns, by column name."""
        ready = self._on(s)
        return [ready.text.row(r) for r in ready.send(values).fetchall()]

    def first(self, s: Session, **values: Any) -> Row | None:
        """The first row, if there is one."""
        ready = self._on(s)
        found = ready.send(values).fetchone()
        return None if found is None else ready.text.row(found)

    def value(self, s: Session, **values: Any) -> Any:
        """The first column of the first row, None without one."""
        found = self.first(s, **values)
        return None if found is None else next(iter(found.values()))

    def sql(self, dialect: sa.Dialect) -> str:
        """How it goes to that database."""
        return self._text(dialect).sql

    def _on(self, s: Session) -> "_Ready":
        held = hold(s)
        dialect = held.dialect if held.wire is None else held.wire.dialect
        return _Ready(held, self._texts.get(dialect.paramstyle) or self._text(dialect))

    def _text(self, dialect: sa.Dialect) -> "_Text":
        statement = self._statement(dialect.name) if callable(self._statement) else self._statement
        text = self._texts[dialect.paramstyle] = _Text(statement, dialect, self._columns)
        return text


class Changing:
    """An `UPDATE` that sets what changed: a statement for each set of columns that did."""

    def __init__(self, statement: sa.Update) -> None:
        self._statement = statement
        self._known: dict[tuple[str, ...], Prepared] = {}

    def run(self, s: Session, to: Mapping[str, Any], **which: Any) -> int:
        """Set those columns; returns the number of rows it changed."""
        names = tuple(to)
        known = self._known.get(names)
        if known is None:
            known = self._known[names] = Prepared(self._statement, names)
        return known.run(s, **to, **which)

    def later(self, s: Session, check: Check | None, to: Mapping[str, Any], **which: Any) -> None:
        """See `Prepared.later`."""
        names = tuple(to)
        known = self._known.get(names)
        if known is None:
            known = self._known[names] = Prepared(self._statement, names)
        known.later(s, check, **to, **which)


class _Text:
    """A statement in one dialect, and how values go in and come out."""

    def __init__(self, statement: Any, dialect: sa.Dialect, columns: Sequence[str] | None) -> None:
        statement = replacement_traverse(statement, {}, partial(_spelled, dialect))
        made = statement.compile(dialect=dialect, column_keys=columns)
        binds = {name: bind for bind, name in made.bind_names.items()}
        self.sql = str(made)
        self._named = not made.positional
        self._names: Sequence[str] = list(binds) if self._named else made.positiontup
        plan = [(place, *_parameter(name, binds[name], dialect)) for place, name in enumerate(self._names)]
        self._read = _reader([key for _, key, _, _ in plan if key is not None])
        self._fixed = [(place, always) for place, key, _, always in plan if key is None]
        self._converted = [(place, convert) for place, key, convert, _ in plan if key and convert]
        selected = getattr(statement, "exported_columns", ())
        self._out = [(c.name, _out(c.type, dialect)) for c in selected]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        given = [*self._read(values)]
        for place, always in self._fixed:  # in their order
            given.insert(place, always)
        for place, convert in self._converted:
            given[place] = convert(given[place])
        return dict(zip(self._names, given, strict=True)) if self._named else given

    def row(self, found: Sequence[Any]) -> Row:
        return {
            name: value if convert is None or value is None else convert(value)
            for (name, convert), value in zip(self._out, found, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Held:
    """The driver's own connection that holds a session's transaction."""

    transaction: Any
    dialect: sa.Dialect
    connection: Any
    error: type[Exception]
    """What the driver raises."""
    seen: dict[str, Any] = field(default_factory=dict)
    """What this transaction has read or written and holds alone, by key; of SQLite's only writer also what
    those before it had, as long as nobody else writes (see `memory`)."""
    wire: Wire | None = None
    """PostgreSQL's, where the transaction is `Database`'s own."""

    def say(self, sql: str) -> None:
        """A statement without parameters or an answer."""
        if self.wire is not None:
            self.wire.later(sql, ())
        else:
            self.connection.execute(sql)


@dataclass(slots=True)  # a frozen one is made in three times the time, and each is used once
class _Ready:
    """A statement and where to send it. What goes wrong is raised as SQLAlchemy does, without the values."""

    held: Held
    text: _Text

    def send(self, values: Mapping[str, Any]) -> Any:
        if self.held.wire is not None:
            return self.held.wire.ask(self.text.sql, self.text.parameters(values))
        try:
            return self.held.connection.execute(self.text.sql, self.text.parameters(values))
        except self.held.error as e:
            raise self._wrapped(e) from e

    def send_many(self, rows: Sequence[Mapping[str, Any]]) -> int:
        if self.held.wire is not None:
            given = [self.text.parameters(r) for r in rows]
            return sum(a.rowcount for a in self.held.wire.ask_each(self.text.sql, given))
        cursor = self.held.connection.cursor()
        try:
            cursor.executemany(self.text.sql, [self.text.parameters(r) for r in rows])
            changed: int = cursor.rowcount
        except self.held.error as e:
            raise self._wrapped(e) from e
        finally:
            cursor.close()
        return changed

    def send_each(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The one row each returns. PostgreSQL gets them all without waiting between them."""
        if self.held.wire is not None:
            given = [self.text.parameters(r) for r in rows]
            return [a.fetchone() for a in self.held.wire.ask_each(self.text.sql, given)]
        cursor, sql, parameters = self.held.connection.cursor(), self.text.sql, self.text.parameters
        try:
            if self.held.dialect.name == "postgresql" and len(rows) > 1:
                cursor.executemany(sql, [parameters(r) for r in rows], returning=True)
                return [each.fetchone() for each in cursor.results()]
            return [cursor.execute(sql, parameters(r)).fetchone() for r in rows]
        except self.held.error as e:
            raise self._wrapped(e) from e
        finally:
            cursor.close()

    def _wrapped(self, error: Exception) -> Exception:
        return sa.exc.DBAPIError.instance(
            self.text.sql, {}, error, self.held.error, hide_parameters=True, dialect=self.held.dialect
        )


def _spelled(dialect: sa.Dialect, part: Any, **_: Any) -> Any:
    """A constant of the program as a literal.

    As a parameter it may keep a partial index from being used, or make SQLite plan the statement anew each
    time: it looks at the values bound when it compares a condition with an index's own.
    """
    if not isinstance(part, sa.BindParameter) or part.required or part.value is None:
        return None
    write: Convert = part.type.dialect_impl(dialect).literal_processor(dialect)
    return None if write is None else sa.literal_column(write(part.effective_value), part.type)


def _reader(keys: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Reads the values of those names at once."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda values: [values[key] for key in keys]  # of one name `itemgetter` makes no tuple


_Parameter = tuple[str | None, Convert, Any]


def _parameter(name: str, bind: sa.BindParameter[Any], dialect: sa.Dialect) -> _Parameter:
    """How to come by a parameter: from the value of that name, or always the same one."""
    convert = _in(bind.type, dialect)
    if bind.required:
        return name, convert, None
    return None, None, bind.effective_value if convert is None else convert(bind.effective_value)


def _in(kind: Any, dialect: sa.Dialect) -> Convert:
    """As SQLAlchemy would, and where it is known what that comes to, in one call."""
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return {None: None, **{member.value: member.value for member in kind.enum_class}}.__getitem__
    if dialect.name == "sqlite" and isinstance(kind, UTCDateTime):
        return instant_text
    if dialect.name == "sqlite" and isinstance(kind, sa.LargeBinary):
        return None  # bytes are what the driver takes
    if dialect.name == "sqlite" and isinstance(kind, sa.JSON) and kind.none_as_null:
        return json_text
    convert: Convert = kind.dialect_impl(dialect).bind_processor(dialect)
    return convert


def _out(kind: Any, dialect: sa.Dialect) -> Convert:
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return {member.value: member for member in kind.enum_class}.__getitem__
    if dialect.name == "sqlite" and isinstance(kind, UTCDateTime):
        return instant
    if dialect.name == "sqlite" and isinstance(kind, sa.JSON):
        return json_value
    convert: Convert = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert


def attach(s: Session, connection: sa.Connection, seen: dict[str, Any] | None = None) -> None:
    """Tell a session that has not begun which connection holds its transaction already, and what is known."""
    s.info[_HELD] = _held(None, connection, seen)


def speak(s: Session, connection: sa.Connection, wire: Wire) -> None:
    """`attach` on PostgreSQL: statements go out over the wire, and who attaches it has them committed."""
    s.info[_HELD] = _held(None, connection, wire=wire)


def hold(s: Session) -> Held:
    """The driver's connection under the session's transaction; asked for once in each."""
    known: Held | None = s.info.get(_HELD)
    if known is None or known.transaction is not _transaction(s):
        connection = s.connection()
        seen = known.seen if known is not None else {}
        seen.clear()  # a SAVEPOINT begins, or has ended: it may have been taken back
        wire = known.wire if known is not None else None
        known = s.info[_HELD] = _held(_transaction(s), connection, seen, wire)
    return known


def flush(s: Session) -> None:
    """Send what waits to be sent: for who goes on with the driver's own connection."""
    wire = hold(s).wire
    if wire is not None:
        wire.flush()


def on_sqlite(s: Session) -> bool:
    """Whether the session's database is SQLite, for which every statement is a call and no round trip."""
    return bool(hold(s).dialect.name == "sqlite")


def forget(s: Session) -> None:
    """What the transaction had seen may not be so any more: part of it was rolled back, or rows are gone."""
    hold(s).seen.clear()


def _held(
    transaction: Any, connection: sa.Connection, seen: dict[str, Any] | None = None, wire: Wire | None = None
) -> Held:
    error: type[Exception] = connection.dialect.loaded_dbapi.Error
    driver = connection.connection.driver_connection
    return Held(transaction, connection.dialect, driver, error, {} if seen is None else seen, wire)


def _transaction(s: Session) -> Any:
    """A nested one is of its own: its SAVEPOINT is sent when the connection is asked for."""
    outer = s.get_transaction()
    return None if outer is None else s.get_nested_transaction() or outer
