"""The whole database moved into another one, row by row: from SQLite to PostgreSQL, or any two of them.

One transaction on the target holds the schema, the rows and the proof that they are the same rows, so
there is no half of it. The source is only read.
"""

import base64
import enum
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from orchestrator.errors import ConflictError, UnavailableError, UncertainError
from orchestrator.outages import reason
from orchestrator.store import claims, migrate
from orchestrator.store.database import Database
from orchestrator.store.sql.standstill import unhurried

BATCH: Final = 500
"""Rows in one statement."""
LOCK_SECONDS: Final = 10
"""How long others may hold PostgreSQL's tables before the copy gives up."""
EXACT: Final = 2**53
"""Up to here a JSON number is the same number everywhere; PostgreSQL wrote larger ones of earlier releases
without an exponent, and a float comes back as an integer."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: `digest` is the same for the same rows, in any order and in any database."""

    table: str
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Copied:
    """What was moved, table by table, and how many claims of the old service were let go."""

    tables: tuple[Content, ...]
    released: int


def copy(
    source: Database,
    target: Database,
    *,
    now: datetime,
    batch: int = BATCH,
    last: Callable[[], None] = lambda: None,
) -> Copied:
    """Move everything into an empty database, which is given this program's schema.

    Stop the service first. A SQLite file is kept from it by its lock; PostgreSQL's tables may be read
    meanwhile, but not written.

    Args:
        now: When the effects that were claimed are due: whoever held the claims is gone.
        batch: Rows in one statement.
        last: What else must be done for the copy to count; it is called before the COMMIT.

    Raises:
        ConfigError: One of the two was made by a later program, or the source needs an upgrade.
        ConflictError: The target is not empty, refuses a row, or holds other rows in the end. A table of
            somebody else counts as well.
        UnavailableError: One of the two did not answer, or others hold its tables.
        UncertainError: The target was gone when everything was to count; it holds all of it or nothing.

        Whatever else is raised, also by `last`, the target is as empty as it was.
    """
    migrate.require_current(source.engine)
    migrate.check_not_newer(target.engine)
    try:
        with _held(source.engine) as rows_of, Session(target.engine) as s:
            copied = _copy(rows_of, s, now, batch)
            last()
            _commit(s)
            return copied
    except DBAPIError as e:
        raise UnavailableError(f"nothing was copied: {reason(e)}") from e


def _commit(s: Session) -> None:
    try:
        s.commit()
    except DBAPIError as e:
        if not e.connection_invalidated:
            raise
        raise UncertainError(
            f"the target went away with the last word, it holds everything or nothing: {reason(e)};"
            " copy again: where that says that it is not empty, all of it is there"
        ) from e


def _copy(source: sa.Connection, s: Session, now: datetime, batch: int) -> Copied:
    target = s.connection()
    unhurried(target)
    _prepare(target)
    sent = tuple(_move(source, target, table, batch) for table in migrate.TABLES)
    _number_on(target)
    _compare(sent, tuple(content(target, table, batch) for table in migrate.TABLES))
    released = claims.release_all(s, now)
    if target.dialect.name == "postgresql":
        target.exec_driver_sql(f"ANALYZE {migrate.quoted(target)}")
    return Copied(sent, released)


@contextmanager
def _held(engine: sa.Engine) -> Iterator[sa.Connection]:
    """The source at one moment, with nobody writing to it."""
    postgresql = engine.dialect.name == "postgresql"
    with engine.connect() as conn:
        if postgresql:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            unhurried(conn)
            _lock(conn, migrate.TABLES, "SHARE")
        try:
            yield conn
        finally:
            conn.rollback()


def _lock(conn: sa.Connection, tables: Sequence[sa.Table], mode: str) -> None:
    conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    try:
        conn.exec_driver_sql(f"LOCK TABLE {migrate.quoted(conn, tuple(tables))} IN {mode} MODE")
    except OperationalError as e:
        raise UnavailableError("others use the tables: stop every service on that database first") from e


def _prepare(conn: sa.Connection) -> None:
    """An empty target with this program's schema, for us alone.

    A database without any schema of ours, or with an empty one, will do. One with tables of somebody
    else is most likely not the one that was meant.
    """
    names = set(sa.inspect(conn).get_table_names())
    there = [t for t in migrate.TABLES if t.name in names]
    if foreign := sorted(names - {t.name for t in migrate.TABLES} - {migrate.VERSIONS}):
        raise ConflictError(f"the target holds a table {foreign[0]} that is not ours: name an empty database")
    postgresql = conn.dialect.name == "postgresql"
    if postgresql and there:
        _lock(conn, there, "ACCESS EXCLUSIVE")
    for table in there:
        # not the columns: an older schema may have others
        if conn.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise ConflictError(f"the target is not empty: its table {table.name} holds rows")
    if there and migrate.current(conn) is None:
        raise ConflictError(f"the target has a table {there[0].name} that this program did not make")
    migrate.upgrade(conn)


def _move(source: sa.Connection, target: sa.Connection, table: sa.Table, batch: int) -> Content:
    tally = _Tally(table)
    for rows in _batches(source, table, batch):
        _insert(target, table, rows)
        tally.add(rows)
    return tally.content()


def content(conn: sa.Connection, table: sa.Table, batch: int = BATCH) -> Content:
    """What a table holds now."""
    tally = _Tally(table)
    for rows in _batches(conn, table, batch):
        tally.add(rows)
    return tally.content()


def _batches(conn: sa.Connection, table: sa.Table, batch: int) -> Iterator[list[Row]]:
    found = conn.execute(sa.select(table), execution_options={"yield_per": batch})
    try:
        for part in found.mappings().partitions():
            yield [dict(row) for row in part]
    except (ValueError, LookupError) as e:  # without its text, which quotes the row
        raise ConflictError(
            f"table {table.name} holds a row that was changed by hand or damaged and cannot be read,"
            " nothing was copied: mend it, or go back to a backup"
        ) from e


def _insert(conn: sa.Connection, table: sa.Table, rows: list[Row]) -> None:
    """Many at once; where that fails, one by one, to say which it was."""
    try:
        with conn.begin_nested():
            conn.execute(table.insert(), rows)
    except DBAPIError as e:
        if e.connection_invalidated:
            raise
        for row in rows:
            _insert_one(conn, table, row)


def _insert_one(conn: sa.Connection, table: sa.Table, row: Row) -> None:
    try:
        with conn.begin_nested():
            conn.execute(table.insert(), [row])
    except DBAPIError as e:
        which = ", ".join(str(row[c.name]) for c in table.primary_key)
        raise ConflictError(
            f"the target refuses row {which} of table {table.name}, nothing was copied: {reason(e)}"
        ) from e


def _number_on(conn: sa.Connection) -> None:
    """PostgreSQL's sequences go on after the highest number; SQLite looks at the rows by itself."""
    if conn.dialect.name != "postgresql":
        return
    for table in migrate.TABLES:
        column = table.autoincrement_column
        highest = None if column is None else conn.execute(sa.select(sa.func.max(column))).scalar_one()
        if column is not None and highest is not None:
            name = migrate.quoted(conn, (table,))
            sequence = sa.func.pg_get_serial_sequence(name, column.name)
            conn.execute(sa.select(sa.func.setval(sequence, highest)))


def _compare(sent: Sequence[Content], found: Sequence[Content]) -> None:
    for ours, theirs in zip(sent, found, strict=True):
        if ours != theirs:
            raise ConflictError(
                f"table {ours.table} is not the same in the target, nothing was copied:"
                f" {ours.rows} rows were sent, {theirs.rows} are there,"
                f" checksums {ours.digest} and {theirs.digest}"
            )


class _Tally:
    """Counts rows and sums up their hashes: databases do not agree on what comes before what."""

    def __init__(self, table: sa.Table) -> None:
        self._table = table
        self._rows = self._sum = 0

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            values = [_canonical(_lone(row[c.name])) for c in self._table.columns]
            text = json.dumps(values, sort_keys=True, separators=(",", ":"))
            self._sum += int.from_bytes(hashlib.sha256(text.encode()).digest())
        self._rows += len(rows)

    def content(self) -> Content:
        return Content(self._table.name, self._rows, f"{self._sum % 2**256:064x}")


def _lone(value: Any) -> Any:
    """A column's value. SQLite keeps JSON that is nothing but 5.0 as the number 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _canonical(value: Any) -> Any:
    """One spelling for what the two databases give back in two."""
    match value:
        case enum.Enum():
            return value.value
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {key: _canonical(inner) for key, inner in value.items()}
        case list():
            return [_canonical(inner) for inner in value]
        case int() if abs(value) >= EXACT:
            return _as_float(value)
        case float():
            return value + 0.0  # there is no minus zero in PostgreSQL
        case _:
            return value


def _as_float(value: int) -> float | str:
    try:
        return float(value)
    except OverflowError:
        return str(value)
