"""Hearing without being told: how soon an end is noticed, and the one budget all readings share."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON, SettableClock
from support.gemini import ENDS, FakeGemini
from support.world import OneThread, World

from orchestrator.domain.decision import watch_span
from orchestrator.domain.effects import Urgency
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.model import Policy
from orchestrator.engine.polling import (
    COUNT_EVERY,
    POLLING,
    RECONCILING,
    Allowance,
    Go,
    Polling,
    PutOff,
    intervals,
)
from orchestrator.store.database import Database

SECOND = timedelta(seconds=1)
GETS = 10
POLL = Policy(watch_every=5 * SECOND, watch_growth=0.1)
POLLS = Allowance(GETS, POLLING)


class Listening(FakeGemini):
    """Notes each reading with its moment; an interaction ends at its hour, and nobody is told.

    Args:
        ends: By interaction, when it completes.
    """

    def __init__(self, clock: SettableClock) -> None:
        super().__init__()
        self.clock = clock
        self.moment = clock()
        self.ends: dict[str, datetime] = {}
        self.readings: list[tuple[datetime, str]] = []

    async def fetch(self, interaction_id: str) -> Snapshot:
        self.readings.append((self.moment, interaction_id))
        if self.ends.get(interaction_id, self.moment + SECOND) <= self.moment:
            self.interactions[interaction_id].status = "completed"
        return await super().fetch(interaction_id)


class Stepping(Polling):
    """Waits for no moment, and says which one it was: the clock of a test goes in steps."""

    gemini: Listening

    async def wait(self, room: Go) -> None:
        self.gemini.moment = room.at or self.gemini.clock()


class PollingWorld(World):
    """It polls, and each reading has its own moment."""

    gemini: Listening

    def __init__(self, url: str, allowance: Allowance = POLLS) -> None:
        dice = random.Random(7)
        super().__init__(
            url, policy=POLL, allowance=allowance, roll=dice.random, database=OneThread(url), eager=True
        )
        self.gemini = Listening(self.clock)
        self.boot()

    def hears(self) -> Polling:
        polling = Stepping(self.policy, self._allowance, clock=self.clock, roll=self._roll)
        polling.gemini = self.gemini  # type: ignore[assignment]  # the base class makes its own first
        return polling

    async def begin(self, runs: int) -> None:
        for n in range(runs):
            await self.start(f"run {n}")
        await self.settle(webhooks=False, model=False)

    async def go_on(self, seconds: float) -> None:
        """In steps as short as a reading may be early."""
        end = self.clock() + seconds * SECOND
        while self.clock() < end:
            self.clock.advance(POLLS.ahead)
            while await self.worker.run_once():
                pass

    @property
    def promised(self) -> timedelta:
        return self.performer.commits.polling.intervals.within


def most_in_a_second(moments: list[datetime]) -> int:
    """In any second, wherever it begins."""
    ordered, first, most = sorted(moments), 0, 0
    for n, at in enumerate(ordered):
        while ordered[first] + SECOND <= at:
            first += 1
        most = max(most, n - first + 1)
    return most


@pytest.mark.asyncio
async def test_many_runs_are_heard_within_the_promise_and_the_budget(sqlite_url: str) -> None:
    dice = random.Random(1)
    async with PollingWorld(sqlite_url) as world:
        await world.begin(120)
        born, gemini = world.clock(), world.gemini
        gemini.ends = {i: born + SECOND * dice.uniform(1, 45) for i in gemini.interactions}
        while any(i.status not in ENDS for i in gemini.interactions.values()):
            await world.go_on(2.5)
            assert world.promised <= intervals(POLL, POLLS, 120, 0).within
            assert world.clock() < born + timedelta(minutes=4), "an end was never noticed"
        assert most_in_a_second([at for at, _ in gemini.readings]) <= GETS
        noticed = {i: at for at, i in gemini.readings}
        for i in gemini.interactions:
            for last, at in itertools.pairwise([born, *(at for at, seen in gemini.readings if seen == i)]):
                live = sum(end > last - COUNT_EVERY for end in noticed.values())  # as they were last counted
                span = intervals(POLL, POLLS, live, 0).within + (last - born) * POLL.watch_growth
                assert at - last <= span, f"read after {at - last}, promised {span}"
            assert noticed[i] >= gemini.ends[i]
        assert set((await world.statuses()).values()) == {"completed"}


@pytest.mark.asyncio
async def test_few_runs_are_read_as_often_as_the_policy_says_and_old_ones_less(sqlite_url: str) -> None:
    async with PollingWorld(sqlite_url) as world:
        await world.begin(1)
        await world.go_on(300)
        times = [at for at, _ in world.gemini.readings]
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert times[0] - NOON <= 5 * SECOND
        assert all(g <= 5 * SECOND + 0.1 * (at - NOON) for at, g in zip(times, gaps, strict=False))
        assert 20 * SECOND <= max(gaps) <= POLL.watch_most
        assert len(times) < 30, "every five seconds it would have been 60"


@pytest.mark.asyncio
async def test_after_a_long_absence_the_readings_still_leave_one_by_one(sqlite_url: str) -> None:
    async with PollingWorld(sqlite_url) as world:
        await world.begin(40)
        await world.go_on(8)
        before = len(world.gemini.readings)
        world.clock.advance(timedelta(minutes=30))
        await world.restart("it was switched off")
        await world.go_on(8)
        assert most_in_a_second([at for at, _ in world.gemini.readings]) <= GETS
        assert len({i for _, i in world.gemini.readings[before:]}) == 40


@pytest.mark.asyncio
async def test_a_webhook_does_not_wait_behind_the_polls(sqlite_url: str) -> None:
    async with PollingWorld(sqlite_url) as world:
        await world.begin(100)
        await world.go_on(5)
        read = {i for _, i in world.gemini.readings}
        told = next(i for i in reversed(world.gemini.interactions) if i not in read)
        world.gemini.ends[told] = began = world.clock()
        await world.signal(told)
        await world.go_on(0.75)
        assert told in {i for at, i in world.gemini.readings if at - began <= 0.5 * SECOND}
        assert len({i for _, i in world.gemini.readings}) < 30, "the others stand in line"
        assert world.gemini.interactions[told].status == "completed"
        assert most_in_a_second([at for at, _ in world.gemini.readings]) <= GETS


@pytest.mark.asyncio
async def test_polls_keep_their_share_while_more_is_asked_for_than_there_is(sqlite_url: str) -> None:
    async with PollingWorld(sqlite_url, Allowance(GETS, RECONCILING)) as world:
        await world.begin(40)
        told = list(world.gemini.interactions)[10:]
        for _ in range(12):
            for interaction in told:
                await world.signal(interaction)
            await world.go_on(1)
        readings = [i for _, i in world.gemini.readings]
        asked = sum(i in set(told) for i in readings)
        assert most_in_a_second([at for at, _ in world.gemini.readings]) <= GETS
        assert len(readings) > 105, "what there is is used"
        assert asked > len(readings) / 2
        assert set(readings) == set(world.gemini.interactions), "and nobody is forgotten"


@pytest.mark.asyncio
async def test_a_reading_waits_for_its_moment_before_it_is_sent() -> None:
    clock = SettableClock()
    polling = Polling(POLL, POLLS, clock=clock)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await polling.wait(Go(clock() + 0.05 * SECOND))
    assert loop.time() - began >= 0.049
    async with asyncio.timeout(30):
        await polling.wait(Go(clock() - SECOND))
        await polling.wait(Go())


# --- the budget itself ------------------------------------------------------------------


def _pollings(count: int, per_second: float, ahead: float = 0.25) -> tuple[SettableClock, list[Polling]]:
    """Of as many processes."""
    clock = SettableClock()
    allowance = Allowance(per_second, POLLING, ahead * SECOND)
    return clock, [Polling(POLL, allowance, clock=clock) for _ in range(count)]


@pytest.mark.asyncio
@pytest.mark.parametrize("per_second", [2, 10, 50])
async def test_several_processes_share_one_budget(database: Database, per_second: int) -> None:
    clock, hearings = _pollings(3, per_second)
    moments: list[datetime] = []
    for _ in range(60):
        asking = [database.write(_admit, h, Urgency.NEXT) for h in hearings for _ in range(2)]
        for asked in await asyncio.gather(*asking):
            if isinstance(asked, Go):
                assert asked.at is not None
                assert clock() <= asked.at <= clock() + POLLS.ahead
                moments.append(asked.at)
            else:
                assert asked.until > clock()
        clock.advance(seconds=0.05)
    assert most_in_a_second(moments) <= per_second
    assert len(moments) > 3 * per_second * 0.9, "what there is is used"
    gaps = {b - a for a, b in itertools.pairwise(sorted(moments))}
    assert min(gaps) >= SECOND / per_second, "evenly, not in bursts"


def _admit(s: Session, polling: Polling, urgency: Urgency) -> Go | PutOff:
    return polling.admit(s, urgency)


@pytest.mark.asyncio
async def test_nobody_waits_for_the_budget_in_a_circle(postgres_url: str) -> None:
    """Readings of every urgency at once, several in a transaction, by three processes."""
    _, hearings = _pollings(3, 5)
    circles: list[str] = []

    def asks(s: Session, polling: Polling, urgencies: Sequence[Urgency]) -> None:
        for urgency in urgencies:
            polling.admit(s, urgency)
            time.sleep(0.002)

    with closing(Database(postgres_url, readers=1, threads=6)) as database:

        @sa.event.listens_for(database.engine, "handle_error")
        def seen(context: sa.engine.ExceptionContext) -> None:
            circles.append(type(context.original_exception).__name__)

        orders = list(itertools.permutations((Urgency.WATCH, Urgency.TURN, Urgency.NEXT)))
        for _ in range(4):
            await asyncio.gather(*(database.write(asks, h, o) for h in hearings for o in orders))
    assert circles == []


@pytest.mark.asyncio
async def test_who_counts_waits_for_nobody(postgres_url: str) -> None:
    """Any step may count, also one that holds what somebody who reads waits for."""
    engine = sa.create_engine(postgres_url)
    clock, (reading, counting) = _pollings(2, 10)
    with Session(engine) as one, Session(engine) as other:
        assert isinstance(reading.admit(one, Urgency.WATCH), Go)
        other.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
        assert counting.policy(other).watch_every == POLL.watch_every
        clock.advance(COUNT_EVERY)
        assert counting.policy(other).watch_every == POLL.watch_every
    engine.dispose()


@pytest.mark.asyncio
async def test_what_a_failed_transaction_took_goes_to_nobody_twice(database: Database) -> None:
    _, (first, second) = _pollings(2, 50, ahead=4)
    moments: list[datetime] = []

    def fails(s: Session) -> None:
        first.admit(s, Urgency.ASKED)
        raise LookupError("and all it did is taken back")

    for _ in range(8):
        with pytest.raises(LookupError):
            await database.write(fails)
        for polling in (first, second):
            asked = await database.write(_admit, polling, Urgency.ASKED)
            assert isinstance(asked, Go)
            assert asked.at is not None
            moments.append(asked.at)
    assert len(set(moments)) == len(moments)
    assert most_in_a_second(moments) <= 50


@pytest.mark.asyncio
async def test_who_stands_in_line_is_told_a_moment_of_his_own(database: Database) -> None:
    clock, (polling,) = _pollings(1, 10)
    answers = [await database.write(_admit, polling, Urgency.WATCH) for _ in range(20)]
    assert answers[0] == Go(clock())
    until = [a.until for a in answers if isinstance(a, PutOff) and a.then is Urgency.TURN]
    assert len(until) == 19
    assert {b - a for a, b in itertools.pairwise(until)} == {timedelta(microseconds=110_803)}
    clock.reach(until[0])
    assert isinstance(await database.write(_admit, polling, Urgency.TURN), Go)


@pytest.mark.asyncio
async def test_who_has_gone_leaves_no_line_behind(database: Database) -> None:
    clock, (polling,) = _pollings(1, 1)
    for _ in range(40):
        await database.write(_admit, polling, Urgency.WATCH)
    clock.advance(COUNT_EVERY)  # and nothing is live
    asked = await database.write(_admit, polling, Urgency.WATCH)
    assert isinstance(asked, PutOff)
    assert asked.until <= clock() + COUNT_EVERY


@pytest.mark.asyncio
async def test_a_clock_that_was_ahead_stops_nobody(database: Database) -> None:
    clock, (polling, other) = _pollings(2, 10)
    clock.advance(timedelta(days=3))
    await database.write(_admit, polling, Urgency.ASKED)
    clock.now = NOON
    for each in (polling, other):
        assert isinstance(await database.write(_admit, each, Urgency.ASKED), Go)


@pytest.mark.asyncio
async def test_a_clock_that_was_ahead_leaves_no_process_a_place_far_away(database: Database) -> None:
    """Each keeps a few moments it has taken, also those that another process has cut off."""
    clock, pollings = _pollings(2, 50)
    clock.advance(3600 * SECOND)
    for polling in pollings:
        await database.write(_admit, polling, Urgency.WATCH)
    clock.advance(-3600 * SECOND)
    for polling in pollings * 5:
        given = await database.write(_admit, polling, Urgency.WATCH)
        until = given.until if isinstance(given, PutOff) else given.at
        assert until is None or until <= clock() + COUNT_EVERY + SECOND
        clock.advance(SECOND)


@pytest.mark.parametrize(
    ("live", "waiting", "seconds"),
    [(0, 0, 5), (1, 0, 5), (33, 0, 5), (100, 0, 15), (10_000, 0, 1500), (10_000, 100_000, 3000)],
)
def test_the_promise_follows_the_load(live: int, waiting: int, seconds: float) -> None:
    promised = intervals(POLL, Allowance(10, POLLING), live, waiting)
    assert promised.live.total_seconds() == pytest.approx(seconds, rel=0.03)
    assert promised.waiting >= POLL.watch_waiting_every


def test_beside_webhooks_the_promise_is_the_slow_one() -> None:
    assert intervals(Policy(), Allowance(10, RECONCILING), 50, 0).live == Policy().watch_every
    assert intervals(Policy(), Allowance(10, RECONCILING), 5000, 0).live > timedelta(minutes=10)


@pytest.mark.parametrize(("age", "seconds"), [(0, 5), (100, 15), (550, 60), (9000, 60)])
def test_an_old_interaction_is_read_less_often(age: float, seconds: float) -> None:
    from support.conversation import Conversation

    run = Conversation(now=NOON).live().run
    assert run.turn.sent_at is not None
    now = run.turn.sent_at + age * SECOND
    assert watch_span(run.turn.sent_at, POLL, now) == seconds * SECOND
    assert watch_span(run.turn.sent_at, Policy(watch_every=90 * SECOND, watch_growth=0.1), now) == 90 * SECOND
