"""A database with jobs and processes' worth of workers on it, stopped when a test leaves them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.patience import until

from orchestrator import jobs
from orchestrator.jobs import Job, Jobs
from orchestrator.jobs.handlers import Handle

LANES = {"gemini": 4, "tools": 2}


class Workshop:
    def __init__(self, url: sa.URL) -> None:
        self.url = url
        self.engine = sa.create_engine(url, pool_pre_ping=True)
        self.handled: list[str] = []
        """What handlers finished, as `lane:payload`, in their order."""
        self.begun: list[str] = []
        self.at_once: dict[str, int] = {}
        self.most_at_once: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        """A handler of such a `lane:payload` waits for its gate."""

    def put(self, *wanted: Job) -> None:
        with Session(self.engine) as s, s.begin():
            jobs.put(s, wanted)

    def gate(self, job: str) -> asyncio.Event:
        return self.gates.setdefault(job, asyncio.Event())

    async def handle(self, lane: str, payload: bytes) -> None:
        job = f"{lane}:{payload.decode()}"
        self.begun.append(job)
        self.at_once[lane] = self.at_once.get(lane, 0) + 1
        self.most_at_once[lane] = max(self.most_at_once.get(lane, 0), self.at_once[lane])
        try:
            if job in self.gates:
                await self.gates[job].wait()
            self.handled.append(job)
        finally:
            self.at_once[lane] -= 1

    @asynccontextmanager
    async def worker(
        self, lanes: Mapping[str, int] = LANES, handle: Handle | None = None, **times: Any
    ) -> AsyncIterator["Worker"]:
        worker = Worker(Jobs(self.url, lanes=lanes, handle=handle or self.handle, **times))
        try:
            await until(lambda: worker.jobs.alive)
            yield worker
        finally:
            if not worker.task.done():
                await worker.jobs.stop(0)
            await asyncio.gather(worker.task, return_exceptions=True)

    def scalar(self, statement: str, **values: Any) -> Any:
        with self.engine.connect() as conn:
            return conn.execute(sa.text(statement), values).scalar_one()

    def unfinished(self) -> int:
        return int(self.scalar("SELECT count(*) FROM orchestrator_jobs.pgqueuer"))

    def finished(self) -> bool:
        return self.unfinished() == 0

    def cut(self) -> int:
        """End every connection of every worker, from the server's side. Returns how many there were."""
        return int(
            self.scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'orchestrator jobs'"
            )
        )


class Worker:
    """A process's worth of worker."""

    def __init__(self, made: Jobs) -> None:
        self.jobs = made
        self.task = asyncio.create_task(made.run())

    async def die(self) -> None:
        """At once, giving nothing back."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def numbered(lane: str, numbers: Sequence[int], **more: Any) -> list[Job]:
    return [Job(lane, f"{lane}:{n}", str(n).encode(), **more) for n in numbers]
