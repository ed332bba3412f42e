"""A service whose runs are watched, and who watches them, over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy.orm import Session
from support.patience import until
from web_kit import RECIPE, House, bearer, build, intake_on

from orchestrator.domain.consent import Actor
from orchestrator.domain.values import replace
from orchestrator.running import Server
from orchestrator.store import runs
from orchestrator.store.changes import Changes
from orchestrator.store.database import Database
from orchestrator.store.run_rows import run_t
from orchestrator.web.application import build_app
from orchestrator.web.stream import MEDIA, Streams

ON_SQLITE = pytest.mark.parametrize("new_database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
SOON = 30.0
"""Seconds until what must come has come; nothing here comes by itself so soon."""
ACTOR = Actor("api:all", "all", "api")


class Counting(Database):
    """Knows how often it was read."""

    reads = 0

    async def read(self, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.reads += 1
        return await super().read(job, *args, **kwargs)


@contextmanager
def streaming(folder: Path, database_url: str) -> Iterator[House]:
    """A house as in the other tests of the doors, on either database."""
    built = build(folder)
    built.database.close()
    database = Counting(database_url)
    intake = intake_on(database, built.clock, [])
    doors = replace(built.doors, database=database, intake=intake)
    yield replace(built, database=database, intake=intake, doors=doors)
    database.close()


def fill(s: Session, run_id: str, count: int, size: int = 10) -> None:
    """So many more entries in a run's record, in one transaction."""
    run = runs.load(s, run_id)
    for n in range(1, count + 1):
        runs.record(s, replace(run, seq=run.seq + n), "Noted", {"text": "ü" * size}, "", None, run.created_at)
    s.connection().execute(run_t.update().where(run_t.c.id == run_id).values(seq=run.seq + count))


@dataclass
class Place:
    """One service over the house's database.

    Args:
        base: Its address.
        http: A client of it, with every scope.
    """

    house: House
    base: str
    http: httpx.AsyncClient
    streams: Streams
    server: Server
    serving: "asyncio.Task[None]"

    async def begin(self) -> str:
        """A new run; its record has one entry."""
        return (await self.house.intake.start(RECIPE, "Order A-1042.", ACTOR, owner="all")).run_id

    async def fill(self, run_id: str, count: int, size: int = 10) -> None:
        await self.house.database.write(fill, run_id, count, size)

    async def cancel(self, run_id: str) -> None:
        await self.house.intake.cancel(run_id, ACTOR, "enough")

    @asynccontextmanager
    async def stream(self, run_id: str, last: object = None, query: str = "") -> AsyncIterator["Listener"]:
        headers = {"accept": MEDIA, **({} if last is None else {"last-event-id": str(last)})}
        async with self.http.stream("GET", f"/v1/runs/{run_id}/events{query}", headers=headers) as answer:
            if answer.status_code != 200:
                await answer.aread()
            yield Listener(answer)

    async def page(self, run_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.http.get(f"/v1/runs/{run_id}/events")).json()["items"]
        return items


@asynccontextmanager
async def opened(house: House, **limits: Any) -> AsyncIterator[Place]:
    changes = Changes(house.database)
    streams = Streams(house.database, changes, house.clock, house.doors.hidden, **limits)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        build_app(house.doors, streams=streams),
        log_config=None,
        access_log=False,
        http="httptools",
        timeout_graceful_shutdown=600,
        lifespan="on",
    )
    server = Server(config, stopping=changes.stop)
    serving = asyncio.create_task(server._serve(sockets=[sock]))  # `serve` would take the signals
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    unbounded = httpx.Limits(max_connections=None)
    http = httpx.AsyncClient(base_url=base, headers=bearer(), timeout=SOON, trust_env=False, limits=unbounded)
    try:
        await until(lambda: server.started or serving.done())
        yield Place(house, base, http, streams, server, serving)
    finally:
        await http.aclose()
        server.should_exit = True
        await serving
        sock.close()


@dataclass(frozen=True)
class Message:
    event: str
    id: str | None
    data: Any


class Listener:
    """Reads a stream as its standard says; comments are counted and passed over."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.comments = 0
        self._lines = answer.aiter_lines()

    async def next(self) -> Message | None:
        """The next event, None at the end of the answer."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(SOON):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    return Message(fields["event"], fields.get("id"), json.loads(fields["data"]))
                else:
                    fields = {}
        return None

    async def take(self, count: int) -> list[int]:
        """The sequence numbers of the next entries."""
        return [await self.seq() for _ in range(count)]

    async def seq(self) -> int:
        message = await self.next()
        assert message is not None, "it ended"
        assert message.event == "entry"
        assert message.id == str(message.data["seq"])
        return int(message.data["seq"])

    async def rest(self) -> list[Message]:
        found = []
        while (message := await self.next()) is not None:
            found.append(message)
        return found


def problem_of(answer: httpx.Response, status: int) -> list[str]:
    """The fields a problem names."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [e["field"] for e in answer.json().get("errors", [])]
