"""One `Database` for several event loops, each in a thread: everybody hears in the loop he waits in."""

import asyncio
import threading

from sqlalchemy.orm import Session
from support.clock import NOON

from orchestrator.store import sightings
from orchestrator.store.database import Database

LOOPS, EACH = 3, 40
NAME = "count"


def _count(s: Session) -> int:
    sightings.add(s, NAME, 1, NOON)
    return sightings.counted(s, NAME)


async def _use(database: Database) -> list[int]:
    async def one(way: int) -> int:
        counted = await (database.write(_count) if way % 2 else database.step(_count))
        assert await database.read(sightings.counted, NAME) >= counted, "it was told before it was committed"
        return counted

    async with asyncio.timeout(60):
        return await asyncio.gather(*map(one, range(EACH)))


def test_several_loops_share_a_database(database: Database) -> None:
    counted: list[int] = []
    begun = threading.Barrier(LOOPS)

    def loop() -> None:
        begun.wait()
        counted.extend(asyncio.run(_use(database)))

    threads = [threading.Thread(target=loop) for _ in range(LOOPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counted) == list(range(1, LOOPS * EACH + 1))


def test_a_loop_that_ends_early_is_not_missed_by_the_others(database: Database) -> None:
    """Nobody waits there any more for what was asked for."""

    async def leave() -> None:
        asked = [asyncio.ensure_future(way(_count)) for way in (database.write, database.step)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in asked)

    asyncio.run(leave())
    assert len(asyncio.run(_use(database))) == EACH
