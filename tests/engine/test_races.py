"""What meets a cancel or a request, and the one outcome it has (promises.md §4)."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from races_kit import until_at_the_gate, world_on
from sqlalchemy.orm import Session
from support.conversation import ANNA, BEN
from support.patience import until
from support.slots import AnyRoom
from support.toolkit import Rule

from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.evidence import SAME_REFUSALS
from orchestrator.domain.model import Policy, Recipe, RunStatus
from orchestrator.engine.commits import Commits
from orchestrator.engine.perform import HEEDED, looks
from orchestrator.engine.tickets import Act, Ticket
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import claims, outbox
from orchestrator.store.claims import Claimed, Hold
from orchestrator.store.database import Database
from orchestrator.store.tables import EventRow, RunRow, table

pytestmark = pytest.mark.asyncio


# --- cancel --------------------------------------------------------------------------


async def test_cancel_while_a_tool_runs(database_url: str) -> None:
    gate = asyncio.Event()
    async with world_on(database_url, lookup=Rule(gate=gate)) as world:
        run_id = await world.start("work")
        running = await until_at_the_gate(world)
        run = await world.cancel(run_id)
        assert run.status is RunStatus.CANCELLED
        gate.set()
        await running
        (call,) = (await world.run(run_id)).turn.calls
        assert call.id in world.toolkit.heard_cancel
        assert call.settled, "its result is written down"
        (late,) = [e for e in await world.events(run_id) if e["kind"] == "CallFinished"]
        assert late["note"].startswith("late")
        await world.drain()
        assert world.gemini.creates == {(run_id, 1, 1): 1}, "and never sent"
        assert world.gemini.of_turn(run_id, 1)[0].status == "cancelled"
        await world.check(run_id)


async def test_cancel_while_the_create_is_on_the_wire(database_url: str) -> None:
    async with world_on(database_url) as world:
        async with world.on_the_wire("work") as run_id:
            await world.cancel(run_id)
        await world.drain()
        (orphan,) = world.gemini.of_turn(run_id, 1)
        assert orphan.status == "cancelled"
        assert world.toolkit.ledger == []
        assert (await world.run(run_id)).status is RunStatus.CANCELLED
        await world.check(run_id)


async def test_cancel_while_a_create_is_lost(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.gemini.faults["create"].append("lost_after")
        run_id = await world.start("work")
        await world.settle(model=False)
        await world.cancel(run_id)
        (orphan,) = world.gemini.of_turn(run_id, 1)
        await world.signal(orphan.id, "interaction.requires_action")
        await world.drain()
        assert orphan.status == "cancelled"
        await world.check(run_id)


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_cancel_meets_approve(database_url: str, cancel_first: bool) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        if cancel_first:
            await world.cancel(run_id)
            answer = await world.decide(approval, True)
            assert answer.refused is Refusal.RUN_ENDED
            assert answer.approval.status == "withdrawn"
        else:
            assert (await world.decide(approval, True)).refused is None
            await world.cancel(run_id)
        await world.drain()
        assert world.toolkit.ledger == []
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_cancel_and_approve_at_the_same_moment(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_ids = [await world.start("ask") for _ in range(10)]
        await world.settle()
        for run_id in run_ids:
            (approval,) = await world.open_approvals(run_id)
            run, answer = await asyncio.gather(world.cancel(run_id), world.decide(approval, True))
            assert run.status is RunStatus.CANCELLED
            assert answer.refused in (None, Refusal.RUN_ENDED)
        await world.drain()
        assert world.toolkit.ledger == []
        await world.check(*run_ids)


async def test_cancel_meets_completed(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        await world.settle()
        before = await world.record_hash(run_id)
        with pytest.raises(ConflictError, match="already completed"):
            await world.intake.cancel(run_id, ANNA)
        assert await world.record_hash(run_id) == before


async def test_completed_after_cancel_is_only_noted(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        await world.cancel(run_id)
        before = await world.record_hash(run_id)
        (interaction,) = world.gemini.of_turn(run_id, 1)
        world.gemini.become(interaction.id, "completed")
        await world.drain()
        assert await world.record_hash(run_id) == before


async def test_cancelling_twice_is_cancelling_once(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        first, second = await world.cancel(run_id), await world.cancel(run_id)
        assert first.status is second.status is RunStatus.CANCELLED
        with pytest.raises(NotFoundError):
            await world.cancel("run_nobody")


async def test_a_cancel_upstream_is_tried_until_it_is_taken(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        world.gemini.faults["cancel"].extend(["busy", "lost", "busy"])
        await world.cancel(run_id)
        await world.drain()
        assert world.gemini.of_turn(run_id, 1)[0].status == "cancelled"
        assert world.gemini.requests["cancel"] == 4


async def test_a_cancel_right_behind_the_claim_reaches_the_tool(sqlite_url: str) -> None:
    """The claim has committed and its task has not resumed: the cancel must not be forgotten."""
    async with world_on(sqlite_url) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        world.gemini.move()
        for webhook in world.gemini.take_webhooks():
            await world.deliver(webhook)
        while not (await world.run(run_id)).turn.calls:
            await world.turn()
        gate = world.performer.commits.gate

        def claim_then_cancel(s: Session, effect: Claimed) -> Act | None:
            act = gate(s, effect)
            world.performer.stop_tools(run_id)  # what a cancel does, in the worst moment
            return act

        world.performer.commits.gate = claim_then_cancel
        await world.turn()
        assert world.toolkit.ledger == []


# --- requests ------------------------------------------------------------------------


async def test_one_key_one_run(database_url: str) -> None:
    async with world_on(database_url) as world:
        recipe = Recipe("refunds", model="m")

        async def ask(text: str, owner: str = "ci") -> str:
            started = await world.intake.start(recipe, text, ANNA, owner=owner, idempotency_key="k1")
            return started.run_id

        found = await asyncio.gather(*(ask("work") for _ in range(20)))
        assert len(set(found)) == 1
        with pytest.raises(ConflictError):
            await ask("something else")
        assert await ask("something else", owner="another") != found[0]
        assert len(await world.rows(RunRow)) == 2


async def test_a_storm_of_late_things_leaves_an_ended_record(sqlite_url: str) -> None:
    """Promise P9: 10 000 late events, clicks, cancels and timers."""
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        await world.to_the_end(run_id)
        await world.drain()
        before = await world.record_hash(run_id)
        ledger, posts, requests = len(world.toolkit.ledger), world.slack.posts, world.gemini.requests.copy()
        first = world.gemini.of_turn(run_id, 1)[0].id
        for batch in range(20):
            await asyncio.gather(*(world.signal(first, f"interaction.{k}") for k in ["completed"] * 440))
            await asyncio.gather(*(world.decide(approval, n % 2 == 0) for n in range(40)))
            await asyncio.gather(
                *(world.intake.cancel(run_id, BEN) for _ in range(20)), return_exceptions=True
            )
            if batch % 5 == 0:
                await world.settle()
        world.clock.advance(timedelta(days=30))
        await world.settle()
        assert await world.record_hash(run_id) == before
        assert len(world.toolkit.ledger) == ledger
        assert world.slack.posts == posts
        assert world.gemini.requests["create"] == requests["create"]
        assert world.gemini.requests["cancel"] == requests["cancel"]
        events = table(EventRow)
        refused = await world.rows(EventRow, events.c.refused.is_not(None))
        counted = SAME_REFUSALS + 1
        assert len(refused) == 20 * 20 + counted, (
            "each is in the record, one that was repeated and repeated counted"
        )
        await world.check(run_id)


async def test_released_claims_are_taken_up_and_old_tokens_are_worthless(database_url: str) -> None:
    async with world_on(database_url) as world:
        await world.start("work")
        due = await world.database.read(claims.due, world.clock(), 10, list(outbox.EffectKind))
        ((effect_id, _),) = due
        mine = await world.database.write(
            claims.claim, effect_id, world.clock(), Hold.at(world.clock(), timedelta(seconds=30))
        )
        assert mine is not None
        assert await world.database.write(claims.release_all, world.clock()) == 1
        assert await world.database.write(claims.done, mine) is False
        await world.settle()
        assert sum(world.gemini.creates.values()) == 2


async def _nothing() -> None:
    """An act."""


async def test_who_shares_a_commit_goes_on_with_its_own_only(sqlite_url: str) -> None:
    """As a no beside a yes of the same run: what that makes due is not to be claimed with it."""
    database, begun, held = Database(sqlite_url), threading.Event(), threading.Event()
    commits = Commits(database, policy=Policy(), clock=lambda: datetime.now(UTC))
    taken: list[Ticket] = []
    commits.slots, commits.accept = AnyRoom(), taken.extend
    commits.gate = lambda s, effect: _nothing

    def hold(s: Session) -> None:
        begun.set()
        held.wait(30)

    def ask(s: Session, subject: str) -> tuple[str, None]:
        outbox.add(s, "run_1", [Effect(EffectKind.EXECUTE_TOOL, subject, datetime.now(UTC))])
        return "run_1", None

    before = asyncio.create_task(database.write(hold))
    await until(begun.is_set, "the writer")
    yes = asyncio.create_task(commits.write(ask, "of the yes"))
    no = asyncio.create_task(commits.advance(partial(ask, subject="of the no")))
    await until(lambda: database._queue.qsize() == 2, "both behind it")
    held.set()
    await asyncio.gather(before, yes, no)
    assert [ticket.effect.subject for ticket in taken] == ["of the no"]
    database.close()


@pytest.mark.parametrize("kind", [EffectKind.EXECUTE_TOOL, EffectKind.CREATE_INTERACTION])
async def test_a_lease_outlasts_a_renewal_that_failed(kind: EffectKind) -> None:
    for tenths in range(20, 3001):  # as `work.lease_seconds` may be set
        lease = timedelta(seconds=tenths / 10)
        pause, nth = looks(kind, lease)
        assert nth * pause <= lease / 3
        assert kind is not EffectKind.EXECUTE_TOOL or pause <= HEEDED
