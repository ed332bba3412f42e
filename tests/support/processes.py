"""Several processes' worth of service in one event loop: own connections and loops, shared neighbours.

Where `World` is turned by hand, here the workers' own loops run under the computer's clock, so that
what wakes them is part of the test.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.conversation import ANNA
from support.gemini import FakeGemini, Plan
from support.patience import LOOKS_EVERY, PATIENCE, until
from support.slack import FakeSlack
from support.toolkit import FakeToolkit, Rule

from orchestrator.domain.assessment import CallContext
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.model import ENDED, Outcome, Policy, Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.engine.dispatch import Queued
from orchestrator.engine.intake import Intake
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.perform import Performer
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.worker import SLOTS, Worker
from orchestrator.jobs import Jobs
from orchestrator.store import outbox, runs
from orchestrator.store.database import Database

LEASE = timedelta(minutes=5)
"""No test here waits for one to run out, and none is to run out on a busy machine."""
QUEUE = "orchestrator_jobs.pgqueuer"


def now() -> datetime:
    return datetime.now(UTC)


class Probed(FakeGemini):
    """A cancel of an interaction it does not know is the smallest effect there is: it notes each."""

    def __init__(self, stories: Mapping[str, Sequence[Plan]]) -> None:
        super().__init__(stories)
        self.came: dict[str, list[datetime]] = defaultdict(list)
        self.holding: dict[str, asyncio.Event] = {}
        """A cancel of such an interaction is answered when that is set."""

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        self.came[interaction_id].append(now())
        if interaction_id in self.holding:
            await self.holding[interaction_id].wait()
        return await super().cancel(interaction_id)


class Attributed:
    """The shared tools as one process calls them, so that it shows who called what. A `ToolkitPort`."""

    def __init__(self, tools: FakeToolkit, takes: float) -> None:
        self._tools = tools
        self._takes = takes
        self.calls: list[str] = []
        self.declarations, self.describe = tools.declarations, tools.describe
        self.find = tools.find

    async def execute(
        self, tool: str, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome:
        self.calls.append(context.call_id)
        await asyncio.sleep(self._takes)
        return await self._tools.execute(tool, arguments, context, cancelled)


class Process:
    """One process of the service.

    Args:
        queued: Jobs carry its hints; else its commits wake its own worker, and it is the only one.
        works: Whether it has a worker.
        slots: Where they differ from the service's.
        takes: Seconds each tool takes here.
        poll: How often it looks for jobs that no notice told of.
        clock: Its machine's.
    """

    def __init__(
        self,
        place: "Place",
        *,
        works: bool = True,
        slots: Mapping[str, int] | None = None,
        takes: float = 0.0,
        poll: timedelta = timedelta(hours=1),
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.database = Database(place.url, readers=2, threads=6)
        if place.queued:
            self.database.ending = Queued(clock, own_mail=works).put
        self.tools = Attributed(place.toolkit, takes)
        self.performer = Performer(
            self.database,
            place.gemini,
            self.tools,
            place.slack,
            policy=place.policy,
            clock=clock,
            lease=LEASE,
            limits=place.limits,
        )
        self.worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        if works:
            make_jobs = partial(Jobs, self.database.url, poll=poll)
            even: dict[str, Any] = {"make_jobs": make_jobs, "roll": lambda: 0.5}
            opens: Any = partial(QueuedWorker, **even) if place.queued else Worker
            self.worker = opens(
                self.database,
                self.performer,
                policy=place.policy,
                clock=clock,
                slots={**SLOTS, **(slots or {})},
            )
        nothing = (lambda: None) if self.worker is None else None
        self.intake = Intake(
            self.database,
            policy=place.policy,
            clock=clock,
            wake=nothing or self.worker.wake,  # type: ignore[union-attr]  # one of both is there
            mail=nothing or self.worker.mail,  # type: ignore[union-attr]
            stop_tools=self.performer.stop_tools,
            commits=self.performer.commits,
        )

    async def start(self) -> None:
        """Its loop runs, and hears of jobs."""
        if self.worker is None:
            return
        self._running = asyncio.create_task(self.worker.run())
        if isinstance(self.worker, QueuedWorker):
            jobs = self.worker.jobs
            await until(lambda: jobs.alive, "the job queue's connection")

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """As SIGTERM does."""
        if self.worker is not None and self._running is not None:
            await self.worker.stop(grace_seconds)
            await self._running
            self._running = None

    async def end(self) -> None:
        """It is gone, and has let go of its database."""
        await self.stop()
        self.database.close()

    async def ask(self, *effects: tuple[str, datetime], fail: bool = False) -> None:
        """Commit probes, by name and when they are due, and wake as every door does after its commit."""

        def job(s: Session) -> None:
            for name, due_at in effects:
                outbox.add(s, f"run_{name}", [Effect(EffectKind.CANCEL_INTERACTION, name, due_at)])
            if fail:
                raise _ChangedMindError

        with suppress(_ChangedMindError):
            await self.database.write(job)
        if self.worker is not None:
            self.worker.wake()


class _ChangedMindError(Exception):
    """Rolls the transaction back."""


class Place:
    """The database, the neighbours, and whoever works there.

    Args:
        queued: Whether jobs carry the hints, as `pgqueuer` does; else it is `embedded`.
    """

    def __init__(self, url: str, *, queued: bool) -> None:
        self.url, self.queued = url, queued
        self.lite = url.startswith("sqlite")
        self.policy = Policy()
        self.limits = Ceilings()
        self.slack = FakeSlack()
        self.toolkit = FakeToolkit()
        self.gemini = Probed({})
        self.processes: list[Process] = []
        self._server: sa.Engine | None = None
        self._webhooks = 0

    def knows(self, stories: Mapping[str, Sequence[Plan]], rules: Mapping[str, Rule]) -> None:
        self.gemini.stories, self.toolkit.rules = stories, dict(rules)

    async def process(self, **settings: Any) -> Process:
        """One more process, running."""
        made = Process(self, **settings)
        self.processes.append(made)
        await made.start()
        return made

    async def close(self) -> None:
        for process in self.processes:
            await process.end()
        if self._server is not None:
            self._server.dispose()

    # --- what happens there -----------------------------------------------------------

    @asynccontextmanager
    async def model_at_work(self, door: Process) -> AsyncIterator[None]:
        """Interactions move on, and their webhooks come in by that process."""

        async def work() -> None:
            while True:
                self.gemini.move()
                for webhook in self.gemini.take_webhooks():
                    self._webhooks += 1
                    body = json.dumps({"type": webhook.kind, "data": {"id": webhook.interaction_id}})
                    await door.intake.deliver(
                        webhook_id=f"wh_{self._webhooks}",
                        kind=webhook.kind,
                        subject=webhook.interaction_id,
                        timestamp=int(now().timestamp()),
                        body=body.encode(),
                    )
                await asyncio.sleep(LOOKS_EVERY)

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError), done

    async def trigger(self, door: Process, text: str) -> str:
        recipe = Recipe("refunds", model="gemini-3.8-flash", tools=tuple(self.toolkit.rules))
        return (await door.intake.start(recipe, text, ANNA)).run_id

    async def ended(self, *run_ids: str, seconds: float = PATIENCE) -> None:
        """Until those runs have ended."""
        database = self.processes[-1].database
        end = asyncio.get_running_loop().time() + seconds
        while True:
            found = [(await database.read(runs.load, r)).status for r in run_ids]
            if all(status in ENDED for status in found):
                return
            assert asyncio.get_running_loop().time() < end, f"not ended: {Counter(map(str, found))}"
            await asyncio.sleep(0.03)

    # --- what is asked of it ----------------------------------------------------------

    def came(self, name: str) -> int:
        """How often that probe was performed."""
        return len(self.gemini.came.get(name, ()))

    def scalar(self, statement: str, **values: Any) -> Any:
        """By a connection of the test's own."""
        if self._server is None:
            self._server = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with self._server.connect() as conn:
            return conn.execute(sa.text(statement), values).scalar()

    def jobs(self, where: str = "true") -> int:
        """How many jobs there are; none where no jobs carry anything."""
        found = self.scalar(f"SELECT count(*) FROM {QUEUE} WHERE {where}") if self.queued else 0  # noqa: S608
        return int(found)

    def effects(self, state: str) -> int:
        return int(self.scalar("SELECT count(*) FROM effect WHERE state = :state", state=state))

    def at_rest(self) -> None:
        """What holds at the end of any history."""
        assert self.gemini.violations == []
        assert self.slack.violations == []
        assert self.toolkit.violations == []
        twice = {call: n for call, n in self.toolkit.effects().items() if n > 1}
        assert not twice, f"done more than once: {twice}"
