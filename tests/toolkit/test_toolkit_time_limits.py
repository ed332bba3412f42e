"""Tools that take too long: what comes of the call, of the tool, and of others."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.patience import until

from orchestrator import ToolContext, tool
from orchestrator.domain.model import OutcomeKind
from orchestrator.errors import UnavailableError, UncertainError
from orchestrator.toolkit import Executor

pytestmark = pytest.mark.asyncio
SHORT = 0.05  # seconds; long enough to be scheduled, short enough not to be noticed
LONG = 30.0  # seconds; a bound on waiting for a condition, never slept through


async def test_a_sync_tool_cut_off_leaves_doubt_and_hears_of_it(bench: Any, gate: threading.Event) -> None:
    heard = threading.Event()

    @tool(timeout_seconds=SHORT)
    def slow(ctx: ToolContext) -> None:
        """Take long."""
        gate.wait(LONG)
        if ctx.is_cancelled():
            heard.set()

    executor = Executor(1)
    with pytest.raises(UncertainError, match=r"slow was cut off after 0\.05 seconds"):
        await bench(slow, executor=executor).run()
    assert executor.threads.stuck == 1
    with capture_logs() as logs:
        gate.set()
        await until(lambda: executor.threads.stuck == 0)
    assert heard.is_set()
    assert [(e["event"], e["error"]) for e in logs] == [("tool_ended_late", "")]


async def test_an_async_tool_cut_off_leaves_doubt_and_is_cancelled(bench: Any) -> None:
    ended: list[bool] = []

    @tool(timeout_seconds=SHORT)
    async def slow(ctx: ToolContext) -> None:
        """Take long."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(ctx.is_cancelled())

    with pytest.raises(UncertainError):
        await bench(slow).run()
    await until(lambda: ended)
    assert ended == [True]


async def test_an_async_tool_that_ignores_its_end_holds_nobody_up(bench: Any) -> None:
    release = asyncio.Event()

    @tool(timeout_seconds=SHORT)
    async def stubborn() -> None:
        """Go on and on."""
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(LONG):
        with pytest.raises(UncertainError):
            await bench(stubborn).run()
    release.set()


@pytest.mark.parametrize(("retry", "starts"), [("none", 1), ("transient", 3)])
async def test_an_idempotent_tool_cut_off_is_tried_again_then_fails(
    bench: Any, eager: Executor, retry: Any, starts: int
) -> None:
    started: list[str] = []

    @tool(timeout_seconds=SHORT, idempotent=True, retry=retry)
    async def slow(ctx: ToolContext) -> None:
        """Take long."""
        started.append(ctx.call_id)
        await asyncio.Event().wait()

    outcome = await bench(slow, executor=eager).run()
    assert (outcome.kind, outcome.result) == (OutcomeKind.FAILED, "The tool timed out after 0.05 seconds.")
    assert started == ["call_1"] * starts


async def test_stuck_threads_starve_nobody_until_there_are_too_many(
    bench: Any, gate: threading.Event
) -> None:
    @tool(timeout_seconds=SHORT)
    def stuck() -> None:
        """Get stuck."""
        gate.wait(LONG)

    @tool
    def quick() -> str:
        """Be quick."""
        return "ok"

    executor = Executor(1)  # one at a time, four may be stuck
    probe = bench(stuck, quick, executor=executor)
    for count in range(1, 5):
        assert (await probe.run(name="quick")).result == "ok"
        with pytest.raises(UncertainError):
            await probe.run(name="stuck")
        assert executor.threads.stuck == count
    with pytest.raises(UnavailableError, match="stuck"):
        await probe.run(name="quick")
    gate.set()
    await until(lambda: executor.threads.stuck == 0)
    assert (await probe.run(name="quick")).result == "ok"


async def test_no_more_than_the_workers_run_at_a_time(bench: Any, gate: threading.Event) -> None:
    running: list[int] = []

    @tool
    def hold(n: int) -> int:
        """Hold a place."""
        running.append(n)
        gate.wait(LONG)
        return n

    probe = bench(hold, workers=2)
    calls = [asyncio.create_task(probe.run({"n": n})) for n in range(5)]
    await until(lambda: len(running) == 2)
    await asyncio.sleep(SHORT)
    assert len(running) == 2
    gate.set()
    outcomes = await asyncio.gather(*calls)
    assert [o.result for o in outcomes] == [{"result": n} for n in range(5)]


async def test_stopping_the_service_does_not_wait_for_a_thread(bench: Any, gate: threading.Event) -> None:
    started = threading.Event()

    @tool
    def slow() -> None:
        """Take long."""
        started.set()
        gate.wait(LONG)

    executor = Executor(1)
    call = asyncio.create_task(bench(slow, executor=executor).run())
    await until(started.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert executor.threads.stuck == 1


async def test_a_stuck_thread_does_not_keep_the_process_alive() -> None:
    script = """
import asyncio, time
from orchestrator import tool
from orchestrator.domain.assessment import CallContext
from orchestrator.domain.consent import SYSTEM
from orchestrator.toolkit import Toolkit
@tool(approval="allow", timeout_seconds=0.01)
def stuck() -> None:
    "Get stuck."
    time.sleep(600)
async def main():
    try:
        await Toolkit([stuck]).execute("stuck", {}, CallContext("c", "r", "w", SYSTEM), asyncio.Event())
    except Exception as error:
        print(type(error).__name__, flush=True)
asyncio.run(main())
"""
    run = [sys.executable, "-c", script]
    done = await asyncio.to_thread(
        subprocess.run, run, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.splitlines()[-1] == "UncertainError"
