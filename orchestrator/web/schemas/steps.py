"""The steps of a run: which one it is at, and how each of them stands.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from typing import Literal

from msgspec import Struct

from orchestrator.domain.model import RunStatus
from orchestrator.domain.pipeline import StepKind
from orchestrator.web.schemas.ground import Row


class StepOut(Struct, kw_only=True):
    """Which step a run is at, the last one where it ended: `position` is from 1, `of` how many there are."""

    name: str
    position: int
    of: int


class StepState(Struct, kw_only=True):
    """One step of a run; `tool` is what it calls, null where an agent thinks."""

    name: str
    kind: StepKind
    tool: str | None
    state: Literal["done", "doing", "stopped", "ahead"]


def step_out(row: Row) -> StepOut | None:
    steps = row["steps"] or ()
    at = row["step"]
    return StepOut(name=steps[at]["name"], position=at + 1, of=len(steps)) if steps else None


def step_states(row: Row) -> list[StepState]:
    return [
        StepState(
            name=step["name"],
            kind=StepKind(step["kind"]),
            tool=step.get("tool") or None,
            state=_state(row, place),
        )
        for place, step in enumerate(row["steps"] or ())
    ]


def _state(row: Row, place: int) -> Literal["done", "doing", "stopped", "ahead"]:
    if place != row["step"]:
        return "done" if place < row["step"] else "ahead"
    if row["closed_at"] is None:
        return "doing"
    return "done" if row["status"] == RunStatus.COMPLETED else "stopped"
