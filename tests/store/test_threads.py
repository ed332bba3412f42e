"""Calls in threads: as many at once as there may be, each answered, all finished at the end."""

import asyncio
import threading

import pytest

from orchestrator.store.sql.threads import Threads

pytestmark = pytest.mark.asyncio


async def test_so_many_at_once_and_no_more() -> None:
    threads, meet = Threads(2, "t"), threading.Barrier(2)
    names: set[str] = set()

    def both() -> None:
        meet.wait(30)
        names.add(threading.current_thread().name)

    await asyncio.gather(*(threads.run(both) for _ in range(20)))
    assert names == {"t_0", "t_1"}
    threads.close()


async def test_what_goes_wrong_is_told_to_who_asked() -> None:
    threads = Threads(1, "t")

    def fails() -> None:
        raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        await threads.run(fails)
    assert await threads.run(lambda: 1) == 1
    threads.close()


async def test_where_no_other_thread_can_begin_those_there_are_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, go, begun, loop = Threads(2, "t"), threading.Event(), asyncio.Event(), asyncio.get_running_loop()

    def slow() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(30)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first = asyncio.ensure_future(threads.run(slow))
    await begun.wait()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        second = asyncio.ensure_future(threads.run(threading.current_thread))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="new thread"):
            await Threads(1, "u").run(threading.current_thread)
    go.set()
    await first
    assert (await second).name == "t_0"
    threads.close()


async def test_what_is_begun_is_finished_and_what_nobody_waits_for_is_not_begun() -> None:
    threads, go, begun, loop = Threads(1, "t"), threading.Event(), asyncio.Event(), asyncio.get_running_loop()
    told: list[str] = []

    def slow() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(30)
        told.append("slow")

    first = asyncio.ensure_future(threads.run(slow))
    await begun.wait()
    left = asyncio.ensure_future(threads.run(lambda: told.append("left")))
    await asyncio.sleep(0)
    last = asyncio.ensure_future(threads.run(lambda: told.append("last")))
    await asyncio.sleep(0)
    first.cancel()
    left.cancel()
    await asyncio.gather(first, left, return_exceptions=True)
    go.set()
    threads.close()
    assert told == ["slow", "last"]
    await last
    with pytest.raises(RuntimeError, match="the database is closed"):
        await threads.run(go.set)
