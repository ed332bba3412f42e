"""How often live interactions are read by themselves, and the one budget that all readings share.

    asked for (webhook, run, person) ─────────────► room now? ──► read
    nobody asked for (watch) ──► in line, a share ──► room now? ──► read
                                  of the budget        └─ no: put off, and again

`room` hands out moments at even distances, never one too many in any second over all processes. Only who
stands in front of it takes one, so none is lost to a process that goes away. The `line` only says when to
come: whoever is put off knows his moment and asks no sooner.
"""

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain.decision import WATCH_FROM, WATCH_TO
from orchestrator.domain.effects import Urgency
from orchestrator.domain.model import Policy
from orchestrator.domain.values import replace
from orchestrator.engine.ports import Clock
from orchestrator.store import budget, occupancy
from orchestrator.store.sql.after_commit import after_commit

COUNT_EVERY: Final = timedelta(seconds=5)
"""Between two counts of live interactions in one process."""
FILLED: Final = 0.9
"""How much of their share the readings nobody asked for use up; the rest keeps the line short."""
SPARED: Final = 0.05
"""Part of the budget never used: what leaves evenly arrives a little less so."""
BLOCK_SECONDS: Final = 0.1
"""So much of the budget one process takes at once, which is one reading where few are allowed."""
SKEW: Final = timedelta(minutes=1)
"""Nobody takes moments so far ahead: a clock was wrong."""
LONGEST_LINE: Final = timedelta(minutes=1)
"""Of readings that were asked for; who comes later is told to come then too."""
POLLING: Final = 0.95
RECONCILING: Final = 0.5
"""The share of readings nobody asked for, where they are how we hear and where webhooks are."""
AGAIN: Final = 8
"""Within so many moments somebody asks again who had his turn, and found those before him not gone yet."""
ROOM: Final = "gets"
"""The line of the moments themselves."""
NO_TIME: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be asked of Gemini, and what is promised.

    Args:
        per_second: Most readings in any second, over all processes.
        watching: The share of them that readings nobody asked for may use.
        ahead: How long a reading that has its moment may wait for it in a slot.
    """

    per_second: float
    watching: float
    ahead: timedelta = timedelta(milliseconds=250)

    @property
    def even(self) -> float:
        """The pace readings leave at."""
        return self.per_second * (1 - SPARED)


@dataclass(frozen=True, slots=True)
class Go:
    """There is room at that moment, which is near; None for at once."""

    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PutOff:
    """There is none before that; and what the reading counts as then."""

    until: datetime
    then: Urgency


@dataclass(frozen=True, slots=True)
class Intervals:
    """Between two readings of one interaction: at work, and waiting for us.

    Args:
        within: The longest it takes to notice an end, also when all of them began in the same moment.
    """

    live: timedelta
    waiting: timedelta
    within: timedelta


def intervals(policy: Policy, allowance: Allowance, live: int, waiting: int) -> Intervals:
    """The intervals that so many interactions leave room for, no shorter than the policy's own.

    Those that wait for us get at most half of it: all that can befall them is their retention.
    """
    share = allowance.even * allowance.watching
    room = share * FILLED * (WATCH_FROM + WATCH_TO) / 2
    seldom = max(policy.watch_waiting_every, timedelta(seconds=waiting / (room / 2)))
    left = room - waiting / seldom.total_seconds()
    every = max(policy.watch_every, timedelta(seconds=live / left))
    return Intervals(
        every, seldom, max(every, policy.watch_every * WATCH_TO + timedelta(seconds=live / share))
    )


class Polling:
    """Says how soon, and lets readings through. Asked within transactions, from any thread.

    Args:
        policy: Its intervals are the shortest ones.
        allowance: None where readings are not counted.
        roll: Dice, in [0, 1).
    """

    def __init__(
        self,
        policy: Policy,
        allowance: Allowance | None,
        *,
        clock: Clock,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._clock, self._roll = clock, roll
        self._allowance = allowance
        self._open = (0, 0)
        self._counted: datetime | None = None
        self._behind = datetime.min.replace(tzinfo=UTC)
        if allowance is not None:
            even = timedelta(seconds=1 / allowance.even)
            self._room = _Line(ROOM, even)
            self._asked = _Line("gets:asked", even)
            self._watch = _Line("gets:watch", even / allowance.watching)

    def policy(self, s: Session) -> Policy:
        """The policy with the intervals that can be kept now."""
        if self._allowance is None:
            return self._policy
        self._count(s)
        held = self.intervals
        return replace(self._policy, watch_every=held.live, watch_waiting_every=held.waiting)

    @property
    def intervals(self) -> Intervals:
        """The intervals promised now, as far as this process has counted."""
        if self._allowance is None:
            every = self._policy.watch_every
            return Intervals(every, self._policy.watch_waiting_every, every)
        return intervals(self._policy, self._allowance, *self._open)

    @property
    def told(self) -> tuple[Intervals, float] | None:
        """The intervals and the most readings in any second, for monitors; None where nobody has counted."""
        return (
            None
            if self._allowance is None or self._counted is None
            else (self.intervals, self._allowance.per_second)
        )

    def admit(self, s: Session, urgency: Urgency) -> Go | PutOff:
        """Whether an interaction may be read now, asked in the transaction that takes the reading up."""
        if self._allowance is None:
            return Go()
        now = self._clock()
        self._count(s)
        if urgency is Urgency.WATCH and (turn := self._watch.place(s, now)) > now:
            return PutOff(turn, Urgency.TURN)
        if urgency is Urgency.ASKED and now < self._behind:
            return self._after_others(s, now)
        at = self._room.near(s, now, self._allowance.ahead)
        if at is not None:
            return Go(at)
        if urgency >= Urgency.ASKED:
            return self._after_others(s, now)
        # It comes again soon, and whoever comes after it a place later: no more of them ask than may.
        self._watch.place(s, now)
        return PutOff(now + self._room.even * (1 + AGAIN * self._roll()), Urgency.TURN)

    def _after_others(self, s: Session, now: datetime) -> PutOff:
        """Who comes while others were put off is put off behind them."""
        until = max(min(self._asked.place(s, now), now + LONGEST_LINE), now + self._room.even)
        self._behind = until
        return PutOff(until, Urgency.NEXT)

    async def wait(self, room: Go) -> None:
        """Until its moment, which is near."""
        if room.at is not None:
            await asyncio.sleep(max(0.0, (room.at - self._clock()).total_seconds()))

    def _count(self, s: Session) -> None:
        """Seldom. No line is longer than if everybody stood in it: what is beyond was left behind."""
        now = self._clock()
        if self._counted is None or not NO_TIME <= now - self._counted < COUNT_EVERY:
            self._counted, self._open = now, occupancy.open_turns(s)
            self._watch.cut(s, now + max(COUNT_EVERY, self._watch.even * sum(self._open)), now)
            self._asked.cut(s, now + LONGEST_LINE, now)


class _Line:
    """Moments at even distances over all processes; a process takes a few at once and keeps what is left.

    What it keeps counts only after the COMMIT, or another process might be given the same. Its own
    transactions may be taken back in part (SQLite), so it never goes back behind what it has seen.
    """

    def __init__(self, name: str, even: timedelta) -> None:
        self.even = even
        self._name = name
        self._block = max(1, int(timedelta(seconds=BLOCK_SECONDS) / even))
        self._kept: deque[datetime] = deque()
        self._seen = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def near(self, s: Session, now: datetime, ahead: timedelta) -> datetime | None:
        """The next free moment if it is that near. Nothing is taken otherwise."""
        if (known := self._mine(now, now + ahead)) is not None:
            return known
        start = self._start(self._spent(s, now), now)
        return self._take(s, start) if start <= now + ahead else None

    def place(self, s: Session, now: datetime) -> datetime:
        """The next free moment, however far."""
        if (known := self._mine(now, None)) is not None:
            return known
        return self._take(s, max(now, self._spent(s, now)))

    def cut(self, s: Session, longest: datetime, now: datetime) -> None:
        """Give moments that are farther away than that to who comes next; those kept here as well, where
        another process has cut the line already.
        """
        known = budget.seen(s, self._name)  # any step may count, and hold what others wait for
        if known is not None and known > longest and self._spent(s, now) > longest:
            budget.spend(s, self._name, longest)
        with self._lock:
            self._kept = deque(m for m in self._kept if m < longest)

    def _spent(self, s: Session, now: datetime) -> datetime:
        """Read under a lock, that of the room first: who takes them in any order waits in a circle."""
        if self._name != ROOM:
            budget.spent_until(s, ROOM, now)
        return budget.spent_until(s, self._name, now)

    def _mine(self, now: datetime, until: datetime | None) -> datetime | None:
        with self._lock:
            while self._kept and self._kept[0] < now:
                self._kept.popleft()  # passed unused: two at once would be too near each other
            near = self._kept and (until is None or self._kept[0] <= until)
            return self._kept.popleft() if near else None

    def _start(self, spent: datetime, now: datetime) -> datetime:
        with self._lock:
            start = max(spent, self._seen, now)
            if start > now + SKEW:
                start = self._seen = now
            return start

    def _take(self, s: Session, start: datetime) -> datetime:
        end = start + self.even * self._block
        budget.spend(s, self._name, end)
        with self._lock:
            self._seen = max(self._seen, end)
        if self._block > 1:
            after_commit(s, partial(self._keep, [start + self.even * n for n in range(1, self._block)]))
        return start

    def _keep(self, moments: list[datetime]) -> None:
        with self._lock:
            self._kept = deque(sorted([*self._kept, *moments]))
