"""Read-only questions: newest first, page by page, nothing twice and nothing left out."""

from contextlib import closing
from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import ANNA, Conversation, recipe, wish

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import ApprovalStatus, approval_key
from orchestrator.domain.decision import Decision
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import CancelRequested
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import RunStatus, call_key
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError
from orchestrator.store import claims, inbox, outbox, runs, views
from orchestrator.store.claims import Hold
from orchestrator.store.database import Database
from orchestrator.store.run_rows import run_t

SECOND = timedelta(seconds=1)


def opened(s: Session, n: int, workflow: str = "refunds", same_time: bool = False) -> str:
    now = NOON if same_time else NOON + n * SECOND
    decision = open_run(f"run_{n:03}", replace(recipe(), workflow=workflow), "x", ANNA, now=now)
    runs.insert(s, decision, now=now, owner="ci", idempotency_key=f"k{n}", body_hash=f"h{n}")
    return decision.run.id


def asked(s: Session, n: int) -> str:
    """A run that waits for a person; returns the approval."""
    run_id = opened(s, n)
    call = call_key(run_id, "i1", "c1")
    talk = Conversation(now=NOON + n * SECOND)
    talk.run = replace(talk.run, id=run_id)
    talk.asks(wish("c1", Ruling.ASK, tool="refund"), interaction_id="i1")
    runs.save(s, runs.load(s, run_id), Decision(talk.run), now=talk.now)
    return approval_key(call, 1)


@pytest.mark.parametrize("same_time", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_runs_page_by_page(s: Session, same_time: bool, limit: int) -> None:
    made = [opened(s, n, same_time=same_time) for n in range(7)]
    found, after, pages = [], None, 0
    while True:
        page = views.runs(s, limit=limit, after=after)
        assert len(page.rows) <= limit
        found += [r["id"] for r in page.rows]
        pages += 1
        if page.next is None:
            break
        after = page.next
    assert found == sorted(made, reverse=True)
    assert pages == max(1, -(-7 // limit))


@pytest.mark.parametrize("same_time", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_some_of_the_runs_page_by_page(s: Session, same_time: bool, limit: int) -> None:
    """By each filter and by both: all of those, none twice, none else, the newest first."""
    made = {opened(s, n, w, same_time): (w, RunStatus.QUEUED) for n, w in enumerate("abbaabab")}
    for run_id in ("run_001", "run_002", "run_003", "run_006"):
        run = runs.load(s, run_id)
        ended = Conversation()
        ended.run = run
        runs.save(s, run, ended.happens(CancelRequested(ANNA)), now=NOON)
        made[run_id] = made[run_id][0], RunStatus.CANCELLED
    for workflow in ("a", "b", None):
        for status in (RunStatus.CANCELLED, None):
            found, after = [], None
            while True:
                page = views.runs(s, limit=limit, after=after, status=status, workflow=workflow)
                found += [r["id"] for r in page.rows]
                if (after := page.next) is None:
                    break
            wanted = [r for r, (w, st) in made.items() if workflow in (w, None) and status in (st, None)]
            assert found == sorted(wanted, reverse=True), (workflow, status)


def test_runs_by_status_and_workflow(s: Session) -> None:
    for n, workflow in enumerate(["a", "b", "a"]):
        opened(s, n, workflow)
    run = runs.load(s, "run_000")
    ended = Conversation()
    ended.run = run
    runs.save(s, run, ended.happens(CancelRequested(ANNA)), now=NOON)
    assert [r["id"] for r in views.runs(s, limit=9, workflow="a").rows] == ["run_002", "run_000"]
    assert [r["id"] for r in views.runs(s, limit=9, status=RunStatus.CANCELLED).rows] == ["run_000"]
    assert [r["id"] for r in views.runs(s, limit=9, status=RunStatus.QUEUED, workflow="a").rows] == [
        "run_002"
    ]
    assert views.live_runs(s) == 2


def test_lists_hold_no_secrets_of_the_request(s: Session) -> None:
    opened(s, 1)
    (row,) = views.runs(s, limit=1).rows
    assert not {"recipe", "owner", "idempotency_key", "body_hash", "version"} & set(row)
    assert set(views.run(s, "run_001")) == {*row, "steps"}


def test_approvals_with_the_call_they_are_about(s: Session) -> None:
    made = [asked(s, n) for n in range(5)]
    first = views.approvals(s, limit=3)
    rest = views.approvals(s, limit=3, after=first.next)
    assert [r["id"] for r in (*first.rows, *rest.rows)] == made[::-1]
    assert rest.next is None
    row = views.approval(s, made[0])
    assert (row["tool"], row["call_status"], row["workflow"], row["turn"]) == (
        "refund",
        "awaiting_approval",
        "refunds",
        1,
    )
    assert row["arguments"] == {"n": 1}
    assert len(views.approvals(s, limit=9, status=ApprovalStatus.PENDING).rows) == 5
    assert views.approvals(s, limit=9, status=ApprovalStatus.APPROVED).rows == []
    assert [r["id"] for r in views.approvals(s, limit=9, run_id="run_002").rows] == [made[2]]


def test_a_runs_whole_story(s: Session) -> None:
    asked(s, 1)
    run = runs.load(s, "run_001")
    for seq in range(2, 6):
        runs.record(s, replace(run, seq=seq), "X", {}, f"n{seq}", None, NOON)
    assert [e["seq"] for e in views.events(s, "run_001", after=1, limit=3).rows] == [2, 3, 4]
    assert [e["seq"] for e in views.events(s, "run_001", after=4).rows] == [5]
    assert [t["number"] for t in views.turns(s, "run_001")] == [1]
    assert [c["call_id"] for c in views.calls(s, "run_001")] == ["c1"]


def test_a_record_is_read_within_its_room_and_one_entry_at_least(s: Session) -> None:
    run = runs.load(s, opened(s, 1))
    for seq, text in enumerate(("a" * 500, "b" * 100, "c" * 100, "d" * 100), start=2):
        runs.record(s, replace(run, seq=seq), "Told", {"text": text}, "", None, NOON)

    def read(after: int, limit: int = 100, room: int = 300) -> tuple[list[int], bool]:
        record = views.events(s, run.id, after=after, limit=limit, room=room)
        return [row["seq"] for row in record.rows], record.more

    assert read(1) == ([2], True), "alone it is larger than the room"
    assert read(2) == ([3, 4], True)
    assert read(4) == ([5], False)
    assert read(5) == ([], False)
    assert read(2, limit=1) == ([3], True)
    assert read(0, room=10_000) == ([1, 2, 3, 4, 5], False)
    assert read(0, limit=5, room=10_000) == ([1, 2, 3, 4, 5], False)


@pytest.mark.parametrize("before", range(1, 4), ids=["it is read", "its entries are found", "they are read"])
def test_a_record_whose_run_is_removed_meanwhile_is_not_there(postgres_url: str, before: int) -> None:
    """Each statement sees what is committed by then; a run and its record go in one transaction."""
    with closing(Database(postgres_url)) as database, Session(database.engine) as s:
        opened(s, 1)
        s.commit()
        sent = count(1)

        @sa.event.listens_for(database.engine, "before_cursor_execute")
        def remove(conn: sa.Connection, *_: object) -> None:
            if conn is s.connection() and next(sent) == before:
                with database.engine.begin() as other:
                    other.execute(run_t.delete())

        with pytest.raises(NotFoundError, match="there is no run run_001"):
            views.record(s, "run_001", after=0, limit=1)
        assert next(sent) > before


def test_what_is_not_there(s: Session) -> None:
    for ask in (views.run, views.approval):
        with pytest.raises(NotFoundError):
            ask(s, "nobody")
    assert views.turns(s, "x") == views.calls(s, "x") == views.events(s, "x").rows == []
    assert views.by_idempotency_key(s, "ci", "k") is None


def test_an_earlier_request_is_found_by_its_key(s: Session) -> None:
    run_id = opened(s, 1)
    assert views.by_idempotency_key(s, "ci", "k1") == (run_id, "h1")
    assert views.by_idempotency_key(s, "ops", "k1") is None


def test_the_backlog(s: Session) -> None:
    empty = {"deliveries": 0, "effects_due": 0, "effects_dead": 0}
    assert views.backlog(s, NOON) == empty
    fetch = EffectKind.FETCH_INTERACTION
    outbox.add(
        s, "r", [Effect(fetch, "i1", NOON), Effect(fetch, "i2", NOON + SECOND), Effect(fetch, "i3", NOON)]
    )
    due = claims.due(s, NOON, 1, [fetch])
    claimed = claims.claim(s, due[0][0], NOON, Hold.at(NOON, SECOND))
    assert claimed is not None
    claims.give_up(s, claimed, "x")
    inbox.put(s, [inbox.Arrived("w", "k", "i", 1, b"", NOON)])
    assert views.backlog(s, NOON) == {"deliveries": 1, "effects_due": 1, "effects_dead": 1}
