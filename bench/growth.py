"""What an answer costs beside a thousand stored runs, and beside very many: it must not grow with them.

    python -m bench.growth                           200,000 on SQLite, 100,000 on PostgreSQL
    python -m bench.growth --full                    a million on each
    python -m bench.growth --databases sqlite --runs 5000

Nearly all runs are closed: most completed after a webhook, some had asked a person and were cancelled, a
few failed, in a workflow of their own. Both services run side by side; each question is put to one and
the other in turns, one request at a time, and medians are compared. PostgreSQL is told to ANALYZE after
seeding, as its autovacuum would; SQLite is left as the service leaves it. A list that misses the bar is
printed with its query plan.
"""

import argparse
import asyncio
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bench import load, process, seed
from bench.loop import databases
from orchestrator import jobs
from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.model import RunStatus
from orchestrator.emulator.serving import free_port
from orchestrator.engine.worker import PRUNE_MOST
from orchestrator.store import claims, inbox, migrate, run_rows, views
from orchestrator.store.database import Database
from orchestrator.store.sql import standstill
from orchestrator.web.paging import Pages, Position

FEW: Final = 1000
MANY: Final = {"sqlite": 200_000, "postgresql": 100_000}
FULL: Final = 1_000_000
WAITING: Final = 100
BAR: Final = 1.3
TIMES: Final = 150
"""Each question is put to each database."""
WARM: Final = 10

Ask = Callable[[], Awaitable[Any]]
Job = Callable[[Session], Any]

CARE: Final[Mapping[str, Job]] = {
    "the hourly pruning of webhooks, nothing to prune": lambda s: inbox.prune(
        s, datetime(2020, 1, 1, tzinfo=UTC), PRUNE_MOST
    ),
    "the release of claims at a start, nothing claimed": lambda s: claims.release_all(s, datetime.now(UTC)),
}
"""What the service does for itself, in the one writer's time on SQLite."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One database, who waits in it, and where its lists are looked into."""

    url: str
    runs: int
    interactions: Sequence[str]
    one: str
    middle: Position


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds, medians."""

    few: float
    many: float

    @property
    def ratio(self) -> float:
        return self.many / self.few


async def main(chosen: Mapping[str, int] = MANY) -> None:
    """Print a table for each database."""
    for name, many in chosen.items():
        with databases.server(name) as server, server.fresh() as a, server.fresh() as b:
            urls = [url.replace("postgresql://", "postgresql+psycopg://") for url in (a, b)]
            began = time.monotonic()
            stored = [await _stored(urls[0], FEW), await _stored(urls[1], many)]
            print(f"{server.about}: {FEW} stored runs and {many} (made in {time.monotonic() - began:.0f} s)")
            rows = {**await _inside(stored), **await _outside(stored)}
            for what, row in rows.items():
                said = "" if row.ratio <= BAR else "   missed"
                print(f"  {what:52} {row.few:8.2f} ms {row.many:8.2f} ms   {row.ratio:5.2f}×{said}")
            print(f"  (bar: at most {BAR}×)", flush=True)
            await _explained(stored[1], [what for what, row in rows.items() if row.ratio > BAR])


async def _stored(url: str, count: int) -> Stored:
    database = Database(url)
    try:
        migrate.upgrade(database.engine)
        if not database.sqlite:
            await asyncio.to_thread(jobs.install, database.engine)
        for make, share in ((seed.completed, 0.9), (seed.stopped, 0.09), (seed.refused, 0.01)):
            await seed.copied(database, make, round(count * share))
        interactions = await seed.waiting_runs(database, WAITING)
        if not database.sqlite:
            with database.engine.begin() as conn:
                standstill.unhurried(conn)
                conn.exec_driver_sql("ANALYZE")
        return await database.read(_looked_at, url, count, interactions)
    finally:
        database.close()


def _looked_at(s: Session, url: str, count: int, interactions: Sequence[str]) -> Stored:
    t = run_rows.run_t.c
    found = sa.select(t.created_at, t.id).where(t.status == RunStatus.COMPLETED)
    row = s.connection().execute(found.order_by(t.created_at).offset(count // 2).limit(1)).one()
    return Stored(url, count, interactions, row.id, (row.created_at, row.id))


async def _inside(stored: Sequence[Stored]) -> dict[str, Row]:
    """What the engine does, without a door in front of it."""
    opened = [Database(s.url) for s in stored]
    try:
        rows = {
            "a run's first five steps, in one commit": await _row([partial(_stepped, db) for db in opened]),
            "a worker's look for what is due": await _row([partial(db.read, _due) for db in opened]),
        }
        for what, job in CARE.items():
            rows[what] = await _row([partial(db.write, job) for db in opened], times=16)
        return rows
    finally:
        for database in opened:
            database.close()


async def _stepped(database: Database) -> None:
    await database.write(seed.waiting, seed.fresh())


def _due(s: Session) -> None:
    inbox.waiting(s, 200)
    claims.due(s, datetime.now(UTC), 50, list(EffectKind))
    claims.next_due(s)


async def _outside(stored: Sequence[Stored]) -> dict[str, Row]:
    """What people and Gemini ask over HTTP."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_served(s)) for s in stored]
        await asyncio.sleep(process.WARM_SECONDS)
        asks = [partial(_hooked, c, s) for c, s in zip(clients, stored, strict=True)]
        rows = {"POST /webhooks/gemini, 2 KB": await _row(asks)}
        for few, many in zip(*map(_paths, stored), strict=True):
            rows[_name(few, stored[0])] = await _row(
                [partial(_got, clients[0], few), partial(_got, clients[1], many)]
            )
        return rows


def _paths(s: Stored) -> list[str]:
    return [
        "/v1/runs",
        f"/v1/runs?cursor={_cursor(s)}",
        "/v1/runs?status=completed",
        f"/v1/runs?status=completed&cursor={_cursor(s, status='completed')}",
        "/v1/runs?status=waiting",
        "/v1/runs?status=attention",
        "/v1/runs?workflow=refund",
        "/v1/runs?workflow=support",
        "/v1/runs?workflow=nobody",
        "/v1/runs?status=failed&workflow=support",
        "/v1/runs?status=completed&workflow=support",
        "/v1/runs?status=failed&workflow=refund",
        f"/v1/runs/{s.one}",
        f"/v1/runs/{s.one}/events",
        f"/v1/runs/{s.one}/approvals",
        "/v1/approvals?status=pending",
        "/v1/approvals?status=withdrawn",
        "/v1/approvals?status=approved",
        "/readyz",
        "/metrics",
    ]


def _cursor(s: Stored, **filters: str) -> str | None:
    """Of the page that begins in the middle of the runs."""
    return Pages("/v1/runs", filters.items()).next(s.middle)


def _name(path: str, s: Stored) -> str:
    return f"GET {re.sub('(?<=cursor=).*', '…', path).replace(s.one, '{id}')}"


async def _row(asks: Sequence[Ask], times: int = TIMES) -> Row:
    """One after the other, and every other time the other way about."""
    took: list[list[float]] = [[] for _ in asks]
    for ask in asks:
        for _ in range(min(WARM, times)):
            await ask()
    order = list(enumerate(asks))
    for number in range(times):
        for which, ask in order if number % 2 == 0 else order[::-1]:
            began = time.perf_counter()
            await ask()
            took[which].append(time.perf_counter() - began)
    few, many = (statistics.median(t) * 1000 for t in took)
    return Row(few, many)


@asynccontextmanager
async def _served(stored: Stored) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    headers = {"authorization": f"Bearer {process.TOKEN}"}
    with tempfile.TemporaryDirectory() as folder:
        env = process.environment(Path(folder), port, "http://127.0.0.1:9", "http://127.0.0.1:9")
        env |= {"DATABASE_URL": stored.url, "ORCHESTRATOR_API__RATE_LIMIT_PER_MINUTE": "1000000"}
        async with (
            process.started(["-m", "orchestrator", "serve"], env, f"{address}/healthz"),
            httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client,
        ):
            yield client


async def _got(client: httpx.AsyncClient, path: str) -> None:
    (await client.get(path)).raise_for_status()


async def _hooked(client: httpx.AsyncClient, stored: Stored) -> None:
    """A webhook that tells its run nothing new, so that only the intake is measured."""
    subject = stored.interactions[time.perf_counter_ns() % len(stored.interactions)]
    head, _, body = load.signed(process.SECRET, subject, 2048).partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[2:]]
    headers = {name: value for name, value in lines if name != "content-length"}
    (await client.post(load.PATH, content=body, headers=headers)).raise_for_status()


async def _explained(stored: Stored, missed: Sequence[str]) -> None:
    """Of what missed, how the database goes about it."""
    database = Database(stored.url)
    try:
        for what in missed:
            if (job := CARE.get(what) or _list(what, stored)) is not None:
                print(f"  {what}")
                for line in await database.write(_plan, job):
                    print(f"      {line}")
    finally:
        database.close()


def _list(what: str, stored: Stored) -> Job | None:
    """The view behind a list."""
    path, _, query = what.removeprefix("GET ").partition("?")
    asked: dict[str, Any] = dict(part.split("=") for part in query.split("&") if part)
    if path not in ("/v1/runs", "/v1/approvals"):
        return None
    if asked.pop("cursor", None):
        asked["after"] = stored.middle
    status, view = (RunStatus, views.runs) if path == "/v1/runs" else (ApprovalStatus, views.approvals)
    if "status" in asked:
        asked["status"] = status(asked["status"])
    return partial(view, limit=20, **asked)


def _plan(s: Session, job: Job) -> list[str]:
    """The job's last statement as it was sent, explained with its own parameters."""
    conn, sent = s.connection(), []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    sa.event.listen(conn, "before_cursor_execute", listen)
    job(s)
    sa.event.remove(conn, "before_cursor_execute", listen)
    explain = "EXPLAIN QUERY PLAN" if conn.dialect.name == "sqlite" else "EXPLAIN"
    return [str(row[-1]) for row in conn.exec_driver_sql(f"{explain} {sent[-1][0]}", sent[-1][1])]


def _chosen() -> dict[str, int]:
    parser = argparse.ArgumentParser(prog="python -m bench.growth")
    parser.add_argument("--databases", default="sqlite,postgresql", help="some of them (%(default)s)")
    parser.add_argument("--runs", type=int, help="stored runs on the large side")
    parser.add_argument("--full", action="store_true", help="a million on each")
    options = parser.parse_args()
    return {
        name: options.runs or (FULL if options.full else MANY[name]) for name in options.databases.split(",")
    }


if __name__ == "__main__":
    asyncio.run(main(_chosen()))
