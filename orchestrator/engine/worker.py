"""From due rows to performed effects: `run_once` with a `while` around it.

Nothing here is true: a worker that dies leaves rows that the next one finds. It sleeps until a commit
in this process wakes it, or the next row is due; it never polls while nothing is.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from orchestrator import failpoints
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.model import Policy
from orchestrator.engine import webhooks
from orchestrator.engine.clock_watch import ClockWatch
from orchestrator.engine.dispatch import LANE_OF
from orchestrator.engine.meters import Stopwatch
from orchestrator.engine.perform import Performer
from orchestrator.engine.ports import Clock
from orchestrator.engine.shared_clock import NOT_AT_ALL, awake_or_not
from orchestrator.engine.tickets import Ticket
from orchestrator.errors import UnreadableError
from orchestrator.failure_streak import FailureStreak
from orchestrator.store import claims, inbox, set_back
from orchestrator.store.claims import Which
from orchestrator.store.database import Database

SLOTS: Final[Mapping[str, int]] = {
    "gemini": 64,
    "tools": 16,
    "slack": 4,
    "files": 4,
    "callbacks": 8,
    "timers": 16,
    "triggers": 4,
}
BATCH: Final = 50
DELIVERIES: Final = 200
SORT_EVERY: Final = 0.025
"""Seconds between two looks into the inbox while each finds several."""
LONGEST_SLEEP: Final = 15.0
"""Seconds. Only a safety net: every row made in this process wakes the worker."""
PRUNE_EVERY: Final = timedelta(hours=1)
PRUNE_MOST: Final = 500
"""Rows that are forgotten in one transaction."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Worker:
    """Takes deliveries and due effects and works on them, each lane with its own number of slots.

    Args:
        slots: How many effects of each lane at once.
        keep_deliveries: How long a webhook that was worked on is kept.
        beat: Called with each round, every `LONGEST_SLEEP` at least, for who watches over this process.
        tidy: Called every `PRUNE_EVERY`, beside the work, to remove what else is old; a stop cancels it.
        stopwatch: By which is seen that the clock was set.
    """

    def __init__(
        self,
        database: Database,
        performer: Performer,
        *,
        policy: Policy,
        clock: Clock,
        slots: Mapping[str, int] = SLOTS,
        keep_deliveries: timedelta = timedelta(days=7),
        beat: Callable[[], None] = lambda: None,
        tidy: Callable[[], Coroutine[Any, Any, None]] | None = None,
        stopwatch: Stopwatch = awake_or_not,
    ) -> None:
        self._db = database
        self._performer = performer
        self._policy = policy
        self._clock = clock
        self._set = ClockWatch(clock, stopwatch)
        self._free = dict(slots)
        self._keep = keep_deliveries
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wake = asyncio.Event()
        self._mail = True
        self._sorted_at = 0.0
        self._storm = False
        self._turn = asyncio.Lock()
        self._stopping = False
        self._prune_at = clock()
        self._counting = threading.Lock()
        self._starved = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next = clock()
        self.beat = beat
        self._tidy = tidy
        self._tidying: asyncio.Task[None] | None = None
        self._streak = FailureStreak("worker")

    def wake(self) -> None:
        """Something was committed that may be due."""
        self._wake.set()

    def clock_moved(self) -> None:
        """The clock was set anew, on purpose: what was due later may be due now."""
        self._set.heed(self._set.step())
        self._wake.set()

    def mail(self) -> None:
        """A webhook was stored. A lone one is looked at now; in a storm they are sorted many at a time."""
        if self._mail:
            return  # the wake that is on its way finds this one too
        self._mail = True
        loop = asyncio.get_running_loop()
        pause = self._sorted_at + SORT_EVERY - loop.time() if self._storm else 0.0
        if pause <= 0:
            self._wake.set()
        else:
            loop.call_later(pause, self._wake.set)

    def expect(self, due: datetime) -> None:
        """Something was left to the rows that is due then: a sleep must not last longer."""
        if due < self._next:
            self._next = due
            self._wake.set()

    @property
    def busy(self) -> int:
        """How many effects are being performed."""
        return len(self._tasks)

    async def run_once(self) -> int:
        """One turn of the loop, to its end: returns how many deliveries and effects were worked on."""
        worked = await self._take()
        while self._tasks:
            await asyncio.wait(self._tasks)
        return worked

    async def run(self) -> None:
        """Until `stop`. A failing database is waited for, not died of."""
        self.attach()
        while not self._stopping:
            self._wake.clear()
            mail, self._mail = self._mail, False
            try:
                await self._mind_the_clock()
                taken = await self._take(mail=mail)
                self._streak.worked()
                if taken == 0:
                    await self._sleep()
            except Exception as e:  # noqa: BLE001  told by the streak
                self._streak.failed(e)
                self._mail = True
                await asyncio.sleep(1.0)
            self.beat()

    async def _mind_the_clock(self) -> None:
        """A clock that was set back must not put off what is due after a while: readings, retries."""
        step = self._set.step()
        if step == NOT_AT_ALL:
            return
        if step < NOT_AT_ALL:
            await self._db.write(set_back.keep_intervals, self._clock(), -step)
            self._prune_at += step
        self._set.heed(step)
        log.warning("clock_set", by_seconds=round(step.total_seconds()))

    async def stop(self, grace_seconds: float) -> None:
        """Claim nothing more and give what runs its time; what is left is found after the restart."""
        self._stopping = True
        self._wake.set()
        async with self._turn:  # what is being claimed at this moment gets its time too
            pass
        if self._tidying is not None:  # the next process goes on with it
            self._tidying.cancel()
            await asyncio.wait({self._tidying})
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _take(self, *, mail: bool = True) -> int:
        async with self._turn:
            taken = await self._deliveries() if mail else 0
            taken += 0 if self._stopping else await self._claim()
            await self._prune()
            return taken

    def attach(self) -> None:
        """From here on steps go straight on with what they make due, in this worker's slots."""
        self._loop = asyncio.get_running_loop()
        commits = self._performer.commits
        commits.slots, commits.accept, commits.expect = self, self._accept, self.expect

    def reserve(self, kind: EffectKind) -> bool:
        """See `Slots`."""
        with self._counting:
            lane = LANE_OF[kind]
            if self._stopping or self._free[lane] <= 0:
                self._starved = True
                return False
            self._free[lane] -= 1
            return True

    def give_back(self, kind: EffectKind) -> None:
        """See `Slots`."""
        with self._counting:
            self._free[LANE_OF[kind]] += 1
        if self._starved and self._loop is not None:
            self._loop.call_soon_threadsafe(self._room_made)

    def _room(self) -> list[EffectKind]:
        """Kinds that may be begun now."""
        return [] if self._stopping else [kind for kind, lane in LANE_OF.items() if self._free[lane] > 0]

    def _accept(self, tickets: Sequence[Ticket]) -> None:
        if tickets:
            failpoints.hit("after_claim")
        for ticket in tickets:
            self._own(self._work(ticket))

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that a stop waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _deliveries(self) -> int:
        """Sort what came in; each run that should hear of something hears once, in its own transaction."""
        self._sorted_at = asyncio.get_running_loop().time()
        now = self._clock()
        heeded, others = await self._db.read(webhooks.sift, DELIVERIES)
        count = len(heeded) + len(others)
        self._storm = count > 1
        if count == 0:
            return 0
        if others:
            heeded += await self._db.write(webhooks.sort, others, now)
        by_subject: dict[str, list[inbox.Waiting]] = {}
        for delivery in heeded:
            by_subject.setdefault(delivery.subject, []).append(delivery)
        await asyncio.gather(*(self._hear(ds, now) for ds in by_subject.values()))
        failpoints.hit("after_delivery_taken")
        if count == DELIVERIES:
            self.mail()  # there may be more
        return count

    async def _hear(self, deliveries: Sequence[inbox.Waiting], now: datetime) -> None:
        try:
            await self._performer.commits.advance(
                partial(webhooks.hear, deliveries=deliveries, policy=self._policy, now=now)
            )
        except UnreadableError as e:  # of this run alone: the others must not wait for it
            log.error("deliveries_set_aside", deliveries=len(deliveries), why=str(e))
            await self._db.write(webhooks.set_aside, deliveries, str(e), now)

    async def _claim(self) -> int:
        """Take what is due; returns how much that was."""
        over = self._performer.commits.hold().over
        due = await self._db.read(claims.due, self._clock(), BATCH, self._room(), over=over)
        return await self._claim_of(due)

    async def _claim_of(self, due: Sequence[tuple[int, EffectKind]]) -> int:
        """Take of those as many as their lanes have room for."""
        return sum(await asyncio.gather(*(self._begin(which, kind) for which, kind in due)))

    async def _begin(self, which: Which, kind: EffectKind) -> bool:
        """Claim an effect in a slot of ours and perform it; False without a slot, or nothing to claim."""
        return self.reserve(kind) and await self._in_slot(which, kind)

    async def _in_slot(self, which: Which, kind: EffectKind) -> bool:
        """`_begin` in a slot that is reserved for it."""
        taken = None
        try:
            taken = await self._performer.commits.take(which)
        finally:
            if taken is None or taken.own is None:
                self.give_back(kind)
        if taken is None:
            return False
        self._accept([*([taken.own] if taken.own else []), *taken.following])
        return True

    async def _work(self, ticket: Ticket) -> None:
        try:
            await self._performer.perform(ticket)
        finally:
            self.give_back(ticket.effect.kind)

    def _room_made(self) -> None:
        """What waits for a slot may be taken now; where nothing does, nobody needs to look."""
        if self._starved:
            self._starved = False
            self.wake()

    async def _sleep(self) -> None:
        now = self._clock()
        self._next = now + timedelta(seconds=LONGEST_SLEEP)  # what is left meanwhile is expected
        room = self._room()
        crowded = [kind for kind in LANE_OF if kind not in room]
        behind = now - self._performer.commits.hold().over
        due = await self._db.read(claims.next_due, room, behind)
        if crowded and (first := await self._db.read(claims.next_due, crowded, behind)) is not None:
            if first > now:
                due = min(due or first, first)
            else:  # nothing of them is looked for before there is room
                self._starved = True
                if self._room() != room:
                    self._room_made()
        self._next = min(self._next, due or self._next)
        try:
            async with asyncio.timeout(max(0.05, (self._next - self._clock()).total_seconds())):
                await self._wake.wait()
        except TimeoutError:
            self._mail = True

    async def _prune(self) -> None:
        now = self._clock()
        if now < self._prune_at:
            return
        before = now - self._keep
        gone = await self._db.write(inbox.prune, before, PRUNE_MOST)
        if max(gone, await self._db.write(claims.prune, before, PRUNE_MOST)) == PRUNE_MOST:
            self.wake()  # the rest comes with the next turns: others write, and work is taken, in between
            return
        self._prune_at = now + PRUNE_EVERY
        if self._tidy is not None and not self._stopping and (not self._tidying or self._tidying.done()):
            self._tidying = asyncio.create_task(self._tidy())
