"""Whose turn it is to write to a channel: one at a time, in the order they were asked for, at its pace.

Slack takes about one message a second in a channel and a few at once; whoever goes on all the same is told to
wait. Who is not in turn is put off in the outbox with the time to come again, so that no slot waits. One that
Slack or a lost answer puts off keeps its place: those behind it wait with it, for a while.

    spent ........ one more message ──► + every
    free at        spent less (burst - 1) * every

Source: Slack, "Rate limits" (posting messages).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain.effects import Urgency
from orchestrator.store import claims, lines
from orchestrator.store.claims import Claimed

SOON: Final = timedelta(minutes=2)
"""Whoever is due later than that does not wait for a turn, but for a time of its own."""


@dataclass(frozen=True, slots=True)
class PostingRate:
    """What one place takes.

    Args:
        every: Between two messages, when there are many.
        burst: How many may come one right after the other.
    """

    every: timedelta = timedelta(seconds=0.05)
    burst: int = 100

    @property
    def spare(self) -> timedelta:
        """How far those that came at once may be ahead."""
        return self.every * (self.burst - 1)


class Lines:
    """Asked within transactions, from any thread and process: all it knows are rows."""

    def __init__(self, rate: PostingRate) -> None:
        self._rate = rate

    def admit(self, s: Session, effect: Claimed, line: str, now: datetime) -> bool:
        """Whether it is this one's turn, which is then taken; if not, it is put off, or left."""
        lines.stand(s, effect, line)
        if not lines.in_order(s, line):
            claims.leave(s, effect)
            return False
        if (later := self._later(s, effect, line, now)) is not None:
            claims.put_off(s, effect, later, Urgency.NEXT)
        return later is None

    def _later(self, s: Session, effect: Claimed, line: str, now: datetime) -> datetime | None:
        """When to come again; None if it is this one's turn, which is then taken."""
        every = self._rate.every
        spent = self._spent(s, line, now)
        free = max(now, spent - self._rate.spare)
        writing = lines.writing(s, effect, line)
        if writing or free > now or lines.before(s, effect, line, free):
            nearest = max(free, now + every) if writing else free
            return nearest + every * lines.before(s, effect, line, now + SOON)
        lines.taken(s, line, max(spent, now) + every)
        return None

    def _spent(self, s: Session, line: str, now: datetime) -> datetime:
        """Up to when the place is taken. Who takes it for long stands in line, told to wait.

        If nobody does, it was taken before the clock was set back.
        """
        spent, far = lines.spent_until(s, line, now), now + SOON + self._rate.spare
        if spent <= far:
            return spent
        return min(spent, max(lines.last_due(s, line) or now, now) + self._rate.spare)

    def left(self, s: Session, line: str, now: datetime) -> None:
        """One has written, or did not come to it: the next one need not wait for it any longer."""
        lines.call_next(s, line, now, self._rate.spare)

    def wait(self, s: Session, effect: Claimed, until: datetime, now: datetime) -> None:
        """It had its turn and tries again then; nobody goes before it."""
        if line := lines.of(s, effect):
            spent = lines.spent_until(s, line, now)
            lines.taken(s, line, max(spent, until + self._rate.spare))
