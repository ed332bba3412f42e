"""Who stalls is cut off; who does not never notices that anybody looked."""

import asyncio

import pytest

from orchestrator.web.stall_timeouts import StallTimeouts

pytestmark = pytest.mark.asyncio


async def test_what_comes_in_time_is_handed_on() -> None:
    patience = StallTimeouts(60)

    async def prompt() -> str:
        await asyncio.sleep(0)
        return "here"

    assert await patience.wait(prompt()) == "here"
    with pytest.raises(ZeroDivisionError):
        await patience.wait(_failing())


async def _failing() -> None:
    raise ZeroDivisionError


async def test_who_stalls_is_cut_off_and_may_be_waited_for_again() -> None:
    patience = StallTimeouts(0.02)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await patience.wait(asyncio.Event().wait())
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_cancel_from_outside_stays_a_cancel() -> None:
    patience = StallTimeouts(60)
    task = asyncio.create_task(patience.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
