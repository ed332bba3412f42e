"""The schema and its versions, through Alembic."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.errors import ConfigError
from orchestrator.store.tables import RunRow

_PACKAGED = Path(__file__).parent.parent / "_migrations"  # in a wheel
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"


def _config(engine: sa.Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT))
    config.attributes["engine"] = engine
    config.attributes["metadata"] = RunRow.metadata
    return config


def upgrade(engine: sa.Engine) -> None:
    """Bring an empty or older database to this program's schema; nothing happens on a current one."""
    check_not_newer(engine)
    command.upgrade(_config(engine), "head")


def current(engine: sa.Engine) -> str | None:
    """The revision the database is at, None for an empty one."""
    with engine.connect() as conn:
        return MigrationContext.configure(conn).get_current_revision()


def head(engine: sa.Engine) -> str | None:
    """The revision this program wants."""
    return ScriptDirectory.from_config(_config(engine)).get_current_head()


def check_not_newer(engine: sa.Engine) -> None:
    """Raises `ConfigError` where the database was made by a later program than this one."""
    script = ScriptDirectory.from_config(_config(engine))
    known = {r.revision for r in script.walk_revisions()}
    at = current(engine)
    if at is not None and at not in known:
        raise ConfigError(
            f"the database is at schema {at}, which this program does not know: it is older than the database"
        )


def require_current(engine: sa.Engine) -> None:
    """Raises `ConfigError` unless the schema is exactly this program's."""
    check_not_newer(engine)
    if current(engine) != head(engine):
        raise ConfigError("the database schema is not up to date: run `orchestrator db upgrade`")
