"""The database goes away in the middle of the work, and comes back."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support import databases
from support.line import line_to
from support.patience import PATIENCE, until
from support.postgres import Server, stoppable
from workshop import Workshop, numbered

from orchestrator import jobs

pytestmark = pytest.mark.asyncio

LONG = timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Each test has a database of its own on it, and may leave it stopped."""
    with stoppable() as made:
        yield made


@pytest.fixture
def own(server: Server) -> Iterator[Workshop]:
    server.start()
    made = Workshop(server.url.set(database=databases.create(server.url)))
    jobs.install(made.engine)
    yield made
    made.engine.dispose()


async def test_lost_connections_are_made_anew_and_running_handlers_run_on(shop: Workshop) -> None:
    gate = shop.gate("tools:0")
    shop.put(*numbered("tools", [0]))
    async with shop.worker(poll=LONG) as worker:
        await until(lambda: bool(shop.begun))
        for n in range(1, 4):
            assert shop.cut() == 2
            await until(lambda: not worker.jobs.alive)
            assert worker.jobs.trouble
            await until(lambda: worker.jobs.alive)
            shop.put(*numbered("gemini", [n]))
            await until(lambda n=n: f"gemini:{n}" in shop.handled)  # type: ignore[misc]
        gate.set()
        await until(shop.finished)
    assert shop.begun == ["tools:0", "gemini:1", "gemini:2", "gemini:3"]


@pytest.mark.parametrize("which", ["LISTEN%", "WITH%"])
async def test_either_connection_may_be_lost_alone(shop: Workshop, which: str) -> None:
    async with shop.worker(poll=timedelta(seconds=0.5)) as worker:
        one = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
        )
        listens = "LIKE" if which.startswith("LISTEN") else "NOT LIKE"
        one += f" AND application_name = 'orchestrator jobs' AND query {listens} 'LISTEN%'"
        assert shop.scalar(one) == 1
        await until(lambda: not worker.jobs.alive)
        await until(lambda: worker.jobs.alive)
        shop.put(*numbered("gemini", range(5)))
        await until(shop.finished)


async def test_connections_that_lead_nowhere_are_left_for_new_ones(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server took over behind a proxy that keeps the old connections: nobody is told anything."""
    monkeypatch.setattr("orchestrator.silence.DOUBT_SECONDS", 0.2)
    with line_to(shop.url) as line:
        distant = Workshop(line.url)
        async with distant.worker(poll=timedelta(seconds=0.5)):
            line.hold()
            line.release(anew=True)
            shop.put(*numbered("gemini", range(5)))
            await until(shop.finished, "all jobs", seconds=10)
    assert len(distant.handled) == 5


async def test_nobody_takes_over_from_a_worker_that_comes_back_last(shop: Workshop) -> None:
    """Both lose the database for longer than a job takes to go stale; the other is back first."""
    brisk: dict[str, Any] = {
        "heartbeat": timedelta(seconds=0.5),
        "stale": timedelta(seconds=40),
        "poll": timedelta(seconds=0.1),
    }
    gate = shop.gate("tools:0")
    shop.put(*numbered("tools", [0]))
    async with shop.worker(**brisk) as holder:
        await until(lambda: bool(shop.begun))
        with shop.engine.begin() as conn:  # as if no heartbeat had come through for a minute
            conn.exec_driver_sql(
                "UPDATE orchestrator_jobs.pgqueuer SET heartbeat = now() - interval '1 minute'"
            )
        shop.cut()
        async with shop.worker(**brisk):
            await until(lambda: holder.jobs.alive)
            await asyncio.sleep(0.5)
            gate.set()
            await until(shop.finished)
    assert shop.begun == ["tools:0"]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_the_server_is_stopped_and_started_in_mid_work(
    own: Workshop, server: Server, mode: str
) -> None:
    held, ended = own.gate("tools:0"), own.gate("tools:1")
    own.put(*numbered("tools", range(2)), *numbered("gemini", range(50)))
    async with own.worker() as worker, own.worker({"slack": 1}) as idle:
        await until(lambda: len(own.begun) == 52)
        await asyncio.to_thread(server.stop, mode)
        await until(lambda: not worker.jobs.alive and not idle.jobs.alive)
        ended.set()  # while there is nobody to write it down
        await until(lambda: "tools:1" in own.handled)
        assert not worker.task.done()
        await asyncio.to_thread(server.start)
        own.engine.dispose()
        own.put(*numbered("gemini", range(50, 60)), *numbered("slack", [0]))
        await until(lambda: "gemini:59" in own.handled and "slack:0" in own.handled)
        await until(lambda: own.unfinished() == 1)
        held.set()
        await until(own.finished)
    assert sorted(own.begun) == sorted(set(own.begun))  # none twice


async def test_stopping_does_not_wait_for_a_database_that_is_gone(own: Workshop, server: Server) -> None:
    own.gate("tools:0")
    own.put(*numbered("tools", [0]))
    async with own.worker() as worker:
        await until(lambda: bool(own.begun))
        await asyncio.to_thread(server.stop, "fast")
        await until(lambda: not worker.jobs.alive)
        async with asyncio.timeout(PATIENCE):
            await worker.jobs.stop(0.1)
            await worker.task
    assert own.handled == []
