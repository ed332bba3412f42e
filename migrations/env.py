"""Alembic's environment for SQLModel on SQLite and PostgreSQL.

- the SQLModel types are rendered as plain SQLAlchemy types, so a migration does not
  depend on SQLModel (or on a moved class) for ever;
- SQLite gets real transactional DDL, so a failed migration leaves nothing behind;
- foreign_keys stays OFF while migrating (batch mode drops and renames tables).
"""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString, UTCDateTime

JSON_TYPE = "sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), 'postgresql')"


def render_item(kind: str, obj: Any, autogen: Any) -> str | Literal[False]:
    if kind == "type" and isinstance(obj, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(obj, AutoString):
        return f"sa.String(length={obj.length})" if obj.length else "sa.String()"
    if kind == "type" and isinstance(obj, sa.JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return JSON_TYPE
    return False


def migrate(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        if engine.dialect.name == "sqlite":
            # straight to the driver: inside SQLAlchemy's autobegun transaction the pragma does nothing
            conn.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")
        context.configure(
            connection=conn,
            target_metadata=context.config.attributes.get("metadata", SQLModel.metadata),
            render_item=render_item,
            render_as_batch=True,
            compare_type=True,
            transaction_per_migration=True,
            transactional_ddl=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        if engine.dialect.name == "sqlite":
            bad = conn.exec_driver_sql("PRAGMA foreign_key_check").all()
            conn.rollback()
            conn.connection.driver_connection.execute("PRAGMA foreign_keys=ON")  # it goes back to the pool
            if bad:
                raise RuntimeError(f"migration left dangling references: {bad[:5]}")


migrate(context.config.attributes["engine"])
