"""Rows that somebody changed by hand."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.run_rows import run_t


def poked(s: Session, run_id: str, table: sa.Table, values: dict[str, Any]) -> None:
    """What this process remembers of the run is not what stands there any more."""
    key = run_t.c.id if table is run_t else table.c.run_id
    s.execute(table.update().where(key == run_id).values(**values))
    s.execute(run_t.update().where(run_t.c.id == run_id).values(version=run_t.c.version + 1))
