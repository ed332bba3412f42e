"""A seeded world in which everything goes wrong at once, and the promises at the end of it.

Each seed is one history: several runs, a model that asks for tools, webhooks lost, doubled and out of
order, busy and silent neighbours, clicks, cancels, deaths, and a clock that jumps. `SIMULATION_SEEDS`
sets how many; a failing seed is named, and `SIMULATION_FIRST` replays from it.
"""

import os
import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.deaths import arm, disarm
from support.gemini import Plan, Webhook
from support.toolkit import Rule
from support.world import OneThread, World

from orchestrator import failpoints
from orchestrator.domain.asking import GO_ON, PLAN, RESTART, is_own
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Actor
from orchestrator.domain.events import Choice
from orchestrator.domain.jobs import JobKind, JobState, JobWish, signal_key
from orchestrator.domain.model import ENDED, Limits, Policy, Recipe, Run, RunStatus
from orchestrator.errors import ConflictError
from orchestrator.store import claims

pytestmark = pytest.mark.asyncio

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "25"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
PARTS = 20
STEPS = 45
TOOLS = ("pay", "note", "refund", "wipe", "ask_many", "nonsense")
NIGHTLY = JobWish(JobKind.BATCH, {"model": "gemini-3.8-flash", "lines": []})
DEATHS = tuple(
    n
    for n in failpoints.NAMES
    if n not in ("after_run_stored", "after_cancel_stored", "after_decision", "after_callback")
    and n not in ("after_look", "after_occurrence")
)


class Simulation:
    """One history."""

    def __init__(self, url: str, seed: int) -> None:
        self.dice = random.Random(seed)
        self.world = World(
            url,
            stories={f"story {n}": self._story() for n in range(6)},
            rules={
                "pay": Rule(),
                "note": Rule(idempotent=True),
                "refund": Rule(Ruling.ASK, idempotent=True),
                "wipe": Rule(Ruling.ASK, would="gone"),
                "ask_many": Rule(idempotent=True, waits=(NIGHTLY,) * 3),
            },
            policy=Policy(retry_lost_create=self.dice.random() < 0.8, jobs_at_once=2),
            roll=self.dice.random,
            eager=self.dice.random() < 0.5,
            database=OneThread(url, lambda: self.dice.randint(1, 3)),
        )
        self.bad = self.dice.choice([0.05, 0.2, 0.4])
        self.world.gemini.weather = self.world.slack.weather = self.world.jobs.weather = self._weather
        self.hooks: list[Webhook] = []
        self.runs: list[str] = []
        self.ends: dict[str, str] = {}
        self.verdicts: dict[str, Any] = {}

    def _story(self) -> tuple[Plan, ...]:
        plans = []
        for _ in range(self.dice.choice([0, 1, 1, 2])):
            if self.dice.random() < 0.1:
                plans.append(Plan(status="requires_continuation"))
                continue
            tools = self.dice.choices(TOOLS, k=self.dice.randint(1, 3))
            plans.append(Plan(tuple((t, {"n": n}) for n, t in enumerate(tools))))
        end = self.dice.choices(["completed", "failed", "incomplete"], [8, 1, 1])[0]
        return (*plans, Plan(status=end))

    async def begin(self, story: str) -> str:
        """Some plan first, and some must ask before they use more tokens."""
        recipe = Recipe(
            "refunds",
            agent="worker",
            tools=tuple(self.world.toolkit.rules),
            agent_config={"collaborative_planning": True} if self.dice.random() < 0.3 else None,
            limits=Limits(max_tokens=self.dice.choice([None, None, 10, 20])),
            terms=TERMS,
        )
        return (await self.world.intake.start(recipe, story, ANNA)).run_id

    def _weather(self, operation: str) -> str:
        if self.dice.random() >= self.bad:
            return "fine"
        refusals = ["refused"] if operation == "post" else []
        return self.dice.choice(["busy", "lost", "lost_after", *refusals])

    # --- what may happen at any moment ------------------------------------------------

    async def step(self) -> None:
        moves = {
            self._turn: 10,
            self._move: 4,
            self._make: 2,
            self._hear: 6,
            self._click: 3,
            self._wait: 2,
            self._jump: 2,
            self._die: 2.5,
            self._cancel: 0.4,
            self._noise: 0.7,
            self._tools_go_wrong: 0.5,
        }
        (move,) = self.dice.choices(list(moves), list(moves.values()))
        await move()
        await self._look()

    async def _turn(self) -> None:
        await self.world.turn()

    async def _move(self) -> None:
        at_work = [i for i in self.world.gemini.interactions.values() if i.status == "in_progress"]
        if at_work:
            one = self.dice.choice(at_work)
            self.world.gemini.become(one.id, one.plan.outcome)
        for webhook in self.world.gemini.take_webhooks():
            copies = self.dice.choices([0, 1, 2, 3], [3, 5, 1, 1])[0]
            self.hooks.extend([webhook] * copies)

    async def _make(self) -> None:
        """A long job comes to an end, good or bad; its webhook comes, or does not."""
        jobs = self.world.jobs
        live = [remote for remote, state in jobs.states.items() if state is JobState.LIVE]
        if live:
            one = self.dice.choice(live)
            jobs.states[one] = self.dice.choice([JobState.DONE, JobState.DONE, JobState.FAILED])
            told = Webhook(f"job_{one}", "batch.succeeded", signal_key(one))
            self.hooks.extend([told] * self.dice.choice([0, 1, 2]))

    async def _hear(self) -> None:
        if self.hooks:
            await self.world.deliver(self.hooks.pop(self.dice.randrange(len(self.hooks))))

    async def _click(self) -> None:
        asked = [a for r in self.runs for a in await self.world.open_approvals(r)]
        if not asked:
            return
        approval, by = self.dice.choice(asked), self.dice.choice([ANNA, BEN, Actor("U0EVE")])
        refine = self.dice.random() < 0.2
        approve, reason = not refine and self.dice.random() < 0.75, "shorter" if refine else ""
        answer = await self.world.decide(approval, approve, by=by, refine=refine, reason=reason)
        if answer.refused is None:
            assert by.id != "U0EVE"
            assert approval.id not in self.verdicts, "a second decision stood"
            self.verdicts[approval.id] = answer.approval.verdict

    async def _wait(self) -> None:
        self.world.clock.advance(seconds=self.dice.uniform(0, 40))

    async def _jump(self) -> None:
        due = await self.world.database.read(claims.next_due)
        if due is not None:
            self.world.clock.reach(due)

    async def _die(self) -> None:
        disarm()
        arm(self.dice.choice(DEATHS), self.dice.randint(1, 2))

    async def _cancel(self) -> None:
        with suppress(ConflictError):
            await self.world.cancel(self.dice.choice(self.runs))

    async def _noise(self) -> None:
        known = list(self.world.gemini.interactions) or ["i_none"]
        kind = self.dice.choice(["completed", "requires_action", "failed", "odd"])
        await self.world.signal(self.dice.choice([*known, "i_stranger"]), f"interaction.{kind}")

    async def _tools_go_wrong(self) -> None:
        rule = self.world.toolkit.rules[self.dice.choice(["pay", "note", "refund", "wipe"])]
        rule.acts.append(self.dice.choice(["fails", "uncertain", "busy"]))

    async def _look(self) -> None:
        """What may never be seen, not even for a moment."""
        for run_id, status in (await self.world.statuses()).items():
            assert self.ends.get(run_id, status) == status, "an ended run moved"
            if status in ENDED:
                self.ends[run_id] = status

    # --- and then the sky clears ------------------------------------------------------

    async def calm(self) -> None:
        """No more trouble: everybody answers, every question is decided, every doubt settled."""
        disarm()
        self.world.gemini.weather = self.world.slack.weather = self.world.jobs.weather = None
        self.world.jobs.prompt = True
        for rule in self.world.toolkit.rules.values():
            rule.acts.clear()
        for _ in range(60):
            self.hooks.extend(self.world.gemini.take_webhooks())
            for webhook in self.hooks:
                await self.world.deliver(webhook)
            self.hooks.clear()
            await self.world.to_the_end(*self.runs)
            states = [await self.world.run(r) for r in self.runs]
            if all(r.closed for r in states):
                break
            for run in states:
                await self._help(run.id)
        for interaction in list(self.world.gemini.interactions):
            await self.world.signal(interaction)  # every orphan shows itself in the end
        await self.world.drain()

    async def _help(self, run_id: str) -> None:
        run = await self.world.run(run_id)
        for approval in await self.world.open_approvals(run_id):
            answer = await self.world.decide(approval, True)
            if answer.refused is None:
                self.verdicts[approval.id] = answer.approval.verdict
        if run.status is not RunStatus.ATTENTION:
            return
        doubtful = [c for c in run.turn.calls if c.status == "in_doubt"]
        for call in doubtful:
            assert not call.idempotent or call.approval, "an idempotent call needs nobody"
            happened = self.world.toolkit.effects()[call.id] > 0
            choice = Choice.HAPPENED if happened else Choice.RETRY
            await self.world.intake.resolve(run_id, choice, ANNA, call=call.id, result="seen")
        if not doubtful:
            await self.world.intake.resolve(run_id, Choice.RETRY, ANNA)

    async def judge(self) -> None:
        await self.world.check(*self.runs)
        for run_id in self.runs:
            run = await self.world.run(run_id)
            assert run.closed, f"{run_id} is {run.status}"
            assert self.ends.get(run_id, run.status) == run.status
            for turn in await self.world.chain(run_id):
                for call in turn.calls:
                    for job in call.jobs:
                        assert self.world.jobs.starts[job.id] <= job.attempt, f"{job.id} was made twice"
                        assert job.ended
                    if call.approval is not None and call.approval.verdict is not None:
                        assert self.verdicts[call.approval.id] == call.approval.verdict
            await self._judge_spending(run)
        self._judge_chains()

    async def _judge_spending(self, run: Run) -> None:
        """No plan is carried out and no limit passed but by a person's word."""
        turns = await self.world.chain(run.id)
        for left, turn in pairwise(turns):
            said = {c.tool: c.approval.verdict for c in left.calls if is_own(c) and c.approval}
            if left.planning and turn.planning is False:
                assert said[PLAN] is not None, f"{run.id}: a plan is carried out that nobody decided about"
                assert said[PLAN].approve
            assert all(v is not None for about, v in said.items() if about != RESTART)  # taken back by itself
        most = run.recipe.limits.max_tokens
        granted = [
            c for t in turns for c in t.calls if c.tool == GO_ON and c.outcome and not c.outcome.is_error
        ]
        if most is not None:  # each turn of a story uses ten
            assert len(turns) * 10 <= (len(granted) + 1) * most, f"{run.id} went on without a word"

    def _judge_chains(self) -> None:
        """One continuation per turn: what is left beside the chain was stopped or ended by itself."""
        for interaction in self.world.gemini.interactions.values():
            others = [
                i
                for i in self.world.gemini.interactions.values()
                if i.request.previous_id == interaction.id and i.status not in ("cancelled", "failed")
            ]
            at_work = [i for i in others if i.status in ("in_progress", "requires_action")]
            answered = [
                i
                for i in at_work
                if any(j.request.previous_id == i.id for j in self.world.gemini.interactions.values())
            ]
            assert len(answered) <= 1, f"{interaction.id} was gone on from twice"


async def simulate(url: str, seed: int) -> None:
    simulation = Simulation(url, seed)
    async with simulation.world:
        for n in range(simulation.dice.randint(3, 4)):
            simulation.runs.append(await simulation.begin(f"story {n}"))
        for _ in range(STEPS):
            await simulation.step()
        await simulation.calm()
        await simulation.judge()


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.timeout(600)
async def test_whatever_happens_the_promises_hold(new_sqlite_url: Any, part: int) -> None:
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        try:
            url = new_sqlite_url()
            await simulate(url, seed)
        except BaseException as e:
            e.add_note(f"seed {seed}: replay with SIMULATION_FIRST={seed} SIMULATION_SEEDS=1")
            raise
        finally:
            disarm()
