"""One small check for each main promise; it raises `AssertionError` where the promise is broken.

Each takes the URL of an empty migrated SQLite database. `tests/engine/test_mistakes.py` runs every one
as it is, and again with a mistake planted, to show that it can fail.
"""

import asyncio
import json
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

from sqlalchemy.orm import Session
from support.conversation import ANNA, BEN, TERMS
from support.deaths import arm, disarm
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import TENANT, Actor
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import Choice
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.domain.values import replace
from orchestrator.store import audit, chain, claims, outbox
from orchestrator.store.claims import Hold
from orchestrator.store.tables import CallRow, table

STORIES = {
    "free": (Plan((("lookup", {"n": 1}),)), Plan(output="done")),
    "many": (Plan((("lookup", {"n": 1}), ("refund", {"n": 2}), ("lookup", {"n": 3}))), Plan(output="done")),
    "ask": (Plan((("refund", {"cents": 5}),)), Plan(output="done")),
}
TOGETHER = Rule(Ruling.ASK, terms=replace(TERMS, channel="C0APPR", together=True))
call_t = table(CallRow)


def world_on(url: str) -> World:
    return World(url, stories=STORIES, rules={"lookup": Rule(), "refund": Rule(Ruling.ASK)})


async def stored_before_answered(url: str) -> None:
    """P1: what was answered can be read by somebody else, at once."""
    async with world_on(url) as world:
        for n in range(5):
            await world.signal(f"i_{n}")
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
                (count,) = other.execute("SELECT count(*) FROM delivery").fetchone()
            assert count == n + 1, "answered before it was stored"


async def nobody_is_told_of_a_commit_that_was_undone(url: str) -> None:
    """P1: SQLite may roll a whole shared transaction back because of one of its jobs."""
    async with world_on(url) as world:
        go = threading.Event()

        def hold(s: Session) -> None:
            go.wait(60)

        def insert(s: Session, statement: str) -> str:
            s.connection().exec_driver_sql(statement)
            return "stored"

        await world.database.write(insert, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
        jobs = [asyncio.ensure_future(world.database.write(hold))]
        await asyncio.sleep(0.05)
        for statement in (
            "INSERT INTO t VALUES (1)",
            "INSERT OR ROLLBACK INTO t VALUES (1)",
            "INSERT INTO t VALUES (2)",
        ):
            jobs.append(asyncio.ensure_future(world.database.write(insert, statement)))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        go.set()
        _, first, _, _ = await asyncio.gather(*jobs, return_exceptions=True)
        rows = await world.database.read(lambda s: s.connection().exec_driver_sql("SELECT id FROM t").all())
        assert first != "stored" or (1,) in rows, "told to be stored, and it is gone"


async def lost_webhooks_are_made_up_for(url: str) -> None:
    """P2."""
    async with world_on(url) as world:
        run_id = await world.start("free")
        for _ in range(10):
            await world.settle(webhooks=False)
            world.clock.advance(seconds=10)
        assert (await world.run(run_id)).closed, "nobody looked"


async def late_readings_change_nothing(url: str) -> None:
    """P3."""
    async with world_on(url) as world:
        run_id = await world.start("many")
        await world.settle(most=60)
        before = await world.record_hash(run_id)
        interaction = world.gemini.of_turn(run_id, 1)[0]
        for status in ("in_progress", "requires_action"):
            interaction.status = status
            for _ in range(3):
                await world.signal(interaction.id, "interaction.completed")
                await world.settle(model=False, most=30)
        assert await world.record_hash(run_id) == before, "a late reading moved the run"


async def no_effect_twice(url: str) -> None:
    """P4: the process dies right after a tool that is not idempotent."""
    async with world_on(url) as world:
        arm("after_tool")
        try:
            run_id = await world.start("free")
            await world.to_the_end(run_id)
        finally:
            disarm()
        assert max(world.toolkit.effects().values()) == 1, "it took effect twice"


async def an_answered_call_does_not_run(url: str) -> None:
    """P20: a person answered in the tool's place, once, whatever is tried after that."""
    async with world_on(url) as world:
        world.toolkit.rules["refund"].terms = replace(TERMS, answers=True)
        run_id, approval = await world.one_question()
        assert (await world.decide(approval, False, answer="paid already")).refused is None
        assert (await world.decide(approval, True)).refused is not None
        await world.to_the_end(run_id)
        assert world.toolkit.ledger == [], "it ran all the same"
        (call,) = (await world.chain(run_id))[0].calls
        assert call.outcome is not None
        assert call.outcome.result == {
            "answered_by_a_person": "paid already",
            "note": "The tool did not run.",
        }
        await world.check(run_id)


async def an_old_claim_settles_nothing(url: str) -> None:
    """P8."""
    async with world_on(url) as world:
        lease, now = timedelta(seconds=30), world.clock()
        effect = Effect(EffectKind.EXECUTE_TOOL, "call_1", now)
        await world.database.write(outbox.add, "run_1", [effect])
        ((effect_id, _),) = await world.database.read(claims.due, now, 9, list(EffectKind))
        old = await world.database.write(claims.claim, effect_id, now, Hold.at(now, lease))
        assert old is not None
        assert await world.database.write(claims.claim, effect_id, now, Hold.at(now, lease)) is None, (
            "claimed by two"
        )
        new = await world.database.write(claims.claim, effect_id, now, Hold.at(now + lease, lease))
        assert new is not None
        assert await world.database.write(claims.done, old) is False, "a paused worker's word counted"
        assert await world.database.write(claims.done, new) is True


async def a_paused_worker_leaves_its_successor_alone(url: str) -> None:
    """P8: it claimed an effect and stood still; by the time it goes on, another one has run the tool."""
    async with world_on(url) as world:
        world.toolkit.rules["lookup"].idempotent = True
        run_id = await world.start("free")
        await world.settle(model=False)
        world.gemini.become(world.gemini.of_turn(run_id, 1)[0].id, "requires_action")
        for webhook in world.gemini.take_webhooks():
            await world.deliver(webhook)
        while not (await world.run(run_id)).turn.calls:
            await world.turn()
        now, lease = world.clock(), timedelta(seconds=30)
        ((effect_id, _),) = await world.database.read(claims.due, now, 9, [EffectKind.EXECUTE_TOOL])
        taken = await world.performer.commits.take(effect_id)
        assert taken is not None
        assert taken.own is not None
        paused = taken.own
        world.clock.advance(lease)
        await world.turn()  # its successor takes the call for cut off
        await world.turn()  # and runs it again, for the tool is idempotent
        await world.performer.perform(paused)
        assert sum(world.toolkit.starts.values()) == 1, "it did what was no longer its to do"


async def one_continuation(url: str) -> None:
    """P5: the answers to both creates get lost after Gemini took them."""
    async with world_on(url) as world:
        world.gemini.faults["create"].extend(["lost_after", "lost_after"])
        run_id = await world.start("free")
        await world.to_the_end(run_id)
        await world.drain()
        await world.check(run_id)


async def every_call_has_its_result_first(url: str) -> None:
    """P6."""
    async with world_on(url) as world:
        run_id = await world.start("many")
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.WAITING, "it went on without an answer"
        (approval,) = await world.open_approvals(run_id)
        await world.decide(approval, True)
        await world.to_the_end(run_id)
        await world.check(run_id)


async def terminal_is_terminal(url: str) -> None:
    """P9."""
    async with world_on(url) as world:
        run_id = await world.start("free")
        await world.to_the_end(run_id)
        before = await world.record_hash(run_id)
        await asyncio.gather(world.intake.cancel(run_id, BEN), return_exceptions=True)
        world.clock.advance(timedelta(days=30))
        await world.settle()
        assert await world.record_hash(run_id) == before, "an ended run moved"


async def cancel_wins(url: str) -> None:
    """P10: nothing starts after the answer to a cancel."""
    async with world_on(url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        await world.cancel(run_id)
        await world.drain()
        assert world.toolkit.ledger == [], "a tool started after the cancel"
        await world.check(run_id)


async def a_call_without_a_decision_does_not_run(url: str) -> None:
    """P20: somebody pokes a gated call to ready in the database, and asks for its execution."""
    async with world_on(url) as world:
        run_id, _ = await world.one_question()
        (call,) = (await world.run(run_id)).turn.calls

        def poke(s: Session) -> None:
            s.connection().execute(call_t.update().values(status="ready"))
            outbox.add(s, run_id, [Effect(EffectKind.EXECUTE_TOOL, call.id, world.clock())])

        await world.database.write(poke)
        await world.settle()
        assert world.toolkit.ledger == [], "it ran without a decision"


async def what_was_approved_is_what_runs(url: str) -> None:
    """P21: the arguments change in the database after the approval."""
    async with world_on(url) as world:
        _, approval = await world.one_question()
        await world.decide(approval, True)

        def poke(s: Session) -> None:
            s.connection().execute(call_t.update().values(arguments={"cents": 500_000}))

        await world.database.write(poke)
        await world.settle()
        assert world.toolkit.ledger == [], "something else ran than was approved"


async def what_would_do_something_else_by_now_is_asked_anew(url: str) -> None:
    """P21: the world changes between the approval and the start."""
    async with world_on(url) as world:
        world.toolkit.rules["refund"].would = "balance -5"
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        world.toolkit.rules["refund"].would = "balance -500000"
        await world.settle()
        assert world.toolkit.ledger == [], "it did something else than people saw"
        (anew,) = await world.open_approvals(run_id)
        assert anew.revision == 2


async def the_first_decision_stands(url: str) -> None:
    """P23."""
    async with world_on(url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True, by=ANNA)
        second = await world.decide(approval, False, by=BEN)
        assert second.refused is not None, "a second decision was taken"
        await world.settle()
        (turn, *_) = await world.chain(run_id)
        stands = turn.calls[0].approval
        assert stands is not None
        assert stands.verdict is not None
        assert stands.verdict.by == ANNA
        assert len(world.toolkit.ledger) == 1


async def no_copy_keeps_its_buttons(url: str) -> None:
    """P23: what was decided in one place can be decided nowhere else, to look at it."""
    async with world_on(url) as world:
        world.toolkit.rules["refund"].terms = replace(TERMS, dm_after=0.0)
        _, approval = await world.one_question()
        assert len(world.slack.direct) == 2
        await world.decide(approval, True)
        await world.settle()
        assert world.slack.live_buttons() == set(), "a copy looks as if it could still be decided"


async def all_together_is_each_as_it_was_shown(url: str) -> None:
    """P21: several are approved in one go; one of them is not what the window showed any more."""
    async with World(url, stories=STORIES, rules={"lookup": TOGETHER, "refund": TOGETHER}) as world:
        run_id = await world.start("many")
        await world.settle()
        first, changed, last = await world.open_approvals(run_id)
        shown = [(first.id, first.digest), (changed.id, "0" * 64), (last.id, last.digest)]
        await world.intake.decide_all(shown, approve=True, by=ANNA, entitled_as=ANNA.id)
        await world.settle()
        left = await world.open_approvals(run_id)
        assert [a.id for a in left] == [changed.id], "one ran that was shown otherwise"
        assert len(world.toolkit.ledger) == 2


async def expired_is_not_approved(url: str) -> None:
    """P26: an answer at the last moment, and one just after it."""
    async with world_on(url) as world:
        _, approval = await world.one_question()
        world.clock.reach(approval.expires_at)
        await world.decide(approval, True)
        await world.settle()
        assert world.toolkit.ledger == [], "it ran on an expired question"


async def nobody_is_reminded_after_the_decision(url: str) -> None:
    """A reminder that waited for Slack, and the question decided meanwhile by another door."""
    async with world_on(url) as world:
        _, approval = await world.one_question()
        world.slack.weather = lambda operation: "busy"
        world.clock.reach(approval.requested_at + (approval.expires_at - approval.requested_at) / 2)
        await world.settle()
        assert (await world.decide(approval, True)).refused is None
        world.slack.weather = None
        world.clock.advance(timedelta(minutes=10))
        await world.settle()
        assert world.slack.notices == [], "people were told that a decided question waits"


async def a_restart_is_made_only_where_it_was_wanted(url: str) -> None:
    """P10, P23: a yes about one attempt is none about the next one."""
    async with world_on(url) as world:
        world.gemini.faults["create"].extend(["fine", "refused", "refused"])
        recipe = Recipe("refunds", model="gemini-3.8-flash", tools=("lookup",), terms=TERMS)
        run_id = (await world.intake.start(recipe, "free", ANNA)).run_id
        await world.to_the_end(run_id)
        (approval,) = await world.open_approvals(run_id)
        await world.decide(approval, True)
        await world.intake.resolve(run_id, Choice.RETRY, BEN)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        late = Effect(EffectKind.RESTART_RUN, approval.id, world.clock())
        await world.database.write(outbox.add, run_id, [late])
        await world.settle()
        assert list(await world.statuses()) == [run_id], "restarted on an answer of before"


async def a_refused_attempt_is_evidence(url: str) -> None:
    """P35: who tried to decide and may not is in the audit, as the one who did is."""
    async with world_on(url) as world:
        _, approval = await world.one_question()
        await world.decide(approval, True, Actor("U0EVE", "eve", "slack"))
        await world.decide(approval, True, ANNA)
        rows = await world.database.read(audit.entries, approval=approval.id)
        tried = [json.loads(r["body"])["by"]["id"] for r in rows if r["kind"] == "decision_refused"]
        assert tried == ["U0EVE"], "nobody hears of the attempt"


async def an_entry_cannot_be_exchanged(url: str) -> None:
    """P35: an entry rewritten with a hash that fits it does not fit the one after it."""
    async with world_on(url) as world:
        _, approval = await world.one_question()
        await world.decide(approval, True, ANNA)
        rows = await world.database.read(audit.entries)
        assert chain.verify(rows, TENANT).broken is None
        body = rows[1]["body"].replace(ANNA.id, "U0EVE")
        rows[1] = {**rows[1], "body": body, "hash": audit.hash_of(rows[1]["previous"], body)}
        assert chain.verify(rows, TENANT).broken is not None, "nobody sees it"
