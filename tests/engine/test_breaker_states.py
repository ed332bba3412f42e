"""How a neighbour's breaker stands, told by the process that calls it to one that only answers."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from support.clock import NOON
from support.patience import until

from orchestrator.breaker_states import CLOSED, FORGOTTEN, BreakerStates
from orchestrator.engine.breakers import FAILURES, Breaker, Position
from orchestrator.errors import UnavailableError
from orchestrator.store.database import Database

HOUR = 3600.0
pytestmark = pytest.mark.asyncio


async def _away() -> None:
    raise UnavailableError("no connection")


async def _told_to_wait() -> None:
    raise UnavailableError("later", retry_after=HOUR)


async def _back() -> None:
    """It answers."""


async def _calls(breaker: Breaker, work: Callable[[], Awaitable[None]], times: int) -> None:
    for _ in range(times):
        await asyncio.gather(breaker.call(work), return_exceptions=True)


async def test_who_only_answers_says_how_the_neighbours_of_those_who_work_stand(database_url: str) -> None:
    seconds = 0.0
    database = Database(database_url)
    clock = lambda: NOON + timedelta(seconds=seconds)  # noqa: E731
    breaker = Breaker("gemini", clock=lambda: seconds, roll=lambda: 1.0)
    worker, web = (BreakerStates(database, ["gemini", "slack"], lambda s: clock()) for _ in range(2))
    worker.watch([breaker])

    async def told(position: Position) -> None:
        while (await web.read())["gemini"].position is not position:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async with asyncio.timeout(30):
        assert await web.read() == {"gemini": CLOSED, "slack": CLOSED}
        await _calls(breaker, _away, FAILURES)
        await told(Position.OPEN)
        assert (await web.read())["gemini"].rest == breaker.state().rest
        assert (await web.read())["slack"] == CLOSED
        seconds += breaker.state().rest
        await told(Position.HALF_OPEN)
        await _calls(breaker, _away, 1)
        await told(Position.OPEN)
        seconds += breaker.state().rest
        await _calls(breaker, _back, 1)
        await told(Position.CLOSED)
        assert (await web.read())["gemini"].opened == 0, "what others count is not counted here once more"
        assert await web.openings() == {"gemini": breaker.state().opened, "slack": 0}
        assert breaker.state().opened == 2
    database.close()


async def _tells(
    states: BreakerStates, breaker: Breaker, work: Callable[[], Awaitable[None]], times: int
) -> None:
    await _calls(breaker, work, times)
    await until(lambda: not states.busy, "it is written down")


async def test_of_several_who_work_nobody_hides_what_another_one_says(database_url: str) -> None:
    """One still finds nobody there, the other one has an answer: a monitor hears of the first."""
    seconds = 0.0
    database = Database(database_url)
    one, other, web = (
        BreakerStates(database, ["gemini"], lambda s: NOON + timedelta(seconds=seconds)) for _ in range(3)
    )
    ours, theirs = (Breaker("gemini", clock=lambda: seconds, roll=lambda: 1.0) for _ in range(2))
    one.watch([ours])
    other.watch([theirs])
    await _tells(one, ours, _away, FAILURES)
    await _tells(other, theirs, _away, FAILURES)
    seconds = theirs.state().rest
    await _tells(one, ours, _away, 1)
    await _tells(other, theirs, _back, 1)
    standing = (await web.read())["gemini"]
    assert (standing.position, standing.rest) == (Position.OPEN, ours.state().rest)
    assert await web.openings() == await one.openings() == {"gemini": 3}, "by all of them"
    seconds += ours.state().rest
    await _tells(one, ours, _back, 1)
    standing = (await web.read())["gemini"]
    assert standing.position is Position.CLOSED
    assert await web.openings() == {"gemini": 3}
    database.close()


async def test_how_long_it_is_left_alone_is_told_by_one_clock(postgres_url: str) -> None:
    """The server's: whoever tells and whoever reads may each have another, and neither is asked."""
    database = Database(postgres_url)
    worker, web = (BreakerStates(database, ["gemini"]) for _ in range(2))
    breaker = Breaker("gemini", clock=lambda: 0.0, roll=lambda: 1.0)
    worker.watch([breaker])
    await _tells(worker, breaker, _told_to_wait, 1)
    standing = (await web.read())["gemini"]
    assert HOUR - 60.0 < standing.rest < HOUR, "less the time of two statements"
    database.close()


async def test_what_a_process_said_that_is_gone_is_forgotten(database_url: str) -> None:
    seconds = 0.0
    database = Database(database_url)
    states = BreakerStates(database, ["gemini"], lambda s: NOON + timedelta(seconds=seconds))
    breaker = Breaker("gemini", clock=lambda: seconds, roll=lambda: 1.0)
    states.watch([breaker])
    await _calls(breaker, _away, FAILURES)
    assert states.busy
    await until(lambda: not states.busy, "it is written down")
    seconds = FORGOTTEN.total_seconds()
    assert (await states.read())["gemini"].position is Position.HALF_OPEN
    seconds += 60.0
    assert (await states.read())["gemini"].position is Position.CLOSED
    assert await states.openings() == {"gemini": 1}
    database.close()


async def test_what_a_process_said_that_left_in_order_is_forgotten_at_once(database_url: str) -> None:
    database = Database(database_url)
    leaves, stays = (BreakerStates(database, ["gemini"], lambda s: NOON) for _ in range(2))
    ours, theirs = (Breaker("gemini", clock=lambda: 0.0, roll=lambda: 1.0) for _ in range(2))
    leaves.watch([ours])
    stays.watch([theirs])
    await _tells(leaves, ours, _told_to_wait, 1)
    await leaves.leave()
    assert (await stays.read())["gemini"].position is Position.CLOSED
    assert await stays.openings() == {"gemini": 1}
    await _tells(stays, theirs, _away, FAILURES)
    await leaves.leave()
    assert (await stays.read())["gemini"].position is Position.OPEN, "of those who are there"
    database.close()
