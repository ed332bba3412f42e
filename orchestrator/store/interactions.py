"""Which interactions are ours, and how they stand to their runs."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.model import TurnStatus
from orchestrator.store.run_rows import interaction_t, run_t, turn_t
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Prepared, insert_into, listed

_OF = "owner of "
_REMEMBER = Prepared(lambda dialect: insert_into(dialect)(interaction_t).on_conflict_do_nothing())
_OWNER = Prepared(
    sa.select(interaction_t.c.run_id, interaction_t.c.turn, interaction_t.c.attempt).where(
        interaction_t.c.id == sa.bindparam("of_interaction")
    )
)
_CURRENT = sa.and_(turn_t.c.interaction_id == interaction_t.c.id, run_t.c.closed_at.is_(None))
_STANDING = Prepared(
    lambda dialect: (
        sa.select(interaction_t.c.id, interaction_t.c.run_id, _CURRENT.label("current"), turn_t.c.status)
        .join(run_t, run_t.c.id == interaction_t.c.run_id)
        .join(turn_t, sa.and_(turn_t.c.run_id == run_t.c.id, turn_t.c.number == run_t.c.turn))
        .where(interaction_t.c.id.in_(listed(dialect, "ids")))
    )
)


def remember(s: Session, interaction_id: str, run_id: str, turn: int, attempt: int) -> None:
    """This interaction is ours; saying so twice changes nothing."""
    said = {"id": interaction_id, "run_id": run_id, "turn": turn, "attempt": attempt}
    if not on_sqlite(s):
        _REMEMBER.later(s, **said)
    elif _REMEMBER.run(s, **said):
        hold(s).seen[f"{_OF}{interaction_id}"] = (run_id, turn, attempt)


def owner_of(s: Session, interaction_id: str) -> tuple[str, int, int] | None:
    """Run, turn and attempt of an interaction, if it is known to be ours."""
    seen = hold(s).seen  # what is found stays so
    known: tuple[str, int, int] | None = seen.get(f"{_OF}{interaction_id}")
    if known is None and (row := _OWNER.first(s, of_interaction=interaction_id)) is not None:
        known = seen[f"{_OF}{interaction_id}"] = (row["run_id"], row["turn"], row["attempt"])
    return known


@dataclass(frozen=True, slots=True)
class InteractionState:
    """How an interaction of ours stands to its run: `current` is the one a live run goes on with."""

    run_id: str
    current: bool
    turn: TurnStatus


def standing(s: Session, ids: Collection[str]) -> dict[str, InteractionState]:
    """Of those interactions, the ones known to be ours."""
    rows = _STANDING.rows(s, ids=list(ids))
    return {r["id"]: InteractionState(r["run_id"], bool(r["current"]), r["status"]) for r in rows}
