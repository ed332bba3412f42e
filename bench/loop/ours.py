"""The loop on our engine: real database, intake, worker, performer and toolkit; Gemini and Slack in memory.

start    `Intake.start`; the first step sends the interaction's create
event    a webhook through `Intake.deliver`; the step reads the interaction, which asks for a gated tool
person   the question is posted to Slack and answered through `Intake.decide`; the step runs the tool
         and sends its result, whose answer ends the run

So a run does more than its peers: it also posts the question, redraws it, and keeps the record people read.
"""

import asyncio
import itertools
import json
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, cast

import structlog
import uvloop

from bench.loop import player
from orchestrator.domain.consent import Actor, Approval, Terms
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.exchange import CreateRequest, FunctionCall, Snapshot
from orchestrator.domain.model import Policy, Recipe, RunStatus
from orchestrator.domain.pictures import Card
from orchestrator.engine.intake import Intake
from orchestrator.engine.perform import Performer
from orchestrator.engine.ports import SlackPort
from orchestrator.engine.tickets import Ticket
from orchestrator.engine.worker import Worker
from orchestrator.store import migrate, runs
from orchestrator.store.database import Database
from orchestrator.toolkit import Toolkit, tool

ALICE = Actor("U0ALICE", "alice", "slack")
TERMS = Terms(approvers=(ALICE.id,), channel="C0APPR")
RECIPE = Recipe("refund", model="gemini-3.8-flash", tools=("refund_order",))


@tool(approval="ask")
async def refund_order(order_id: str, amount_cents: int) -> dict[str, str]:
    """Refund an order.

    Args:
        order_id: The shop's order number.
        amount_cents: How much to give back, in cents.
    """
    return {"refunded": order_id}


class Outside:
    """What a run waits for, told once the wait is on disk."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, EffectKind], tuple[str, Any]] = {}
        self._told: dict[tuple[str, str], asyncio.Future[Any]] = {}

    def soon(self, run_id: str, kind: EffectKind, what: str, value: Any) -> None:
        """Tell it when the effect under way, of that kind, is committed."""
        self._pending[run_id, kind] = what, value

    def committed(self, run_id: str, kind: EffectKind) -> None:
        """What came of the effect is durable."""
        if (waiting := self._pending.pop((run_id, kind), None)) is not None:
            what, value = waiting
            self._future(run_id, what).set_result(value)

    async def wait(self, run_id: str, what: str) -> Any:
        """Until the run has come so far; the value told with it."""
        value = await self._future(run_id, what)
        del self._told[run_id, what]
        return value

    def _future(self, run_id: str, what: str) -> asyncio.Future[Any]:
        if (run_id, what) not in self._told:
            self._told[run_id, what] = asyncio.get_running_loop().create_future()
        return self._told[run_id, what]


class Gemini:
    """Implements `GeminiPort`: the first interaction asks for the tool, the second completes."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._made: dict[str, CreateRequest] = {}
        self.fetched_at: dict[str, float] = {}

    async def create(self, request: CreateRequest) -> Snapshot:
        mark = request.correlation
        made = f"v1_{mark.run}_{mark.turn}"
        if made in self._made:
            raise RuntimeError(f"{made} was sent twice")
        self._made[made] = request
        if request.previous_id is None:
            self._outside.soon(mark.run, EffectKind.CREATE_INTERACTION, "event", made)
            return Snapshot(made, "in_progress", correlation=mark)
        self._outside.soon(mark.run, EffectKind.CREATE_INTERACTION, "end", made)
        return self._snapshot(made, "completed", output="Done.")

    async def fetch(self, interaction_id: str) -> Snapshot:
        self.fetched_at.setdefault(interaction_id, time.perf_counter())
        wish = FunctionCall("c1", "refund_order", {"order_id": "A-1042", "amount_cents": 8990})
        return self._snapshot(interaction_id, "requires_action", calls=(wish,))

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        raise RuntimeError("nothing is cancelled here")

    def _snapshot(self, interaction_id: str, status: str, **more: Any) -> Snapshot:
        request = self._made[interaction_id]
        return Snapshot(
            interaction_id,
            status,
            usage={"total": 10},
            previous_id=request.previous_id,
            correlation=request.correlation,
            **more,
        )


class Slack:
    """What this loop asks of a `SlackPort`."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._numbers = itertools.count(1)

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        self._outside.soon(card.run_id, EffectKind.REQUEST_APPROVAL, "person", card.approval)
        return TERMS.channel, f"17.{next(self._numbers):06}"

    async def update(self, card: Card) -> None:
        """The message is redrawn."""

    async def remind(self, card: Card, *, what: str, last: bool, seen_before: bool) -> None:
        """Nobody waits that long here."""

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        raise RuntimeError("nobody is whispered to here")


class TellingPerformer(Performer):
    """Says when an effect is committed, as an onlooker outside could see it."""

    outside: Outside

    async def perform(self, ticket: Ticket) -> None:
        await super().perform(ticket)
        self.outside.committed(ticket.effect.run_id, ticket.effect.kind)


class Ours:
    """Implements `Engine`."""

    def __init__(self, database: Database, intake: Intake, outside: Outside, gemini: Gemini) -> None:
        self._db = database
        self._intake = intake
        self._outside = outside
        self._gemini = gemini
        self._webhooks = itertools.count(1)
        self._ids: list[str] = []
        self.about = f"this service {version('gemini-orchestrator')}, as its settings are by default"

    async def one(self) -> float:
        run_id = (await self._intake.start(RECIPE, "Please refund A-1042.", ALICE)).run_id
        self._ids.append(run_id)
        interaction: str = await self._outside.wait(run_id, "event")
        happened = time.perf_counter()
        await self._deliver(interaction)
        approval: Approval = await self._outside.wait(run_id, "person")
        await self._intake.decide(
            approval.id, approve=True, by=ALICE, entitled_as=ALICE.id, digest=approval.digest
        )
        await self._outside.wait(run_id, "end")
        return self._gemini.fetched_at[interaction] - happened

    async def _deliver(self, interaction: str) -> None:
        kind = "interaction.requires_action"
        await self._intake.deliver(
            webhook_id=f"wh_{next(self._webhooks)}",
            kind=kind,
            subject=interaction,
            timestamp=int(time.time()),
            body=json.dumps({"type": kind, "data": {"id": interaction}}).encode(),
        )

    async def check(self) -> None:
        """Every run that was played ended as it should."""
        for run_id in self._ids:
            run = await self._db.read(runs.load, run_id)
            if run.status is not RunStatus.COMPLETED:
                raise RuntimeError(f"{run_id} is {run.status}: {run.reason}")


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ours]:
    """Our service without its doors."""
    database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    migrate.upgrade(database.engine)
    if not database.durable():
        raise RuntimeError("commits do not wait for the disk")
    outside, policy = Outside(), Policy()
    gemini = Gemini(outside)
    toolkit = Toolkit([refund_order], defaults=TERMS)
    slack = cast(SlackPort, Slack(outside))
    performer = TellingPerformer(database, gemini, toolkit, slack, policy=policy, clock=now)
    performer.outside = outside
    worker = Worker(database, performer, policy=policy, clock=now)
    intake = Intake(
        database,
        policy=policy,
        clock=now,
        wake=worker.wake,
        mail=worker.mail,
        stop_tools=performer.stop_tools,
        commits=performer.commits,
    )
    working = asyncio.create_task(worker.run())
    engine = Ours(database, intake, outside, gemini)
    try:
        yield engine
        await engine.check()
    finally:
        await worker.stop(5.0)
        await working
        database.close()


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    player.main(opened, uvloop.run)
