"""A database with a run in every state there is, made by playing its story; the input says which.

`record.py` keeps such databases as they were at each release. To go on with one, a world needs the
same stories, and a Gemini that remembers (`remembered`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import ANNA, TERMS
from support.gemini import FakeGemini, Interaction, Plan, Webhook
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.decision import Decision
from orchestrator.domain.events import Choice
from orchestrator.domain.exchange import Correlation, CreateRequest
from orchestrator.domain.model import CallStatus, Policy, Recipe, RunStatus
from orchestrator.domain.values import replace
from orchestrator.store import runs
from orchestrator.store.tables import InteractionRow, TurnRow, table

ASK: Final = Plan((("refund", {"order": "A-1042", "amount": 12.5, "note": "für Anna ✓"}),))
END: Final = Plan(output="all done")
STORIES: Final[Mapping[str, tuple[Plan, ...]]] = {
    "expired": (ASK, END),
    "completed": (Plan((("look_up", {"n": 1}), ("refund", {"n": 2}))), END),
    "failed": (Plan(status="failed"),),
    "cancelled": (ASK, END),
    "rejected": (ASK, END),
    "denied": (Plan((("demolish", {"n": 1}), ("no_such_tool", {}))), END),
    "doubtful": (Plan((("courier", {"n": 1}),)), END),
    "lost": (END,),
    "waiting": (Plan((("refund", {"n": 1}), ("look_up", {"n": 2}))), END),
    "ready": (Plan((("busy", {"n": 1}),)), END),
    "job": (Plan((("film", {"n": 1}),)), END),
    "unknown": (END,),
    "resuming": (Plan((("look_up", {"n": 1}),)), END),
    "executing": (Plan((("slow", {"n": 1}),)), END),
    "running": (END,),
    "sending": (END,),
    "queued": (END,),
}
"""What the model does, by a run's input."""
STATUSES: Final = {
    "expired": "completed",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "rejected": "completed",
    "denied": "completed",
    "doubtful": "attention",
    "lost": "attention",
    "waiting": "waiting",
    "ready": "running",
    "job": "running",
    "unknown": "queued",
    "resuming": "resuming",
    "executing": "running",
    "running": "running",
    "sending": "queued",
    "queued": "queued",
}
"""Where each run stands when the story stops."""
POLICY: Final = Policy(retry_lost_create=False)
LATER: Final = NOON + timedelta(hours=30)
"""When somebody takes it up again; questions of this story still wait."""
HOOKS: Final = {"parked": "i_stranger", "new": "i_nobody"}
"""Webhooks about interactions nobody knows, by what became of them."""


def rules() -> dict[str, Rule]:
    """Tools as they were before anything went wrong."""
    return {
        "look_up": Rule(idempotent=True),
        "refund": Rule(Ruling.ASK, terms=replace(TERMS, expires_after=timedelta(hours=24))),
        "demolish": Rule(Ruling.DENY),
        "courier": Rule(),
        "busy": Rule(),
        "film": Rule(idempotent=True),
        "slow": Rule(),
    }


class Gemini(FakeGemini):
    """Names its webhooks after what they tell, so that no two are taken for one."""

    def take_webhooks(self) -> list[Webhook]:
        return [replace(w, id=f"{w.kind}:{w.interaction_id}") for w in super().take_webhooks()]


@dataclass
class Played:
    """The world with its runs, and the work that hangs in the middle of it."""

    world: World
    runs: Mapping[str, str]
    hanging: list[asyncio.Task[int]]

    async def abandon(self) -> None:
        """The process dies: what was under way is never heard of again."""
        self.world.performer.dead = "killed"
        for task in self.hanging:
            task.cancel()
        await asyncio.gather(*self.hanging, return_exceptions=True)
        for effect in list(self.world.performer._alive):
            effect.cancel()
        await asyncio.gather(*self.world.performer._alive, return_exceptions=True)


async def play(url: str) -> Played:
    """Fill a database whose schema is current."""
    world = World(url, rules=rules(), policy=POLICY)
    world.gemini = Gemini(STORIES)
    world.boot()
    found: dict[str, str] = {}
    await _long_ago(world, found)
    await _at_rest(world, found)
    await _on_the_way(world, found)
    return Played(world, found, await _in_the_middle(world, found))


async def _long_ago(world: World, found: dict[str, str]) -> None:
    found["expired"] = await world.start("expired")
    await world.settle()
    world.clock.advance(timedelta(hours=24))
    await world.settle()
    found["lost"] = await world.start("lost")
    world.gemini.faults["create"].append("lost")
    await world.settle()
    world.clock.advance(POLICY.create_grace)
    await world.settle()
    await world.deliver(Webhook("wh_parked", "interaction.completed", HOOKS["parked"]))
    await world.drain()  # looked for until it is given up


async def _at_rest(world: World, found: dict[str, str]) -> None:
    world.toolkit.rules["courier"].acts.append("uncertain")
    asked = Recipe("refunds", model="gemini-3.8-flash", tools=tuple(world.toolkit.rules))
    started = await world.intake.start(asked, "completed", ANNA, owner="shop", idempotency_key="A-1042")
    found["completed"] = started.run_id
    for story in ("failed", "cancelled", "rejected", "denied", "doubtful", "waiting"):
        found[story] = await world.start(story)
    await world.settle()
    for story, approve in (("completed", True), ("rejected", False)):
        (approval,) = await world.open_approvals(found[story])
        await world.decide(approval, approve, reason="" if approve else "not this week")
    await world.cancel(found["cancelled"])
    await world.settle()


async def _on_the_way(world: World, found: dict[str, str]) -> None:
    world.toolkit.rules["busy"].acts.append("busy")
    found["ready"] = await world.start("ready")
    await world.settle()
    found["unknown"] = await world.start("unknown")
    world.gemini.faults["create"].append("lost_after")
    await world.settle(model=False)
    found["resuming"] = await world.start("resuming")
    await world.settle(model=False)
    world.gemini.faults["create"].append("busy")
    world.gemini.become(next(reversed(world.gemini.interactions)), "requires_action")
    await world.settle(model=False)
    found["running"] = await world.start("running")
    await world.settle(model=False)


async def _in_the_middle(world: World, found: dict[str, str]) -> list[asyncio.Task[int]]:
    """Work that has begun and does not end: two tools and a create."""
    gates = [asyncio.Event() for _ in range(3)]
    hanging = []
    for story, tool, gate in (("job", "film", gates[0]), ("executing", "slow", gates[1])):
        found[story] = await world.start(story)
        await world.settle(model=False)
        world.toolkit.rules[tool].gate = gate
        world.toolkit.before_effect.clear()
        world.gemini.become(next(reversed(world.gemini.interactions)), "requires_action")
        await world.deliver(world.gemini.take_webhooks()[0])
        hanging.append(asyncio.create_task(_turning(world)))
        await world.toolkit.before_effect.wait()
    await world.database.write(_hand_over, found["job"])
    found["sending"] = await world.start("sending")
    world.gemini.gate = gates[2]
    hanging.append(asyncio.create_task(_turning(world)))
    await world.gemini.at_gate.wait()
    found["queued"] = await world.start("queued")
    await world.deliver(Webhook("wh_new", "interaction.completed", HOOKS["new"]))
    return hanging


async def _turning(world: World) -> int:
    worker, turns = world.second_worker(), 0
    while await worker.run_once():
        turns += 1
    return turns


def _hand_over(s: Session, run_id: str) -> None:
    """The tool has handed its work to an external job, and waits for it."""
    run = runs.load(s, run_id)
    (call,) = run.turn.calls
    waiting = replace(call, status=CallStatus.AWAITING_JOB)
    runs.save(s, run, Decision(replace(run, turn=run.turn.with_call(waiting))), now=run.created_at)


async def remembered(world: World) -> Gemini:
    """A Gemini that knows the interactions of the rows, at the places their stories have reached."""
    gemini = Gemini(STORIES)
    for known in await world.rows(InteractionRow):
        run = await world.run(known["run_id"])
        turn = table(TurnRow).c
        (row,) = await world.rows(TurnRow, (turn.run_id == run.id) & (turn.number == known["turn"]))
        mark = Correlation(run.id, known["turn"], known["attempt"])
        request = CreateRequest(
            run.recipe, mark, run.input if mark.turn == 1 else (), previous_id=row["previous_id"]
        )
        depth = mark.turn - 1
        gemini.interactions[known["id"]] = Interaction(
            known["id"], request, STORIES[run.input][depth], depth, row["gemini_status"] or "in_progress"
        )
    return gemini


async def revived(url: str) -> World:
    """The service of a later day over the same rows: its Gemini remembers, its tools are well again."""
    world = World(url, rules=rules(), policy=POLICY)
    world.clock.reach(LATER)
    world.gemini = await remembered(world)
    await world.restart("moved")
    return world


async def carry_on(world: World, of: Mapping[str, str]) -> None:
    """All runs to their end, with a person who does what only a person can do.

    Args:
        of: The runs by their story.
    """
    (approval,) = await world.open_approvals(of["waiting"])
    assert (await world.decide(approval, True)).refused is None
    await world.to_the_end(*of.values())
    for run_id in of.values():
        run = await world.run(run_id)
        if run.status is not RunStatus.ATTENTION:
            continue
        doubts = [c for c in run.turn.calls if c.status is CallStatus.IN_DOUBT]
        for call in doubts:
            await world.intake.resolve(run_id, Choice.HAPPENED, ANNA, call=call.id, result="it arrived")
        if not doubts:
            await world.intake.resolve(run_id, Choice.RETRY, ANNA)
    await world.to_the_end(*of.values())
    await world.drain()
