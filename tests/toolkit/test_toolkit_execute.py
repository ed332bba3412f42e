"""Running tools: threads, retries, cancellation, and that it happens in one place."""

import ast
import asyncio
import re
import subprocess
import sys
import threading
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import httpx
import pydantic
import pytest
import structlog
from support.patience import until

import orchestrator
from orchestrator import Secret, ToolContext, ToolError, tool
from orchestrator.domain.consent import Actor
from orchestrator.domain.model import OutcomeKind
from orchestrator.errors import UncertainError
from orchestrator.toolkit import Executor
from orchestrator.toolkit.execute import is_transient

pytestmark = pytest.mark.asyncio
SHORT = 0.05  # seconds; long enough to be scheduled, short enough not to be noticed
LONG = 30.0  # seconds; a bound on waiting for a condition, never slept through


async def test_a_sync_tool_runs_in_a_thread_of_its_own(bench: Any) -> None:
    @tool
    def where(n: int, ctx: ToolContext) -> dict[str, object]:
        """Say where."""
        return {"n": n, "main": threading.current_thread() is threading.main_thread(), "call": ctx.call_id}

    outcome = await bench(where).run({"n": 1})
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert outcome.result == {"n": 1, "main": False, "call": "call_1"}


async def test_arguments_are_checked_beside_the_loop(bench: Any) -> None:
    """All calls of a turn may come in one moment, each with all it may have."""
    threads: set[int] = set()

    def noted(text: str) -> str:
        threads.add(threading.get_ident())
        return text

    def note(text: Annotated[str, pydantic.AfterValidator(noted)]) -> str:
        """Note it."""
        return text

    probe = bench(tool(note))
    await probe.run({"text": "x" * 5_000})
    assert threads
    assert threading.get_ident() not in threads


async def test_an_async_tool_runs_on_the_loop_and_knows_its_context(bench: Any) -> None:
    seen: list[ToolContext] = []

    @tool
    async def where(day: date, ctx: ToolContext, amounts: list[Decimal]) -> str:
        """Say where."""
        seen.append(ctx)
        assert isinstance(day, date)
        assert amounts == [Decimal("1.5")]
        return "main" if threading.current_thread() is threading.main_thread() else "thread"

    outcome = await bench(where).run({"day": "2026-01-01", "amounts": ["1.5"]})
    assert outcome.result == "main"
    (ctx,) = seen
    assert (ctx.call_id, ctx.run_id, ctx.workflow) == ("call_1", "run_1", "shop")
    assert (ctx.requester, ctx.approved_by, ctx.is_cancelled()) == (Actor("U9"), Actor("U1"), False)


async def test_the_tools_log_names_call_and_run() -> None:
    with structlog.testing.capture_logs() as lines:
        ToolContext("call_7", "run_7").log.info("refunded", order_id="A-17")
    assert lines == [
        {"event": "refunded", "log_level": "info", "call_id": "call_7", "run_id": "run_7", "order_id": "A-17"}
    ]


async def test_arguments_are_checked_again_before_the_call(bench: Any) -> None:
    ran: list[int] = []

    @tool
    def note(n: int) -> None:
        """Note it."""
        ran.append(n)

    outcome = await bench(note).run({"n": "1"})
    assert outcome.kind is OutcomeKind.FAILED
    assert "n: should be a valid integer" in outcome.result
    assert ran == []


async def test_a_tool_that_was_taken_out_fails(bench: Any) -> None:
    @tool
    def here() -> None:
        """Do it."""

    outcome = await bench(here).run(name="gone")
    assert (outcome.kind, outcome.result) == (OutcomeKind.FAILED, "The tool is not available any more.")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ToolError("Amount above the limit."), "Amount above the limit."),
        (ToolError(""), "The tool failed."),
        (ToolError("a\0b\ud800"), "a\ufffdb\ufffd"),
        (ToolError("x" * 9000), "x" * 4000),
        (ValueError("postgres://user:secret@host"), "The tool failed."),
        (TimeoutError("theirs, not ours"), "The tool failed."),
        (SystemExit(3), "The tool failed."),
        (KeyboardInterrupt(), "The tool failed."),
        (StopIteration(1), "The tool failed."),
        (UncertainError("theirs"), "The tool failed."),
    ],
    ids=repr,
)
async def test_what_a_tool_raises_becomes_a_failure(
    bench: Any, kind: str, error: BaseException, text: str
) -> None:
    def fail() -> None:
        """Fail."""
        raise error

    async def fail_async() -> None:
        """Fail."""
        raise error

    if kind == "async" and isinstance(error, StopIteration):
        error = RuntimeError("a coroutine cannot raise StopIteration")
    with structlog.testing.capture_logs() as lines:
        outcome = await bench(tool(fail if kind == "sync" else fail_async)).run()
    assert (outcome.kind, outcome.result) == (OutcomeKind.FAILED, text)
    logged = [line for line in lines if line["event"] == "tool_failed"]
    if isinstance(error, ToolError):
        assert logged == []
    else:
        assert logged[0]["exc_info"] is error
        assert logged[0]["call_id"] == "call_1"


async def test_what_a_tool_with_secrets_raises_is_told_without_its_words(bench: Any) -> None:
    """They may quote what it was called with, and so may those of what made it raise that."""

    def refuse(value: str) -> str:
        if value == "rude":
            raise KeyError(value)
        return value

    @tool
    def sign_in(password: Annotated[str, Secret(), pydantic.AfterValidator(refuse)]) -> None:
        """Sign in."""
        try:
            raise OSError(f"https://example.com/?password={password}")
        except OSError as error:
            raise RuntimeError(f"{password} was refused") from error

    with structlog.testing.capture_logs() as lines:
        outcome = await bench(sign_in).run({"password": "canary"})
        await bench(sign_in).run({"password": "rude"})
    assert outcome.result == "The tool failed."
    failed, invalid = (line for line in lines if line["log_level"] == "error")
    assert (failed["event"], failed["error"]) == ("tool_failed", "RuntimeError")
    assert "sign_in" in failed["at"][-1]
    assert (invalid["event"], invalid["error"]) == ("argument_validator_failed", "KeyError")
    assert not [word for word in ("canary", "rude") if word in str(lines)]
    assert not any("exc_info" in line for line in lines)


async def test_a_tool_that_cancels_itself_fails(bench: Any) -> None:
    @tool
    async def quitter() -> None:
        """Quit."""
        raise asyncio.CancelledError

    assert (await bench(quitter).run()).result == "The tool failed."


async def test_a_forgotten_async_is_a_failure_not_a_result(bench: Any) -> None:
    async def inner() -> int:
        return 1

    @tool
    def outer() -> Any:
        """Forget to await."""
        return inner()

    assert (await bench(outer).run()).result == "The tool failed."


# Retries


class Flaky:
    """Fails with each error in turn, then works."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def tool(self, **settings: Any) -> Any:
        def work() -> str:
            """Work at last."""
            self.calls += 1
            if self.errors:
                raise self.errors.pop(0)
            return "done"

        return tool(**settings)(work)


async def test_an_idempotent_tool_is_tried_again_with_growing_pauses(
    bench: Any, eager: Executor, waits: list[float]
) -> None:
    flaky = Flaky(ConnectionResetError(), httpx.ConnectTimeout("x"))
    outcome = await bench(flaky.tool(idempotent=True, retry="transient"), executor=eager).run()
    assert (outcome.result, flaky.calls) == ("done", 3)
    assert len(waits) == 2
    assert 0 < waits[0] < waits[1] + 1.0 < 10


@pytest.mark.parametrize(
    ("settings", "error", "calls"),
    [
        ({"idempotent": True, "retry": "transient", "attempts": 2}, ConnectionError, 2),
        ({"idempotent": True, "retry": "transient"}, ValueError, 1),
        ({"idempotent": True, "retry": "transient"}, ToolError, 1),
        ({"idempotent": True}, ConnectionError, 1),
        ({}, ConnectionError, 1),
    ],
    ids=str,
)
async def test_nothing_else_is_tried_again(
    bench: Any, eager: Executor, settings: Any, error: Any, calls: int
) -> None:
    flaky = Flaky(*(error("no") for _ in range(9)))
    outcome = await bench(flaky.tool(**settings), executor=eager).run()
    assert (outcome.kind, flaky.calls) == (OutcomeKind.FAILED, calls)


class TransportError(Exception):
    """A namesake from elsewhere."""


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (OSError(113, "no route"), True),
        (httpx.ReadError("x"), True),
        (httpx.PoolTimeout("x"), True),
        (PermissionError(13, "no"), False),
        (FileNotFoundError(2, "no"), False),
        (OSError("no number"), False),
        (
            httpx.HTTPStatusError(
                "x", request=httpx.Request("GET", "http://x"), response=httpx.Response(500)
            ),
            False,
        ),
        (TransportError(), False),
        (ValueError(), False),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else "",
)
async def test_which_errors_are_transient(error: BaseException, transient: bool) -> None:
    assert is_transient(error) is transient


# Cancellation


async def test_a_cancelled_run_starts_nothing(bench: Any) -> None:
    flaky = Flaky()
    probe = bench(flaky.tool())
    probe.cancelled.set()
    outcome = await probe.run()
    assert (outcome.kind, flaky.calls) == (OutcomeKind.WITHDRAWN, 0)


async def test_a_call_that_waited_for_a_place_does_not_start_after_the_cancel(
    bench: Any, gate: threading.Event
) -> None:
    started: list[int] = []

    @tool
    def hold(n: int) -> None:
        """Hold a place."""
        started.append(n)
        gate.wait(LONG)

    probe = bench(hold, workers=1)
    first = asyncio.create_task(probe.run({"n": 1}))
    await until(lambda: started)
    second = asyncio.create_task(probe.run({"n": 2}))
    await asyncio.sleep(0)
    probe.cancelled.set()
    gate.set()
    assert (await first).kind is OutcomeKind.SUCCEEDED
    assert (await second).kind is OutcomeKind.WITHDRAWN
    assert started == [1]


async def test_a_running_tool_hears_the_cancel_and_its_answer_counts(bench: Any) -> None:
    polling = threading.Event()

    @tool
    def poll(ctx: ToolContext) -> str:
        """Look now and then."""
        deadline = time.monotonic() + LONG
        while not ctx.is_cancelled() and time.monotonic() < deadline:
            polling.set()
            time.sleep(0.005)
        return "stopped early" if ctx.is_cancelled() else "never heard"

    @tool
    async def wait(ctx: ToolContext) -> str:
        """Wait for it."""
        async with asyncio.timeout(LONG):
            await ctx.cancelled.wait()
        return "heard"

    probe = bench(poll, wait)
    both = [asyncio.create_task(probe.run(name=name)) for name in ("poll", "wait")]
    await until(polling.is_set)
    probe.cancelled.set()
    assert [(await call).result for call in both] == ["stopped early", "heard"]


async def test_a_cancelled_run_tries_nothing_again(bench: Any, eager: Executor) -> None:
    started: list[int] = []

    @tool(idempotent=True, retry="transient")
    async def flaky() -> None:
        """Break while the run is cancelled."""
        started.append(1)
        probe.cancelled.set()
        raise ConnectionError

    probe = bench(flaky, executor=eager)
    assert (await probe.run()).kind is OutcomeKind.FAILED
    assert started == [1]


# One place


def calls_of_tool_functions(root: Path) -> list[str]:
    """Every place that calls a `.function`, and every name in the toolkit that one is handed on to."""
    found = []
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}
    for path in (path for path, text in texts.items() if re.search(r"\.\s*function\b", text)):
        for node in ast.walk(ast.parse(texts[path])):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "function"
            ):
                found.append(f"{path.relative_to(root).as_posix()}: call")
            value = node.value if isinstance(node, ast.Assign | ast.NamedExpr | ast.Return) else None
            if (
                path.is_relative_to(root / "toolkit")
                and isinstance(value, ast.Attribute)
                and value.attr == "function"
            ):
                found.append(f"{path.relative_to(root).as_posix()}: alias")
    return found


async def test_tool_functions_are_called_in_exactly_one_place(tmp_path: Path) -> None:
    root = Path(orchestrator.__file__).parent
    assert calls_of_tool_functions(root) == ["toolkit/execute.py: call"]
    (tmp_path / "toolkit").mkdir()
    broken = "def f(tool):\n    tool.function()\n    g = tool.function\n    return g()\n"
    (tmp_path / "toolkit" / "x.py").write_text(broken)
    assert len(calls_of_tool_functions(tmp_path)) == 2


async def test_importing_the_package_costs_next_to_nothing() -> None:
    script = (
        "import sys, orchestrator; print(*sorted({'pydantic', 'structlog', 'litestar'} & sys.modules.keys()))"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=99, check=True
    )
    assert done.stdout.strip() == ""
    assert orchestrator.tool is tool
    with pytest.raises(AttributeError, match="nosuch"):
        _ = orchestrator.nosuch  # type: ignore[attr-defined]
