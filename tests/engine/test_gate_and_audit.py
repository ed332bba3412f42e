"""What somebody forged in the tables runs nothing: the gate holds them against what was written down."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.conversation import ANNA, BEN, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.decision import Refusal
from orchestrator.domain.events import AttentionResolved, Choice
from orchestrator.domain.model import CallStatus, RunStatus
from orchestrator.domain.values import replace
from orchestrator.engine import step
from orchestrator.store import audit, audit_check
from orchestrator.store.run_rows import approval_t, call_t, run_t

pytestmark = pytest.mark.asyncio

STORIES = {
    "ask": (Plan((("refund", {"n": 1}),)), Plan(output="done")),
    "two": (Plan((("refund", {"n": 1}), ("refund", {"n": 2}), ("refund", {"n": 3}))), Plan(output="done")),
}
TWO = replace(TERMS, approvers=(ANNA.id, BEN.id), quorum=2)
CLEO_SAID = {"by": {"id": "U0CLEO", "name": "", "door": "slack"}, "at": "2026-11-21T12:00:00Z", "stage": 0}
FAR = datetime(2031, 1, 1, tzinfo=UTC)


def world_on(url: str) -> World:
    rules = {"refund": Rule(Ruling.ASK, terms=TWO), "note": Rule()}
    return World(url, stories=STORIES, rules=rules)


async def forge(world: World, table: sa.Table, change: Callable[[Any], dict[str, Any]]) -> None:
    """Behind the service's back, in every row."""

    def job(s: Session) -> None:
        row = s.connection().execute(sa.select(table)).mappings().one()
        s.connection().execute(table.update().values(**change(row)))

    await world.database.write(job)


async def say_yes(world: World, run_id: str, *people: Any) -> None:
    for person in people:
        (approval,) = await world.open_approvals(run_id)
        told = await world.decide(approval, True, person)
        assert told.refused is None, told


async def a_vote_nobody_gave(world: World, run_id: str) -> None:
    await forge(world, approval_t, lambda row: {"votes": [*row["votes"], CLEO_SAID]})
    await say_yes(world, run_id, ANNA)


async def fewer_are_enough(world: World, run_id: str) -> None:
    await forge(world, approval_t, lambda row: {"terms": {**row["terms"], "quorum": 1}})
    await say_yes(world, run_id, ANNA)


async def fewer_are_enough_for_a_moment(world: World, run_id: str) -> None:
    await fewer_are_enough(world, run_id)
    await forge(world, approval_t, lambda row: {"terms": {**row["terms"], "quorum": 2}})


async def a_later_end_for_a_moment(world: World, run_id: str) -> None:
    (approval,) = await world.open_approvals(run_id)
    await forge(world, approval_t, lambda row: {"expires_at": FAR})
    world.clock.reach(approval.expires_at + timedelta(seconds=1))
    await say_yes(world, run_id, ANNA, BEN)
    await forge(world, approval_t, lambda row: {"expires_at": approval.expires_at})


async def more_time_to_start_in(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    await forge(world, approval_t, lambda row: {"start_by": FAR})
    world.clock.advance(TWO.start_within + timedelta(minutes=1))


async def a_question_nobody_asked(world: World, run_id: str) -> None:
    await forge(world, approval_t, lambda row: {"questions": [{**CLEO_SAID, "text": "Sure?"}]})
    await say_yes(world, run_id, ANNA, BEN)


async def an_answer_they_gave_already(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    await forge(
        world, approval_t, lambda row: {"status": "pending", "votes": [], "verdict": None, "start_by": None}
    )
    await forge(world, call_t, lambda row: {"status": "awaiting_approval"})
    await say_yes(world, run_id, BEN, ANNA)


async def an_entry_of_the_audit(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)

    def job(s: Session) -> None:
        changed = audit.audit_t.update().where(audit.audit_t.c.kind == "voted")
        s.connection().execute(changed.values(body=sa.func.replace(audit.audit_t.c.body, "anna", "eve")))

    await world.database.write(job)


async def a_question_and_what_the_audit_has_of_it(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)

    def job(s: Session) -> None:
        conn = s.connection()
        conn.execute(call_t.update().where(call_t.c.run_id == run_id).values(approval=None))
        asked = audit.audit_t.c.kind == "approval_requested"
        conn.execute(audit.audit_t.update().where(asked).values(body="{"))

    await world.database.write(job)


async def a_yes_left_out(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    await forge(world, approval_t, lambda row: {"votes": row["votes"][:1]})


async def a_yes_in_another_name(world: World, run_id: str) -> None:
    """A tool is told who said yes, in which stage, by which door: it may keep that as a receipt."""
    await say_yes(world, run_id, ANNA, BEN)
    first = {"by": {"id": ANNA.id, "name": "Cleo", "door": "slack"}}
    await forge(world, approval_t, lambda row: {"votes": [{**row["votes"][0], **first}, row["votes"][1]]})


async def a_yes_of_another_stage(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    await forge(world, approval_t, lambda row: {"votes": [row["votes"][0], {**row["votes"][1], "stage": 1}]})


async def the_name_of_who_decided(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    other = {"by": {"id": BEN.id, "name": "Cleo", "door": BEN.door}}
    await forge(world, approval_t, lambda row: {"verdict": {**row["verdict"], **other}})


async def a_call_that_nobody_began(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    await forge(world, call_t, lambda row: {"status": "executing"})


async def a_call_that_came_to_nothing(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    await forge(world, call_t, lambda row: {"status": "settled"})


async def a_call_that_waits_for_nobody(world: World, run_id: str) -> None:
    await say_yes(world, run_id, ANNA, BEN)
    await forge(world, call_t, lambda row: {"status": "awaiting_approval"})


Forgery = Callable[[World, str], Awaitable[None]]
FORGERIES: dict[Forgery, str] = {
    a_vote_nobody_gave: "does not know of a yes by U0CLEO",
    fewer_are_enough: "who may decide it is not as the audit says",
    fewer_are_enough_for_a_moment: "fewer yeses than it needed",
    a_later_end_for_a_moment: "approved after its time was up",
    more_time_to_start_in: "may not start until when the audit says",
    a_question_nobody_asked: "what was asked back",
    an_answer_they_gave_already: "although it was approved already",
    a_question_and_what_the_audit_has_of_it: "cannot be read",
    a_yes_left_out: f"a yes by {BEN.id} is not there",
    a_yes_in_another_name: f"does not know of a yes by {ANNA.id}",
    a_yes_of_another_stage: f"does not know of a yes by {BEN.id}",
    the_name_of_who_decided: "its decision is",
    a_call_that_nobody_began: "is said to run, and nobody began it",
    a_call_that_came_to_nothing: "is said to be over, and came to nothing",
    a_call_that_waits_for_nobody: "is said to wait for people",
    an_entry_of_the_audit: "entries of the audit about it were changed",
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_what_was_forged_runs_nothing(database_url: str, forgery: Forgery) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("ask")
        await world.settle()
        await forgery(world, run_id)
        await world.settle()
        run = await world.run(run_id)
        assert world.toolkit.ledger == []
        assert (run.status, run.turn.calls[0].status) == (RunStatus.ATTENTION, CallStatus.IN_DOUBT)
        assert FORGERIES[forgery] in run.reason
        refused = [e for e in await world.events(run_id) if e["refused"] == Refusal.CHANGED]
        assert len(refused) == 1


Poke = Callable[[str, str], sa.Update]
GONE = "a call is not what the audit has: it is not where it was"
MOVED: dict[str, tuple[Poke, str, bool]] = {
    "run": (lambda run, other: call_t.update().values(run_id=other, turn=9), GONE, False),
    "turn": (lambda run, other: call_t.update().values(turn=9), GONE, False),
    "key": (lambda run, other: call_t.update().values(id="call_other"), GONE, False),
    "question": (lambda run, other: call_t.update().values(approval=None), "question about it is gone", True),
}


def moved(world: World, run_id: str, other: str, how: Poke) -> Callable[[Session], None]:
    """A row in another place; as a person with the file would, without asking the database's own checks."""

    def job(s: Session) -> None:
        conn = s.connection()
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        changed = conn.execute(how(run_id, other).where(call_t.c.run_id == run_id, call_t.c.call_id == "fc0"))
        assert changed.rowcount == 1
        if "id" in changed.last_updated_params():
            conn.execute(approval_t.update().where(approval_t.c.run_id == run_id).values(call="call_other"))

    return job


@pytest.mark.parametrize("part", MOVED)
async def test_a_call_that_is_not_where_it_was_is_seen_to_by_a_person(sqlite_url: str, part: str) -> None:
    """Moved after the approval: what was to run is not there, and the run does not wait for it for ever."""
    how, told, asked_again = MOVED[part]
    async with world_on(sqlite_url) as world:
        other = await world.start("ask")
        run_id = await world.start("ask")
        await world.settle()
        await say_yes(world, run_id, ANNA, BEN)
        await world.database.write(moved(world, run_id, other, how))
        for _ in range(3):  # over every reading of what Gemini waits for
            await world.settle()
            world.clock.advance(timedelta(hours=1))
            run = await world.run(run_id)
            assert (run.status, world.toolkit.ledger) == (RunStatus.ATTENTION, [])
            assert told in run.reason
        raised = await world.database.read(entries, run_id, "attention_raised")
        assert len(raised) == 1
        choice = AttentionResolved(Choice.RETRY, ANNA, run.turn.calls[0].id if asked_again else "")
        again = await world.database.write(step.apply, run_id, choice, policy=world.policy, now=world.clock())
        assert again.refused is (None if asked_again else Refusal.NOT_NOW)
        await world.settle()
        assert world.toolkit.ledger == []
        up = AttentionResolved(Choice.GIVE_UP, ANNA, choice.call)
        await world.database.write(step.apply, run_id, up, policy=world.policy, now=world.clock())
        assert (await world.run(run_id)).status is RunStatus.FAILED


async def test_a_turn_without_one_of_its_calls_is_not_continued(database_url: str) -> None:
    """The others' approvals hold, one is still asked about, and the next interaction is never begun."""
    async with world_on(database_url) as world:
        other = await world.start("ask")
        run_id = await world.start("two")
        await world.settle()
        asked = {a.id: a for a in await world.open_approvals(run_id)}
        calls = (await world.run(run_id)).turn.calls
        first, second, third = (asked[c.approval.id] for c in calls if c.approval)
        for person in (ANNA, BEN):
            await world.decide(first, True, person)
        await world.database.write(moved(world, run_id, other, MOVED["run"][0]))
        for person in (ANNA, BEN):
            await world.decide(second, True, person)
        await world.settle()
        assert [entry.arguments for entry in world.toolkit.ledger] == [{"n": 2}]
        await world.decide(third, False, ANNA)
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, run.turn.number) == (RunStatus.ATTENTION, 1)
        assert all(call.settled for call in run.turn.calls)
        await world.cancel(run_id)
        await world.drain()
        assert len([i for i in world.gemini.interactions.values() if i.status == "cancelled"]) == 1
        assert len(world.toolkit.ledger) == 1


def entries(s: Session, run_id: str, kind: str) -> list[Any]:
    of_run = sa.select(audit.audit_t).where(audit.audit_t.c.run_id == run_id, audit.audit_t.c.kind == kind)
    return list(s.connection().execute(of_run))


BEFORE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "digest": lambda row: {"digest": "f" * 64},
    "status": lambda row: {"status": "approved"},
    "verdict and status": lambda row: {"status": "rejected", "verdict": {**CLEO_SAID, "approve": False}},
}


@pytest.mark.parametrize("part", [*BEFORE, "moved"])
async def test_what_was_forged_before_the_press_does_not_wait_for_ever(database_url: str, part: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        if part == "moved":
            await world.database.write(moved(world, run_id, run_id, MOVED["turn"][0]))
        else:
            await forge(world, approval_t, BEFORE[part])
        assert (await world.decide(approval, True, ANNA)).refused is not None
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, world.toolkit.ledger) == (RunStatus.ATTENTION, [])
        assert "is not what the audit has" in run.reason
        assert len(await world.database.read(entries, run_id, "attention_raised")) == 1


UNANSWERED: dict[str, Callable[[Any], dict[str, Any]]] = {
    **{
        status: lambda row, status=status: {"status": status}
        for status in ("approved", "rejected", "expired")
    },
    "later": lambda row: {"expires_at": FAR},
}


@pytest.mark.parametrize("part", [*UNANSWERED, "gone"])
async def test_what_was_forged_and_nobody_answers_does_not_wait_for_ever(
    database_url: str, part: str
) -> None:
    """Whatever the row says: the time of the question comes, and nothing was decided in it."""
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        if part == "gone":
            await world.database.write(lambda s: s.connection().execute(approval_t.delete()))
        else:
            await forge(world, approval_t, UNANSWERED[part])
        world.clock.reach(approval.expires_at + timedelta(seconds=1))
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, world.toolkit.ledger) == (RunStatus.ATTENTION, [])
        assert "is not what the audit has" in run.reason
        assert len(await world.database.read(entries, run_id, "attention_raised")) == 1


async def test_a_wrong_digest_alone_raises_nothing(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        old = replace(approval, digest="f" * 64)
        assert (await world.decide(old, True, ANNA)).refused is Refusal.CHANGED
        await say_yes(world, run_id, ANNA)
        assert (await world.decide(approval, True, ANNA)).refused is Refusal.ALREADY_DECIDED
        await say_yes(world, run_id, BEN)
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
        assert (await world.decide(approval, True, ANNA)).refused is not None
        await world.check(run_id)


async def test_a_call_made_another_one_never_runs_even_when_a_person_says_that_it_may(
    sqlite_url: str,
) -> None:
    async with world_on(sqlite_url) as world:
        run_id = await world.start("ask")
        await world.settle()
        await say_yes(world, run_id, ANNA, BEN)
        await forge(world, call_t, lambda row: {"tool": "note"})  # which needs nobody
        for _ in range(2):
            await world.settle()
            run = await world.run(run_id)
            assert run.status is RunStatus.ATTENTION
            again = AttentionResolved(Choice.RETRY, ANNA, run.turn.calls[0].id)
            await world.database.write(step.apply, run_id, again, policy=world.policy, now=world.clock())
        await world.settle()
        run = await world.run(run_id)
        assert world.toolkit.ledger == []
        assert "is of note, and people were asked about refund" in run.reason


async def test_what_is_as_it_was_runs_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("ask")
        await world.settle()
        await say_yes(world, run_id, BEN, ANNA)
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_a_question_whose_entries_were_deleted_is_not_older_than_the_audit(database_url: str) -> None:
    async with world_on(database_url) as world:
        await world.start("two")
        await world.settle()
        world.clock.advance(timedelta(minutes=1))
        run_id = await world.start("ask")
        await world.settle()
        await say_yes(world, run_id, ANNA)
        mine = audit.audit_t.c.run_id == run_id
        await world.database.write(lambda s: s.connection().execute(audit.audit_t.delete().where(mine)))
        await say_yes(world, run_id, BEN)
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, world.toolkit.ledger) == (RunStatus.ATTENTION, [])
        assert "does not know that it was asked" in run.reason


@pytest.mark.parametrize("cut", ["its own", "the beginning"])
async def test_a_question_made_older_than_an_audit_with_gaps_runs_nothing(
    database_url: str, cut: str
) -> None:
    """What it says of it is deleted, and it is dated before what is left; others have been writing since."""
    async with world_on(database_url) as world:
        if cut == "its own":
            await world.start("two")
            await world.settle()
        run_id, approval = await world.one_question()
        await say_yes(world, run_id, ANNA)
        await world.start("two")
        await world.settle()

        def job(s: Session) -> None:
            s.execute(audit.audit_t.delete().where(audit.audit_t.c.run_id == run_id))
            old = approval_t.update().where(approval_t.c.id == approval.id)
            s.execute(old.values(requested_at=approval.requested_at - timedelta(days=1)))
            s.execute(run_t.update().where(run_t.c.id == run_id).values(version=run_t.c.version + 1))

        await world.database.write(job)
        await say_yes(world, run_id, BEN)
        await world.settle()
        run = await world.run(run_id)
        assert (run.status, world.toolkit.ledger) == (RunStatus.ATTENTION, [])
        assert "entries of the audit are gone" in run.reason


async def test_a_question_older_than_the_audit_is_left_to_its_digest(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id = await world.start("ask")
        await world.settle()
        await world.database.write(lambda s: s.connection().execute(audit.audit_t.delete()))
        await say_yes(world, run_id, ANNA, BEN)
        call = (await world.run(run_id)).turn.calls[0]
        assert await world.database.read(audit_check.doubts, call) == ()
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
