"""To forget what is old a little at a time: to delete all of it at once holds up everybody who writes."""

from typing import Any, Final

import sqlalchemy as sa

from orchestrator.store.sql.prepared import Prepared

MOST: Final = sa.bindparam("most", type_=sa.Integer)


def oldest(t: sa.Table, key: sa.Column[Any], where: sa.ColumnElement[bool], by: sa.Column[Any]) -> Prepared:
    """Delete so many of those at most, the oldest; what others hold is passed by."""

    def statement(dialect: str) -> Any:
        found = sa.select(key).where(where).order_by(by).limit(MOST)
        if dialect == "postgresql":
            # With a name of its own it is looked for once, however the DELETE is planned.
            found = sa.select(found.with_for_update(skip_locked=True, of=t).cte("found").c[0])
        return t.delete().where(key.in_(found))

    return Prepared(statement)
