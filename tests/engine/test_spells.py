"""A loop that fails again and again, such as while the database is away, says so once and not each second."""

import asyncio

import pytest
from structlog.testing import capture_logs
from support.processes import until
from support.world import World

from orchestrator.engine.spells import AGAIN_SECONDS, Spell
from orchestrator.engine.worker import Worker


class Minute:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_spell_is_told_once_at_length_then_seldom_and_when_it_is_over() -> None:
    clock = Minute()
    spell = Spell("worker", clock)
    gone = ConnectionError("the server closed the connection")
    with capture_logs() as logs:
        spell.worked()
        for _ in range(120):
            spell.failed(gone)
            clock.now += 1.0
        spell.worked()
        spell.worked()
    told = [(line["event"], line["log_level"], line.get("seconds"), line.get("failures")) for line in logs]
    assert told == [
        ("worker_failed", "error", None, None),
        ("worker_still_failing", "warning", AGAIN_SECONDS, 61),
        ("worker_recovered", "info", 120.0, 120),
    ]
    assert [line.get("exc_info") for line in logs] == [gone, None, None]


def test_another_kind_of_failure_within_a_spell_is_told_at_length_too() -> None:
    spell = Spell("worker", Minute())
    with capture_logs() as logs:
        for error in (ConnectionError("gone"), KeyError("ours"), ConnectionError("gone"), KeyError("ours")):
            spell.failed(error)
    assert [line["error"] for line in logs] == ["ConnectionError", "KeyError"]


def test_the_next_spell_is_told_anew() -> None:
    spell = Spell("worker", Minute())
    with capture_logs() as logs:
        for _ in range(2):
            spell.failed(ConnectionError("gone"))
            spell.worked()
    assert [line["event"] for line in logs] == ["worker_failed", "worker_recovered"] * 2


class Away(Worker):
    """Its database is away for so many rounds."""

    rounds = 3

    async def _take(self, *, mail: bool = True) -> int:
        self.rounds -= 1
        if self.rounds >= 0:
            raise ConnectionError("the server closed the connection")
        return await super()._take(mail=mail)


@pytest.mark.asyncio
async def test_a_worker_prints_one_traceback_for_an_outage(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time
    monkeypatch.setattr(loop, "time", lambda: begun() * 1000)  # a second's rest between rounds is soon over
    async with World(sqlite_url) as world:
        worker = Away(world.database, world.performer, policy=world.policy, clock=world.clock)
        with capture_logs() as logs:
            running = asyncio.create_task(worker.run())
            await until(lambda: worker.rounds < 0, "a round that works", seconds=60_000)
            await worker.stop(30)
            await running
    told = [(line["event"], "exc_info" in line) for line in logs if line["event"].startswith("worker_")]
    assert told == [("worker_failed", True), ("worker_recovered", False)]
