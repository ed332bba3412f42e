"""Alembic's environment for SQLModel on SQLite and PostgreSQL.

- the SQLModel types are rendered as plain SQLAlchemy types, so a migration does not
  depend on SQLModel (or on a moved class) for ever;
- all that is missing is applied in one transaction, on SQLite too: one that fails, or that leaves
  a reference to nothing, leaves the database as it was;
- on PostgreSQL a lock lets one process migrate at a time; who waited for it finds nothing to do;
- foreign_keys stays OFF while migrating SQLite (batch mode drops and renames tables);
- tables we did not make are not looked at: PgQueuer keeps its own in the same database.
"""

from collections.abc import MutableMapping
from typing import Any, Final, Literal

import sqlalchemy as sa
from alembic import context
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString, UTCDateTime

from orchestrator.store.sql.standstill import unhurried

JSON_TYPE = "sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), 'postgresql')"
LOCK: Final = 0x6F726368
"""Number of PostgreSQL's advisory lock; any will do that nobody else takes. It ends with the transaction,
so that it also holds behind a pooler that hands out connections by the transaction."""

metadata: sa.MetaData = context.config.attributes.get("metadata", SQLModel.metadata)


def render_item(kind: str, obj: Any, autogen: Any) -> str | Literal[False]:
    if kind == "type" and isinstance(obj, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(obj, AutoString):
        return f"sa.String(length={obj.length})" if obj.length else "sa.String()"
    if kind == "type" and isinstance(obj, sa.JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return JSON_TYPE
    return False


def is_ours(name: str | None, kind: str, parents: MutableMapping[str, str | None]) -> bool:
    """Whether autogenerate may look at it. So it never drops a table: that is written by hand."""
    return kind != "table" or name in metadata.tables


def migrate(bind: sa.Engine | sa.Connection) -> None:
    if isinstance(bind, sa.Connection):  # within its caller's transaction
        run(bind)
        return
    with bind.connect() as conn:
        if bind.dialect.name != "sqlite":
            run(conn)
            return
        # straight to the driver: inside SQLAlchemy's autobegun transaction the pragma does nothing
        driver: Any = conn.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            run(conn)
        finally:
            conn.rollback()
            driver.execute("PRAGMA foreign_keys=ON")  # it goes back to the pool


def run(conn: sa.Connection) -> None:
    context.configure(
        connection=conn,
        target_metadata=metadata,
        render_item=render_item,
        include_name=is_ours,
        render_as_batch=True,
        compare_type=True,
        transaction_per_migration=False,
        transactional_ddl=True,
        on_version_apply=sound,
    )
    with context.begin_transaction():
        if conn.dialect.name == "postgresql":
            unhurried(conn)
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        context.run_migrations()


def sound(ctx: Any, **_: Any) -> None:
    """After each step, before anything is committed: PostgreSQL sees to it by itself."""
    if ctx.connection.dialect.name == "sqlite":
        bad = ctx.connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if bad:
            raise RuntimeError(f"migration left dangling references: {[tuple(row) for row in bad[:5]]}")


migrate(context.config.attributes["bind"])
