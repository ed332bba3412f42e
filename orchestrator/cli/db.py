"""`orchestrator db`: the schema, and the care of the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from orchestrator.settings import Secret, Settings
    from orchestrator.store.database_copy import Copied

SQLITE = "sqlite:"


@click.group()
def db() -> None:
    """Keep the database current and sound: schema, checks, backups, a move to PostgreSQL.

    Every command works on `database.url` of the settings. With a SQLite file, `check` and `backup` only
    read and may be used while the service runs; the others want it stopped, and say so.
    """


@db.command()
@click.pass_obj
def upgrade(config: Path | None) -> None:
    """Bring an empty or older database to this program's schema.

    All of it or nothing. There is no way back down but a backup made before: an older program refuses
    a newer database.
    """
    from orchestrator import opening
    from orchestrator.store import migrate

    settings = settings_of(config)
    with opening.failures_told(settings), opening.opened(settings) as database:
        migrate.upgrade(database.engine)
        opening.prepare_jobs(settings, database)
        click.echo(f"the database is at schema {migrate.current(database.engine)}")


@db.command()
@click.pass_obj
def check(config: Path | None) -> None:
    """Say whether the database fits this program and is sound; exit code 2 if not, 3 if it cannot be read.

    Looks at the schema; in a SQLite file at every page and reference; on PostgreSQL at whether commits
    wait for the disk.
    """
    from orchestrator import opening
    from orchestrator.errors import ConfigError
    from orchestrator.store import maintenance, migrate

    settings = settings_of(config)
    with opening.failures_told(settings), looked_at(settings) as engine:
        if found := maintenance.faults(engine):
            raise ConfigError("\n".join([f"database.url: {settings.database.shown} is not sound:", *found]))
        at = migrate.current(engine)
    click.echo(f"schema {at}, the rows are sound, commits survive a power cut")


@db.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_obj
def backup(config: Path | None, target: Path, force: bool) -> None:
    """Copy a SQLite database into the file TARGET, also while the service runs.

    The copy is of one moment, checked, and readable for its owner only; TARGET appears when it is
    complete. To go back to it: stop the service, remove the database with its -wal and -shm files,
    and put the copy in its place.

    PostgreSQL has pg_dump for this: the command to run is printed, and the exit code is 2, because
    nothing was backed up.
    """
    from orchestrator import opening
    from orchestrator.errors import ConfigError
    from orchestrator.store import maintenance

    settings = settings_of(config)
    url = _parsed(settings.database.url)
    if not _is_sqlite(settings.database.url):
        raise ConfigError(
            "nothing was backed up: for PostgreSQL use its own tool, which asks for the password or takes"
            f" it from PGPASSWORD or ~/.pgpass:\n{maintenance.dump_command(url, target)}"
        )
    with opening.failures_told(settings):
        made = maintenance.backup(url, target, force=force)
    click.echo(f"{made.path}: {made.runs} runs at schema {made.schema}, {made.size} bytes, checked")


@db.command()
@click.pass_obj
def vacuum(config: Path | None) -> None:
    """Give back space that nothing uses any more.

    SQLite: stop the service first, and have as much free disk as the file is large. PostgreSQL: our
    tables only, at any time.
    """
    from orchestrator import opening
    from orchestrator.store import maintenance

    settings = settings_of(config)
    if _is_sqlite(settings.database.url):
        _need_file(settings)
    with opening.failures_told(settings), opening.opened(settings) as database:
        done = maintenance.vacuum(database)
    click.echo(f"{done.before} bytes before, {done.after} bytes after")


@db.command()
@click.option(
    "--to",
    "address",
    required=True,
    metavar="URL",
    envvar="TARGET_DATABASE_URL",
    help="The empty database. An address with a password is better given in TARGET_DATABASE_URL.",
)
@click.pass_obj
def copy(config: Path | None, address: str) -> None:
    """Move everything into another, empty database, such as from SQLite to PostgreSQL.

    Stop the service first. The target is given the schema, every row, and is compared with the source
    before anything of it counts; on any failure it stays empty. The source is not changed.

    Afterwards set DATABASE_URL to the target and start the service: runs that wait go on there. Never
    start it on the old database again, or both would act for the same runs.
    """
    from orchestrator import app, opening
    from orchestrator.store import database_copy

    settings = settings_of(config)
    target = _target(settings, address)
    if _is_sqlite(settings.database.url):
        _need_file(settings)
    with (
        opening.failures_told(settings),
        opening.opened(settings) as source,
        opening.opened(settings, target, named="--to") as empty,
    ):
        copied = database_copy.copy(
            source, empty, now=app.now(), last=lambda: opening.prepare_jobs(settings, empty)
        )
    _show(copied)


def settings_of(config: Path | None) -> "Settings":
    from orchestrator.settings import load

    return load(config, need_secrets=False)


@contextmanager
def looked_at(settings: "Settings") -> Iterator["Engine"]:
    """The database for reading; a SQLite file beside a running service."""
    from orchestrator import opening
    from orchestrator.store import maintenance

    if _is_sqlite(settings.database.url):
        _need_file(settings)
        with maintenance.reading(_parsed(settings.database.url)) as engine:
            yield engine
    else:
        with opening.opened(settings) as database:
            yield database.engine


def _is_sqlite(url: "Secret") -> bool:
    return url.reveal().startswith(SQLITE)


def _parsed(url: "Secret", named: str = "database.url") -> "URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from orchestrator.errors import ConfigError

    try:
        return make_url(url.reveal())
    except (ValueError, ArgumentError):  # its text may quote the address, password and all
        raise ConfigError(f"{named}: cannot be read as an address") from None


def _need_file(settings: "Settings") -> None:
    """Opening for writing would make an empty file of a misspelt name."""
    from orchestrator.errors import ConfigError

    if not Path(_parsed(settings.database.url).database or "").is_file():
        raise ConfigError(f"database.url: {settings.database.shown}: there is no such file")


def _target(settings: "Settings", address: str) -> "Secret":
    from orchestrator.errors import ConfigError
    from orchestrator.settings import Secret
    from orchestrator.settings.addresses import database_address

    try:
        target = database_address(Secret(address))
    except ValueError as e:
        raise ConfigError(f"--to: {e}") from None
    here, there = _parsed(settings.database.url), _parsed(target, "--to")
    files = _is_sqlite(target) and _is_sqlite(settings.database.url)
    if there == here or (
        files and Path(there.database or "").resolve() == Path(here.database or "").resolve()
    ):
        raise ConfigError("--to: is the database itself")
    return target


def _show(copied: "Copied") -> None:
    wide = max(len(c.table) for c in copied.tables)
    for content in copied.tables:
        click.echo(f"{content.table:<{wide}} {content.rows:>9} rows  checksum {content.digest[:16]}")
    click.echo(
        f"copied and compared; {copied.released} claims of the stopped service were released.\n"
        "Set DATABASE_URL to the new address and start the service there. Never start it on the old"
        " database again: both would act for the same runs."
    )
