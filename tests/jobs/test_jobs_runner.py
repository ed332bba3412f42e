"""Lanes, failures, several workers on one database, and stopping."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.patience import PATIENCE, until
from workshop import Workshop, numbered

from orchestrator.jobs import Job, Jobs

pytestmark = pytest.mark.asyncio

BRISK: dict[str, Any] = {
    "poll": timedelta(seconds=0.2),
    "heartbeat": timedelta(seconds=0.2),
    "stale": timedelta(seconds=1.0),
}


async def test_a_lane_never_has_more_at_once_than_its_slots(shop: Workshop) -> None:
    async def handle(lane: str, payload: bytes) -> None:
        await asyncio.sleep(0.005)
        await shop.handle(lane, payload)

    for n in range(30):
        shop.gate(f"tools:{n}")
    shop.put(*numbered("tools", range(30)), *numbered("gemini", range(30)))
    async with shop.worker({"tools": 3, "gemini": 1}, handle) as worker:
        await until(lambda: len(shop.handled) == 30 and shop.at_once.get("tools") == worker.jobs.busy == 3)
        for gate in shop.gates.values():
            gate.set()
        await until(shop.finished)
    assert shop.most_at_once == {"tools": 3, "gemini": 1}
    assert len(shop.handled) == len(set(shop.handled)) == 60


async def test_a_slow_lane_holds_no_other_back(shop: Workshop) -> None:
    for n in range(10):
        shop.gate(f"tools:{n}")
    shop.put(*numbered("tools", range(10)))
    async with shop.worker(poll=timedelta(hours=1)):
        await until(lambda: shop.at_once.get("tools") == 2)
        shop.put(*numbered("gemini", range(10)))
        await until(lambda: len(shop.handled) == 10)
        assert all(job.startswith("gemini") for job in shop.handled)
        assert shop.scalar("SELECT count(*) FROM orchestrator_jobs.pgqueuer WHERE status = 'queued'") == 8
        for gate in shop.gates.values():
            gate.set()
        await until(shop.finished)


async def test_other_lanes_are_left_to_others(shop: Workshop) -> None:
    shop.put(Job("tools", "t", b""), Job("slack", "s", b""))
    async with shop.worker():
        await until(lambda: shop.unfinished() == 1)
        await asyncio.sleep(0.1)
        assert shop.handled == ["tools:"]
        async with shop.worker({"slack": 1}):
            await until(shop.finished)
    assert shop.handled == ["tools:", "slack:"]


async def test_a_job_whose_handler_raises_is_finished(shop: Workshop) -> None:
    async def handle(lane: str, payload: bytes) -> None:
        if payload == b"1":
            raise ValueError("no")
        if payload == b"2":
            raise asyncio.CancelledError
        await shop.handle(lane, payload)

    shop.put(*numbered("gemini", range(8)))
    async with shop.worker(handle=handle) as worker:
        await until(shop.finished)
        assert worker.jobs.alive
        assert worker.jobs.busy == 0
    assert len(shop.handled) == 6
    assert shop.scalar("SELECT count(*) FROM orchestrator_jobs.pgqueuer_log WHERE status = 'exception'") == 2


async def test_a_commit_wakes_and_polling_does_not(shop: Workshop) -> None:
    """Nobody looks by himself for an hour."""
    async with shop.worker(poll=timedelta(hours=1)):
        for n in range(10):
            await asyncio.to_thread(shop.put, Job("tools", f"k{n}", str(n).encode()))
            await until(lambda n=n: len(shop.handled) == n + 1)  # type: ignore[misc]


async def test_a_worker_with_nothing_to_do_hardly_touches_the_database(shop: Workshop) -> None:
    """How often it looks into its table. Its transactions would not do: to be told of what others wrote to
    other databases of the same server is one, too, for whoever listens.
    """
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    looked = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_all_tables WHERE relname = 'pgqueuer'"

    async def settled() -> int:
        await until(lambda: shop.scalar(others) == 0)  # who has ended has told the server all
        return int(shop.scalar(looked))

    clock = asyncio.get_running_loop().time
    before, began = await settled(), clock()
    async with shop.worker():
        await asyncio.sleep(3.0)
    lasted = clock() - began
    looks = await settled() - before
    assert 0 < looks <= 5 * lasted + 10  # all the time would be forty a second


async def test_a_long_queue_does_not_put_off_writing_down_what_has_ended(shop: Workshop) -> None:
    picked: list[int] = []

    async def handle(lane: str, payload: bytes) -> None:
        await shop.handle(lane, payload)
        if payload in (b"150", b"250"):
            picked.append(
                shop.scalar("SELECT count(*) FROM orchestrator_jobs.pgqueuer WHERE status = 'picked'")
            )

    shop.put(*numbered("gemini", range(300)))
    async with shop.worker(handle=handle):
        await until(shop.finished)
    assert len(picked) == 2
    assert max(picked) < 50


async def test_two_workers_share_and_never_take_the_same_job(shop: Workshop) -> None:
    count = 120
    shop.put(*numbered("gemini", range(count // 2)))
    async with shop.worker(), shop.worker(), shop.worker():
        shop.put(*numbered("gemini", range(count // 2, count)))
        await until(shop.finished)
    assert sorted(shop.begun) == sorted(f"gemini:{n}" for n in range(count))


async def test_a_long_handler_is_vouched_for(shop: Workshop) -> None:
    """Again and again, so that it never gets as old as one that is taken over."""
    gate = shop.gate("tools:0")
    shop.put(*numbered("tools", [0]))
    vouched = "SELECT heartbeat FROM orchestrator_jobs.pgqueuer"
    times = {**BRISK, "stale": timedelta(minutes=2)}
    async with shop.worker({"tools": 1}, **times):  # full, so it cannot vouch by taking its own job again
        await until(lambda: bool(shop.begun))
        async with shop.worker(**times):
            for _ in range(5):
                last = shop.scalar(vouched)
                await until(lambda last=last: shop.scalar(vouched) > last)  # type: ignore[misc]
            assert shop.begun == ["tools:0"]
            gate.set()
            await until(shop.finished)
    assert shop.handled == ["tools:0"]


async def test_a_late_heartbeat_does_not_begin_a_handler_twice(shop: Workshop) -> None:
    gate = shop.gate("tools:0")
    shop.put(*numbered("tools", [0]))
    times = {**BRISK, "poll": timedelta(seconds=0.05), "heartbeat": timedelta(seconds=0.5)}
    looks_abandoned = (
        "UPDATE orchestrator_jobs.pgqueuer SET heartbeat = now() - interval '1 minute' RETURNING id"
    )
    async with shop.worker(**times) as worker:
        await until(lambda: bool(shop.begun))
        await asyncio.sleep(1.1)
        for _ in range(4):
            with shop.engine.begin() as conn:
                conn.exec_driver_sql(looks_abandoned)
            await asyncio.sleep(0.2)
        assert worker.jobs.busy == 1
        gate.set()
        await until(shop.finished)
    assert shop.begun == ["tools:0"]


async def test_the_jobs_of_a_dead_worker_are_taken_over(shop: Workshop) -> None:
    gate = shop.gate("tools:0")
    shop.put(*numbered("tools", [0]))
    async with shop.worker(**BRISK) as first, shop.worker({"gemini": 1}, **BRISK):
        await until(lambda: bool(shop.begun))
        await first.die()
        gate.set()
        assert shop.unfinished() == 1
        async with shop.worker(**BRISK):
            await until(shop.finished)
    assert shop.begun == ["tools:0", "tools:0"]
    assert shop.handled == ["tools:0"]


async def test_stopping_waits_for_what_runs_and_takes_no_more(shop: Workshop) -> None:
    gate = shop.gate("tools:0")
    shop.put(*numbered("tools", [0]))
    async with shop.worker() as worker:
        await until(lambda: bool(shop.begun))
        stopping = asyncio.create_task(worker.jobs.stop(300))
        await asyncio.sleep(0.05)
        shop.put(*numbered("tools", [1]))
        await asyncio.sleep(0.1)
        gate.set()
        async with asyncio.timeout(PATIENCE):
            await stopping
            await worker.task
        assert worker.jobs.trouble == "stopped"
    assert shop.begun == shop.handled == ["tools:0"]
    assert shop.unfinished() == 1


async def test_what_is_cut_short_is_given_back_at_once(shop: Workshop) -> None:
    shop.gate("tools:0")
    shop.put(*numbered("tools", [0]))
    late = timedelta(minutes=10)
    async with shop.worker(stale=late) as worker:
        await until(lambda: bool(shop.begun))
        async with asyncio.timeout(PATIENCE):
            await worker.jobs.stop(0.05)
            await worker.task
    assert shop.handled == []
    del shop.gates["tools:0"]
    async with shop.worker(stale=late):
        await until(shop.finished)
    assert shop.handled == ["tools:0"]


async def test_what_keeps_a_worker_from_its_work_is_told(bare: Workshop) -> None:
    worker = Jobs(bare.url, lanes={"tools": 1}, handle=bare.handle)
    assert (worker.alive, worker.trouble) == (False, "not started")
    task = asyncio.create_task(worker.run())
    await until(lambda: "orchestrator_jobs" in worker.trouble)
    assert not worker.alive
    assert not task.done()
    await worker.stop(1)
    await task
    assert (worker.alive, worker.trouble) == (False, "stopped")
    with pytest.raises(RuntimeError):
        await worker.run()


async def test_a_worker_never_started_can_be_stopped(bare: Workshop) -> None:
    worker = Jobs(bare.url, lanes={"tools": 1}, handle=bare.handle)
    await worker.stop(1)
    await worker.run()


@pytest.mark.parametrize(
    "wrong", [{"lanes": {}}, {"lanes": {"tools": 0}}, {"lanes": {"tools": 1}, "stale": timedelta(seconds=9)}]
)
async def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    async def handle(lane: str, payload: bytes) -> None: ...

    with pytest.raises(ValueError, match=r"slot|stale"):
        Jobs(sa.make_url("postgresql+psycopg:///x"), handle=handle, **wrong)  # type: ignore[arg-type]


async def test_old_log_lines_are_forgotten(shop: Workshop) -> None:
    shop.put(*numbered("slack", range(3)))
    with shop.engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE orchestrator_jobs.pgqueuer_log SET created = now() - interval '2 hours' WHERE job_id <> 2"
        )
    async with shop.worker():
        await until(lambda: shop.scalar("SELECT count(*) FROM orchestrator_jobs.pgqueuer_log") == 1)
