"""Leases are held by a time of their own: a clock that is set, or is wrong, takes nobody's work from him."""

from datetime import timedelta

import pytest
from support.clock import NOON, Seconds, SettableClock
from support.world import World

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.engine.shared_clock import SharedClock, awake_or_not
from orchestrator.store import claims, outbox
from orchestrator.store.claims import Hold

KIND = EffectKind.CANCEL_INTERACTION
FIVE = timedelta(minutes=5)
LEASE = timedelta(seconds=15)


def test_it_goes_on_evenly_from_where_it_was_set() -> None:
    clock, seconds = SettableClock(), Seconds()
    steady = SharedClock(clock, seconds)
    clock.advance(FIVE)
    seconds.now += 2
    assert steady() == NOON + timedelta(seconds=2)
    steady.agree(NOON + FIVE, asked=seconds.now - 1)
    assert steady() == NOON + FIVE + timedelta(seconds=1)
    steady.agree(NOON + 2 * FIVE, asked=seconds.now - 2)
    assert steady() == NOON + FIVE + timedelta(seconds=1), "that answer had waited somewhere"


LATE = timedelta(seconds=9)
"""So long after one, another process hears that the agreed time was set."""


@pytest.mark.parametrize("by", [2 * FIVE, -2 * FIVE])
@pytest.mark.parametrize("then", [timedelta(0), FIVE, -FIVE])
def test_an_agreed_time_that_is_set_makes_nobody_look_gone(by: timedelta, then: timedelta) -> None:
    """Two processes, each holding what it renews every five seconds; the database's clock is set twice."""
    seconds, agreed, start = Seconds(), NOON, Seconds.now
    processes = [SharedClock(SettableClock(), seconds) for _ in range(2)]
    until = dict.fromkeys(processes, NOON + LEASE)
    for second in range(200):
        set_by = (by if second >= 30 else timedelta(0)) + (then if second >= 45 else timedelta(0))
        agreed = NOON + timedelta(seconds=second) + set_by
        seconds.now = start + second
        for process, late in zip(processes, (0, LATE.seconds), strict=True):
            if second % 10 == late:
                process.agree(agreed, asked=seconds.now)
        for process, other in (processes, processes[::-1]):
            assert until[other] > process.hold(LEASE).over, (
                f"second {second}: somebody is there, and looks gone"
            )
            if second % 5 == 0:
                until[process] = process.hold(LEASE).until
    assert {process() for process in processes} == {agreed}
    assert {process.hold(LEASE) for process in processes} == {Hold.at(agreed, LEASE)}


def test_who_is_gone_is_missed_also_while_an_agreed_time_that_was_set_forward_settles() -> None:
    seconds = Seconds()
    process = SharedClock(SettableClock(), seconds)
    process.agree(NOON, asked=seconds.now)
    until = process.hold(LEASE).until
    process.agree(NOON + FIVE, asked=seconds.now)
    assert process.hold(LEASE).over < until
    seconds.now += LEASE.total_seconds()
    assert process.hold(LEASE).over >= until


def test_who_starts_right_after_the_agreed_time_was_set_forward_takes_nobody_for_gone() -> None:
    """His own machine's clock tells, where it is right."""
    seconds = Seconds()
    others = SharedClock(SettableClock(), seconds)
    others.agree(NOON, asked=seconds.now)
    until = others.hold(LEASE).until
    newcomer = SharedClock(SettableClock(), seconds)
    newcomer.agree(NOON + FIVE, asked=seconds.now)
    assert newcomer() == NOON + FIVE
    assert newcomer.hold(LEASE).over < until


def test_who_starts_with_a_wrong_clock_of_his_own_holds_what_he_takes_no_longer_than_others() -> None:
    """Were he gone at once, others would wait for that."""
    seconds = Seconds()
    newcomer = SharedClock(SettableClock(NOON + FIVE), seconds)
    newcomer.agree(NOON, asked=seconds.now)
    assert newcomer.hold(LEASE).until == NOON + LEASE


def test_the_stopwatch_goes_on() -> None:
    first = awake_or_not()
    assert awake_or_not() >= first > 0


async def _due(world: World) -> list[int]:
    """What a look finds that nobody holds."""
    over = world.performer.commits.hold().over
    return [n for n, _ in await world.database.read(claims.due, world.clock(), 50, [KIND], over=over)]


@pytest.mark.asyncio
@pytest.mark.parametrize("by", [FIVE, -FIVE])
async def test_a_clock_that_is_set_leaves_what_runs_to_who_runs_it(database_url: str, by: timedelta) -> None:
    seconds = Seconds()
    leases = SharedClock(SettableClock(), seconds)
    async with World(database_url, leases=leases.hold, lease=LEASE) as world:
        commits = world.performer.commits
        await world.database.write(outbox.add, "", [Effect(KIND, "interaction", world.clock() - FIVE)])
        (effect,) = await _due(world)
        assert await commits.take(effect) is not None
        world.clock.advance(by)
        assert await _due(world) == []
        assert await commits.take(effect) is None, "somebody has it"
        behind = world.clock() - commits.hold().over
        first = await world.database.read(claims.next_due, [KIND], behind)
        assert first == world.clock() + LEASE, "by the clock of who sleeps until then"
        seconds.now += LEASE.total_seconds()
        assert await _due(world) == [effect]
        assert await commits.take(effect) is not None
