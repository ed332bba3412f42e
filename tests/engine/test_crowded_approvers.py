"""The limit of open requests per approver, counted in the transaction that admits a call."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.conversation import ANNA, BEN
from support.gemini import Plan
from support.plans import plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Approval, AtTimeout, Edits, Stage, Terms
from orchestrator.domain.model import OutcomeKind, Policy, RunStatus
from orchestrator.store import asked
from orchestrator.store.database import Database

pytestmark = pytest.mark.asyncio

ONE = Terms((BEN.id,), channel="C0OPS")
TWO = Terms((BEN.id, "S0OPS"), channel="C0OPS")
RULES = {
    "refund": Rule(Ruling.ASK, terms=ONE),
    "either": Rule(Ruling.ASK, terms=TWO),
    "staged": Rule(
        Ruling.ASK,
        terms=Terms(
            (),
            "C0OPS",
            stages=(Stage("risk", (ANNA.id,)), Stage("legal", (BEN.id, "S0OPS"))),
            edits=Edits.OTHER,
        ),
    ),
    "late": Rule(
        Ruling.ASK, terms=Terms((ANNA.id,), "C0OPS", at_timeout=AtTimeout.ESCALATE, escalate_to=(BEN.id,))
    ),
}
STORIES = {tool: (Plan(((tool, {"n": 1}),)), Plan(output="told")) for tool in RULES}


async def open_for(world: World, *entries: str) -> list[int]:
    found = await world.database.read(asked.counts, entries)
    return [found[e] for e in entries]


async def start(world: World, tool: str) -> tuple[str, list[Approval]]:
    run_id = await world.start(tool)
    await world.settle()
    return run_id, await world.open_approvals(run_id)


async def test_at_the_limit_a_call_is_denied_and_an_answer_makes_room(database_url: str) -> None:
    policy = Policy(max_open_per_approver=2)
    async with World(database_url, stories=STORIES, rules=RULES, policy=policy) as world:
        first, [approval] = await start(world, "refund")
        await start(world, "refund")
        assert await open_for(world, BEN.id, "S0OPS") == [2, 0]
        over, none = await start(world, "refund")
        assert none == []
        run = await world.run(over)
        (denied,) = (await world.chain(over))[0].calls
        assert denied.outcome is not None
        assert (denied.outcome.kind, run.status) == (OutcomeKind.DENIED, RunStatus.COMPLETED)
        assert len((await start(world, "either"))[1]) == 1  # the group has room
        assert await open_for(world, BEN.id, "S0OPS") == [3, 1]
        await world.decide(approval, False, by=BEN)
        await world.to_the_end(first)
        assert await open_for(world, BEN.id, "S0OPS") == [2, 1]
        assert (await start(world, "refund"))[1] == []
        await world.check(first, over)


async def test_whom_a_question_counts_for_follows_it_through_its_life(sqlite_url: str) -> None:
    async with World(sqlite_url, stories=STORIES, rules=RULES) as world:
        run_id, [approval] = await start(world, "staged")
        assert await open_for(world, ANNA.id, BEN.id) == [1, 0]
        await world.decide(approval, True, by=ANNA)
        assert await open_for(world, ANNA.id, BEN.id) == [0, 1]
        await world.intake.edit(approval.id, {"n": 2}, by=BEN, entitled_as=BEN.id, digest=None)
        assert await open_for(world, ANNA.id, BEN.id) == [1, 0]
        await world.cancel(run_id)
        assert await open_for(world, ANNA.id, BEN.id) == [0, 0]
        _, [late] = await start(world, "late")
        world.clock.reach(late.expires_at)
        await world.settle()
        assert await open_for(world, ANNA.id, BEN.id) == [1, 1]
        rows = await world.rows(asked.AskedRow)
        assert {r["approval"] for r in rows} == {late.id}


async def test_counting_among_ten_thousand_open_questions_is_quick(database: Database) -> None:
    """An index is read, not the questions, also of the busiest."""

    def fill(s: Session) -> None:
        s.connection().execute(sa.text(OFF[database.sqlite]))
        s.connection().execute(
            asked.asked_t.insert(),
            [{"approver": f"U{n % 100:04}", "approval": f"apr_{n}"} for n in range(9_000)]
            + [{"approver": "UBUSY", "approval": f"apr_{n}"} for n in range(1_000)],
        )

    with Session(database.engine) as s, s.begin() as transaction:
        fill(s)
        s.connection().exec_driver_sql("ANALYZE asked")
        entries = ["U0001", "UBUSY", "UNONE"]
        found = asked.counts(s, entries)
        way = plan(s, asked._COUNT, {"entries": entries})
        transaction.rollback()
    assert found == {"U0001": 90, "UBUSY": 1_000, "UNONE": 0}
    assert ("SEARCH asked USING" if database.sqlite else "Index") in way, way
    assert "Seq Scan on asked" not in way, way


OFF = {True: "PRAGMA defer_foreign_keys = ON", False: "SET session_replication_role = replica"}
"""Rows of questions that are not there, for one transaction that is taken back."""


async def test_who_has_said_yes_is_not_asked_any_more(sqlite_url: str) -> None:
    both = Terms((ANNA.id, BEN.id, "U0CLEO"), "C0OPS", quorum=2, never=("U0CLEO",))
    rules = {"refund": Rule(Ruling.ASK, terms=both)}
    async with World(sqlite_url, stories=STORIES, rules=rules) as world:
        run_id, [approval] = await start(world, "refund")
        assert await open_for(world, ANNA.id, BEN.id, "U0CLEO") == [1, 1, 0]
        await world.decide(approval, True, by=ANNA)
        assert await open_for(world, ANNA.id, BEN.id) == [0, 1]
        await world.decide(approval, True, by=BEN)
        await world.to_the_end(run_id)
        assert await world.rows(asked.AskedRow) == []
        await world.check(run_id)
