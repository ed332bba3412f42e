"""Looking after the database: is it sound, a copy of it, its wasted space.

A backup and a check only read, and may do so beside a running service: a connection that cannot write
never moves SQLite's log into the file, which is what two processes must not both do.
"""

import os
import secrets
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from orchestrator.errors import ConfigError, ConflictError, UnavailableError
from orchestrator.outages import reason
from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.store.sql.standstill import unhurried

MOST_FAULTS = 10
"""Faults told at once; a broken file has thousands."""
_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, by its name: a stale one would be played into whatever has that name."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that was checked. `size` in bytes."""

    path: Path
    size: int
    schema: str
    runs: int


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Bytes the database takes on disk."""

    before: int
    after: int


def file_of(url: sa.URL) -> Path:
    """The file of a SQLite address. Raises `ConfigError` where there is none."""
    path = Path(url.database or "")
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    return path


@contextmanager
def reading(url: sa.URL) -> Iterator[sa.Engine]:
    """A SQLite file that may be in use, opened for reading only and without the service's lock.

    Raises:
        ConfigError: There is no such file.
    """
    file = file_of(url)
    engine = sa.create_engine(
        "sqlite://", creator=lambda: _open(file), poolclass=sa.pool.NullPool, hide_parameters=True
    )
    try:
        yield engine
    finally:
        engine.dispose()


def _open(file: Path) -> sqlite3.Connection:
    address = f"{file.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=5.0)


def faults(engine: sa.Engine) -> list[str]:
    """What is wrong with the rows or the server, in words; empty when nothing is.

    Raises:
        ConfigError: The schema is not exactly this program's.
    """
    migrate.require_current(engine)
    with engine.connect() as conn:
        if conn.dialect.name == "sqlite":
            return _broken(conn) or _dangling(conn)
        if conn.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "off":
            return ["commits do not wait for the disk (synchronous_commit is off)"]
        return []


def _broken(conn: sa.Connection) -> list[str]:
    try:
        told = conn.exec_driver_sql(f"PRAGMA quick_check({MOST_FAULTS})").scalars().all()
    except DBAPIError as e:  # some damage stops the check itself
        return [reason(e)]
    return [] if told == ["ok"] else [str(t) for t in told]


def _dangling(conn: sa.Connection) -> list[str]:
    found = conn.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(MOST_FAULTS)
    return [f"{row[0]}: row {row[1]} refers to a {row[2]} that is not there" for row in found]


def backup(url: sa.URL, target: Path, *, force: bool = False) -> Backup:
    """Copy a SQLite file as it stands at one moment, also while a service writes to it.

    The copy is one file that only its owner may read. It gets its name when it is complete, checked
    and on the disk, so whatever has that name is whole.

    Args:
        url: Address of the database.
        target: Where the copy goes, in a folder that exists.
        force: Replace a file that is there.

    Raises:
        ConflictError: There is a file of that name, or remains of a database that had it.
        ConfigError: `target` is no place for a file, or there is no database of ours to copy.
        UnavailableError: The copy could not be made or is not sound; nothing has changed.
    """
    source = _ours(url)
    _free(source, target, force)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(_open(source)) as there, closing(sqlite3.connect(part, isolation_level=None)) as here:
            there.backup(here)  # in one step: what is committed meanwhile does not begin it anew
            here.execute("PRAGMA journal_mode=DELETE")
            schema, runs = _sound(here)
        _sync(part)
        _place(part, target, force)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as e:
        raise UnavailableError(f"{target}: the backup was not made: {e}") from e
    finally:
        for rest in (part, *_beside(part)):
            rest.unlink(missing_ok=True)
    return Backup(target, target.stat().st_size, schema, runs)


def _ours(url: sa.URL) -> Path:
    with reading(url) as engine:
        migrate.check_not_newer(engine)
        if migrate.current(engine) is None:
            raise ConfigError(f"{url.database}: holds no schema of this program")
    return file_of(url)


def _free(source: Path, target: Path, force: bool) -> None:
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: there is no folder {target.parent}")
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder; name a file")
    file = source.resolve()  # what is beside it goes by this name, whatever link led here
    if target.resolve() in {file, *_beside(file), Path(f"{file}.lock")} or (
        target.exists() and target.samefile(source)
    ):
        raise ConfigError(f"{target}: belongs to the database itself")
    if stale := next((p for p in _beside(target) if p.exists()), None):
        raise ConflictError(f"{stale} belongs to a database that is or was at {target}: choose another name")
    if os.path.lexists(target) and not force:
        raise ConflictError(f"{target}: there is such a file already; --force replaces it")


def _beside(file: Path) -> list[Path]:
    return [Path(f"{file}{end}") for end in _BESIDE]


def _sound(conn: sqlite3.Connection) -> tuple[str, int]:
    """Schema and number of runs of a copy that is whole."""
    told = [row[0] for row in conn.execute(f"PRAGMA integrity_check({MOST_FAULTS})")]
    if told != ["ok"]:
        raise UnavailableError(f"the database is damaged, so is its copy, which was not kept: {told[0]}")
    (schema,) = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    (runs,) = conn.execute("SELECT count(*) FROM run").fetchone()
    return schema, runs


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _place(part: Path, target: Path, force: bool) -> None:
    """Give the copy its name. Without `force` the name is taken first, which fails if anybody has it."""
    if not force:
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise ConflictError(f"{target}: somebody made such a file meanwhile") from None
    part.replace(target)


def dump_command(url: sa.URL, target: Path) -> str:
    """The `pg_dump` command that backs a PostgreSQL database up, for a shell; without its password."""
    query = {name: value for name, value in url.query.items() if name != "password"}
    plain = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    address = plain.render_as_string(hide_password=False)
    words = ("pg_dump", "--format=custom", f"--file={target}", f"--dbname={address}")
    return shlex.join(words)


def vacuum(database: Database) -> Vacuumed:
    """Give space that nothing uses any more back, and renew what the planner knows.

    SQLite needs as much free disk as the file is large. On PostgreSQL a running service goes on.

    Raises:
        ConflictError: Something still reads the SQLite file.
        ConfigError: The database was made by a later program.
        UnavailableError: It did not work, for example because the disk is full; nothing is lost.
    """
    migrate.check_not_newer(database.engine)
    before = _size(database)
    try:
        (_vacuum_file if database.sqlite else _vacuum_tables)(database.engine)
    except (sqlite3.Error, DBAPIError) as e:
        raise UnavailableError(f"the database was not vacuumed: {reason(e)}") from e
    return Vacuumed(before, _size(database))


def _vacuum_file(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        driver: Any = conn.connection.driver_connection  # VACUUM runs in no transaction, not even a begun one
        _empty_log(driver)
        driver.execute("VACUUM")
        driver.execute("PRAGMA optimize")
        _empty_log(driver)


def _empty_log(driver: sqlite3.Connection) -> None:
    busy = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise ConflictError("something still reads the database, perhaps a backup: vacuum when it has ended")


def _vacuum_tables(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.detach()  # no hurry for good: it does not go back to the others
        unhurried(conn, session=True)
        conn.exec_driver_sql(f"VACUUM (ANALYZE) {migrate.quoted(conn)}")


def _size(database: Database) -> int:
    if database.sqlite:
        file = Path(database.url.database or "")
        return sum(p.stat().st_size for p in (file, Path(f"{file}-wal")) if p.exists())
    with database.engine.connect() as conn:
        names = [str(conn.dialect.identifier_preparer.format_table(t)) for t in migrate.TABLES]
        sizes = (sa.func.pg_total_relation_size(sa.func.to_regclass(name)) for name in names)
        return sum(conn.execute(sa.select(size)).scalar_one() or 0 for size in sizes)
