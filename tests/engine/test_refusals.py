"""Refused webhooks on their way into the ledger: bounded, paced, and nobody waits for them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from support.clock import NOON

from orchestrator.engine.refused_webhooks import MOST_WAITING, Refusals
from orchestrator.store.database import Database
from orchestrator.store.inbox import delivery_t

pytestmark = pytest.mark.asyncio


class Watched:
    """A database whose transactions are counted; `broken` makes them fail."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.writes, self.broken = 0, False
        self.gate, self.wrote = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def write(self, job: Callable[..., Any], *args: Any) -> Any:
        self.writes += 1
        await self.gate.wait()
        if self.broken:
            raise OSError("canary")
        await self._database.write(job, *args)
        self.wrote.set()


class Lost(list[int]):
    """Can be waited for."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self.wait = self._told.wait

    def append(self, many: int) -> None:
        super().append(many)
        self._told.set()


async def rows(database: Database) -> list[dict[str, Any]]:
    def job(s: Any) -> list[dict[str, Any]]:
        return [dict(r) for r in s.connection().execute(sa.select(delivery_t)).mappings()]

    return await database.read(job)


def made(watched: Watched, lost: list[int], pause_seconds: float = 60.0) -> Refusals:
    given: Any = watched
    return Refusals(given, lambda: NOON, unkept=lost.append, pause_seconds=pause_seconds)


def put(refusals: Refusals, names: range) -> None:
    for n in names:
        refusals.put({"webhook-id": f"m{n}"}, b"{}", "no signature matches")


@pytest.fixture
def opened(sqlite_url: str) -> Any:
    database = Database(sqlite_url)
    yield database
    database.close()


async def test_a_burst_is_one_transaction_and_the_rest_waits_for_the_next(opened: Database) -> None:
    watched, lost = Watched(opened), list[int]()
    refusals = made(watched, lost)
    async with refusals.owned():
        put(refusals, range(3))
        await watched.wrote.wait()
        put(refusals, range(1, 9))
        put(refusals, range(1, 9))
        await asyncio.sleep(0)
        assert (watched.writes, len(await rows(opened))) == (1, 3), "the next one is not due yet"
    kept = {r["headers"]["webhook-id"]: r["duplicates"] for r in await rows(opened)}
    assert kept == {"m0": 0, "m1": 2, "m2": 2, **{f"m{n}": 1 for n in range(3, 9)}}
    assert (watched.writes, lost) == (2, []), "and is written when the service stops"


async def test_what_finds_no_room_is_counted_and_repeats_need_none(opened: Database) -> None:
    watched, lost = Watched(opened), list[int]()
    refusals = made(watched, lost)
    async with refusals.owned():
        for _ in range(2):
            put(refusals, range(MOST_WAITING + 5))
        assert sum(lost) == 10
    assert [r["duplicates"] for r in await rows(opened)] == [1] * MOST_WAITING


async def test_a_database_that_fails_is_nobodys_trouble(opened: Database) -> None:
    watched, lost = Watched(opened), Lost()
    refusals = made(watched, lost, pause_seconds=0)
    watched.broken = True
    with structlog.testing.capture_logs() as logs:
        async with refusals.owned():
            put(refusals, range(3))
            put(refusals, range(1))
            async with asyncio.timeout(30):
                await lost.wait()
            watched.broken = False
            put(refusals, range(5, 6))
    assert (sum(lost), [r["headers"]["webhook-id"] for r in await rows(opened)]) == (4, ["m5"])
    assert [(e["event"], e["error"]) for e in logs] == [("refusals_not_kept", "OSError")]
    assert "canary" not in str(logs)


async def test_a_database_that_hangs_does_not_hold_up_the_end(
    opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(opened)
    monkeypatch.setattr("orchestrator.engine.refused_webhooks.GRACE_SECONDS", 0.05)
    watched.gate.clear()
    refusals = made(watched, [])
    async with asyncio.timeout(30), refusals.owned():
        put(refusals, range(1))
        await asyncio.sleep(0)
