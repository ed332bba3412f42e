"""What meets what, and the one outcome it has (promises.md §4)."""

import asyncio
import os
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy.orm import Session
from support.conversation import ANNA, BEN
from support.gemini import Plan
from support.patience import until
from support.slots import AnyRoom
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import Choice
from orchestrator.domain.evidence import SAME_REFUSALS
from orchestrator.domain.model import CallStatus, Policy, Recipe, RunStatus
from orchestrator.engine.commits import Commits
from orchestrator.engine.perform import HEEDED, looks
from orchestrator.engine.tickets import Act, Ticket
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import claims, outbox
from orchestrator.store.claims import Claimed, Hold
from orchestrator.store.database import Database
from orchestrator.store.tables import AuditRow, EventRow, RunRow, table

pytestmark = pytest.mark.asyncio

STORIES = {
    "work": (Plan((("lookup", {"n": 1}),)), Plan(output="worked")),
    "ask": (Plan((("refund", {"n": 1}),)), Plan(output="refunded")),
}


def world_on(url: str, **rules: Rule) -> World:
    known = {"lookup": Rule(), "refund": Rule(Ruling.ASK)}
    return World(url, stories=STORIES, rules={**known, **rules})


async def until_at_the_gate(world: World) -> "asyncio.Task[int]":
    """Turn the world until a tool is running; returns the turn that runs it."""
    for _ in range(50):
        task = asyncio.create_task(world.turn())
        gate = asyncio.create_task(world.toolkit.before_effect.wait())
        await asyncio.wait({task, gate}, return_when=asyncio.FIRST_COMPLETED)
        if world.toolkit.before_effect.is_set():
            return task
        gate.cancel()
        world.gemini.move()
        for webhook in world.gemini.take_webhooks():
            await world.deliver(webhook)
    raise AssertionError("no tool ever ran")


# --- cancel ---------------------------------------------------------------------------


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


# --- people ---------------------------------------------------------------------------


@pytest.mark.timeout(900)
@pytest.mark.parametrize("people", [50])
async def test_many_people_decide_at_once_and_one_decision_stands(database_url: str, people: int) -> None:
    """Promise P23; `RACE_REQUESTS=100` asks as many questions as a release is held to, all at once."""
    requests = int(os.environ.get("RACE_REQUESTS", "1"))
    async with world_on(database_url) as world:
        run_ids = [await world.start("ask") for _ in range(requests)]
        await world.settle()
        asked = [a for run_id in run_ids for a in await world.open_approvals(run_id)]
        said = [(a, n % 2 == 0, (ANNA, BEN)[n % 3 == 0]) for n in range(people) for a in asked]
        answers = await asyncio.gather(*(world.decide(a, yes, by=by) for a, yes, by in said))
        accepted = {a.id: t for (a, _, _), t in zip(said, answers, strict=True) if t.refused is None}
        assert sum(t.refused is None for t in answers) == len(accepted) == requests
        for (approval, _, _), told in zip(said, answers, strict=True):
            first = accepted[approval.id].approval.verdict
            assert first is not None
            who_and_when = f"by {first.by.name} at {first.at:%Y-%m-%d %H:%M:%S} UTC"
            assert told.refused is None or told.refused in (Refusal.ALREADY_DECIDED, Refusal.NOT_FOUND)
            assert told.refused is None or told.note.endswith(who_and_when), told.note
        await world.settle()
        for run_id in run_ids:
            (turn, *_) = await world.chain(run_id)
            stands = turn.calls[0].approval
            assert stands is not None
            assert stands.verdict is not None
            assert stands.verdict == accepted[stands.id].approval.verdict
            ran = sum(entry.run_id == run_id for entry in world.toolkit.ledger)
            assert ran == (1 if stands.verdict.approve else 0)
        entries = await world.rows(AuditRow, table(AuditRow).c.kind == "decided")
        assert len(entries) == requests
        await world.check(*run_ids)


async def test_the_second_person_is_told_who_was_first_even_later(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, False)
        await world.to_the_end(run_id)
        late = await world.decide(approval, True, by=BEN)
        assert late.refused is Refusal.RUN_ENDED
        assert "anna" in late.note
        with pytest.raises(NotFoundError):
            await world.intake.decide("apr_none", approve=True, by=ANNA, entitled_as=ANNA.id, digest=None)


async def test_an_empty_digest_is_not_a_digest(database_url: str) -> None:
    async with world_on(database_url) as world:
        _, approval = await world.one_question()
        assert (await world.decide(approval, True, digest="")).refused is Refusal.CHANGED
        assert (await world.decide(approval, True, digest=None)).refused is None


@pytest.mark.parametrize("change", ["version", "policy_version"])
async def test_the_tool_changes_between_approval_and_start(database_url: str, change: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        setattr(world.toolkit.rules["refund"], change, "2")
        await world.settle()
        run = await world.run(run_id)
        assert run.status is RunStatus.ATTENTION
        assert world.toolkit.ledger == []
        await world.intake.resolve(run_id, Choice.RETRY, ANNA, call=run.turn.calls[0].id)
        await world.settle()
        (anew,) = await world.open_approvals(run_id)
        assert (anew.revision, anew.digest != approval.digest) == (2, True)
        await world.decide(anew, True)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


@pytest.mark.parametrize("change", ["version", "policy_version"])
async def test_the_tool_changes_between_question_and_answer(database_url: str, change: str) -> None:
    """Refused and asked anew: what the person saw is not what would run."""
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        setattr(world.toolkit.rules["refund"], change, "2")
        told = await world.decide(approval, True)
        assert (told.refused, "asked anew" in told.note) == (Refusal.CHANGED, True)
        assert (await world.decide(approval, True)).refused is Refusal.NOT_FOUND, "its buttons are spent"
        await world.settle()
        assert world.toolkit.ledger == []
        (anew,) = await world.open_approvals(run_id)
        assert (anew.revision, anew.digest != approval.digest) == (2, True)
        await world.decide(anew, True)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_a_preview_is_worked_out_anew_before_it_is_asked_anew(database_url: str) -> None:
    async with world_on(database_url) as world:
        rule = world.toolkit.rules["refund"]
        rule.would = "12 EUR go back"
        run_id, approval = await world.one_question()
        rule.version, rule.would = "2", "13 EUR go back"
        assert (await world.decide(approval, True)).refused is Refusal.CHANGED
        await world.settle()
        (anew,) = await world.open_approvals(run_id)
        assert anew.preview is not None
        assert (anew.revision, anew.preview.text) == (2, "13 EUR go back {'n': 1}")
        await world.decide(anew, True)
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_a_no_to_what_has_changed_is_a_no(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        world.toolkit.rules["refund"].policy_version = "2"
        assert (await world.decide(approval, False)).refused is None
        await world.to_the_end(run_id)
        await world.check(run_id)


async def test_other_people_decide_since_it_was_asked(database_url: str) -> None:
    """Who may not decide any more is told so; of who may by now the question is asked anew."""
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        rule = world.toolkit.rules["refund"]
        rule.terms, rule.policy_version = Terms(approvers=(BEN.id,)), "2"
        assert (await world.decide(approval, True)).refused is Refusal.NOT_ENTITLED
        assert (await world.decide(approval, True, by=BEN)).refused is Refusal.CHANGED
        (anew,) = await world.open_approvals(run_id)
        assert anew.terms.approvers == (BEN.id,)
        assert (await world.decide(anew, True)).refused is Refusal.NOT_ENTITLED
        assert (await world.decide(anew, True, by=BEN)).refused is None
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_the_policy_forbids_between_question_and_answer(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        rule = world.toolkit.rules["refund"]
        rule.ruling, rule.policy_version = Ruling.DENY, "2"
        assert (await world.decide(approval, True)).refused is Refusal.CHANGED
        await world.to_the_end(run_id)
        assert world.toolkit.ledger == []
        (turn, *_) = await world.chain(run_id)
        assert turn.calls[0].outcome is not None
        assert turn.calls[0].outcome.kind == "denied"
        await world.check(run_id)


async def test_what_is_asked_is_poked_before_the_answer(database_url: str) -> None:
    """No change of tool or policy: nobody is asked about what somebody wrote into the tables."""
    from orchestrator.store.tables import CallRow

    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        poked = table(CallRow).update().values(arguments={"n": 1_000_000})
        await world.database.write(lambda s: s.connection().execute(poked) and None)
        await world.decide(approval, True)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        assert world.toolkit.ledger == []
        assert await world.open_approvals(run_id) == []


@pytest.mark.parametrize("part", ["arguments", "tool", "call_id"])
async def test_what_was_approved_is_poked_in_the_database(database_url: str, part: str) -> None:
    from orchestrator.store.tables import CallRow

    async with world_on(database_url, other=Rule(Ruling.ASK)) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        poked = {"arguments": {"n": 1_000_000}, "tool": "other", "call_id": "fc9"}[part]
        calls = table(CallRow)
        await world.database.write(
            lambda s: s.connection().execute(calls.update().values({part: poked})) and None
        )
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        assert world.toolkit.ledger == []


async def test_the_policy_forbids_between_approval_and_start(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        world.toolkit.rules["refund"].ruling = Ruling.DENY
        await world.settle()
        assert world.toolkit.ledger == []
        (turn, *_) = await world.chain(run_id)
        assert turn.calls[0].outcome is not None
        assert turn.calls[0].outcome.kind == "denied"


# --- workers --------------------------------------------------------------------------


async def test_two_workers_and_a_paused_one_run_a_call_once(database_url: str) -> None:
    """The first worker holds the call while its lease runs out; the second finds it cut off."""
    gate = asyncio.Event()
    async with world_on(database_url, lookup=Rule(gate=gate)) as world:
        run_id = await world.start("work")
        running = await until_at_the_gate(world)
        world.clock.advance(timedelta(minutes=5))
        await world.second_worker().run_once()
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        gate.set()
        await running
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED, "its result settled the doubt"
        assert sum(world.toolkit.starts.values()) == 1
        await world.check(run_id)


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_worker_paused_before_it_began_leaves_its_successor_alone(
    database_url: str, idempotent: bool
) -> None:
    """It claimed the call and stood still; when it goes on, the call is somebody else's."""
    async with world_on(database_url, lookup=Rule(idempotent=idempotent)) as world:
        run_id = await world.start("work")
        await world.settle(model=False)
        world.gemini.move()
        for webhook in world.gemini.take_webhooks():
            await world.deliver(webhook)
        while not (await world.run(run_id)).turn.calls:
            await world.turn()
        now = world.clock()
        ((effect_id, _),) = await world.database.read(claims.due, now, 9, [EffectKind.EXECUTE_TOOL])
        taken = await world.performer.commits.take(effect_id)
        assert taken is not None
        assert taken.own is not None
        paused = taken.own
        world.clock.advance(timedelta(seconds=30))
        await world.second_worker().run_once()  # it takes the call for cut off
        await world.performer.perform(paused)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED, "there was nothing to doubt"
        assert sum(world.toolkit.starts.values()) == 1
        await world.check(run_id)


async def test_a_create_claimed_by_a_paused_worker_is_not_sent_by_it(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await world.start("work")
        now = world.clock()
        ((effect_id, _),) = await world.database.read(claims.due, now, 9, [EffectKind.CREATE_INTERACTION])
        taken = await world.performer.commits.take(effect_id)
        assert taken is not None
        assert taken.own is not None
        paused = taken.own
        world.clock.advance(timedelta(seconds=30))
        await world.second_worker().run_once()
        assert (await world.run(run_id)).turn.status == "unknown", "it may have been sent"
        await world.performer.perform(paused)
        assert world.gemini.creates == {}, "nobody waits for that answer any more"
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert set(world.gemini.creates.values()) == {1}
        await world.check(run_id)


async def test_a_paused_workers_idempotent_call_is_not_counted_twice(database_url: str) -> None:
    gate = asyncio.Event()
    async with world_on(database_url, lookup=Rule(idempotent=True, gate=gate)) as world:
        run_id = await world.start("work")
        running = await until_at_the_gate(world)
        world.clock.advance(timedelta(minutes=5))
        second = world.second_worker()
        await second.run_once()
        world.toolkit.rules["lookup"].gate = None
        while await second.run_once():
            world.gemini.move()
        gate.set()
        await running
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.toolkit.ledger) == 1
        refused = [e for e in await world.events(run_id) if "no longer holds" in e["note"]]
        assert len(refused) <= 1
        await world.check(run_id)


async def test_a_tool_without_room_is_tried_again(database_url: str) -> None:
    async with world_on(database_url, lookup=Rule(acts=["busy", "busy"])) as world:
        run_id = await world.start("work")
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED, "nobody had to look at it"
        assert len(world.toolkit.ledger) == 1


async def test_a_tool_that_nobody_heard_of_again(database_url: str) -> None:
    async with world_on(database_url, lookup=Rule(acts=["uncertain"])) as world:
        run_id = await world.start("work")
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        assert len(world.toolkit.ledger) == 1


async def test_a_bug_in_the_toolkit_costs_one_call_not_the_loop(database_url: str) -> None:
    async with world_on(database_url, lookup=Rule(acts=["raises"])) as world:
        run_id, other = await world.start("work"), await world.start("ask")
        await world.to_the_end(run_id, other)
        assert (await world.run(run_id)).turn.calls[0].status is CallStatus.IN_DOUBT
        assert (await world.run(other)).status is RunStatus.WAITING


# --- requests -------------------------------------------------------------------------


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
