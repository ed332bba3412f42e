"""What a neighbour asked one process to wait holds for the next one too, and for those beside it."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from support.clock import NOON
from support.slack_server import FakeSlack, Reply, ok

from orchestrator.engine.breakers import Breaker, Position, SparedError
from orchestrator.errors import UnavailableError
from orchestrator.retry_after import RetryAfter
from orchestrator.slack.web_api import WebApi
from orchestrator.store.database import Database

WAIT = 60.0
pytestmark = pytest.mark.asyncio


@dataclass
class Time:
    """Of all processes together."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


class Process:
    """Who calls Gemini, and what it knows of waits."""

    def __init__(self, database: Database, time: Time) -> None:
        stopwatch = lambda: time.seconds  # noqa: E731
        self.sent = 0
        self.breaker = Breaker("gemini", clock=stopwatch, roll=lambda: 1.0)
        self.retry_after = RetryAfter(database, (self.breaker,), lambda s: time.now(), stopwatch)

    async def told_to_wait(self, seconds: float) -> None:
        async def work() -> None:
            raise UnavailableError("later", retry_after=seconds)

        with pytest.raises(UnavailableError):
            await self.breaker.call(work)
        await self.retry_after.told()

    async def calls(self) -> None:
        async def work() -> None:
            self.sent += 1

        await asyncio.gather(self.breaker.call(work), return_exceptions=True)


async def test_whoever_begins_anew_keeps_to_it(database: Database) -> None:
    time = Time()
    await Process(database, time).told_to_wait(WAIT)
    for seconds in (1.0, WAIT - 1):
        time.seconds, anew = seconds, Process(database, time)
        await anew.retry_after.recall()
        await anew.calls()
        assert anew.sent == 0, f"after {seconds:g} s"
        with pytest.raises(SparedError) as spared:
            await anew.breaker.call(anew.calls)
        assert spared.value.retry_after == WAIT - seconds
    time.seconds, anew = WAIT, Process(database, time)
    await anew.retry_after.recall()
    await anew.calls()
    assert anew.sent == 1


async def test_whoever_works_beside_keeps_to_it_once_it_looked(database: Database) -> None:
    time = Time()
    told, beside = Process(database, time), Process(database, time)
    await told.told_to_wait(WAIT)
    await beside.retry_after.recall()
    await beside.calls()
    assert beside.sent == 0
    time.seconds = WAIT
    await beside.calls()
    assert (beside.sent, beside.breaker.state().position) == (1, Position.CLOSED)


async def test_the_longer_wait_stays(database: Database) -> None:
    time = Time()
    one, other = Process(database, time), Process(database, time)
    await one.told_to_wait(WAIT)
    await other.told_to_wait(WAIT / 2)
    anew = Process(database, time)
    await anew.retry_after.recall()
    assert anew.breaker.state().rest == WAIT


async def test_reading_again_what_holds_already_changes_nothing(database: Database) -> None:
    time = Time()
    process = Process(database, time)
    await process.told_to_wait(WAIT)
    before = process.breaker.state()
    await process.retry_after.recall()
    assert process.breaker.state() == before


async def test_a_clock_set_back_keeps_nobody_waiting_for_longer(database: Database) -> None:
    time = Time()
    await Process(database, time).told_to_wait(WAIT)
    time.seconds = -10 * WAIT
    anew = Process(database, time)
    await anew.retry_after.recall()
    assert anew.breaker.state().rest == WAIT


async def test_slack_asks_it_of_one_method_and_channel(database: Database) -> None:
    busy = Reply(status=429, body={"ok": False, "error": "ratelimited"}, headers={"Retry-After": "30"})
    async with FakeSlack(chat__postMessage=[busy, ok()]) as slack:

        def process() -> tuple[WebApi, RetryAfter]:
            api = WebApi(
                "xoxb-test",
                clock=lambda: NOON,
                base_url=slack.base_url,
                timeout_seconds=5,
                blip_seconds=0.001,
            )
            return api, RetryAfter(database, (api,), lambda s: NOON, lambda: 0.0)

        before, heard = process()
        with pytest.raises(UnavailableError):
            await before.call("chat_postMessage", channel="C1", text="hi")
        await heard.told()
        anew, retry_after = process()
        await retry_after.recall()
        with pytest.raises(UnavailableError) as kept:
            await anew.call("chat_postMessage", channel="C1", text="hi")
        assert (kept.value.retry_after, len(slack.calls)) == (30.0, 1)
        await anew.call("chat_postMessage", channel="C2", text="hi")
        await before.aclose()
        await anew.aclose()
