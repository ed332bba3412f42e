"""Threads that run one transaction at a time each, with no more around it than it takes.

`concurrent.futures` makes a lock, a condition and two futures for each call, which was a tenth of what a
process did.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from orchestrator.store.sql.crowded import admit

T = TypeVar("T")

_Asked = tuple[Callable[[], Any], "asyncio.Future[Any] | None"]
Result = tuple["asyncio.Future[Any]", Any, BaseException | None]
"""Who waits, and the value or the error they wait for."""


class Threads:
    """So many at most; one more begins only when none is idle.

    Args:
        name: What they are called, with a number.
    """

    def __init__(self, number: int, name: str) -> None:
        self._most = number
        self._name = name
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._free = 0
        """Threads that are idle, less what is asked of them."""
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Call it in a thread. A caller that is cancelled stops waiting; what was begun is finished.

        Raises:
            RuntimeError: They have ended, or none could begin.
            CrowdedError: Too much waits for one already.
        """
        admit(-self._free)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._put(call, done):
            raise RuntimeError("the database is closed")
        return await done

    def go(self, call: Callable[[], None]) -> bool:
        """Have it called, which must not raise; False where they have ended, and nothing is."""
        return self._put(call, None)

    def _put(self, call: Callable[[], Any], done: "asyncio.Future[Any] | None") -> bool:
        with self._lock:
            if self._closed:
                return False
            if self._free <= 0 and len(self._threads) < self._most:
                self._begin()
            self._queue.put((call, done))
            self._free -= 1
        return True

    def close(self) -> None:
        """Finish what was asked, and end them."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _begin(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return  # the machine has no more of them now, and those there are come to it
        self._threads.append(thread)
        self._free += 1

    def _work(self) -> None:
        while (asked := self._queue.get()) is not None:
            call, done = asked
            if done is None:
                call()
            elif not done.cancelled():
                _call(call, done)
            del asked, call, done  # an idle thread holds nothing
            with self._lock:
                self._free += 1


def _call(call: Callable[[], Any], done: "asyncio.Future[Any]") -> None:
    value, error = None, None
    try:
        value = call()
    except BaseException as e:  # noqa: BLE001  its caller is told
        error = e
    answer([(done, value, error)])


def answer(results: Sequence[Result]) -> None:
    """Each hears in its own loop; one whose loop has ended no longer waits."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Result]] = {}
    for result in results:
        by_loop.setdefault(result[0].get_loop(), []).append(result)
    for loop, told in by_loop.items():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_hand_over, told)


def _hand_over(results: Sequence[Result]) -> None:
    for done, value, error in results:
        _tell(done, value, error)


def _tell(done: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    """Answer one who waits, in the loop they wait in."""
    if done.done():
        return  # cancelled meanwhile
    if error is None:
        done.set_result(value)
    else:
        done.set_exception(_tellable(error))


def _tellable(error: BaseException) -> BaseException:
    """A future takes no `StopIteration`, and who waits for it would wait for ever."""
    if not isinstance(error, StopIteration):
        return error
    told = RuntimeError("an iterator ended where something was to come")
    told.__cause__ = error
    return told
