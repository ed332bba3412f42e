"""A worker among many: jobs tell it where to look, and a sweep finds what no job tells of."""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind
from orchestrator.engine.clock_watch import SET
from orchestrator.engine.dispatch import MAIL, NEAR, SLACK, effect_of, passed_on
from orchestrator.engine.worker import BATCH, Worker
from orchestrator.jobs import Job, Jobs, put
from orchestrator.store import claims, inbox, outbox, set_back, sightings
from orchestrator.store.sql.held import flush
from orchestrator.store.sql.standstill import LOOK_SHARE

SWEEP_SECONDS: Final = 3.0
"""Between two looks for what no job told of. With the lease it bounds how long a dead worker's work rests."""
NEAR_SECONDS: Final = 20.0
"""Between two looks for timers that come near."""
OVERDUE: Final = timedelta(seconds=3)
"""How long after its time an effect that nobody took must have lost its job."""
NEAR_BATCH: Final = 1000
MAIL_PICKED: Final = 32
"""Hints of mail taken at once: all of them come to one look."""
HELD_SECONDS: Final = 0.1
"""How long a job whose place was taken, while it was picked, waits for another before it is passed on."""
AGAIN: Final = timedelta(milliseconds=200)

log = structlog.get_logger(__name__)


class QueuedWorker(Worker):
    """Works on what jobs point to, beside any number of others.

    Args:
        make_jobs: Opens the job queue for those lanes and that handler.
        roll: Dice, so that many workers do not sweep at the same moment.
        moment: What the clock says that all of them share.
    """

    def __init__(
        self,
        *args: Any,
        make_jobs: Callable[..., Jobs],
        roll: Callable[[], float] = random.random,
        moment: Callable[[Session], datetime] = sightings.moment,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._roll, self._moment = roll, moment
        self._was_behind = False
        self._freed = asyncio.Event()
        lanes: Mapping[str, int] = {**self._free, MAIL: MAIL_PICKED}
        self.jobs = make_jobs(lanes=lanes, handle=self._handle, room=self._room_in)
        self._sweep_at = self._near_at = 0.0

    async def run(self) -> None:
        """Until `stop`. A failing database is waited for, not died of."""
        self.attach()
        carrying = asyncio.create_task(self.jobs.run())
        freeing = asyncio.create_task(self._free_rows())
        try:
            while not self._stopping:
                self._wake.clear()
                await self._round()
        finally:
            freeing.cancel()
            await asyncio.wait({freeing})
            await carrying

    def clock_moved(self) -> None:
        """See `Worker`: the looks that wait for their turn are taken now."""
        self._sweep_at = self._near_at = 0.0
        super().clock_moved()

    async def stop(self, grace_seconds: float) -> None:
        """Claim nothing more and give what runs its time; what is left others take over."""
        self._stopping = True
        # A handler that waits for room has nothing to be waited for: its job goes back, for others.
        await asyncio.gather(super().stop(grace_seconds), self.jobs.stop(0.0))

    async def _free_rows(self) -> None:
        """What processes that stand still hold is let go, also while this one waits for just that."""
        failing = False
        while True:
            await asyncio.sleep(self._db.still_seconds * LOOK_SHARE)
            try:
                ended = await self._db.let_go()
            except Exception as e:  # noqa: BLE001  the rounds say it at length, and when it is over
                if not failing:
                    log.warning("sessions_not_looked_at", error=type(e).__name__)
                failing = True
            else:
                failing = False
                if ended:
                    log.warning("sessions_ended", sessions=ended, why="their process stands still")

    async def _round(self) -> None:
        self.beat()
        mail, self._mail = self._mail, False
        try:
            async with self._turn:
                if mail:
                    await self._deliveries()
                await self._sweep()
        except Exception as e:  # noqa: BLE001  told by the streak
            self._streak.failed(e)
            self._mail = True
            await asyncio.sleep(1.0)
        else:
            self._streak.worked()
            await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.05, self._sweep_at - asyncio.get_running_loop().time())):
                await self._wake.wait()

    async def _sweep(self) -> None:
        """What is long due or was abandoned is taken; what comes near becomes jobs."""
        clock = asyncio.get_running_loop().time
        if clock() < self._sweep_at or self._stopping:
            return
        self._sweep_at = clock() + SWEEP_SECONDS * (0.7 + 0.6 * self._roll())
        over = self._performer.commits.hold().over
        due, mail = await self._db.read(_left_lying, self._clock(), self._room(), over)
        if mail:
            self.mail()
        await self._claim_of(due)
        if clock() >= self._near_at:
            self._near_at = clock() + NEAR_SECONDS * (0.7 + 0.6 * self._roll())
            await self._mind_the_clock()
        await self._prune()

    async def _mind_the_clock(self) -> None:
        """See `Worker`; and what comes near becomes jobs. It is found behind twice: by the second look every
        process goes by what it says now, and nobody plans by what it said before.
        """
        behind = await self._db.write(self._look_ahead) >= SET
        if behind and self._was_behind:
            back = await self._db.write(self._go_on)
            if back:
                log.warning("clock_set", by_seconds=-round(back.total_seconds()))
        self._was_behind = behind

    def _look_ahead(self, s: Session) -> timedelta:
        """Hint at what comes near; how far the shared clock is behind."""
        _come_near(s, self._clock())
        return set_back.behind(s, self._moment(s))

    def _go_on(self, s: Session) -> timedelta:
        return set_back.go_on(s, self._moment(s), self._performer.commits.lease)

    async def _handle(self, lane: str, payload: bytes) -> None:
        """A job only says where to look. It is done when the row was looked at."""
        if lane == MAIL:
            self.mail()
            return
        which, due = effect_of(payload)
        if (left := due - self._clock()) > timedelta(0):  # its maker's clock, or the database's, was set
            await self._db.write(_pass_on, passed_on(payload, self._clock(), left + SLACK))
            return
        kind = EffectKind(which[1].partition(":")[0])
        reserved = await self._reserved(kind)
        if self._stopping and not reserved:
            await asyncio.Event().wait()  # until `stop` gives the job back
        if reserved:
            await asyncio.shield(self._own(self._in_slot(which, kind)))
        else:
            await self._db.write(_pass_on, passed_on(payload, self._clock(), AGAIN))

    async def _reserved(self, kind: EffectKind) -> bool:
        """Take a place, now or as soon as one comes free; False where that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_SECONDS):
                while not self.reserve(kind):
                    self._freed.clear()
                    await self._freed.wait()
                return True
        return False

    def _room_in(self, lane: str) -> int:
        """How many jobs of that lane there is room for: what is picked without room keeps others waiting."""
        if lane == MAIL:
            return MAIL_PICKED
        with self._counting:
            free = self._free[lane]
            self._starved = self._starved or free <= 0
            return free

    def _room_made(self) -> None:
        if self._starved:
            self._starved = False
            self._freed.set()
            self.jobs.look()


def _left_lying(
    s: Session, now: datetime, kinds: Collection[EffectKind], over: datetime
) -> tuple[list[tuple[int, EffectKind]], bool]:
    """Effects and, whether there are any, webhooks that nobody took in time: one question of PostgreSQL's, as
    a worker with nothing to do asks nearly nothing else.
    """
    mail: list[Any] = []
    inbox.lingering(s, mail.extend, now - OVERDUE)
    due = claims.due(s, now, BATCH, kinds, OVERDUE, over)
    flush(s)  # it may be that there is no room for any kind
    return due, bool(mail)


def _pass_on(s: Session, job: Job) -> None:
    flush(s)  # what is put goes through the driver
    put(s, [job])


def _come_near(s: Session, now: datetime) -> None:
    """The transaction's end makes jobs of them."""
    outbox.come_near(s, now, now + NEAR, NEAR_BATCH)
