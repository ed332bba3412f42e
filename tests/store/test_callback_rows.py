"""Messages to callers as rows: what transactions that meet do to each other."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from orchestrator.domain.announcements import Announcement
from orchestrator.domain.callbacks import News
from orchestrator.domain.consent import Actor
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Recipe
from orchestrator.store import callbacks, runs
from orchestrator.store.callbacks import Attempt, Patience, Sending
from orchestrator.store.database import Database

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
URL = "https://hooks.example.com/all"


def opened(s: Session, run_id: str) -> None:
    runs.insert(s, open_run(run_id, Recipe("x", model="m"), "hi", Actor("U0ANNA"), now=NOON), now=NOON)
    callbacks.put(s, run_id, [told(run_id, "first")], NOON)


def told(run_id: str, which: str) -> Announcement:
    return Announcement(f"msg_{run_id}_{which}", URL, News.RUN_WAITING, "{}")


def test_two_runs_that_tell_one_address_at_once_do_not_wait_in_a_circle(postgres_url: str) -> None:
    """Each writes its message down, which holds on to the address, and takes it in hand at once."""
    both, tries = threading.Barrier(2), list[str]()

    def step(s: Session, run_id: str) -> bool:
        tries.append(run_id)
        callbacks.put(s, run_id, [told(run_id, "second")], NOON)
        if tries.count(run_id) == 1:
            both.wait(60)
        return isinstance(callbacks.take(s, f"msg_{run_id}_second", Patience(), NOON), Sending)

    async def story() -> None:
        for run_id in ("run_1", "run_2"):
            await database.write(opened, run_id)
        assert await asyncio.gather(*(database.write(step, r) for r in ("run_1", "run_2"))) == [True, True]

    database = Database(postgres_url, threads=2)
    try:
        asyncio.run(story())
    finally:
        database.close()
    assert sorted(tries) == ["run_1", "run_2"]


def test_an_address_that_asks_for_time_gets_it_though_another_message_failed_before(sqlite_url: str) -> None:
    asked = timedelta(seconds=600)

    def story(s: Session) -> tuple[object, object]:
        opened(s, "run_1")
        callbacks.put(s, "run_1", [told("run_1", "second"), told("run_1", "third")], NOON)
        for which, attempt in (("first", Attempt(None, "lost")), ("second", Attempt(503, "busy", 600.0))):
            callbacks.settle(s, f"msg_run_1_{which}", attempt, Patience(), NOON, 0.5)
        times = (NOON + asked - timedelta(seconds=1), NOON + 2 * asked)
        early, late = (callbacks.take(s, "msg_run_1_third", Patience(), at) for at in times)
        return early, late

    database = Database(sqlite_url)
    try:
        early, late = asyncio.run(database.write(story))
    finally:
        database.close()
    assert isinstance(early, datetime)
    assert early >= NOON + asked
    assert isinstance(late, Sending)
