"""Rate budgets over all processes: one row each says until when it is spent."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.sql.prepared import Prepared, insert_into
from orchestrator.store.tables import BudgetRow, table

budget_t = table(BudgetRow)

_UNTIL: Final = sa.select(budget_t.c.spent_until).where(budget_t.c.name == sa.bindparam("of_name"))
_SEEN: Final = Prepared(_UNTIL)
_SPENT: Final = Prepared(_UNTIL.with_for_update())
_SPEND: Final = Prepared(budget_t.update().where(budget_t.c.name == sa.bindparam("of_name")), ["spent_until"])
_OPEN: Final = Prepared(
    lambda dialect: insert_into(dialect)(budget_t).on_conflict_do_nothing(), ["name", "spent_until"]
)


def spent_until(s: Session, name: str, now: datetime) -> datetime:
    """Read it, and let nobody else spend of it before this transaction ends. SQLite has one writer anyway."""
    spent: datetime | None = _SPENT.value(s, of_name=name)
    if spent is None:
        _OPEN.run(s, name=name, spent_until=now)
        spent = _SPENT.value(s, of_name=name)
    return spent or now


def seen(s: Session, name: str) -> datetime | None:
    """Up to when it was spent by what is committed, for who waits for nobody; None if nothing ever was."""
    until: datetime | None = _SEEN.value(s, of_name=name)
    return until


def spend(s: Session, name: str, until: datetime) -> None:
    """What was read to be free is taken, up to there."""
    _SPEND.run(s, of_name=name, spent_until=until)
