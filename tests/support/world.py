"""The engine on a real database with fake neighbours, turned by hand under a clock that stands still."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import SettableClock
from support.conversation import ANNA
from support.gemini import FakeGemini, Plan, Webhook
from support.jobs import FakeJobs
from support.slack import FakeSlack
from support.toolkit import FakeToolkit, Rule

from orchestrator import failpoints
from orchestrator.domain.asking import is_own
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus
from orchestrator.domain.deadlines import asked_now
from orchestrator.domain.effects import SURVIVES_CLOSING
from orchestrator.domain.model import ENDED, CallStatus, Limits, Policy, Recipe, Run, RunStatus, Turn
from orchestrator.engine.callbacks import CallbackPort
from orchestrator.engine.commits import Leases
from orchestrator.engine.intake import Decided, Intake
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.lines import Lines
from orchestrator.engine.perform import Performer
from orchestrator.engine.polling import Allowance, Polling
from orchestrator.engine.ports import PicturesPort
from orchestrator.engine.tickets import Ticket
from orchestrator.engine.worker import Worker
from orchestrator.store import asked, audit, audit_check, claims, run_rows, runs, turns
from orchestrator.store.database import Database
from orchestrator.store.tables import ApprovalRow, CallRow, EffectRow, EventRow, RunRow, TurnRow, table

RUN_COLUMNS = [
    c
    for c in table(RunRow).c
    if c.name not in ("version", "seq", "updated_at", "owner", "idempotency_key", "body_hash")
]
PLACES = ("channel", "ts", "trouble", "copies", "questions")
RESTING = {*ENDED, RunStatus.ATTENTION, RunStatus.WAITING}
APPROVAL_COLUMNS = [c for c in table(ApprovalRow).c if c.name not in PLACES]


class OneThread(Database):
    """Every job at once, in the thread of the loop: histories are exactly repeatable, and quick.

    Args:
        pauses: How often a caller gives way to others before its job, by a seeded dice.
    """

    def __init__(self, url: str, pauses: Callable[[], int] = lambda: 1) -> None:
        super().__init__(url, readers=1)
        self._pauses = pauses

    async def write(self, job: Any, *args: Any, **kwargs: Any) -> Any:
        for _ in range(self._pauses()):
            await asyncio.sleep(0)
        with Session(self.engine, expire_on_commit=False) as s, s.begin():
            value = job(s, *args, **kwargs)
            audit.append(s)
            return value

    read = write


class MortalPerformer(Performer):
    """Dies at an armed failpoint like a process does: all it was doing ends there."""

    dead: str = ""

    def begin(self) -> "MortalPerformer":
        self._alive: set[asyncio.Task[Any]] = set()
        return self

    async def perform(self, ticket: Ticket) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._alive.add(task)
        try:
            if not self.dead:
                await super().perform(ticket)
        except failpoints.FailpointError as e:
            self.dead = str(e)
            for other in self._alive - {task}:
                other.cancel()
        finally:
            self._alive.discard(task)


class World:
    """Database, intake, performer and worker of one process, and the means to let it die.

    Args:
        stories: By input text, what the model does (see `FakeGemini`).
        rules: The tools; every recipe may use all of them.
        eager: Steps go straight on with what they make due, as in a running service; else each turn
            of the worker takes one layer of the work.
    """

    def __init__(
        self,
        url: str,
        *,
        stories: Mapping[str, Sequence[Plan]] | None = None,
        rules: Mapping[str, Rule] | None = None,
        policy: Policy | None = None,
        roll: Callable[[], float] = lambda: 0.5,
        slack: bool = True,
        lease: timedelta = timedelta(seconds=30),
        database: Database | None = None,
        eager: bool = False,
        limits: Ceilings | None = None,
        allowance: Allowance | None = None,
        lines: Lines | None = None,
        leases: Leases | None = None,
        outcomes: bool = False,
    ) -> None:
        self.clock = SettableClock()
        self.policy = policy or Policy()
        self.gemini = FakeGemini(dict(stories or {}))
        self.slack = FakeSlack()
        self.jobs = FakeJobs()
        self.callbacks: CallbackPort | None = None  # who wants one sets it, and boots again
        self.pictures: PicturesPort | None = None  # the same
        self.toolkit = FakeToolkit(dict(rules or {}))
        self.database = database or Database(url, readers=2, threads=8)
        self.deaths: list[str] = []
        self.recipes: dict[str, Recipe] = {}  # the workflows as they stand now
        self._limits = limits
        self._allowance = allowance
        self._lines = lines
        self._leases = leases
        self._outcomes = outcomes
        self.hooks = 0
        self._roll, self._lease, self._has_slack, self._eager = roll, lease, slack, eager
        self.boot()

    def boot(self) -> None:
        """A new process on the same database."""
        self.performer = MortalPerformer(
            self.database,
            self.gemini,
            self.toolkit,
            self.slack if self._has_slack else None,
            policy=self.policy,
            clock=self.clock,
            roll=self._roll,
            lease=self._lease,
            limits=self._limits,
            polling=self.hears(),
            lines=self._lines,
            leases=self._leases,
            outcomes=self._outcomes,
            recipe=self.as_it_stands,
            long_jobs=self.jobs,
            callbacks=self.callbacks,
            pictures=self.pictures,
        ).begin()
        self.worker = Worker(self.database, self.performer, policy=self.policy, clock=self.clock)
        if self._eager:
            self.worker.attach()
        self.intake = Intake(
            self.database,
            policy=self.policy,
            clock=self.clock,
            wake=self.worker.wake,
            mail=self.worker.mail,
            stop_tools=self.performer.stop_tools,
            commits=self.performer.commits,
            toolkit=self.toolkit,
        )

    def as_it_stands(self, workflow: str) -> Recipe | None:
        """Of a restart."""
        return self.recipes.get(workflow)

    def hears(self) -> Polling:
        """Of one process."""
        return Polling(self.policy, self._allowance, clock=self.clock, roll=self._roll)

    def second_worker(self) -> Worker:
        """Another loop over the same rows, as a second process would run it."""
        return Worker(self.database, self.performer, policy=self.policy, clock=self.clock)

    async def restart(self, why: str) -> None:
        """The process died and is started again; whoever held a claim is gone."""
        self.deaths.append(why)
        self.performer.dead = why  # what it was still about to do is not done any more
        self.boot()
        await self.database.write(claims.release_all, self.clock())

    def close(self) -> None:
        self.database.close()

    async def __aenter__(self) -> "World":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # --- turning it -------------------------------------------------------------------

    async def turn(self) -> int:
        """One turn of the worker; a death in it is followed by a restart."""
        worked = 1
        try:
            worked = await self.worker.run_once()
        except failpoints.FailpointError as e:
            await self.restart(str(e))
        if self.performer.dead:
            await self.restart(self.performer.dead)
        return worked

    async def settle(self, *, webhooks: bool = True, model: bool = True, most: int = 300) -> None:
        """Until nothing happens any more at this moment; in so many rounds at most."""
        for _ in range(most):
            moved = self.gemini.move() if model else 0
            sent = self.gemini.take_webhooks() if webhooks else []
            for webhook in sent:
                await self.deliver(webhook)
            if await self.turn() + moved + len(sent) == 0:
                return
        raise AssertionError("the world does not come to rest")

    async def pass_time(
        self, approval: Approval, share: float, more: timedelta = timedelta(seconds=1)
    ) -> None:
        """Until that share of the question's time is over, and a little more."""
        whole = approval.expires_at - approval.requested_at
        self.clock.reach(approval.requested_at + whole * share + more)
        await self.settle()

    async def to_the_end(self, *run_ids: str, webhooks: bool = True, patience: int = 400) -> None:
        """Settle and move the clock to what is due next, until those runs end or wait for a person."""
        for _ in range(patience):
            await self.settle(webhooks=webhooks)
            found = await self.statuses()
            if all(found[r] in RESTING for r in run_ids):
                return
            due = await self.database.read(claims.next_due)
            assert due is not None, f"nothing is due and the runs are {found}"
            self.clock.reach(due)
        raise AssertionError(f"not ended: {[(await self.run(r)).status for r in run_ids]}")

    async def through(self, *run_ids: str, or_attention: bool = False) -> None:
        """To the end of all runs; each question of these is approved, and once more where nothing answers.

        Args:
            or_attention: A run that waits for a person to see to it has come far enough, too.
        """
        over = {*ENDED, RunStatus.ATTENTION} if or_attention else ENDED
        for _ in range(10):
            await self.to_the_end(*run_ids)
            if set((await self.statuses()).values()) <= over:
                return
            for run_id in run_ids:
                for approval in await self.open_approvals(run_id):
                    try:
                        await self.decide(approval, True)
                    except failpoints.FailpointError as e:
                        await self.restart(str(e))
        raise AssertionError("it goes round in circles")

    @asynccontextmanager
    async def on_the_wire(self, text: str) -> AsyncIterator[str]:
        """A run whose create is on the wire; the answer comes when this is left."""
        gate = self.gemini.gate = asyncio.Event()
        run_id = await self.start(text)
        sending = asyncio.create_task(self.turn())
        await self.gemini.at_gate.wait()
        yield run_id
        gate.set()
        await sending

    async def drain(self) -> None:
        """Everything that was asked for is done, retries and tidying up included."""
        for _ in range(400):
            await self.settle()
            due = await self.database.read(self._next_tidying)
            if due is None:
                return
            self.clock.reach(due)
        raise AssertionError("effects are left for ever")

    @staticmethod
    def _next_tidying(s: Session) -> Any:
        effect = table(EffectRow)
        return (
            s.connection()
            .execute(
                sa.select(sa.func.min(effect.c.due_at)).where(
                    effect.c.state == "pending",
                    effect.c.kind.in_(sorted(SURVIVES_CLOSING)) | (effect.c.run_id == ""),
                )
            )
            .scalar_one()
        )

    # --- the doors --------------------------------------------------------------------

    async def start(self, text: str, **limits: Any) -> str:
        recipe = Recipe(
            "refunds",
            model="gemini-3.8-flash",
            tools=tuple(self.toolkit.rules),
            limits=Limits(**limits),
        )
        return (await self.intake.start(recipe, text, ANNA)).run_id

    async def deliver(self, webhook: Webhook, *, webhook_id: str = "") -> None:
        body = json.dumps({"type": webhook.kind, "data": {"id": webhook.interaction_id}}).encode()
        with suppress(failpoints.FailpointError):
            await self.intake.deliver(
                webhook_id=webhook_id or webhook.id,
                kind=webhook.kind,
                subject=webhook.interaction_id,
                timestamp=int(self.clock().timestamp()),
                body=body,
            )
            return
        await self.restart("after_delivery_stored")

    async def signal(self, interaction_id: str, kind: str = "interaction.completed") -> None:
        """A webhook with an id of its own."""
        self.hooks += 1
        await self.deliver(Webhook(f"extra_{self.hooks}", kind, interaction_id))

    async def decide(self, approval: Approval, approve: bool, by: Actor = ANNA, **more: Any) -> Decided:
        return await self.intake.decide(
            approval.id,
            approve=approve,
            by=by,
            entitled_as=more.pop("entitled_as", by.id),
            digest=more.pop("digest", approval.digest),
            **more,
        )

    async def cancel(self, run_id: str) -> Run:
        """From its return on nothing may start for that run."""
        run = await self.intake.cancel(run_id, ANNA, "enough")
        self.toolkit.barred.add(run_id)
        self.gemini.barred.add(run_id)
        return run

    # --- what is asked of it ----------------------------------------------------------

    async def run(self, run_id: str) -> Run:
        return await self.database.read(runs.load, run_id)

    async def chain(self, run_id: str) -> list[Turn]:
        """All turns of the run with their calls."""

        def job(s: Session) -> list[Turn]:
            run = runs.load(s, run_id)
            return [turns.load(s, run_id, n) for n in range(1, run.turn.number + 1)]

        return await self.database.read(job)

    async def one_question(self, workflow: str = "ask") -> tuple[str, Approval]:
        """A run that has come to its one question."""
        run_id = await self.start(workflow)
        await self.settle()
        (approval,) = await self.open_approvals(run_id)
        return run_id, approval

    async def open_approvals(self, run_id: str) -> list[Approval]:
        run = await self.run(run_id)
        return [c.approval for c in run.turn.calls if c.approval and c.approval.open]

    async def statuses(self) -> dict[str, str]:
        """Of all runs at once."""
        run = table(RunRow)
        return {
            r["id"]: str(r["status"]) for r in await self.database.read(_rows, [run.c.id, run.c.status], None)
        }

    async def events(self, run_id: str) -> list[Mapping[str, Any]]:
        return await self.rows(EventRow, table(EventRow).c.run_id == run_id)

    async def effects(self, run_id: str, **where: str) -> list[Mapping[str, Any]]:
        effect = table(EffectRow)
        wanted = sa.and_(effect.c.run_id == run_id, *(effect.c[k] == v for k, v in where.items()))
        return await self.rows(EffectRow, wanted)

    async def rows(self, row: Any, where: Any = None) -> list[Mapping[str, Any]]:
        return await self.database.read(_rows, list(table(row).c), where)

    async def record_hash(self, run_id: str) -> str:
        """Over everything that says what became of the run."""
        parts: list[tuple[Iterable[Any], Any]] = [
            (RUN_COLUMNS, table(RunRow).c.id == run_id),
            (list(table(TurnRow).c), table(TurnRow).c.run_id == run_id),
            (list(table(CallRow).c), table(CallRow).c.run_id == run_id),
            (APPROVAL_COLUMNS, table(ApprovalRow).c.run_id == run_id),
        ]
        found = [await self.database.read(_rows, columns, where) for columns, where in parts]
        return hashlib.sha256(json.dumps(found, default=str, sort_keys=True).encode()).hexdigest()

    # --- the promises, asked at the end -----------------------------------------------

    async def check(self, *run_ids: str) -> None:
        """What must be true of any history, once everything has come to rest."""
        assert self.gemini.violations == []
        assert self.slack.violations == []
        assert self.toolkit.violations == []
        assert self.gemini.live_beside() == []
        for run_id in run_ids:
            await self._check_run(run_id)
        await self.database.read(_check_audit)
        await self.database.read(_check_asked)

    async def _check_run(self, run_id: str) -> None:
        run, turns = await self.run(run_id), await self.chain(run_id)
        counts = self.toolkit.effects()
        calls = [c for t in turns for c in t.calls if not is_own(c)]  # nothing happens by those
        strangers = {e.call_id for e in self.toolkit.ledger if e.run_id == run_id} - {c.id for c in calls}
        assert not strangers, f"effects of calls the record does not know: {strangers}"
        for call in calls:
            assert counts[call.id] <= 1, f"{call.tool} took effect {counts[call.id]} times"
            succeeded = call.outcome is not None and call.outcome.kind == "succeeded"
            if call.approval is not None and call.approval.answered:
                assert counts[call.id] == 0, f"{call.tool} took effect, and a person had answered instead"
            elif succeeded:
                assert counts[call.id] == 1, f"{call.tool} is said to have succeeded and never happened"
            if call.approval is not None and counts[call.id]:
                assert call.approval.verdict is not None, "an effect without a decision"
                assert call.approval.verdict.approve, "an effect against a decision"
        for turn in turns[:-1]:
            assert all(c.status is CallStatus.SETTLED for c in turn.calls)
        await self._check_history(run_id)
        if run.closed:
            waiting = await self.effects(run_id, state="pending")
            assert {e["kind"] for e in waiting} <= SURVIVES_CLOSING
            mine = {c.approval.id for c in calls if c.approval}
            assert not (self.slack.live_buttons() & mine), "live buttons of an ended run"

    async def _check_history(self, run_id: str) -> None:
        events = sorted(await self.events(run_id), key=lambda e: e["seq"])
        assert [e["seq"] for e in events] == list(range(1, len(events) + 1)), "the record has gaps"
        ends = [n for n, e in enumerate(events) if e["status"] in ("completed", "failed", "cancelled")]
        if ends:
            after = {e["status"] for e in events[ends[0] :]}
            assert len(after) == 1, f"the run ended more than once: {after}"


def _check_asked(s: Session) -> None:
    """Each open question counts for those it is put to now, and no other one for anybody."""
    open_now = [
        run_rows.approval_value(row)
        for row in s.connection().execute(sa.select(run_rows.approval_t)).mappings()
        if row["status"] == ApprovalStatus.PENDING
    ]
    put_to = {(a, q.id) for q in open_now for a in asked_now(q)}
    rows = s.connection().execute(sa.select(asked.asked_t.c.approver, asked.asked_t.c.approval)).all()
    assert {tuple(row) for row in rows} == put_to


def _check_audit(s: Session) -> None:
    """The chain holds, and tells of every question and every start what the tables tell."""
    assert audit_check.walk(s.connection()).broken is None
    assert audit_check.compare(s.connection()).faults == ()


def _rows(s: Session, columns: Iterable[Any], where: Any) -> list[Mapping[str, Any]]:
    query = sa.select(*columns)
    if where is not None:
        query = query.where(where)
    found = [dict(r) for r in s.connection().execute(query).mappings()]
    return sorted(found, key=lambda r: json.dumps(r, default=str, sort_keys=True))
