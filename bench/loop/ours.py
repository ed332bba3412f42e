"""Both games on our engine: real database, intake, worker, performer and toolkit; the world in memory.

start    `Intake.start`; the first step sends the interaction's create
event    a webhook through `Intake.deliver`, as from the door that has verified it; the step reads the
         interaction, in which the agent asks for its tool
person   loop: the tool is `ask_human` and nobody is shown anything; its answer through `Intake.decide` is
         the tool's result
         job: the question is posted to Slack; after a yes through `Intake.decide` the tool runs, and the
         message is redrawn
         either way the next step sends the result in a second create, whose response ends the run
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
from typing import cast

import structlog
import uvloop

from bench.loop import player
from bench.loop.ours_games import SETTINGS, Setting
from bench.loop.ours_outside import Asked, Gemini, Outside, Slack, TellingPerformer
from orchestrator.domain.model import Policy, RunStatus
from orchestrator.engine.intake import Intake
from orchestrator.engine.ports import SlackPort
from orchestrator.engine.worker import Worker
from orchestrator.running import quieten
from orchestrator.store import migrate, runs
from orchestrator.store.database import Database
from orchestrator.toolkit import Toolkit


class Ours:
    """Implements `Engine`."""

    def __init__(
        self, database: Database, intake: Intake, outside: Outside, gemini: Gemini, setting: Setting
    ) -> None:
        self._db = database
        self._intake = intake
        self._outside = outside
        self._gemini = gemini
        self._setting = setting
        self._webhooks = itertools.count(1)
        self._ids: list[str] = []
        self.about = (
            f"this service {version('gemini-orchestrator')}: policy and slots by default,"
            " Gemini and Slack in memory and without limits"
        )

    async def one(self) -> float:
        person = self._setting.person
        run_id = (await self._intake.start(self._setting.recipe, "Please refund A-1042.", person)).run_id
        self._ids.append(run_id)
        interaction: str = await self._outside.wait(run_id, "event")
        happened = time.perf_counter()
        await self._deliver(interaction)
        await self._answer(await self._outside.wait(run_id, "person"))
        await self._outside.wait(run_id, "end")
        if self._setting.terms.channel:
            await self._outside.wait(run_id, "redrawn")
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

    async def _answer(self, asked: Asked) -> None:
        person, answer = self._setting.person, self._setting.answer
        taken = await self._intake.decide(
            asked.approval,
            approve=answer is None,
            by=person,
            entitled_as=person.id,
            digest=asked.digest,
            answer=answer,
        )
        if taken.refused is not None:
            raise RuntimeError(f"{asked.approval} took no answer: {taken.note or taken.refused}")

    async def check(self) -> None:
        """Every run that was played ended as it should, and the agent was told what it should be."""
        for run_id in self._ids:
            run = await self._db.read(runs.load, run_id)
            if run.status is not RunStatus.COMPLETED:
                raise RuntimeError(f"{run_id} is {run.status}: {run.reason}")
            if (told := self._gemini.results.pop(run_id)) != [self._setting.result]:
                raise RuntimeError(f"of {run_id} Gemini was told {told}")


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def opened(url: str, game: str) -> AsyncIterator[Ours]:
    """Our service without its doors."""
    database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    migrate.upgrade(database.engine)
    if not database.durable():
        raise RuntimeError("commits do not wait for the disk")
    outside, policy, setting = Outside(), Policy(), SETTINGS[game]
    gemini = Gemini(outside, setting)
    toolkit = Toolkit([setting.tool], defaults=setting.terms)
    channel = setting.terms.channel
    slack = cast(SlackPort, Slack(outside, channel)) if channel else None
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
        toolkit=toolkit,
    )
    working = asyncio.create_task(worker.run())
    engine = Ours(database, intake, outside, gemini, setting)
    quieten()
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
