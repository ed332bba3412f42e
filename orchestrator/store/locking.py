"""Every transaction takes a run before anything of it, so that no two wait for each other in a circle.

SQLite has one writer, who needs no order.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.model import Run
from orchestrator.errors import NotFoundError
from orchestrator.store import runs
from orchestrator.store.run_cache import recalled
from orchestrator.store.run_rows import approval_t, interaction_t
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.sql.spelled import Row
from orchestrator.store.tables import EffectRow, table

effect_t = table(EffectRow)


def _marked_of(column: sa.Column[Any], key: sa.Column[Any]) -> Prepared:
    """The same of the run that column names in the row with that key."""
    return runs.marked(sa.select(column).where(key == sa.bindparam("of_row")).scalar_subquery())


_MARK_OF_EFFECT = _marked_of(effect_t.c.run_id, effect_t.c.id)
_MARK_OF_APPROVAL = _marked_of(approval_t.c.run_id, approval_t.c.id)
_MARK_OF_INTERACTION = _marked_of(interaction_t.c.run_id, interaction_t.c.id)


def run(s: Session, run_id: str) -> None:
    """Take it, as every transaction does that is about to touch an effect of it."""
    if not run_id or on_sqlite(s) or run_id in hold(s).seen:
        return
    known = recalled(s, run_id)
    if known is None:
        with suppress(NotFoundError):
            runs.load(s, run_id)
    else:
        runs.MARK.learn(s, partial(runs.confirm, s, known), of_run=run_id)


def run_of_effect(s: Session, effect: int | tuple[str, str]) -> None:
    """Take the run of an effect, by the effect's number, or by run and key."""
    if isinstance(effect, tuple):
        run(s, effect[0])
    elif not on_sqlite(s):
        _MARK_OF_EFFECT.learn(s, partial(_recognise, s), of_row=effect)


def run_of_interaction(s: Session, interaction_id: str) -> None:
    """Take the run of an interaction, if it is one of ours."""
    if not on_sqlite(s):
        _MARK_OF_INTERACTION.learn(s, partial(_recognise, s), of_row=interaction_id)


def run_of_approval(s: Session, approval_id: str) -> Run | None:
    """Take the run of a question; returns it, where it need not be read for that."""
    if on_sqlite(s):
        return None
    found = _MARK_OF_APPROVAL.rows(s, of_row=approval_id)
    _recognise(s, found)
    known: Run | None = hold(s).seen.get(found[0]["id"]) if found else None
    return known


def _recognise(s: Session, found: Sequence[Row]) -> None:
    """A run is locked; it need not be read where this process knows it as it is."""
    if not found or found[0]["id"] in hold(s).seen:
        return
    known = recalled(s, found[0]["id"])
    if known is not None:
        runs.confirm(s, known, found)
