"""What a call would do, from the first look to the last one before it starts, on real rows."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session
from support.conversation import ANNA, BEN, TERMS
from support.deaths import arm
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.calls import BLIND_TEXT, DRIFTED, LAPSED_TEXT
from orchestrator.domain.consent import ApprovalStatus, Edits, Preview
from orchestrator.domain.decision import Refusal
from orchestrator.domain.model import CallStatus, Outcome, RunStatus, ToolCall
from orchestrator.domain.values import replace
from orchestrator.store import audit, audit_check
from orchestrator.store.tables import ApprovalRow, CallRow, table

pytestmark = pytest.mark.asyncio

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="refunded"))}
SECOND = timedelta(seconds=1)


def world_on(url: str, **rule: object) -> World:
    given = {"would": "balance -1", **rule}
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK, **given)})  # type: ignore[arg-type]


async def the_call(world: World, run_id: str) -> ToolCall:
    return (await world.chain(run_id))[0].calls[0]


async def sound(world: World, run_id: str) -> None:
    """The promises, and the audit tells the same story as the tables."""
    await world.drain()
    await world.check(run_id)
    found = await world.database.read(lambda s: audit_check.compare(s.connection()))
    assert found.faults == ()


async def test_it_is_looked_at_twice_and_runs_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        assert approval.preview == Preview("balance -1 {'n': 1}")
        assert world.toolkit.ledger == []
        assert (await world.decide(approval, True)).refused is None
        await world.to_the_end(run_id)
        assert list(world.toolkit.looks.values()) == [2]
        assert len(world.toolkit.ledger) == 1
        await sound(world, run_id)


async def test_what_drifted_between_approval_and_start_is_asked_anew(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        world.toolkit.rules["refund"].would = "balance -9"
        await world.settle()
        (anew,) = await world.open_approvals(run_id)
        assert world.toolkit.ledger == [], "it ran, and nobody had approved that"
        assert anew.preview == Preview("balance -9 {'n': 1}", before="balance -1 {'n': 1}")
        assert (anew.revision, anew.ts) == (2, approval.ts), "a second message"
        assert world.slack.posts == 1
        assert DRIFTED in {e["note"] for e in await world.events(run_id)}
        assert (await world.decide(approval, True, BEN)).refused is Refusal.NOT_FOUND, "an old button counts"
        assert (await world.decide(anew, True, BEN)).refused is None
        await world.to_the_end(run_id)
        assert [e.approved_by for e in world.toolkit.ledger] == [BEN.id]
        rows = await world.rows(ApprovalRow, table(ApprovalRow).c.run_id == run_id)
        assert {r["revision"]: r["verdict"]["by"]["id"] for r in rows} == {1: ANNA.id, 2: BEN.id}
        kinds = [r["kind"] for r in await world.database.read(audit.entries)]
        assert kinds.count("claim_refused") == 1
        await sound(world, run_id)


@pytest.mark.parametrize(
    ("point", "nth"), [("before_preview", 1), ("after_preview", 1), ("after_preview", 2)]
)
async def test_a_look_that_was_broken_off_is_taken_again(database_url: str, point: str, nth: int) -> None:
    async with world_on(database_url) as world:
        arm(point, nth)
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        await world.to_the_end(run_id)
        assert world.deaths == [point]
        assert len(world.toolkit.ledger) == 1
        await sound(world, run_id)


async def test_a_look_for_which_there_is_no_room_waits(sqlite_url: str) -> None:
    async with world_on(sqlite_url, blind=["busy", "busy"]) as world:
        run_id = await world.start("ask")
        await world.settle()
        assert (await the_call(world, run_id)).status is CallStatus.PREVIEWING
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.WAITING


async def test_a_preview_that_fails_is_told_to_the_model_and_nobody_is_asked(sqlite_url: str) -> None:
    async with world_on(sqlite_url, blind=["There is no such order."]) as world:
        run_id = await world.start("ask")
        await world.to_the_end(run_id)
        outcome = (await the_call(world, run_id)).outcome
        assert outcome is not None
        assert outcome.result == f"{BLIND_TEXT} There is no such order."
        assert world.slack.posts == 0
        await sound(world, run_id)


async def test_one_that_fails_at_the_start_is_tried_until_the_approval_lapses(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        world.toolkit.rules["refund"].blind = ["no connection"]
        await world.decide(approval, True)
        await world.settle()
        assert (await the_call(world, run_id)).status is CallStatus.READY
        (waits,) = await world.effects(run_id, kind="execute_tool")
        assert "no connection" in waits["error"]
        world.toolkit.rules["refund"].blind = ["no connection"] * 1_000
        world.clock.advance(TERMS.start_within + SECOND)
        await world.to_the_end(run_id)
        outcome = (await the_call(world, run_id)).outcome
        assert outcome is not None
        assert outcome.result == LAPSED_TEXT
        assert world.toolkit.ledger == []
        await sound(world, run_id)


async def test_a_run_that_was_cancelled_while_it_was_looked_at_starts_nothing(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        looking = world.toolkit.preview

        async def cancelled_meanwhile(*args: object) -> Preview:
            await world.cancel(run_id)
            return await looking(*args)  # type: ignore[arg-type]

        world.toolkit.preview = cancelled_meanwhile  # type: ignore[method-assign]
        await world.drain()
        assert world.toolkit.ledger == []
        await world.check(run_id)


async def test_a_preview_changed_in_the_database_is_not_what_was_approved(sqlite_url: str) -> None:
    """Somebody makes the row say what the call would do by now."""
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        world.toolkit.rules["refund"].would = "balance -9"
        said = {"text": "balance -9 {'n': 1}", "trouble": "", "before": None}

        def poke(s: object) -> None:
            rows = table(ApprovalRow)
            s.connection().execute(rows.update().values(preview=said))  # type: ignore[attr-defined]

        await world.database.write(poke)
        await world.settle()
        assert world.toolkit.ledger == []
        assert (await the_call(world, run_id)).status is CallStatus.IN_DOUBT


async def test_an_idempotent_call_that_had_begun_goes_on_without_another_look(sqlite_url: str) -> None:
    """It has changed by itself what it would do: half of it may be done."""
    async with world_on(sqlite_url, idempotent=True) as world:
        arm("after_tool")
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        await world.turn()
        world.toolkit.rules["refund"].would = "nothing left to do"
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.toolkit.ledger) == 1
        await sound(world, run_id)


async def test_an_edit_is_asked_with_what_it_would_do_then(database_url: str) -> None:
    async with world_on(database_url, terms=replace(TERMS, edits=Edits.SAME)) as world:
        run_id, approval = await world.one_question()
        answer = await world.intake.edit(
            approval.id, {"n": 2}, by=BEN, entitled_as=BEN.id, digest=approval.digest
        )
        assert (answer.refused, answer.approval.status) == (None, ApprovalStatus.WITHDRAWN)
        assert (await the_call(world, run_id)).status is CallStatus.PREVIEWING
        found = await world.database.read(lambda s: audit_check.compare(s.connection()))
        assert found.faults == ()
        await world.settle()
        (anew,) = await world.open_approvals(run_id)
        assert (anew.preview, anew.ts) == (Preview("balance -1 {'n': 2}"), approval.ts)
        await world.decide(anew, True, BEN)
        await world.to_the_end(run_id)
        assert [dict(e.arguments) for e in world.toolkit.ledger] == [{"n": 2}]
        await sound(world, run_id)


def poke(s: Session) -> None:
    """Behind the service's back."""
    s.connection().execute(table(CallRow).update().values(arguments={"n": 7}))


async def test_what_differs_already_is_not_looked_at_again(sqlite_url: str) -> None:
    """Its arguments were changed in the database: nobody works out what those would do."""
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        await world.database.write(poke)
        world.toolkit.rules["refund"].blind = ["no connection"] * 1_000
        await world.settle()
        assert (await the_call(world, run_id)).status is CallStatus.IN_DOUBT
        assert world.toolkit.ledger == []


async def test_a_worker_that_stood_still_between_the_gate_and_the_start_begins_nothing(
    sqlite_url: str,
) -> None:
    async with world_on(sqlite_url, idempotent=True) as world:
        begun: list[str] = []
        execute = world.toolkit.execute

        async def counted(tool: str, *rest: object) -> Outcome:
            begun.append(tool)
            return await execute(tool, *rest)  # type: ignore[arg-type]

        world.toolkit.execute = counted  # type: ignore[assignment, method-assign]
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        commits = world.performer.commits
        advance = commits.advance

        async def stands_still(job: object, **more: str) -> object:
            act = await advance(job, **more)  # type: ignore[arg-type]
            if act is not None:
                commits.advance = advance  # type: ignore[method-assign]
                world.clock.advance(commits.lease + SECOND)
                await world.second_worker().run_once()
            return act

        commits.advance = stands_still  # type: ignore[assignment, method-assign]
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert begun == ["refund"]
        await sound(world, run_id)


async def test_what_is_changed_while_it_is_looked_at_first_is_looked_at_again(sqlite_url: str) -> None:
    """In the database, by somebody else: it is shown as it is then, and never waits for ever."""
    async with world_on(sqlite_url) as world:
        looking = world.toolkit.preview

        async def changed_meanwhile(*args: object) -> Preview:
            world.toolkit.preview = looking  # type: ignore[method-assign]
            await world.database.write(poke)
            return await looking(*args)  # type: ignore[arg-type]

        world.toolkit.preview = changed_meanwhile  # type: ignore[method-assign]
        _, approval = await world.one_question()
        assert approval.preview is not None
        assert approval.preview.text == "balance -1 {'n': 7}"
