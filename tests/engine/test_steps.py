"""Workflows with steps on real rows: what is handed on, gated, followed, restarted; killed in between."""

import asyncio
import json
from typing import Any

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.deaths import BY_NO_RUN, arm
from support.gemini import Plan
from support.slots import AnyRoom
from support.toolkit import Rule
from support.world import World

from orchestrator import failpoints
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.callbacks import Callback, News
from orchestrator.domain.consent import Actor
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.jobs import JobKind, JobWish
from orchestrator.domain.model import Recipe, Run, RunStatus
from orchestrator.domain.pipeline import Step, StepKind, Thinker
from orchestrator.domain.plain import MAX_HANDED_ON
from orchestrator.domain.values import replace
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.restarting import Started
from orchestrator.engine.tickets import NoSlots, Ticket
from orchestrator.errors import ConflictError
from orchestrator.failpoints import FailpointError
from orchestrator.store import outbox
from orchestrator.store.callbacks import CallbackRow
from orchestrator.store.tables import AuditRow, EffectState, RunRow, table

pytestmark = pytest.mark.asyncio

CLEO = Actor("U0CLEO", "cleo", "slack")
THINKER = Thinker(model="gemini-3.8-flash", tools=("note",))
DRAFT = Step("draft", StepKind.AGENT, THINKER, ("About:", {"from": "input.topic"}))
FILM = Step("film", StepKind.TOOL, tool="film", arguments={"prompt": {"from": "draft"}})
TITLE = Step("title", StepKind.AGENT, replace(THINKER, tools=()), ({"from": "film.files.0"},))
STEPS = (DRAFT, FILM, TITLE)
INPUT = '{"topic": "harbours"}'
TOLD = "About:\n\nharbours"
NIGHTLY = JobWish(JobKind.BATCH, {"model": "gemini-3.8-flash", "lines": []})
POINTS = [name for name in failpoints.NAMES if name not in BY_NO_RUN]


def world_on(url: str) -> World:
    rules = {
        "note": Rule(idempotent=True),
        "film": Rule(Ruling.ASK, idempotent=True, would="a film", waits=(NIGHTLY,)),
        "tell": Rule(idempotent=True),
    }
    world = World(url, stories={TOLD: (Plan((("note", {"n": 1}),)), Plan(output="dusk"))}, rules=rules)
    world.jobs.prompt = True
    world.recipes["after"] = Recipe("after", steps=(Step("tell", StepKind.TOOL, tool="tell"),))
    return world


def recipe(*steps: Step, **more: Any) -> Recipe:
    return Recipe("content", steps=steps or STEPS, **more)


async def begin(world: World, wanted: Recipe) -> str:
    return (await world.intake.start(wanted, INPUT, ANNA)).run_id


async def others(world: World, run_id: str) -> list[Run]:
    return [await world.run(r["id"]) for r in await world.rows(RunRow, table(RunRow).c.id != run_id)]


async def test_an_agent_a_gated_tool_and_an_agent_hand_on_what_they_made(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await begin(world, recipe())
        await world.to_the_end(run_id)
        asked = await world.run(run_id)
        assert (asked.status, asked.step, asked.outputs) == (RunStatus.WAITING, 1, {"draft": "dusk"})
        [approval] = await world.open_approvals(run_id)
        assert asked.turn.calls[0].arguments == {"prompt": "dusk"}
        assert not world.jobs.starts, "nothing is made before people said yes"
        await world.decide(approval, True)
        await world.through(run_id)
        run, turns = await world.run(run_id), await world.chain(run_id)
        assert (run.status, run.output) == (RunStatus.COMPLETED, "done")
        [file] = run.outputs["film"]["files"]
        assert turns[-1].note == file
        assert [len(t.calls) for t in turns] == [1, 0, 1, 0]  # the agent's own call; its answer; film; title
        sent = [i.request for i in world.gemini.interactions.values()]
        assert [r.input for r in sent if isinstance(r.input, str)] == [TOLD, file]
        assert [r.previous_id is None for r in sent] == [True, False, True]
        assert [len(r.functions) for r in sent] == [1, 1, 0], "each step with its own tools"
        for interaction in list(world.gemini.interactions):
            await world.signal(interaction)  # late news of steps that are over
        await world.drain()
        assert (await world.run(run_id)).outputs == run.outputs
        await world.check(run_id)


async def test_what_no_text_can_hold_is_handed_on_all_the_same(database_url: str) -> None:
    """A model asked for JSON may write what JSON can say and neither UTF-8 nor a database can keep."""
    stories = {INPUT: (Plan(output=r'{"note": "a\u0000b\ud800c", "n": 12345678901234567890123}'),)}
    async with World(database_url, stories=stories, rules={"tell": Rule(idempotent=True)}) as world:
        thinker = Thinker(model="gemini-3.8-flash", response_format={"type": "json"})
        think = Step("think", StepKind.AGENT, thinker)
        tell = Step("tell", StepKind.TOOL, tool="tell", arguments={"note": {"from": "think.note"}})
        run_id = await begin(world, recipe(think, tell))
        await world.through(run_id)
        run = await world.run(run_id)
        assert run.status is RunStatus.COMPLETED, run.reason
        assert run.outputs["think"] == {"note": "a\ufffdb\ufffdc", "n": "12345678901234567890123"}
        await world.drain()
        await world.check(run_id)


async def test_a_rejected_step_ends_the_run_and_a_restart_goes_on_at_it(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await begin(world, recipe(hooks={"failed": ("after",)}))
        await world.to_the_end(run_id)
        [approval] = await world.open_approvals(run_id)
        await world.decide(approval, False)
        await world.drain()
        run = await world.run(run_id)
        assert (run.status, run.outputs) == (RunStatus.FAILED, {"draft": "dusk"})
        [followed] = await others(world, run_id)
        told = json.loads(followed.input)
        assert (told["run"], told["status"], told["outputs"]) == (run_id, "failed", {"draft": "dusk"})
        again = await world.intake.restart(run_id, recipe(), ANNA)
        assert (await world.intake.restart(run_id, recipe(), ANNA)).run_id == again.run_id
        await world.through(again.run_id)
        second = await world.run(again.run_id)
        assert (second.status, second.restart_of, second.input) == (RunStatus.COMPLETED, run_id, INPUT)
        assert second.outputs["draft"] == "dusk"
        drafts = [i for i in world.gemini.interactions.values() if i.request.input == TOLD]
        assert len(drafts) == 1, "what was done is not done again"
        await world.drain()
        await world.check(run_id, again.run_id, followed.id)


async def test_a_workflow_that_was_changed_meanwhile_is_begun_anew(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id = await begin(world, recipe())
        await world.to_the_end(run_id)
        await world.cancel(run_id)
        world.gemini.barred.clear()
        again = await world.intake.restart(run_id, recipe(DRAFT, TITLE_ALONE), ANNA)
        await world.through(again.run_id)
        run = await world.run(again.run_id)
        assert (run.status, sorted(run.outputs)) == (RunStatus.COMPLETED, ["draft", "end"])


async def test_what_a_tools_step_did_is_not_done_again_by_a_changed_workflow(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        told = Step("tell", StepKind.TOOL, tool="tell")
        run_id = await begin(world, recipe(told, DRAFT))
        await world.settle(model=False)
        assert "tell" in (await world.run(run_id)).outputs
        await world.cancel(run_id)
        world.gemini.barred.clear()
        with pytest.raises(ConflictError, match="steps have changed since"):
            await world.intake.restart(run_id, recipe(replace(told, name="tell_them"), DRAFT), ANNA)
        again = await world.intake.restart(run_id, recipe(told, DRAFT), ANNA)
        assert (await world.run(again.run_id)).step == 1


TITLE_ALONE = Step("end", StepKind.AGENT, replace(THINKER, tools=()), ({"from": "draft"},))


async def test_what_follows_is_started_once_whoever_dies_or_comes_twice(database_url: str) -> None:
    async with world_on(database_url) as world:
        short = recipe(Step("tell", StepKind.TOOL, tool="tell"), hooks={"completed": ("after",)})
        run_id = await begin(world, short)
        while (await world.run(run_id)).status is not RunStatus.COMPLETED:
            await world.turn()
        assert await world.effects(run_id, kind="start_hook", state="pending"), "the end is committed first"
        assert await others(world, run_id) == []
        await world.restart("between the end and what follows it")
        second = world.second_worker()
        await asyncio.gather(world.worker.run_once(), second.run_once())
        await world.drain()
        again = Effect(EffectKind.START_HOOK, "after", world.clock())
        await world.database.write(outbox.add, run_id, [again])  # as if its end had never been committed
        await world.drain()
        [followed] = await others(world, run_id)
        await world.through(followed.id)
        assert (await world.run(followed.id)).status is RunStatus.COMPLETED
        assert [r.id for r in await others(world, run_id)] == [followed.id]
        assert followed.requester == ANNA


async def test_a_run_that_is_taken_up_by_another_is_followed_once_and_so_is_that(database_url: str) -> None:
    """Each run that ends is followed once, however often it is restarted or its effects are replayed."""
    stories = {"pay once": (Plan((("pay", {"n": 1}),)), Plan(output="paid"))}
    rules = {"pay": Rule(), "tell": Rule(idempotent=True)}
    async with World(database_url, stories=stories, rules=rules) as world:
        world.recipes["after"] = Recipe("after", steps=(Step("tell", StepKind.TOOL, tool="tell"),))
        arm("after_tool")
        ends = dict.fromkeys(("completed", "failed", "cancelled"), ("after",))
        agent = Recipe("agent", model="gemini-3.8-flash", tools=("pay",), hooks=ends)
        first = (await world.intake.start(agent, "pay once", ANNA)).run_id
        await world.to_the_end(first)
        assert (await world.run(first)).status is RunStatus.ATTENTION
        assert await others(world, first) == [], "it has not ended"
        restarted = [await world.intake.restart(first, agent, ANNA) for _ in range(2)]
        second = restarted[0].run_id
        assert [r.run_id for r in restarted] == [second] * 2
        await world.through(second)
        for run_id in (first, second):  # a worker died behind the commit, and a person replays it
            again = Effect(EffectKind.START_HOOK, "after", world.clock())
            await world.database.write(outbox.add, run_id, [again])
        await world.drain()
        followed = [r for r in await others(world, first) if r.recipe.workflow == "after"]
        told = [json.loads(r.input) for r in followed]
        assert sorted((t["run"], t["status"]) for t in told) == sorted(
            [(first, "failed"), (second, "completed")]
        )
        await world.through(*(r.id for r in followed))
        assert await world.intake.restart(first, agent, ANNA) == Started(second, fresh=False)
        await world.drain()
        assert len(await others(world, first)) == 3


async def test_who_asked_for_the_work_may_not_decide_about_it_whoever_has_it_taken_up(
    database_url: str,
) -> None:
    """Four eyes hold for Anna's work when Ben has it gone on with, and for both of theirs in what follows."""
    terms = replace(TERMS, approvers=(ANNA.id, BEN.id, CLEO.id), four_eyes=True)
    async with World(database_url, stories={}, rules={"pay": Rule(Ruling.ASK, terms=terms)}) as world:
        world.recipes["after"] = Recipe("after", steps=(Step("pay", StepKind.TOOL, tool="pay"),))
        paying = recipe(Step("pay", StepKind.TOOL, tool="pay"), hooks={"completed": ("after",)})
        first = await begin(world, paying)
        await world.settle()
        await world.cancel(first)
        second = (await world.intake.restart(first, paying, BEN)).run_id
        await world.settle()
        for _ in (second, "what follows it"):
            [asked] = [a for r in await world.statuses() for a in await world.open_approvals(r)]
            for person in (ANNA, BEN):
                assert (await world.decide(asked, True, by=person)).refused is Refusal.NOT_ENTITLED
            assert (await world.decide(asked, True, by=CLEO)).refused is None
            await world.drain()
            await world.settle()
        [followed] = [r for r in await others(world, first) if r.recipe.workflow == "after"]
        assert (followed.requester, followed.status) == (BEN, RunStatus.COMPLETED)
        assert [entry.approved_by for entry in world.toolkit.ledger] == [CLEO.id, CLEO.id]


async def test_what_follows_is_told_as_much_as_a_call_may_bring_and_what_was_left_out(
    sqlite_url: str,
) -> None:
    said = "a" * (MAX_HANDED_ON - 2)
    async with World(sqlite_url, stories={TOLD: (Plan(output=said),)}, rules={"tell": Rule()}) as world:
        world.recipes["after"] = Recipe("after", steps=(Step("tell", StepKind.TOOL, tool="tell"),))
        draft = replace(DRAFT, thinker=replace(THINKER, tools=()))
        tell = Step("tell", StepKind.TOOL, tool="tell", arguments={"all": {"from": "draft"}})
        run_id = await begin(world, recipe(draft, tell, hooks={"completed": ("after",)}))
        await world.through(run_id)
        await world.drain()
        assert (await world.run(run_id)).outputs["draft"] == said
        [followed] = await others(world, run_id)
        told = json.loads(followed.input)
        assert (told["left_out"], told["outputs"]) == (["outputs.draft"], {"tell": {"done": "tell"}})
        assert len(followed.input.encode()) <= MAX_HANDED_ON


async def test_runs_that_begin_with_a_tools_step_wait_for_their_turn_too(database_url: str) -> None:
    gate = asyncio.Event()
    limits = Ceilings(workflows={"content": 1})
    rules = {"tell": Rule(idempotent=True, gate=gate)}
    async with World(database_url, rules=rules, limits=limits) as world:
        wanted = recipe(Step("tell", StepKind.TOOL, tool="tell"))
        runs = [await begin(world, wanted) for _ in range(3)]
        working = asyncio.create_task(world.settle())
        async with asyncio.timeout(30):
            await world.toolkit.before_effect.wait()
        found = [(await world.run(r)).status for r in runs]
        assert sorted(found) == [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.RUNNING]
        gate.set()
        await working
        await world.through(*runs)
        assert {(await world.run(r)).status for r in runs} == {RunStatus.COMPLETED}
        await world.check(*runs)


async def test_a_workflow_that_is_gone_is_buried_and_seen(database_url: str) -> None:
    async with world_on(database_url) as world:
        world.recipes.clear()
        short = recipe(Step("tell", StepKind.TOOL, tool="tell"), hooks={"completed": ("after",)})
        run_id = await begin(world, short)
        await world.through(run_id)
        await world.drain()
        [dead] = await world.effects(run_id, kind="start_hook")
        assert (dead["state"], dead["error"]) == (EffectState.DEAD, "there is no workflow after")
        assert await others(world, run_id) == []


async def test_a_cancel_between_steps_starts_nothing_more(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id = await begin(world, recipe(hooks={"completed": ("after",)}))
        for _ in range(60):
            run = await world.run(run_id)
            if run.step == 1:
                break
            await world.turn()
            world.gemini.move()
            for webhook in world.gemini.take_webhooks():
                await world.deliver(webhook)
        assert (run.turn.calls, run.turn.number) == ((), 3), "the next step is only intended"
        await world.cancel(run_id)
        await world.drain()
        run = await world.run(run_id)
        assert (run.status, run.outputs) == (RunStatus.CANCELLED, {"draft": "dusk"})
        assert not world.jobs.starts
        assert await others(world, run_id) == []
        await world.check(run_id)


@pytest.mark.parametrize(
    ("name", "nth"), [*((name, 1) for name in POINTS), *(("after_claim", n) for n in range(2, 5))]
)
async def test_a_death_at_any_point_loses_and_doubles_nothing(sqlite_url: str, name: str, nth: int) -> None:
    await dies(sqlite_url, name, nth)


@pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("name", ["after_claim", "after_tool", "after_job", "after_observe"])
async def test_nor_does_one_on_postgresql(database_url: str, name: str) -> None:
    await dies(database_url, name, 1)


async def dies(url: str, name: str, nth: int) -> None:
    async with world_on(url) as world:
        known = {r["id"] for r in await world.rows(RunRow)}
        arm(name, nth)
        try:
            run_id = await begin(world, recipe(hooks={"completed": ("after",)}))
        except FailpointError as e:
            await world.restart(str(e))
            [run_id] = {r["id"] for r in await world.rows(RunRow)} - known
        await world.through(run_id)
        assert world.deaths == [name] or nth > 1, "the point was never passed"
        await world.drain()
        [followed] = {r["id"] for r in await world.rows(RunRow)} - known - {run_id}
        await world.through(followed)
        run = await world.run(run_id)
        assert (run.status, (await world.run(followed)).status) == (RunStatus.COMPLETED,) * 2
        assert sorted(run.outputs) == ["draft", "film", "title"]
        assert list(world.jobs.starts.values()) == [1]
        assert set(world.toolkit.effects().values()) == {1}
        await world.drain()
        await world.check(run_id, followed)


PAY = Step("pay", StepKind.TOOL, tool="pay", arguments={"n": 1})
BUY = Step("buy", StepKind.AGENT, THINKER, ("Buy one.",))


async def test_a_tools_step_that_may_have_happened_is_not_made_again_by_a_restart(sqlite_url: str) -> None:
    async with World(sqlite_url, rules={"pay": Rule()}) as world:
        arm("after_tool")
        wanted = recipe(PAY)
        run_id = await begin(world, wanted)
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        with pytest.raises(ConflictError, match="not known whether pay took effect"):
            await world.intake.restart(run_id, wanted, ANNA)
        await world.cancel(run_id)
        with pytest.raises(ConflictError, match="not known whether pay took effect"):
            await world.intake.restart(run_id, wanted, ANNA)
        assert set(world.toolkit.effects().values()) == {1}


async def test_what_a_tools_step_came_to_after_the_end_is_handed_on_by_a_restart(database_url: str) -> None:
    gate = asyncio.Event()
    rules = {"pay": Rule(gate=gate), "tell": Rule(idempotent=True)}
    async with World(database_url, rules=rules) as world:
        tell = Step("tell", StepKind.TOOL, tool="tell", arguments={"paid": {"from": "pay.done"}})
        run_id = await begin(world, recipe(PAY, tell))
        working = asyncio.create_task(world.settle())
        async with asyncio.timeout(30):
            await world.toolkit.before_effect.wait()
        await world.cancel(run_id)
        world.toolkit.barred.clear()
        gate.set()
        await working
        await world.drain()
        again = await world.intake.restart(run_id, recipe(PAY, tell), ANNA)
        await world.through(again.run_id)
        run = await world.run(again.run_id)
        assert (run.status, run.outputs["pay"]) == (RunStatus.COMPLETED, {"done": "pay"})
        paid = [e for e in world.toolkit.ledger if e.tool == "pay"]
        assert len(paid) == 1
        with pytest.raises(ConflictError):
            await world.intake.restart(again.run_id, recipe(PAY, tell), ANNA)


async def test_an_agents_step_that_is_restarted_is_told_what_it_has_done(database_url: str) -> None:
    stories = {"Buy one.": (Plan((("note", {"n": 7}),)), Plan(output="bought"))}
    async with World(database_url, stories=stories, rules={"note": Rule()}) as world:
        run_id = await begin(world, recipe(BUY, TITLE_ALONE))
        while (await world.run(run_id)).turn.number == 1:
            await world.turn()
            world.gemini.move()
            for webhook in world.gemini.take_webhooks():
                await world.deliver(webhook)
        await world.cancel(run_id)
        again = await world.intake.restart(run_id, recipe(BUY, TITLE_ALONE), ANNA)
        note = (await world.chain(again.run_id))[0].note
        assert "<request>\nBuy one.\n</request>" in note
        assert 'Call of note with {"n": 7} succeeded' in note
        assert note.count("Buy one.") == 1


async def test_a_first_step_that_cannot_begin_is_told_and_written_down(database_url: str) -> None:
    told = Callback("https://caller.example/hook", (News.RUN_FAILED,))
    async with world_on(database_url) as world:
        lost = replace(DRAFT, parts=({"from": "input.title"},))
        run_id = await begin(world, recipe(lost, callbacks=(told,)))
        assert (await world.run(run_id)).status is RunStatus.FAILED
        [news] = await world.rows(CallbackRow, table(CallbackRow).c.run_id == run_id)
        assert json.loads(news["body"])["data"]["reason"] == "step draft: input.title: there is no title"
        entries = await world.rows(AuditRow, table(AuditRow).c.run_id == run_id)
        kinds = [e["kind"] for e in sorted(entries, key=lambda e: e["seq"])]
        assert kinds == ["run_opened", "run_closed"]


async def test_an_answer_is_committed_before_a_step_behind_it_claims_its_tool(database_url: str) -> None:
    """As a yes is: a tool that is claimed with it would be in doubt if the process ended there."""
    first = Step("film", StepKind.TOOL, tool="film", arguments={"prompt": "dusk"})
    then = Step("tell", StepKind.TOOL, tool="tell")
    async with world_on(database_url) as world:
        world.toolkit.rules["film"] = Rule(Ruling.ASK, terms=replace(TERMS, answers=True))
        run_id = await begin(world, recipe(first, then))
        await world.settle()
        [approval] = await world.open_approvals(run_id)
        taken: list[Ticket] = []
        commits = world.performer.commits
        commits.slots, commits.accept = AnyRoom(), taken.extend
        assert (await world.decide(approval, False, answer={"files": []})).refused is None
        assert (await world.run(run_id)).step == 1, "it goes straight on"
        assert EffectKind.EXECUTE_TOOL not in {ticket.effect.kind for ticket in taken}
        for ticket in taken:
            await world.performer.perform(ticket)
        commits.slots = NoSlots()
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert [entry.tool for entry in world.toolkit.ledger] == ["tell"]
        await world.check(run_id)
