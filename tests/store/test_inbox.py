"""Webhooks: each once, as it came first, until it has been worked on."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session
from support.clock import NOON

from orchestrator.store import inbox, parked
from orchestrator.store.batched_writes import BatchedWrites
from orchestrator.store.database import Database
from orchestrator.store.inbox import Arrived, Closed, DeliveryVerdict
from orchestrator.store.sql.held import flush
from orchestrator.store.tables import DeliveryRow, DeliveryState, table

delivery_t = table(DeliveryRow)
HOUR = timedelta(hours=1)


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
    assert (row(s, "w1")["duplicates"], row(s, "w1")["conflicts"]) == (2, 0)
    inbox.put(s, [hook("w1", body=b"second")])
    assert row(s, "w1")["body"] == b"first"
    assert (row(s, "w1")["duplicates"], row(s, "w1")["conflicts"]) == (3, 1)


def test_repeats_are_told_once_committed_and_another_body_is_logged(database: Database) -> None:
    told: list[tuple[int, int]] = []

    def job(s: Session, arrived: Sequence[Arrived], fail: bool) -> None:
        inbox.put(s, arrived, lambda again, other: told.append((again, other)))
        if fail:
            raise OSError("what is undone is not told")

    def put(*arrived: Arrived, fail: bool = False) -> None:
        asyncio.run(database.write(job, arrived, fail))

    with structlog.testing.capture_logs() as logs:
        put(hook("w1"), hook("w2"))
        put(hook("w3"))
        assert (told, logs) == ([], [])
        with pytest.raises(OSError, match="undone"):
            put(hook("w1"), hook("w1", body=b"canary"), fail=True)
        assert (told, logs) == ([], [])
        put(hook("w1"), hook("w1", body=b"canary"), hook("w4"))
        put(hook("w2", body=b"canary"))
    assert told == [(2, 1), (1, 1)]
    assert [(e["event"], e["webhook_id"]) for e in logs] == [("webhook_conflict", n) for n in ("w1", "w2")]
    assert "canary" not in str(logs)


def test_what_tells_nothing_new_has_its_verdict_as_it_comes(s: Session) -> None:
    inbox.put(
        s, [hook("w1")._replace(run_id="run_1", scheme="v1a", headers={"webhook-id": "w1"}), hook("w2")]
    )
    known, waits = row(s, "w1"), row(s, "w2")
    assert (known["verdict"], known["handled_at"], known["state"]) == ("known", NOON, DeliveryState.DONE)
    assert (waits["verdict"], waits["handled_at"], waits["state"]) == ("", None, DeliveryState.NEW)
    assert (known["scheme"], known["headers"]) == ("v1a", {"webhook-id": "w1"})


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
    inbox.close(s, [], NOON)
    assert inbox.waiting(s, 9) == []


def test_the_oldest_wait_first(s: Session) -> None:
    inbox.put(s, [hook("w3", hours=3), hook("w1", hours=1), hook("w2", hours=2)])
    assert [w.id for w in inbox.waiting(s, 2)] == ["w1", "w2"]


def test_a_delivery_is_closed_once(s: Session) -> None:
    inbox.put(s, [hook("w1"), hook("w2")])
    inbox.close(s, [Closed("w1", DeliveryVerdict.WOKE, "run_1", "why")], NOON + HOUR)
    inbox.close(s, [Closed("w1", DeliveryVerdict.PARKED, "run_2", "again")], NOON + 2 * HOUR)
    kept = row(s, "w1")
    assert (kept["state"], kept["run_id"], kept["note"]) == (DeliveryState.DONE, "run_1", "why")
    assert (kept["verdict"], kept["handled_at"]) == ("woke", NOON + HOUR)
    assert [w.id for w in inbox.waiting(s, 9)] == ["w2"]


def test_parked_deliveries_are_claimed_by_their_interaction(s: Session) -> None:
    inbox.put(s, [hook("w1", "i1"), hook("w2", "i1"), hook("w3", "i2"), hook("w4", "i1")])
    inbox.close(s, [Closed(w, DeliveryVerdict.PARKED) for w in ("w1", "w2", "w3")], NOON)
    assert parked.count(s) == 3
    assert parked.disown(s, "i1") == 2
    assert row(s, "w2")["verdict"] == "not_ours"
    assert parked.count(s) == 3, "a late answer may still say whose it is"
    assert {r["id"] for r in parked.take(s, "i1", "run_1")} == {"w1", "w2"}
    assert parked.take(s, "i1", "run_1") == []
    assert parked.count(s) == 1
    assert (row(s, "w1")["run_id"], row(s, "w1")["verdict"]) == ("run_1", "adopted")
    assert (row(s, "w3")["run_id"], row(s, "w3")["verdict"]) == (None, "parked")
    assert row(s, "w4")["state"] == DeliveryState.NEW


def test_only_what_was_worked_on_is_forgotten(s: Session) -> None:
    inbox.put(s, [hook(f"w{n}", hours=n) for n in range(4)])
    inbox.close(s, [Closed("w0", DeliveryVerdict.KNOWN), Closed("w1", DeliveryVerdict.PARKED)], NOON)
    inbox.close(s, [Closed("w3", DeliveryVerdict.PARKED)], NOON)
    assert inbox.prune(s, NOON + 3 * HOUR, 9) == 2
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
        flush(s)
        began.set()
        go.wait(60)

    first = asyncio.ensure_future(database.write(slow))
    await asyncio.get_running_loop().run_in_executor(None, began.wait, 60)
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
    door = BatchedWrites(database, inbox.put)
    await asyncio.gather(*(door.put(hook(f"w{n % 30}")) for n in range(60)))
    await door.put(hook("w0"))
    assert await database.read(lambda s: row(s, "w0")["duplicates"]) == 2
    stored = await database.read(inbox.waiting, 100)
    assert len(stored) == 30


@pytest.mark.asyncio
async def test_a_failing_batch_is_told_to_each_and_the_next_one_works(database: Database) -> None:
    door = BatchedWrites(database, inbox.put)
    bad = Arrived("w1", "k", "i1", 2**70, b"", NOON)  # no database has a place for that number
    told = await asyncio.gather(door.put(bad), door.put(hook("w2")), return_exceptions=True)
    assert any(isinstance(t, Exception) for t in told)
    await door.put(hook("w3"))
    assert "w3" in {w.id for w in await database.read(inbox.waiting, 9)}


@pytest.mark.asyncio
async def test_a_caller_that_hangs_up_leaves_its_delivery_to_be_written(database: Database) -> None:
    door = BatchedWrites(database, inbox.put)
    task = asyncio.create_task(door.put(hook("w1")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await door.put(hook("w2"))
    assert {w.id for w in await database.read(inbox.waiting, 9)} == {"w1", "w2"}


def test_a_delivery_may_be_worked_on_again(s: Session) -> None:
    inbox.put(s, [hook("w1", hours=-99), hook("w2")])
    inbox.close(s, [Closed("w1", DeliveryVerdict.OVERFLOW, note="too many")], NOON)
    assert inbox.stored(s) == "w2"
    assert inbox.again(s, "w1", "replayed by ops") is True
    assert inbox.stored(s) == "w1", "other processes are told of it"
    assert inbox.again(s, "w1", "twice") is False
    assert inbox.again(s, "w_unknown", "who") is False
    assert (inbox.stored(s), [w.id for w in inbox.waiting(s, 9)]) == (None, ["w1", "w2"])
    assert (row(s, "w1")["verdict"], row(s, "w1")["handled_at"]) == ("", None)
    found: list[object] = []
    inbox.lingering(s, found.extend, NOON - HOUR)
    flush(s)
    assert found, "who sweeps finds it, should the hint get lost"
    inbox.close(s, [Closed("w1", DeliveryVerdict.IGNORED, note="not about an interaction")], NOON)
    assert row(s, "w1")["note"] == "replayed by ops; not about an interaction"


def test_of_many_old_ones_some_are_forgotten_at_a_time_the_oldest_first(s: Session) -> None:
    inbox.put(s, [hook(f"w{n}", hours=n) for n in range(5)])
    inbox.close(s, [Closed(f"w{n}", DeliveryVerdict.KNOWN) for n in range(5)], NOON)
    assert [inbox.prune(s, NOON + 4 * HOUR, 3) for _ in range(3)] == [3, 1, 0]
    assert s.connection().execute(sa.select(delivery_t.c.id)).scalars().all() == ["w4"]
