"""How a database would answer a question of ours: what it reads, and by which index."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from orchestrator.store.sql.prepared import Prepared


def plan(s: Session, question: Prepared, values: Mapping[str, Any]) -> str:
    """The plan in the database's own words, a step a line."""
    conn = s.connection()
    said = question._statement
    made = (said(conn.dialect.name) if callable(said) else said).compile(dialect=conn.dialect)
    explain = "EXPLAIN QUERY PLAN " if conn.dialect.name == "sqlite" else "EXPLAIN "
    given = made.construct_params(dict(values))
    given |= {k: f(given[k]) for k, f in made._bind_processors.items()}
    params = tuple(given[n] for n in made.positiontup) if made.positional else given
    return "\n".join(str(row[-1]) for row in conn.exec_driver_sql(explain + str(made), params))
