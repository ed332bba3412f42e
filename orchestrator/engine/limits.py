"""How much of one tool or workflow may go on at once, over all processes. What has no room stays a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain.model import Run
from orchestrator.store import occupancy

LOOK_AGAIN: Final = timedelta(seconds=1)
"""Nobody is told when room is made; whoever waits for it looks so often."""
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one tool; 0 is no limit.

    Args:
        at_once: How many of its calls run at the same time.
        per_minute: How many are started in any 60 seconds.
    """

    at_once: int = 0
    per_minute: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: until when at least, and for what."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The limits that are set.

    Args:
        tools: By tool.
        workflows: By workflow: how many of its runs may have begun and not ended.
    """

    tools: Mapping[str, Pace] = field(default_factory=dict)
    workflows: Mapping[str, int] = field(default_factory=dict)

    def call(self, s: Session, tool: str, now: datetime) -> Wait | None:
        """Asked in the transaction that starts a call; None where there is room."""
        pace = self.tools.get(tool)
        if pace is None:
            return None
        occupancy.alone(s, f"tool:{tool}")
        if pace.at_once and occupancy.executing(s, tool) >= pace.at_once:
            return Wait(now + LOOK_AGAIN, f"{tool} runs {pace.at_once} times already")
        last = occupancy.nth_start(s, tool, pace.per_minute) if pace.per_minute else None
        if last is not None and last + MINUTE > now:
            return Wait(last + MINUTE, f"{tool} was started {pace.per_minute} times within a minute")
        return None

    def run(self, s: Session, run: Run, now: datetime) -> Wait | None:
        """Asked in the transaction in which a run begins; None where there is room."""
        most = self.workflows.get(run.recipe.workflow)
        if most is None or run.turn.number > 1 or run.turn.attempt > 1:
            return None
        occupancy.alone(s, f"workflow:{run.recipe.workflow}")
        if occupancy.begun(s, run.recipe.workflow) >= most:
            return Wait(now + LOOK_AGAIN, f"{most} runs of {run.recipe.workflow} are under way already")
        return None
