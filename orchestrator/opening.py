"""Opens the database the settings name, and its job queue where that hands out the work."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from orchestrator import jobs
from orchestrator.errors import ConfigError, OrchestratorError, UnavailableError
from orchestrator.outages import reason
from orchestrator.settings import Secret, Settings
from orchestrator.store.database import Database
from orchestrator.store.sql import standstill

OLDEST_POSTGRESQL: Final = 12
"""The first with `AS MATERIALIZED`, by which the audit's entries are bound (release notes of 12)."""
_FOR_NOW: Final = (
    "connection refused",
    "connection timeout expired",
    "closed the connection unexpectedly",
    "no route to host",
    "network is unreachable",
    "temporary failure in name resolution",
    "too many",
    "remaining connection slots",
    "starting up",
    "shutting down",
    "not yet accepting connections",
)
"""How libpq and servers tell that nothing is wrong with the address. Only their words do: a connection that
was never made has no SQLSTATE."""


@contextmanager
def opened(
    settings: Settings, url: Secret | None = None, *, named: str = "database.url"
) -> Iterator[Database]:
    """The configured database, or the one at `url`, closed again at the end.

    Args:
        named: What the caller knows the address by, for the errors.

    Raises:
        ConfigError: Its address leads to no database we can use.
        UnavailableError: Its server is not reached now, or has no room for us.
        ConflictError: Another process has this SQLite file open.
    """
    chosen = settings.database if url is None else settings.database.model_copy(update={"url": url})
    where = f"{named}: {chosen.shown}"
    try:
        database = Database(
            chosen.url.reveal(),
            readers=chosen.readers,
            threads=chosen.pool,
            still_seconds=standstill.allowed(settings.work.lease_seconds),
        )
    except OSError as e:
        raise ConfigError(f"{where} cannot be opened: {e.filename}: {e.strerror}") from e
    except (ValueError, ArgumentError):  # its text may quote the address, password and all
        raise ConfigError(f"{where} cannot be read as an address") from None
    except ModuleNotFoundError as e:
        extra = "pip install 'gemini-orchestrator[postgres]'"
        raise ConfigError(f"{where} needs {e.name}, which comes with the extra: {extra}") from e
    try:
        _reach(database, where)
        yield database
    finally:
        database.close()


def _reach(database: Database, where: str) -> None:
    """The first connection; what is wrong with the address shows here and not in the middle of something."""
    try:
        database.durable()
        shared = database.shares_sessions()
    except DBAPIError as e:
        told = str(e.orig).strip()
        passes = any(words in told.lower() for words in _FOR_NOW)
        raise _told(f"{where} cannot be opened: {told}", passes=passes) from e
    found = getattr(database.engine.dialect, "server_version_info", None)
    if not database.sqlite and found is not None and found[0] < OLDEST_POSTGRESQL:
        raise ConfigError(f"{where} is a PostgreSQL {found[0]}; {OLDEST_POSTGRESQL} or newer is needed")
    if shared:
        raise ConfigError(
            f"{where} leads to a pooler that shares sessions between connections;"
            " it has to pool sessions (pgbouncer: pool_mode=session), or give PostgreSQL's own address"
        )


@contextmanager
def failures_told(settings: Settings) -> Iterator[None]:
    """A database that fails in the middle of something is told like any other mistake, without rows.

    Raises:
        ConfigError: It is broken, or does not let us.
        UnavailableError: It is away, locked or full.
    """
    try:
        yield
    except DBAPIError as e:
        text = f"database.url: {settings.database.shown} failed: {reason(e)}"
        raise _told(text, passes=isinstance(e, OperationalError) or _of_a_standby(e)) from e


def _of_a_standby(error: DBAPIError) -> bool:
    """Where another takes over, it may be written again soon."""
    return getattr(error.orig, "sqlstate", None) == "25006"  # PostgreSQL: read only SQL transaction


def _told(text: str, *, passes: bool) -> OrchestratorError:
    return UnavailableError(text) if passes else ConfigError(text)


def prepare_jobs(settings: Settings, database: Database) -> None:
    """The job queue's own tables, where work is handed out by it."""
    if not database.sqlite and settings.work.dispatcher != "embedded" and _has_pgqueuer():
        jobs.install(database.engine)


def _has_pgqueuer() -> bool:
    return importlib.util.find_spec("pgqueuer") is not None


def carried(settings: Settings, database: Database) -> bool:
    """Whether work is handed out among processes by jobs.

    Raises:
        ConfigError: It should be, and cannot.
    """
    choice = settings.work.dispatcher
    if choice == "embedded" or (choice == "auto" and (database.sqlite or not _has_pgqueuer())):
        return False
    if not jobs.installed(database.engine):
        raise ConfigError("the job queue's tables are not there, or older: run `orchestrator db upgrade`")
    return True
