"""The schema and its versions, through Alembic."""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.errors import ConfigError
from orchestrator.store.asked import AskedRow
from orchestrator.store.callbacks import AddressRow, CallbackRow
from orchestrator.store.digests import DigestRow
from orchestrator.store.jobs import JobRow
from orchestrator.store.message_copies import CopiedRow
from orchestrator.store.retention import LeavingRow
from orchestrator.store.sightings import SightingRow
from orchestrator.store.tables import RunRow
from orchestrator.store.triggers import OccurrenceRow, TriggerRow
from orchestrator.store.uploads import UploadRow

_PACKAGED = Path(__file__).parent.parent / "_migrations"  # in a wheel
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"

ELSEWHERE: Final = (
    AddressRow,
    AskedRow,
    CallbackRow,
    CopiedRow,
    DigestRow,
    JobRow,
    LeavingRow,
    SightingRow,
    OccurrenceRow,
    TriggerRow,
    UploadRow,
)
"""Rows that are written down beside what is done with them: known once their module is read."""

TABLES: Final[tuple[sa.Table, ...]] = tuple(RunRow.metadata.sorted_tables)
"""Our tables; one that refers to another comes after it."""

VERSIONS: Final = "alembic_version"
"""The table Alembic keeps the schema's version in."""

Bind = sa.Engine | sa.Connection


def _config(bind: Bind | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT))
    config.attributes["bind"] = bind
    config.attributes["metadata"] = RunRow.metadata
    return config


def upgrade(bind: Bind) -> None:
    """Bring an empty or older database to this program's schema; nothing happens on a current one.

    All or nothing, and one at a time: who comes second on PostgreSQL waits and finds it done.

    Args:
        bind: An engine; or a connection within a transaction, which is then the caller's to end.

    Raises:
        ConfigError: The database was made by a later program.
    """
    check_not_newer(bind)
    command.upgrade(_config(bind), "head")


def current(bind: Bind) -> str | None:
    """The revision the database is at, None for an empty one."""
    if isinstance(bind, sa.Connection):
        return MigrationContext.configure(bind).get_current_revision()
    with bind.connect() as conn:
        return current(conn)


def head(engine: sa.Engine | None = None) -> str | None:
    """The revision this program wants."""
    return ScriptDirectory.from_config(_config(engine)).get_current_head()


def check_not_newer(bind: Bind) -> None:
    """Raises `ConfigError` where the database was made by a later program than this one."""
    script = ScriptDirectory.from_config(_config())
    known = {r.revision for r in script.walk_revisions()}
    at = current(bind)
    if at is not None and at not in known:
        raise ConfigError(
            f"the database is at schema {at}, which this program does not know: it is older than the database"
        )


def require_current(bind: Bind) -> None:
    """Raises `ConfigError` unless the schema is exactly this program's."""
    check_not_newer(bind)
    if current(bind) != head():
        raise ConfigError("the database schema is not up to date: run `orchestrator db upgrade`")


def quoted(conn: sa.Connection, tables: tuple[sa.Table, ...] = TABLES) -> str:
    """The tables' names, ready to stand in a statement."""
    return ", ".join(conn.dialect.identifier_preparer.format_table(t) for t in tables)
