"""A thread per synchronous call, time-boxed from outside.

A thread cannot be killed. One that outlives its time is abandoned: its place goes to the next
call and its answer is thrown away. It is a daemon, so the process can still end. At most `workers`
calls run at a time and at most `stuck_limit` abandoned threads may pile up beside them; beyond
that nothing is started.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from orchestrator.errors import UnavailableError

log = structlog.get_logger(__name__)


class TimedOutError(Exception):
    """The call did not end in its time; nobody knows what it did or will still do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: with a value, or with what it raised."""

    value: Any = None
    error: BaseException | None = None


class Threads:
    """Runs blocking work on behalf of one event loop; not to be shared between loops."""

    def __init__(self, workers: int, stuck_limit: int) -> None:
        self._places = asyncio.Semaphore(workers)
        self._stuck_limit = stuck_limit
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """Abandoned threads that still run."""
        return self._stuck

    @property
    def places(self) -> asyncio.Semaphore:
        """Hold one while `run` runs; waiting for it does not count as running."""
        return self._places

    async def run(self, work: Callable[[], Any], seconds: float, name: str) -> Answer:
        """Do `work` in a new thread.

        Raises:
            TimedOutError: It took longer than `seconds`; the thread is abandoned.
            UnavailableError: Nothing was started, too many threads are stuck.
        """
        if self._stuck >= self._stuck_limit:
            raise UnavailableError(f"{self._stuck} threads of earlier tool calls are stuck")
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._start(work, done, name)
        try:
            await asyncio.wait({done}, timeout=seconds)
        finally:  # also when we are cancelled: the thread goes on either way
            if not done.done():
                done.cancel()
                self._stuck += 1
        if done.cancelled():
            raise TimedOutError
        return done.result()

    def _start(self, work: Callable[[], Any], done: asyncio.Future[Answer], name: str) -> None:
        loop = asyncio.get_running_loop()

        def deliver(answer: Answer) -> None:  # in the loop's thread: `_stuck` needs no lock
            if not done.done():
                done.set_result(answer)
                return
            self._stuck -= 1
            failed = type(answer.error).__name__ if answer.error is not None else ""
            log.warning("tool_ended_late", thread=name, error=failed)

        def body() -> None:
            answer = _attempt(work)
            try:
                loop.call_soon_threadsafe(deliver, answer)
            except RuntimeError:  # the loop is closed: the service stopped and nobody waits any more
                log.info("tool_ended_after_stop", thread=name)

        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=(body,), name=name, daemon=True).start()
        except RuntimeError as error:
            done.cancel()
            raise UnavailableError("no thread can be started for the tool") from error


def _attempt(work: Callable[[], Any]) -> Answer:
    try:
        return Answer(work())
    except BaseException as error:  # noqa: BLE001 (also SystemExit: it ends the tool, not the service)
        return Answer(error=error)
