"""Rows ↔ values: what was saved is what is read, and only over what was read."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import ANNA, OK, Conversation, recipe, seen, wish
from support.values import any_runs

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.decision import Decision
from orchestrator.domain.events import CallCutOff, CancelRequested, CreateUncertain
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import CallStatus, Run
from orchestrator.domain.plain import exact
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError
from orchestrator.store import interactions, questions, runs, turns
from orchestrator.store.database import Database
from orchestrator.store.sql.held import forget
from orchestrator.store.sql.races import StaleRowError
from orchestrator.store.tables import ApprovalRow, CallRow, EventRow, InteractionRow, RunRow, TurnRow, table


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A session whose work is undone; no two at once."""
    with Session(database.engine, expire_on_commit=False) as s:
        yield s
        s.rollback()


def stored(s: Session, run: Run) -> Run:
    """Open the record, then write the run over it as one decision."""
    empty = replace(run, turn=replace(run.turn, calls=()))
    opened = runs.insert(s, Decision(empty), now=NOON)
    return runs.save(s, opened, Decision(run), now=NOON)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(run=any_runs())
def test_any_run_comes_back_as_it_was_saved(session: Session, run: Run) -> None:
    with session.begin_nested() as nested:
        saved = stored(session, run)
        forget(session)
        found = runs.load(session, run.id)
        nested.rollback()
    assert found == saved
    assert found == replace(run, version=2, seq=2)


@pytest.mark.parametrize(("was", "now"), [(1, True), (0, False), (True, 1.0), ([1], [True])])
def test_arguments_that_only_python_calls_equal_are_written(session: Session, was: Any, now: Any) -> None:
    """Somebody changed them: the digest of what people are asked is that of the new ones."""
    run = Conversation().live().asks(wish("c1", Ruling.ASK, arguments={"n": was})).run
    saved = stored(session, run)
    (call,) = saved.turn.calls
    other = replace(call, arguments={"n": now}, status=CallStatus.READY)
    runs.save(session, saved, Decision(replace(saved, turn=saved.turn.with_call(other))), now=NOON)
    forget(session)
    assert exact(runs.load(session, run.id).turn.calls[0].arguments) == exact({"n": now})


def stories() -> dict[str, Conversation]:
    lost = Conversation().sent().hear(CreateUncertain(1, 1))
    doubt = Conversation().asks(wish("c1"), wish("c2", Ruling.ASK))
    doubt.claims("c1")
    doubt.hear(CallCutOff(doubt.call("c1").id, "k1", "crash"))
    approved = Conversation().asks(wish("c1", Ruling.ASK))
    approved.answers("c1", True, reason="fine — ça va ✓")
    second = Conversation().asks(wish("c1"))
    second.runs("c1")
    return {
        "queued": Conversation(),
        "lost": lost,
        "live": Conversation().live(),
        "waiting": Conversation().asks(wish("c1", Ruling.ASK), wish("c2")),
        "approved": approved,
        "attention": doubt,
        "resuming": second,
        "completed": Conversation().live().hear(seen("i1", "completed", output="ok")),
        "cancelled": Conversation().live().hear(CancelRequested(ANNA)),
    }


@pytest.mark.parametrize("name", stories())
def test_each_step_of_a_story_is_saved(session: Session, name: str) -> None:
    """The same steps, once in memory and once through the rows."""
    talk = stories()[name]
    run = runs.insert(session, open_run("run_1", recipe(), "please", ANNA, now=NOON), now=NOON)
    runs.save(session, run, Decision(talk.run, left=talk.turns[0] if talk.turns else None), now=NOON)
    forget(session)
    found = runs.load(session, "run_1")
    assert found == replace(talk.run, version=2, seq=2)
    for turn in talk.turns:
        assert turns.load(session, "run_1", turn.number) == turn


def test_a_turn_left_behind_keeps_its_answers(session: Session) -> None:
    talk = Conversation()
    run = runs.insert(session, open_run("run_1", recipe(), "please", ANNA, now=NOON), now=NOON)
    talk.asks(wish("c1"), wish("c2", Ruling.ASK))
    talk.claims("c1")
    run = runs.save(session, run, Decision(talk.run), now=NOON)
    talk.run = run
    talk.finishes("c1")
    run = runs.save(session, run, Decision(talk.run), now=NOON)
    talk.run = run
    decision = talk.answers("c2", False)
    after = runs.save(session, run, decision, now=NOON)
    assert after.turn.number == 2
    assert turns.load(session, "run_1", 1) == decision.left == turns.left(session, "run_1")
    turns.forget_left(session, "run_1")
    first = turns.load(session, "run_1", 1)
    assert first == decision.left
    assert first.calls[0].outcome == OK
    approval = first.calls[1].approval
    assert approval is not None
    found = questions.load_approval(session, approval.id)
    assert found is not None
    assert found == (approval, first.calls[1], "run_1")
    assert questions.place(session, approval.id, "C9", "9.9")
    assert not questions.place(session, "apr_none", "C9", "9.9")


def test_what_is_not_there_is_not_found(session: Session) -> None:
    with pytest.raises(NotFoundError):
        runs.load(session, "run_none")
    assert questions.load_approval(session, "apr_none") is None
    assert interactions.owner_of(session, "i_none") is None


def opened(s: Session) -> Run:
    return runs.insert(s, open_run("run_1", recipe(), "please", ANNA, now=NOON), now=NOON)


def test_a_stale_save_changes_nothing(session: Session) -> None:
    run = opened(session)
    runs.save(session, run, Decision(replace(run, output="first")), now=NOON)
    with pytest.raises(StaleRowError), session.begin_nested():
        runs.save(session, run, Decision(replace(run, output="second")), now=NOON)
    forget(session)
    assert runs.load(session, "run_1").output == "first"


@pytest.mark.parametrize("what", ["call", "approval"])
def test_a_call_or_question_that_moved_beside_us_is_stale(session: Session, what: str) -> None:
    run = opened(session)
    talk = Conversation().asks(wish("c1", Ruling.ASK), wish("c2"))
    run = runs.save(session, run, Decision(talk.run), now=NOON)
    rows, poked = {
        "call": (table(CallRow), "settled"),
        "approval": (table(ApprovalRow), "rejected"),
    }[what]
    session.connection().execute(rows.update().values(status=poked))
    talk.run = run
    decision = talk.answers("c1", True)
    with pytest.raises(StaleRowError):
        runs.save(session, run, decision, now=NOON)


def test_an_interaction_is_remembered_once(session: Session) -> None:
    opened(session)
    interactions.remember(session, "i1", "run_1", 1, 2)
    interactions.remember(session, "i1", "run_1", 9, 9)
    assert interactions.owner_of(session, "i1") == ("run_1", 1, 2)


def test_where_an_interaction_stands(session: Session) -> None:
    run = opened(session)
    talk = Conversation().live("i1")
    run = runs.save(session, run, Decision(talk.run), now=NOON)
    for name in ("i1", "i_orphan"):
        interactions.remember(session, name, "run_1", 1, 1)
    found = interactions.standing(session, {"i1", "i_orphan", "i_unknown"})
    assert {k: v.current for k, v in found.items()} == {"i1": True, "i_orphan": False}
    talk.run = run
    runs.save(session, run, talk.happens(CancelRequested(ANNA)), now=NOON)
    assert not interactions.standing(session, {"i1"})["i1"].current


def test_history_is_numbered_without_gaps_and_once(session: Session) -> None:
    run = opened(session)
    runs.record(session, replace(run, seq=2), "X", {"a": None}, "note", None, NOON)
    with pytest.raises(IntegrityError), session.begin_nested():
        runs.record(session, replace(run, seq=2), "Y", {}, "", None, NOON)
    events = table(EventRow)
    kinds = session.connection().execute(sa.select(events.c.kind).order_by(events.c.seq)).scalars().all()
    assert kinds == ["RunRequested", "X"]


def test_an_owners_key_is_taken_once(session: Session) -> None:
    def put(run_id: str, owner: str | None, key: str | None) -> None:
        decision = open_run(run_id, recipe(), "x", ANNA, now=NOON)
        runs.insert(session, decision, now=NOON, owner=owner, idempotency_key=key, body_hash="h")

    put("run_a", "ci", "k")
    put("run_b", "ops", "k")
    put("run_c", None, None)
    put("run_d", None, None)
    with pytest.raises(IntegrityError), session.begin_nested():
        put("run_e", "ci", "k")


def test_a_run_takes_its_rows_along(session: Session) -> None:
    run = opened(session)
    talk = Conversation().asks(wish("c1", Ruling.ASK))
    runs.save(session, run, Decision(talk.run), now=NOON)
    interactions.remember(session, "i1", "run_1", 1, 1)
    session.connection().execute(table(RunRow).delete())
    for row in (TurnRow, CallRow, EventRow, ApprovalRow, InteractionRow):
        assert session.connection().execute(sa.select(sa.func.count()).select_from(table(row))).scalar() == 0


@pytest.mark.asyncio
async def test_many_jobs_change_one_run_and_none_is_lost(database: Database) -> None:
    """50 read-decide-write jobs at once: on PostgreSQL they take turns or read again."""
    await database.write(opened)

    def count(s: Session) -> None:
        run = runs.load(s, "run_1")
        total = run.usage.get("n", 0) + 1
        runs.save(s, run, Decision(replace(run, usage={"n": total})), now=NOON + timedelta(seconds=total))

    await asyncio.gather(*(database.write(count) for _ in range(50)))
    run = await database.read(runs.load, "run_1")
    assert (run.usage, run.version, run.seq) == ({"n": 50}, 51, 51)
