"""Transactions of the performer: what came of an effect is committed with what it makes due.

An effect is claimed and passes its gate in one transaction, often the very one that made it due; what
is left to do afterwards, on the wire or in a tool, is its act.
"""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import structlog
from sqlalchemy.orm import Session
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import Event
from orchestrator.domain.model import Policy, Run
from orchestrator.domain.retry import backoff
from orchestrator.engine import step
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.lines import Lines
from orchestrator.engine.polling import Go, Polling
from orchestrator.engine.ports import Clock
from orchestrator.engine.tickets import Act, Gate, GateError, NoSlots, Places, Slots, Taken, Ticket
from orchestrator.errors import NotFoundError, UnavailableError, UnreadableError
from orchestrator.outages import AWAY
from orchestrator.store import claims, locking, occupancy, outbox
from orchestrator.store.claims import Claimed, Hold, Which
from orchestrator.store.database import Database
from orchestrator.store.sql.races import lost_race, resumed

P = ParamSpec("P")
T = TypeVar("T")
Leases = Callable[[timedelta], Hold]
"""How claims of that length hold now."""

UNREAD_TRIES: Final = 20
"""Of an effect whose run cannot be read, over some minutes: in an upgrade another process may be able to."""
OUTLAST_SECONDS: Final = 300.0
"""How long an outcome waits for the database; after that the lease has long run out, and it is in doubt."""
LEASE: Final = timedelta(seconds=15)
"""How long the work of a process that is gone stays untouched; renewed three times as often."""

log = structlog.get_logger(__name__)


class Commits:
    """Commits for the performer; what a step makes due is taken up at once where there is room.

    Args:
        roll: Dice for the backoff, in [0, 1).
        lease: How long a claim holds without being renewed.
        polling: Says how soon interactions are read, and how many; by default as the policy says, and any.
        lines: Says who may write to a place in Slack now; without, everybody at once.
        limits: On single tools and workflows, over all processes; without, there are none.
        leases: By default, as `clock` goes.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: Policy,
        clock: Clock,
        roll: Callable[[], float] = random.random,
        lease: timedelta = LEASE,
        polling: Polling | None = None,
        lines: Lines | None = None,
        limits: Ceilings | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._db = database
        self._clock = clock
        self._leases = leases or (lambda lease: Hold.at(clock(), lease))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._roll = roll
        self.lines = lines
        self.limits = limits or Ceilings()
        self.polling = polling or Polling(policy, None, clock=clock)
        self.lease = lease
        self.gate: Gate = _no_gate
        self.slots: Slots = NoSlots()
        self.accept: Callable[[Sequence[Ticket]], None] = _leave_to_the_rows
        self.expect: Callable[[datetime], None] = _leave_it_to_the_next_look

    def now(self) -> datetime:
        return self._clock()

    def hold(self) -> Hold:
        """How claims hold now."""
        return self._leases(self.lease)

    def roll(self) -> float:
        """Dice, in [0, 1)."""
        return self._roll()

    async def read(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.read(job, *args, **kwargs)

    async def write(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A caller that is cancelled stops waiting; what it left to the rows is told of all the same."""
        return await self._finished(self._write(lambda s: job(s, *args, **kwargs)))

    async def _write(self, job: Callable[[Session], T], of: str = "") -> T:
        value, due = await self._db.step(partial(self._told, job=job), of)
        self._tell(due)
        return value

    def _told(self, s: Session, job: Callable[[Session], T]) -> tuple[T, datetime | None]:
        """The job's value, and when what it left to the rows is due."""
        outbox.begin(s)
        occupancy.movements(s)  # of one that shares the COMMIT and was taken back
        value = job(s)
        self._leave(s)
        return value, outbox.earliest_left(s)

    def _leave(self, s: Session) -> None:
        """Whoever waits for a place that was left in this transaction is called."""
        if moves := occupancy.movements(s):
            self.limits.left(s, moves, self._clock())

    def _tell(self, due: datetime | None) -> None:
        if due is not None:
            self.expect(due)

    def policy(self, s: Session) -> Policy:
        """Our pace and patience as they can be kept at this moment."""
        return self.polling.policy(s)

    def room(self, s: Session, effect: Claimed) -> Go | None:
        """When an interaction may be read; None where not now, and the effect is put off."""
        room = self.polling.admit(s, effect.urgency)
        if isinstance(room, Go):
            return room
        claims.put_off(s, effect, room.until, room.then)
        return None

    def apply(self, s: Session, run_id: str, event: Event | Callable[[Run], Event]) -> step.Applied:
        """Decide about an event within a transaction that does more than that; see `step.apply`."""
        applied = step.apply(s, run_id, event, policy=self.policy(s), now=self._clock())
        alarm(run_id, applied)
        return applied

    async def advance(
        self, job: Callable[[Session], tuple[str | None, T]], *, tools: bool = True, of: str = ""
    ) -> T:
        """Commit a step of a run and go straight on with what it made due, as far as there is room.

        What is not taken here stays a row, and the worker finds it. A caller that is cancelled stops
        waiting; the step and what follows are not.

        Args:
            job: Makes the step and returns the run's id, None if there is none to go on with, and a
                value for the caller.
            tools: Whether tools may be claimed with it; one that is would be in doubt if the process ended
                right behind the step.
            of: The run, where it is known before; see `Database.step`.
        """
        return await self._finished(self._advance(job, tools, of))

    async def _advance(self, job: Callable[[Session], tuple[str | None, T]], tools: bool, of: str) -> T:
        places = Places(self.slots)

        def whole(s: Session) -> tuple[list[Ticket], T]:
            places.clear()  # of an attempt that lost a race
            run_id, value = job(s)
            return (self._next(s, run_id, places, tools) if run_id else []), value

        try:
            (tickets, value), due = await self._db.step(partial(self._told, job=whole), of)
        except GateError:
            # The step itself must not be lost with it; what it made due is found as a row.
            log.exception("gate_failed")
            places.clear()
            return (await self.write(job))[1]
        except BaseException:
            places.clear()
            raise
        self.accept(tickets)
        self._tell(due)
        return value

    async def outlast(self, job: Callable[[Session], tuple[str | None, T]], of: str = "") -> T:
        """`advance` for what came of an effect: it happened, so a database that is away is waited for.

        Nobody else can take the effect over meanwhile without that database; whoever did before loses
        nothing, because the outcome is heard under its claim only.
        """
        try:
            return await self.advance(job, of=of)  # nearly always that is all
        except AWAY as e:
            again = resumed(e, lambda: self.advance(job, of=of))
        # Not `AsyncRetrying(…)(again)`: it awaits only what is declared `async`.
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(AWAY),
            wait=wait_random_exponential(0.1, max=2.0),
            stop=stop_after_delay(OUTLAST_SECONDS),
            reraise=True,
        ):
            with attempt:
                return await again()
        raise AssertionError("unreachable: tenacity returns or raises")

    async def take(self, which: Which) -> Taken | None:
        """Claim an effect that is due, and what follows at once; None if somebody else has it.

        The place for the effect itself is the caller's; what follows has places of its own.
        """
        return await self._finished(self._taken(which))

    async def _taken(self, which: Which) -> Taken | None:
        places = Places(self.slots)
        try:
            of = which[0] if isinstance(which, tuple) else ""
            return await self._write(partial(self._take, which=which, places=places), of)
        except (GateError, UnreadableError) as e:
            places.clear()
            unreadable = e if isinstance(e, UnreadableError) else e.__cause__
            if isinstance(unreadable, UnreadableError):
                await self.write(self._stumble, which, str(unreadable), UNREAD_TRIES)
            else:
                log.exception("gate_failed", effect=which)
                await self.write(self._stumble, which, str(e))
            return Taken(None)
        except BaseException:
            places.clear()
            raise

    def _take(self, s: Session, which: Which, places: Places) -> Taken | None:
        places.clear()
        locking.run_of_effect(s, which)
        effect = claims.claim(s, which, self._clock(), self.hold())
        if effect is None:
            return None
        return Taken(self._passed(s, effect), self._next(s, effect.run_id, places))

    async def _finished(self, work: Coroutine[Any, Any, T]) -> T:
        """It comes to its end, whoever stops waiting for that."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_unheard)
            raise

    def _next(self, s: Session, run_id: str, places: Places, tools: bool = True) -> list[Ticket]:
        """What the run has due now, and what that makes due in turn."""
        self._leave(s)  # first: lines are taken in their order, and what is due may need a later one
        left_out = () if tools else (EffectKind.EXECUTE_TOOL,)
        tickets: list[Ticket] = []
        tried: set[outbox.Asked] = set()
        while left := [a for a in outbox.ripe(s, run_id, self._clock()) if a not in tried]:
            for asked in left:
                tried.add(asked)
                if asked.kind not in left_out and (ticket := self._one(s, asked, places)) is not None:
                    tickets.append(ticket)
        return tickets

    def _one(self, s: Session, asked: outbox.Asked, places: Places) -> Ticket | None:
        if not places.reserve(asked.kind):
            return None
        effect = claims.claim(s, (asked.run_id, asked.key), self._clock(), self.hold())
        ticket = self._passed(s, effect) if effect is not None else None
        if ticket is None:
            places.give_back(asked.kind)
        return ticket

    def _passed(self, s: Session, effect: Claimed) -> Ticket | None:
        try:
            act = self.gate(s, effect)
        except Exception as e:
            if lost_race(e) or isinstance(e, AWAY):
                raise
            raise GateError(f"{type(e).__name__}: {e}") from e
        return Ticket(effect, act) if act is not None else None

    def _stumble(self, s: Session, which: Which, why: str, tries: float = math.inf) -> None:
        """Later again; after so many tries never, so that a person may mend what it needs."""
        effect = claims.claim(s, which, self._clock(), self.hold())
        if effect is not None and effect.attempts >= tries:
            claims.give_up(s, effect, why)
        elif effect is not None:
            claims.retry(s, effect, self.later(effect, None), why)

    async def still_ours(self, effect: Claimed, until: datetime) -> bool:
        """Whether a claim that held until then was taken over by nobody while this process stood still."""
        return self.hold().until < until + self.lease or await self.renewed(effect)

    async def renewed(self, effect: Claimed) -> bool:
        """Whether the claim holds, for another lease."""
        return await self._db.write(claims.renew, effect, self.hold().until)

    async def conclude(self, effect: Claimed, event: Event, run_id: str = "") -> None:
        """The effect is done and this is what came of it for its run: one transaction."""
        of_run = run_id or effect.run_id

        def job(s: Session) -> tuple[str, None]:
            self.settle(s, effect, event, of_run)
            return of_run, None

        await self.outlast(job, of_run)

    def settle(
        self, s: Session, effect: Claimed, event: Event | Callable[[Run], Event], run_id: str = ""
    ) -> step.Applied | None:
        """`conclude` within a transaction that does more than that; None if the run is not there any more."""
        of_run = run_id or effect.run_id
        locking.run(s, of_run)
        claims.done(s, effect)
        try:
            return self.apply(s, of_run, event)
        except NotFoundError:  # deleted meanwhile
            return None

    async def defer(self, effect: Claimed, event: Event, error: UnavailableError) -> None:
        """Nothing happened: say so to the run, and let the effect wait."""
        due_at = self._clock() + backoff(effect.attempts, self._roll(), error.retry_after)

        def job(s: Session) -> None:
            self.apply(s, effect.run_id, event)
            claims.retry(s, effect, due_at, str(error))

        await self.write(job)

    async def again(self, effect: Claimed, why: str, error: Exception | None = None) -> None:
        """Not now; later, and not before the other side wants it."""
        await self.write(claims.retry, effect, self.later(effect, error), why)

    def later(self, effect: Claimed, error: Exception | None) -> datetime:
        """When to try again what came to that error."""
        return self._clock() + backoff(effect.attempts, self._roll(), getattr(error, "retry_after", None))

    async def done(self, effect: Claimed) -> None:
        """It is done, and no run needs to hear of it."""
        await self.write(claims.done, effect)


def alarm(run_id: str, applied: step.Applied) -> None:
    """Ask for a person's eye, where a decision says that one is needed."""
    if applied.alarm:
        log.warning("run_needs_a_look", run_id=run_id, why=applied.note)


def _unheard(task: "asyncio.Task[Any]") -> None:
    """Nobody waits for it any more: a mistake is told here, an outage by others who meet it."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, AWAY):
        log.error("step_failed", error=type(error).__name__, exc_info=error)


def _no_gate(s: Session, effect: Claimed) -> Act | None:
    raise GateError("nothing is claimed before somebody performs")


def _leave_it_to_the_next_look(due: datetime) -> None:
    """Where nobody sleeps, nobody is woken."""


def _leave_to_the_rows(tickets: Sequence[Ticket]) -> None:
    """Where nobody has room, nothing was claimed."""
