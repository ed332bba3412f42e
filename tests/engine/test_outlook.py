"""How a neighbour's breaker stands, told by the process that calls it to one that only answers."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from support.clock import NOON
from support.processes import until

from orchestrator.engine.breakers import FAILURES, Breaker, Position
from orchestrator.errors import UnavailableError
from orchestrator.outlook import CLOSED, FORGOTTEN, Outlook
from orchestrator.store.database import Database

pytestmark = pytest.mark.asyncio


async def _away() -> None:
    raise UnavailableError("no connection")


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
    worker, web = (Outlook(database, ["gemini", "slack"], clock) for _ in range(2))
    worker.watch([breaker])

    async def told(position: Position) -> None:
        while (standing := (await web.read())["gemini"]).position is not position:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert standing.opened is None, "only who calls counts"

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
    database.close()


async def test_what_a_process_said_that_is_gone_is_forgotten(database_url: str) -> None:
    seconds = 0.0
    database = Database(database_url)
    outlook = Outlook(database, ["gemini"], lambda: NOON + timedelta(seconds=seconds))
    breaker = Breaker("gemini", clock=lambda: seconds, roll=lambda: 1.0)
    outlook.watch([breaker])
    await _calls(breaker, _away, FAILURES)
    assert outlook.busy
    await until(lambda: not outlook.busy, "it is written down")
    seconds = FORGOTTEN.total_seconds()
    assert (await outlook.read())["gemini"].position is Position.HALF_OPEN
    seconds += 60.0
    assert await outlook.read() == {"gemini": CLOSED}
    database.close()
