"""How much of one tool or workflow may go on at once, over all processes.

What has no room stands in line, a row each, in the order it was asked for. Whoever makes room calls the first
of the line in the same transaction, and who begins calls the next where there is more; a look now and then
finds room that nobody told of, the less often the further back one stands.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain.effects import Urgency
from orchestrator.domain.model import CallStatus, Run, TurnStatus
from orchestrator.store import claims, lines, occupancy
from orchestrator.store.claims import Claimed
from orchestrator.store.tables import ID

LOOK_AGAIN: Final = timedelta(seconds=1)
"""So often the first in line looks by itself; the second half as often, and so on."""
SELDOM: Final = timedelta(minutes=1)
"""Whoever stands far back looks so often all the same: the limit may be gone after a restart."""
WINDOW: Final = timedelta(seconds=61)
"""A start counts from its COMMIT, and the tool begins a moment later, one sooner than another: a second more
than the minute, so that none as others count it holds one too many."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Of one tool; 0 is no limit.

    Args:
        at_once: How many of its calls run at the same time.
        per_minute: How many are started in any 60 seconds.
    """

    at_once: int = 0
    per_minute: int = 0


@dataclass(frozen=True, slots=True)
class _Wait:
    """Not now: until when at least, and for what; how many of those ahead could come."""

    until: datetime
    why: str
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The limits that are set.

    Args:
        tools: By tool.
        workflows: By workflow: how many of its runs may have begun and not ended.
    """

    tools: Mapping[str, RateLimit] = field(default_factory=dict)
    workflows: Mapping[str, int] = field(default_factory=dict)

    def call(self, s: Session, effect: Claimed, tool: str, now: datetime) -> bool:
        """Whether a call may start in this transaction; if not, its effect stands in line, or is left."""
        if (limit := self.tools.get(tool)) is None:
            return True
        line = _of_tool(tool)
        if not _asked_in(s, effect, line):
            return False
        ahead = lines.ahead(s, effect, line)
        free = limit.at_once - occupancy.executing(s, tool) if limit.at_once else ahead + 1
        wait = _for_a_place(free, ahead, now, f"{tool} runs {limit.at_once} times already")
        if wait is None and limit.per_minute:
            wait = _for_the_minute(s, tool, limit.per_minute, ahead, now)
        return _admitted(s, effect, line, wait, free, now)

    def run(self, s: Session, effect: Claimed, run: Run, now: datetime) -> bool:
        """Whether a run may begin in this transaction; if not, the effect that begins it stands in line,
        or is left."""
        name = run.recipe.workflow
        most = self.workflows.get(name)
        if most is None or run.turn.number > 1 or run.turn.attempt > 1:
            return True
        line = _of_workflow(name)
        if not _asked_in(s, effect, line):
            return False
        free = most - occupancy.begun(s, name)
        ahead = lines.ahead(s, effect, line)
        wait = _for_a_place(free, ahead, now, f"{most} runs of {name} are under way already")
        return _admitted(s, effect, line, wait, free, now)

    def left(self, s: Session, moves: Iterable[tuple[Run, Run]], now: datetime) -> None:
        """Call whoever is first in line for the places that these steps of runs have left.

        Alone, as who asks for one is: whoever is just being told that there is none stands in line only when
        that is committed, and would be called by nobody.
        """
        if not (self.tools or self.workflows):
            return
        places = Counter(line for before, after in moves for line in self._left(before, after))
        for line in sorted(places):
            if lines.alone(s, line):  # else the first there finds it at his next look
                lines.call(s, line, places[line], now)

    def _left(self, before: Run, after: Run) -> Iterator[str]:
        """The line of each place."""
        for tool in (_ran(before) - _ran(after)).elements() if self.tools else ():
            if (limit := self.tools.get(tool)) is not None and limit.at_once:
                yield _of_tool(tool)
        if before.recipe.workflow in self.workflows and _begun(before) and not _begun(after):
            yield _of_workflow(before.recipe.workflow)


def _asked_in(s: Session, effect: Claimed, line: str) -> bool:
    """Whether it may ask for a place there in this transaction; if not, it is left for another."""
    if not (asked := lines.alone(s, line)):
        claims.leave(s, effect)
    return asked


def _for_a_place(free: int, ahead: int, now: datetime, why: str) -> _Wait | None:
    if ahead < free:
        return None
    for_those_ahead = max(free, 0)
    return _Wait(now + min(LOOK_AGAIN * (1 + ahead), SELDOM), why, for_those_ahead)


def _for_the_minute(s: Session, tool: str, most: int, ahead: int, now: datetime) -> _Wait | None:
    """Each of those ahead takes up one start, so it is known when this one comes."""
    rounds, place = divmod(ahead, most)
    # What seems to have begun far later did so before the clock was set back.
    began = occupancy.nth_start(s, tool, most - place, now + WINDOW)
    until = max(began or now - WINDOW, now - WINDOW) + WINDOW * (1 + rounds)
    return _Wait(until, f"{tool} was started {most} times within a minute") if until > now else None


def _admitted(s: Session, effect: Claimed, line: str, wait: _Wait | None, free: int, now: datetime) -> bool:
    """Call those who can come now as well: behind one that is let in, or ahead of one that is not."""
    if wait is None:
        if free > 1:
            lines.call(s, line, free - 1, now)
        return True
    lines.stand(s, effect, line)
    claims.put_off(s, effect, wait.until, Urgency.NEXT, wait.why)
    if wait.ahead:
        # Not itself, where others claim those ahead: told to wait and called by turns, it would never end.
        lines.call(s, line, wait.ahead, now, effect)
    return False


def _ran(run: Run) -> Counter[str]:
    """How many calls run, by tool."""
    return Counter(call.tool for call in run.turn.calls if call.status is CallStatus.EXECUTING)


def _begun(run: Run) -> bool:
    """As `occupancy.begun` counts it."""
    turn = run.turn
    return not run.closed and ((turn.number, turn.attempt) > (1, 1) or turn.status is not TurnStatus.INTENDED)


def _of_tool(tool: str) -> str:
    return _line(f"tool:{tool}")


def _of_workflow(workflow: str) -> str:
    return _line(f"workflow:{workflow}")


def _line(name: str) -> str:
    """Its own, also where the name is longer than a line's may be."""
    if len(name) <= ID:
        return name
    rest = f"#{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return name[: ID - len(rest)] + rest
