"""Webhooks: each once, as it came first, until it has been worked on."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON

from orchestrator.store import inbox
from orchestrator.store.database import Database
from orchestrator.store.inbox import Arrived, Closed
from orchestrator.store.tables import DeliveryRow, DeliveryState, table
from orchestrator.store.together import Together

delivery_t = table(DeliveryRow)
HOUR = timedelta(hours=1)


@pytest.fixture
def s(database: Database) -> Iterator[Session]:
    with Session(database.engine, expire_on_commit=False) as session:
        yield session
        session.rollback()


def hook(name: str, subject: str = "i1", body: bytes = b"{}", hours: int = 0) -> Arrived:
    return Arrived(name, "interaction.completed", subject, 1_700_000_000, body, NOON + hours * HOUR)


def row(s: Session, name: str) -> sa.RowMapping:
    return s.connection().execute(sa.select(delivery_t).where(delivery_t.c.id == name)).mappings().one()


def test_a_delivery_is_kept_as_it_came(s: Session) -> None:
    inbox.put(s, [hook("w1", body=b'{"a": "\xc3\xa9"}')])
    assert (row(s, "w1")["body"], row(s, "w1")["state"]) == (b'{"a": "\xc3\xa9"}', DeliveryState.NEW)
    assert row(s, "w1")["received_at"] == NOON
    assert [w.id for w in inbox.waiting(s, 9)] == ["w1"]


def test_a_known_id_is_counted_whatever_its_body_says(s: Session) -> None:
    inbox.put(s, [hook("w1", body=b"first")])
    inbox.put(s, [hook("w1", body=b"first"), hook("w1", body=b"first")])
    assert (row(s, "w1")["duplicates"], row(s, "w1")["note"]) == (2, "")
    inbox.put(s, [hook("w1", body=b"second")])
    assert row(s, "w1")["body"] == b"first"
    assert "another body" in row(s, "w1")["note"]


def test_twice_in_one_batch_is_once(s: Session) -> None:
    inbox.put(s, [hook("w1"), hook("w2"), hook("w1", body=b"other")])
    assert row(s, "w1")["body"] == b"{}"
    assert row(s, "w1")["duplicates"] == 1


def test_a_kind_no_database_takes_costs_its_neighbours_nothing(s: Session) -> None:
    odd = Arrived("w1", "interaction.\0" + "x" * 500, "i1", 1, b"\0\xff", NOON)
    inbox.put(s, [odd, hook("w2")])
    assert row(s, "w1")["body"] == b"\0\xff"
    assert len(row(s, "w1")["kind"]) == 200


def test_nothing_is_put_or_closed_of_nothing(s: Session) -> None:
    inbox.put(s, [])
    inbox.close(s, [])
    assert inbox.waiting(s, 9) == []


def test_the_oldest_wait_first(s: Session) -> None:
    inbox.put(s, [hook("w3", hours=3), hook("w1", hours=1), hook("w2", hours=2)])
    assert [w.id for w in inbox.waiting(s, 2)] == ["w1", "w2"]


def test_a_delivery_is_closed_once(s: Session) -> None:
    inbox.put(s, [hook("w1"), hook("w2")])
    inbox.close(s, [Closed("w1", DeliveryState.DONE, "run_1", "why")])
    inbox.close(s, [Closed("w1", DeliveryState.PARKED, "run_2", "again")])
    assert (row(s, "w1")["state"], row(s, "w1")["run_id"], row(s, "w1")["note"]) == (
        DeliveryState.DONE,
        "run_1",
        "why",
    )
    assert [w.id for w in inbox.waiting(s, 9)] == ["w2"]


def test_parked_deliveries_are_claimed_by_their_interaction(s: Session) -> None:
    inbox.put(s, [hook("w1", "i1"), hook("w2", "i1"), hook("w3", "i2"), hook("w4", "i1")])
    inbox.close(s, [Closed(w, DeliveryState.PARKED) for w in ("w1", "w2", "w3")])
    assert inbox.parked(s) == 3
    assert inbox.claim_parked(s, "i1", "run_1") is True
    assert inbox.claim_parked(s, "i1", "run_1") is False
    assert inbox.parked(s) == 1
    assert row(s, "w1")["run_id"] == "run_1"
    assert row(s, "w4")["state"] == DeliveryState.NEW


def test_only_what_was_worked_on_is_forgotten(s: Session) -> None:
    inbox.put(s, [hook(f"w{n}", hours=n) for n in range(4)])
    inbox.close(s, [Closed("w0", DeliveryState.DONE), Closed("w1", DeliveryState.PARKED)])
    inbox.close(s, [Closed("w3", DeliveryState.DONE)])
    assert inbox.prune(s, NOON + 3 * HOUR) == 2
    assert s.connection().execute(sa.select(delivery_t.c.id).order_by(delivery_t.c.id)).scalars().all() == [
        "w2",
        "w3",
    ]
    inbox.put(s, [hook("w3")])
    assert row(s, "w3")["duplicates"] == 1, "still known"


@pytest.mark.asyncio
async def test_the_same_delivery_from_many_sides_is_kept_once(database: Database) -> None:
    await asyncio.gather(*(database.write(inbox.put, [hook("w1")]) for _ in range(20)))
    rows = await database.read(lambda s: s.connection().execute(sa.select(delivery_t.c.duplicates)).all())
    assert rows == [(19,)]


@pytest.mark.asyncio
async def test_a_delivery_that_is_being_kept_elsewhere_is_not_kept_again(database: Database) -> None:
    """Two transactions at once; the second cannot see the first one's row yet."""
    began, go = threading.Event(), threading.Event()

    def slow(s: Session) -> None:
        inbox.put(s, [hook("w1", body=b"first")])
        began.set()
        go.wait(10)

    first = asyncio.ensure_future(database.write(slow))
    await asyncio.get_running_loop().run_in_executor(None, began.wait, 10)
    second = asyncio.ensure_future(database.write(inbox.put, [hook("w1"), hook("w2")]))
    await asyncio.sleep(0.1)
    go.set()
    await first
    await second
    assert len(await database.read(inbox.waiting, 9)) == 2
    kept = await database.read(lambda s: (row(s, "w1")["body"], row(s, "w1")["duplicates"]))
    assert kept == (b"first", 1)


@pytest.mark.asyncio
async def test_gathered_deliveries_are_each_kept_once(database: Database) -> None:
    door = Together(database, inbox.put)
    await asyncio.gather(*(door.put(hook(f"w{n % 30}")) for n in range(60)))
    await door.put(hook("w0"))
    assert await database.read(lambda s: row(s, "w0")["duplicates"]) == 2
    stored = await database.read(inbox.waiting, 100)
    assert len(stored) == 30


@pytest.mark.asyncio
async def test_a_failing_batch_is_told_to_each_and_the_next_one_works(database: Database) -> None:
    door = Together(database, inbox.put)
    bad = Arrived("w1", "k", "i1", 2**70, b"", NOON)  # no database has a place for that number
    told = await asyncio.gather(door.put(bad), door.put(hook("w2")), return_exceptions=True)
    assert any(isinstance(t, Exception) for t in told)
    await door.put(hook("w3"))
    assert "w3" in {w.id for w in await database.read(inbox.waiting, 9)}


@pytest.mark.asyncio
async def test_a_caller_that_hangs_up_leaves_its_delivery_to_be_written(database: Database) -> None:
    door = Together(database, inbox.put)
    task = asyncio.create_task(door.put(hook("w1")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await door.put(hook("w2"))
    assert {w.id for w in await database.read(inbox.waiting, 9)} == {"w1", "w2"}
