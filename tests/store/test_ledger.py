"""The ledger of webhooks: what is shown of them, what followed, and working on one again."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON

from orchestrator.domain.consent import Actor
from orchestrator.domain.events import CreateClaimed, InteractionObserved
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Policy, Recipe
from orchestrator.engine import step, webhooks
from orchestrator.errors import NotFoundError
from orchestrator.store import inbox, interactions, ledger, parked, run_rows, runs
from orchestrator.store.inbox import Arrived, Closed, DeliveryVerdict
from orchestrator.store.tables import DeliveryState

SECOND = timedelta(seconds=1)
OPS = Actor("api:ops", "ops", "api")


def hook(name: str, subject: str = "i1", at: datetime = NOON, **more: Any) -> Arrived:
    kind = more.pop("kind", "interaction.completed")
    return Arrived(name, kind, subject, 1_795_000_000, b'{"a":1}', at, **more)


def opened(s: Session, interaction: str = "i1", run_id: str = "run_1") -> None:
    """A run whose first interaction is under way."""
    runs.insert(s, open_run(run_id, Recipe("x", model="m"), "hi", OPS, now=NOON), now=NOON)
    at = {"policy": Policy(), "now": NOON}
    step.apply(s, run_id, CreateClaimed(1, 1), **at)  # type: ignore[arg-type]
    interactions.remember(s, interaction, run_id, 1, 1)
    read = InteractionObserved(1, 1, Snapshot(interaction, "in_progress"))
    step.apply(s, run_id, read, **at)  # type: ignore[arg-type]


def close(s: Session, name: str, verdict: DeliveryVerdict, at: datetime, run_id: str | None = None) -> None:
    inbox.close(s, [Closed(name, verdict, run_id)], at)


def found(s: Session, **which: Any) -> list[str]:
    return [r["id"] for r in ledger.deliveries(s, limit=50, **which).rows]


def record(s: Session) -> list[str]:
    query = sa.select(run_rows.event_t.c.kind).order_by(run_rows.event_t.c.seq)
    return list(s.connection().execute(query).scalars())


def test_each_filter_finds_its_own(s: Session) -> None:
    opened(s)
    batch = hook("w3", "batches/1", NOON + 2 * SECOND, kind="batch.succeeded")
    inbox.put(s, [hook("w1"), hook("w2", "i2", NOON + SECOND), batch, hook("w4", "i1", NOON + 3 * SECOND)])
    close(s, "w1", DeliveryVerdict.WOKE, NOON, "run_1")
    close(s, "w2", DeliveryVerdict.PARKED, NOON)
    close(s, "w3", DeliveryVerdict.IGNORED, NOON)
    assert found(s) == ["w4", "w3", "w2", "w1"]
    assert found(s, state=DeliveryState.NEW) == ["w4"]
    assert found(s, state=DeliveryState.PARKED) == ["w2"]
    assert found(s, state=DeliveryState.DONE) == ["w3", "w1"]
    assert found(s, verdict=DeliveryVerdict.IGNORED) == ["w3"]
    assert found(s, kind="batch.succeeded") == ["w3"]
    assert found(s, subject="i2") == ["w2"]
    assert found(s, run_id="run_1") == ["w4", "w1"], "one that waits belongs to its run too"
    assert found(s, run_id="run_1", verdict=DeliveryVerdict.WOKE) == ["w1"]
    assert found(s, run_id="run_2") == []
    assert {r["size"] for r in ledger.deliveries(s, limit=9).rows} == {7}


def test_pages_meet_without_a_gap(s: Session) -> None:
    inbox.put(s, [hook(f"w{n}", at=NOON + n // 2 * SECOND) for n in range(7)])
    seen: list[str] = []
    after = None
    while True:
        page = ledger.deliveries(s, limit=2, after=after)
        seen += [r["id"] for r in page.rows]
        if (after := page.next) is None:
            break
    assert seen == ["w6", "w5", "w4", "w3", "w2", "w1", "w0"]


def test_what_followed_begins_with_the_reading(s: Session) -> None:
    opened(s)
    inbox.put(s, [hook("w1"), hook("w2")])
    assert ledger.told(s, "w1")[1:] == (1, []), "it waits"
    close(s, "w1", DeliveryVerdict.WOKE, NOON + SECOND, "run_1")
    close(s, "w2", DeliveryVerdict.KNOWN, NOON + SECOND, "run_1")
    assert ledger.told(s, "w1")[2] == [], "it was not read yet"
    read = InteractionObserved(1, 1, Snapshot("i1", "completed", output="done"))
    step.apply(s, "run_1", read, policy=Policy(), now=NOON + 2 * SECOND)
    row, turn, followed = ledger.told(s, "w1")
    assert (row["body"], turn) == (b'{"a":1}', 1)
    assert [(e["kind"], e["status"], e["at"]) for e in followed] == [
        ("InteractionObserved", "completed", NOON + 2 * SECOND)
    ]
    assert ledger.told(s, "w2")[2] == [], "it told nothing new"


def test_a_reading_of_another_interaction_is_not_what_followed(s: Session) -> None:
    opened(s)
    interactions.remember(s, "i_orphan", "run_1", 1, 9)
    inbox.put(s, [hook("w1", "i_orphan")])
    close(s, "w1", DeliveryVerdict.WOKE, NOON + SECOND, "run_1")
    read = InteractionObserved(1, 1, Snapshot("i1", "completed", output="done"))
    step.apply(s, "run_1", read, policy=Policy(), now=NOON + 2 * SECOND)
    assert ledger.told(s, "w1")[2] == []


def test_a_replay_is_recorded_once_until_it_was_worked_on(s: Session) -> None:
    opened(s)
    inbox.put(s, [hook("w1")])
    close(s, "w1", DeliveryVerdict.WOKE, NOON, "run_1")
    before, version = record(s), runs.load(s, "run_1").version
    for _ in range(3):
        row = ledger.replay(s, "w1", OPS, "why not", NOON + SECOND)
        assert (row["state"], row["verdict"], row["handled_at"]) == (DeliveryState.NEW, "", None)
    assert row["note"] == "replayed by ops: why not"
    assert record(s) == [*before, "DeliveryReplayed"]
    assert runs.load(s, "run_1").version == version + 1
    heeded, others = webhooks.sift(s, 9)
    assert ([d.id for d in heeded], others) == (["w1"], []), "it wakes its run as it did at first"
    close(s, "w1", DeliveryVerdict.WOKE, NOON + 2 * SECOND, "run_1")
    ledger.replay(s, "w1", OPS, "", NOON + 3 * SECOND)
    assert record(s)[-2:] == ["DeliveryReplayed"] * 2


def test_a_replay_for_a_run_that_ended_reads_nothing(s: Session) -> None:
    opened(s)
    inbox.put(s, [hook("w1")])
    close(s, "w1", DeliveryVerdict.WOKE, NOON, "run_1")
    read = InteractionObserved(1, 1, Snapshot("i1", "completed", output="done"))
    ended = step.apply(s, "run_1", read, policy=Policy(), now=NOON + SECOND).run
    ledger.replay(s, "w1", OPS, "", NOON + 2 * SECOND)
    heeded, others = webhooks.sift(s, 9)
    assert webhooks.sort(s, others, NOON + 3 * SECOND) == heeded == []
    row = ledger.delivery(s, "w1")
    assert (row["verdict"], row["handled_at"]) == ("known", NOON + 3 * SECOND)
    assert runs.load(s, "run_1").status == ended.status == "completed"


def test_a_replay_of_one_nobody_knows_looks_at_it_again(s: Session) -> None:
    inbox.put(s, [hook("w1", "i_nobody")])
    close(s, "w1", DeliveryVerdict.PARKED, NOON)
    parked.disown(s, "i_nobody")
    ledger.replay(s, "w1", OPS, "", NOON)
    _, others = webhooks.sift(s, 9)
    assert webhooks.sort(s, others, NOON + SECOND) == []
    assert ledger.delivery(s, "w1")["verdict"] == "parked"
    assert record(s) == []


def test_there_is_none_of_that_id(s: Session) -> None:
    with pytest.raises(NotFoundError):
        ledger.told(s, "w_unknown")
    with pytest.raises(NotFoundError):
        ledger.replay(s, "w_unknown", OPS, "", NOON)


@pytest.mark.parametrize("new_database_url", ["sqlite"], indirect=True)
def test_every_list_walks_an_index(s: Session) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cur: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(s.get_bind(), "before_cursor_execute", note)
    for which in ({}, {"state": DeliveryState.NEW}, {"subject": "i1"}, {"run_id": "run_1"}):
        ledger.deliveries(s, limit=9, after=(NOON, "w1"), **which)  # type: ignore[arg-type]
    sa.event.remove(s.get_bind(), "before_cursor_execute", note)
    lists = [a for a in asked if "delivery" in a[0]]
    assert len(lists) == 4
    for statement, parameters in lists:
        plan = s.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        assert any("ix_delivery" in step_[3] for step_ in plan), (statement, plan)
