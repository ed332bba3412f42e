"""A loop that fails again and again, such as while the database is away, says so once and not each second."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs
from support.clock import SettableClock
from support.patience import until
from support.world import World

from orchestrator.domain.effects import EffectKind, Urgency
from orchestrator.engine.audit_heads import AuditHeads
from orchestrator.engine.tickets import Ticket
from orchestrator.engine.triggers import Triggers
from orchestrator.engine.worker import Worker
from orchestrator.failure_streak import AGAIN_SECONDS, FailureStreak
from orchestrator.store.claims import Claimed
from orchestrator.store.sql import checkpoints


class Minute:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_spell_is_told_once_at_length_then_seldom_and_when_it_is_over() -> None:
    clock = Minute()
    streak = FailureStreak("worker", clock)
    gone = ConnectionError("the server closed the connection")
    with capture_logs() as logs:
        streak.worked()
        for _ in range(120):
            streak.failed(gone)
            clock.now += 1.0
        streak.worked()
        streak.worked()
    told = [(line["event"], line["log_level"], line.get("seconds"), line.get("failures")) for line in logs]
    assert told == [
        ("worker_failed", "error", None, None),
        ("worker_still_failing", "warning", AGAIN_SECONDS, 61),
        ("worker_recovered", "info", 120.0, 120),
    ]
    assert [line.get("exc_info") for line in logs] == [gone, None, None]


def test_another_kind_of_failure_within_a_spell_is_told_at_length_too() -> None:
    streak = FailureStreak("worker", Minute())
    with capture_logs() as logs:
        for error in (ConnectionError("gone"), KeyError("ours"), ConnectionError("gone"), KeyError("ours")):
            streak.failed(error)
    assert [line["error"] for line in logs] == ["ConnectionError", "KeyError"]


def test_of_a_database_that_is_away_its_words_are_told_and_no_traceback() -> None:
    gone = sa.exc.OperationalError(
        "SELECT arguments", {}, ConnectionError("the server closed\nthe connection")
    )
    with capture_logs() as logs:
        FailureStreak("worker", Minute()).failed(gone, run_id="run_1")
    assert logs == [
        {
            "event": "worker_failed",
            "log_level": "error",
            "error": "OperationalError",
            "why": "the server closed the connection",
            "run_id": "run_1",
        }
    ]


def test_the_next_spell_is_told_anew() -> None:
    streak = FailureStreak("worker", Minute())
    with capture_logs() as logs:
        for _ in range(2):
            streak.failed(ConnectionError("gone"))
            streak.worked()
    assert [line["event"] for line in logs] == ["worker_failed", "worker_recovered"] * 2


def test_what_began_before_the_last_failure_ends_no_streak() -> None:
    """Of two things done at once one fails, the other had its connection from before."""
    streak = FailureStreak("effect", Minute())
    with capture_logs() as logs:
        for _ in range(3):
            begun = streak.ever
            streak.failed(ConnectionError("gone"))
            streak.worked(begun)
        streak.worked(streak.ever)
    assert [(line["event"], line.get("failures")) for line in logs] == [
        ("effect_failed", None),
        ("effect_recovered", 3),
    ]


def test_what_began_before_a_streak_was_over_fails_of_that_one() -> None:
    """Of two that ask for a connection while there is none, one gives up only when the other has got it."""
    streak = FailureStreak("effect", Minute())
    with capture_logs() as logs:
        long_ago = streak.ever
        streak.failed(ConnectionError("gone"), "", long_ago)
        just_now = streak.ever
        streak.worked(just_now)
        for begun in (long_ago, just_now):
            streak.failed(ConnectionError("connection timeout expired"), "", begun)
        streak.worked(streak.ever)
        streak.failed(ConnectionError("gone again"), "", streak.ever)
    assert [line["event"] for line in logs] == ["effect_failed", "effect_recovered", "effect_failed"]


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


class Gone:
    """A database that is away, then as `write` says."""

    write_fails = 3

    async def write(self, *_: Any) -> None:
        self.write_fails -= 1
        if self.write_fails >= 0:
            raise ConnectionError("the server closed the connection")


@pytest.mark.asyncio
async def test_the_audits_head_is_looked_at_in_vain_once() -> None:
    gone: Any = Gone()
    heads = AuditHeads(gone, None, every=timedelta(hours=1), clock=SettableClock())
    with capture_logs() as logs:
        for _ in range(5):
            await heads.look()
    assert [line["event"] for line in logs] == ["audit_head_failed", "audit_head_recovered"]


@pytest.mark.asyncio
async def test_triggers_are_arranged_in_vain_once() -> None:
    gone: Any = Gone()

    async def sleep(_: float) -> None:
        if gone.write_fails < -1:
            raise asyncio.CancelledError

    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await Triggers(gone).run(sleep)
    told = ["triggers_arranging_failed", "triggers_arranging_recovered"]
    assert [line["event"] for line in logs] == told


@pytest.mark.asyncio
async def test_effects_that_meet_an_outage_tell_of_it_once_and_end(sqlite_url: str) -> None:
    """Also where the row could not be told that it failed: its lease runs out."""
    async with World(sqlite_url) as world:

        async def act() -> None:
            raise sa.exc.OperationalError("SELECT", {}, ConnectionError("gone"))

        async def well() -> None: ...

        def ticket(act: Any, kind: EffectKind = EffectKind.FETCH_INTERACTION) -> Ticket:
            until = world.clock() + timedelta(seconds=10)
            return Ticket(Claimed(1, "run_1", kind, "int_1", 1, 1, "t", until, "", Urgency.TURN), act)

        whole = world.performer.commits.again
        world.performer.commits.again = lambda *_: act()  # type: ignore[method-assign]
        with capture_logs() as logs:
            await world.performer.perform(ticket(act))
            await world.performer.perform(ticket(act, EffectKind.UPDATE_APPROVAL))
            world.performer.commits.again = whole  # type: ignore[method-assign]
            await world.performer.perform(ticket(act))
            await world.performer.perform(ticket(well))
    assert [(line["event"], line.get("run_id")) for line in logs] == [
        ("effect_failed", "run_1"),
        ("effect_recovered", None),
    ]


@pytest.mark.asyncio
async def test_an_effect_under_way_when_another_met_the_outage_does_not_say_that_it_is_over(
    sqlite_url: str,
) -> None:
    async with World(sqlite_url) as world:
        met = asyncio.Event()

        async def act() -> None:
            met.set()
            raise sa.exc.OperationalError("SELECT", {}, ConnectionError("gone"))

        async def well() -> None:
            await met.wait()

        async def no_sooner() -> None: ...

        def ticket(act: Any) -> Ticket:
            until = world.clock() + timedelta(seconds=10)
            kind = EffectKind.FETCH_INTERACTION
            return Ticket(Claimed(1, "run_1", kind, "int_1", 1, 1, "t", until, "", Urgency.TURN), act)

        with capture_logs() as logs:
            under_way = asyncio.create_task(world.performer.perform(ticket(well)))
            await asyncio.sleep(0)
            await world.performer.perform(ticket(act))
            await under_way
            assert [line["event"] for line in logs] == ["effect_failed"]
            await world.performer.perform(ticket(no_sooner))
    assert [line["event"] for line in logs] == ["effect_failed", "effect_recovered"]


@pytest.mark.asyncio
async def test_a_log_that_cannot_be_moved_is_tried_again_and_told_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "TIDY_SECONDS", 0.0)
    folder = tmp_path / "there"
    engine = sa.create_engine(f"sqlite:///{folder}/x.db", poolclass=sa.NullPool)
    moving = checkpoints.Checkpoints(engine)
    with capture_logs() as logs:
        moving.due.set()
        await until(lambda: logs, "a first try")
        moving.due.set()
        await until(lambda: not moving.due.is_set(), "another try")
        folder.mkdir()
        await until(lambda: moving.due.set() or len(logs) > 1, "one that works")
        moving.close()
    assert [line["event"] for line in logs] == ["checkpoint_failed", "checkpoint_recovered"]


@pytest.mark.asyncio
async def test_what_is_logged_during_an_effect_says_which_it_is_about(sqlite_url: str) -> None:
    """A gateway that rides out a blip knows no run, nor does a tool's own line."""
    seen = []
    async with World(sqlite_url) as world:

        async def act() -> None:
            seen.append(get_contextvars())

        until = world.clock() + timedelta(seconds=10)
        kind = EffectKind.FETCH_INTERACTION
        claimed = Claimed(7, "run_1", kind, "int_1", 1, 1, "t", until, "", Urgency.TURN)
        await world.performer.perform(Ticket(claimed, act))
    assert seen == [{"effect": "eff_7", "run_id": "run_1", "kind": kind, "subject": "int_1"}]
    assert get_contextvars() == {}
