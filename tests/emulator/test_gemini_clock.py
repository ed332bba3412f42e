"""Both clocks."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.emulator.gemini.clock import RealClock, VirtualClock

START = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.mark.asyncio
async def test_virtual_jobs_run_in_order_at_their_own_time() -> None:
    clock, seen = VirtualClock(START), []

    def note(name: str) -> None:
        async def job() -> None:
            seen.append((name, (clock.now() - START).total_seconds()))
            if name == "b":
                note_later("d", 1)

        clock.schedule({"a": 3.0, "b": 1.0, "c": 10.0}.get(name, 1.0), job)

    def note_later(name: str, _: int) -> None:
        note(name)

    for name in "abc":
        note(name)
    await clock.advance(5)
    assert seen == [("b", 1.0), ("d", 2.0), ("a", 3.0)]
    assert clock.now() == START + timedelta(seconds=5)
    assert clock.pending == 1


@pytest.mark.asyncio
async def test_virtual_cancel_and_clear() -> None:
    clock, seen = VirtualClock(START), []

    async def job() -> None:
        seen.append(1)

    clock.schedule(1, job).cancel()
    clock.schedule(1, job)
    clock.clear()
    await clock.advance(2)
    assert seen == []


@pytest.mark.asyncio
async def test_virtual_job_errors_surface_in_advance() -> None:
    clock = VirtualClock(START)

    async def job() -> None:
        raise LookupError("broken job")

    clock.schedule(1, job)
    with pytest.raises(LookupError, match="broken job"):
        await clock.advance(2)


@pytest.mark.asyncio
async def test_real_clock_runs_cancels_and_closes() -> None:
    clock, done, never = RealClock(), asyncio.Event(), asyncio.Event()

    async def job() -> None:
        done.set()

    async def other() -> None:
        never.set()

    clock.schedule(0.02, other).cancel()
    clock.schedule(0.01, job)
    await asyncio.wait_for(done.wait(), 30)
    clock.schedule(0.01, other)
    await clock.aclose()
    await asyncio.sleep(0.05)
    assert not never.is_set()
    with pytest.raises(RuntimeError, match="cannot be advanced"):
        await clock.advance(1)


@pytest.mark.asyncio
async def test_real_clock_logs_what_a_job_raises(caplog: pytest.LogCaptureFixture) -> None:
    clock, begun = RealClock(), asyncio.Event()

    async def job() -> None:
        begun.set()
        raise LookupError("broken job")

    clock.schedule(0, job)
    await asyncio.wait_for(begun.wait(), 30)
    await clock.aclose()
    assert "a scheduled job of the emulator failed" in caplog.text
