"""How what came of an effect is committed: the effect settled and the event decided, in one transaction."""

import random
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Concatenate, Final, ParamSpec, TypeVar

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import Event
from orchestrator.domain.model import Policy
from orchestrator.domain.retry import backoff
from orchestrator.engine import step
from orchestrator.engine.ports import Clock
from orchestrator.errors import NotFoundError, UnavailableError
from orchestrator.store import outbox
from orchestrator.store.database import Database
from orchestrator.store.outbox import Claimed

P = ParamSpec("P")
T = TypeVar("T")

LEASE: Final = timedelta(seconds=15)
"""How long the work of a process that is gone stays untouched; renewed three times as often."""

log = structlog.get_logger(__name__)


class Commits:
    """Commits for the performer; what a step makes due is taken up at once where there is room.

    Args:
        roll: Dice for the backoff, in [0, 1).
        lease: How long a claim holds without being renewed.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: Policy,
        clock: Clock,
        roll: Callable[[], float] = random.random,
        lease: timedelta = LEASE,
    ) -> None:
        self._db = database
        self._clock = clock
        self._roll = roll
        self.policy = policy
        self.lease = lease
        self.room: Callable[[], Collection[EffectKind]] = tuple
        self.accept: Callable[[Sequence[Claimed]], None] = _leave_to_the_rows

    def now(self) -> datetime:
        return self._clock()

    async def read(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.read(job, *args, **kwargs)

    async def write(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.write(job, *args, **kwargs)

    def apply(self, s: Session, run_id: str, event: Event) -> step.Applied:
        """Decide about an event within a transaction that does more than that."""
        applied = step.apply(s, run_id, event, policy=self.policy, now=self._clock())
        alarm(run_id, applied)
        return applied

    def still_ours(self, s: Session, effect: Claimed) -> bool:
        """Whether nobody took it over while this process stood still; asked before what cannot be undone.

        Else a paused worker would take the work of its successor, under way by now, for its own that
        was cut off.
        """
        return outbox.renew(s, effect, self._clock(), self.lease)

    async def advance(self, job: Callable[[Session], str | None]) -> None:
        """Commit a step of a run and go straight on with what it made due, as far as there is room.

        What is not taken here stays a row, and the worker finds it.

        Args:
            job: Makes the step and returns the run's id, None if there is none to go on with.
        """

        def whole(s: Session) -> list[Claimed]:
            run_id = job(s)
            kinds = self.room()
            return outbox.claim_next(s, run_id, kinds, self._clock(), self.lease) if run_id else []

        self.accept(await self._db.write(whole))

    async def conclude(self, effect: Claimed, event: Event, run_id: str = "") -> None:
        """The effect is done and this is what came of it for its run: one transaction."""
        of_run = run_id or effect.run_id

        def job(s: Session) -> str:
            outbox.done(s, effect)
            with suppress(NotFoundError):  # the run was deleted meanwhile
                self.apply(s, of_run, event)
            return of_run

        await self.advance(job)

    async def defer(self, effect: Claimed, event: Event, error: UnavailableError) -> None:
        """Nothing happened: say so to the run, and let the effect wait."""
        due_at = self._clock() + backoff(effect.attempts, self._roll(), error.retry_after)

        def job(s: Session) -> None:
            self.apply(s, effect.run_id, event)
            outbox.retry(s, effect, due_at, str(error))

        await self.write(job)

    async def again(self, effect: Claimed, why: str, error: Exception | None = None) -> None:
        """Not now; later, and not before the other side wants it."""
        after = getattr(error, "retry_after", None)
        due_at = self._clock() + backoff(effect.attempts, self._roll(), after)
        await self.write(outbox.retry, effect, due_at, why)

    async def done(self, effect: Claimed) -> None:
        """It is done, and no run needs to hear of it."""
        await self.write(outbox.done, effect)


def alarm(run_id: str, applied: step.Applied) -> None:
    """Ask for a person's eye, where a decision says that one is needed."""
    if applied.alarm:
        log.warning("run_needs_a_look", run_id=run_id, why=applied.note)


def _leave_to_the_rows(claimed: Sequence[Claimed]) -> None:
    """Where nobody has room, nothing was claimed."""
