"""A run's record as server-sent events, over real sockets, on both databases."""

import asyncio
import hashlib
import json
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
import yaml
from litestar.testing import TestClient
from sqlalchemy.orm import Session
from support.patience import until
from support.ports import own_port
from web_kit import ALL_TOKENS, RECIPE, TOKENS, WEBHOOK_SECRET, House, bearer, build, intake_on, later

from orchestrator.domain.consent import Actor
from orchestrator.domain.values import replace
from orchestrator.running import Server
from orchestrator.store import runs
from orchestrator.store.changes import Changes
from orchestrator.store.database import Database
from orchestrator.store.run_rows import run_t
from orchestrator.web.application import build_app
from orchestrator.web.stream import BATCH, MEDIA, Live, Streams

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

ON_SQLITE = pytest.mark.parametrize("new_database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
SOON = 30.0
"""Seconds until what must come has come; nothing here comes by itself so soon."""
ACTOR = Actor("api:all", "all", "api")


# ------------------------------------------------------------------ the service, and a client


class Counting(Database):
    """Knows how often it was read."""

    reads = 0

    async def read(self, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.reads += 1
        return await super().read(job, *args, **kwargs)


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    """As in the other tests of the doors, on either database."""
    built = build(tmp_path)
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


# ------------------------------------------------------------------ what is sent


async def test_a_stream_says_what_the_page_says_and_goes_on(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 2)
        async with place.stream(run_id) as listener:
            told = [await listener.next() for _ in range(3)]
            assert [m.data for m in told if m] == await place.page(run_id)
            assert [(m.event, m.id) for m in told if m] == [("entry", "1"), ("entry", "2"), ("entry", "3")]
            await place.fill(run_id, 1)
            assert await listener.seq() == 4
            await place.cancel(run_id)
            assert await listener.seq() == 5
            assert await listener.rest() == [Message("end", None, {"status": "cancelled"})]


async def test_what_the_answer_says_of_itself(house: House) -> None:
    async with opened(house) as place, place.stream(await place.begin()) as listener:
        headers = listener.answer.headers
    assert listener.answer.status_code == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-length" not in headers


@ON_SQLITE
async def test_a_closed_run_is_told_whole_and_ended(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, BATCH - 2)
        await place.cancel(run_id)  # exactly one batch
        async with place.stream(run_id) as listener:
            assert await listener.take(BATCH) == list(range(1, BATCH + 1))
            assert [m.event for m in await listener.rest()] == ["end"]
        async with place.stream(run_id, last=BATCH) as listener:
            assert [m.event for m in await listener.rest()] == ["end"]


@ON_SQLITE
async def test_a_long_record_comes_in_order(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 3 * BATCH + 1)
        async with place.stream(run_id) as listener:
            assert await listener.take(3 * BATCH + 2) == list(range(1, 3 * BATCH + 3))


# ------------------------------------------------------------------ coming back


async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 3)
        async with place.stream(run_id) as listener:
            assert await listener.take(2) == [1, 2]
        await place.fill(run_id, 2)
        async with place.stream(run_id, last=2) as listener:
            assert await listener.take(4) == [3, 4, 5, 6]
            await place.fill(run_id, 1)
            assert await listener.seq() == 7
        async with place.stream(run_id, last=7) as listener:
            await place.fill(run_id, 1)
            assert await listener.seq() == 8


async def test_many_breaks_while_much_is_written(house: House) -> None:
    """Cut at any moment and gone on with: every entry once, in order, up to the end."""
    dice = random.Random(4)
    async with opened(house, ping_seconds=0.05) as place:
        run_id = await place.begin()

        async def write() -> None:
            for _ in range(40):
                await place.fill(run_id, dice.choice([1, 1, 2, BATCH]))
                await asyncio.sleep(dice.choice([0, 0.01]))
            await place.cancel(run_id)

        async def follow(breaks: bool) -> list[int]:
            seen: list[int] = []
            while True:
                async with place.stream(run_id, last=seen[-1] if seen else None) as listener:
                    for _ in range(dice.randrange(1, 40) if breaks else 10**6):
                        message = await listener.next()
                        assert message is not None
                        if message.event == "end":
                            return seen
                        seen.append(message.data["seq"])

        *heard, _ = await asyncio.gather(*(follow(n > 0) for n in range(4)), write())
        last = (await place.http.get(f"/v1/runs/{run_id}/events?after=0&limit=100")).json()["items"][-1][
            "seq"
        ]
        while more := (await place.http.get(f"/v1/runs/{run_id}/events?after={last}")).json()["items"]:
            last = more[-1]["seq"]
        assert heard == [list(range(1, last + 1))] * 4
        assert last > 80


@ON_SQLITE
async def test_where_a_stream_begins(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 4)
        for last, query, first in [
            (None, "", 1),
            (None, "?after=3", 4),
            (2, "?after=4", 3),
            (0, "?after=4", 1),
            ("0002", "", 3),
            (None, "?limit=1", 1),
        ]:
            async with place.stream(run_id, last, query) as listener:
                assert await listener.take(6 - first) == list(range(first, 6))


WRONG = ["x", "-1", "1.5", "", "1 1", "+1", "1_0", "٣", "99999999999", "2147483648", "0x1", "1, 2"]


@ON_SQLITE
@pytest.mark.parametrize("last", WRONG)
async def test_a_last_event_id_that_is_none_of_ours(house: House, last: str) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        headers = {"accept": MEDIA, "last-event-id": last.encode()}
        answer = await place.http.get(f"/v1/runs/{run_id}/events", headers=headers)  # type: ignore[arg-type]
        assert _problem(answer, 400) == ["Last-Event-ID"]
        page = await place.http.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": "x"})
        assert page.status_code == 200, "of a page it says nothing"


@ON_SQLITE
async def test_a_place_beyond_the_record_or_two_places(house: House) -> None:
    """Waiting there would leave out what comes first: the client means another run."""
    async with opened(house) as place:
        run_id = await place.begin()
        events = f"/v1/runs/{run_id}/events"
        beyond = await place.http.get(events, headers={"accept": MEDIA, "last-event-id": "2"})
        assert _problem(beyond, 400) == ["Last-Event-ID"]
        assert _problem(await place.http.get(f"{events}?after=2", headers={"accept": MEDIA}), 400) == [
            "after"
        ]
        twice = [("accept", MEDIA), ("last-event-id", "1"), ("last-event-id", "1")]
        assert _problem(await place.http.get(events, headers=twice), 400) == ["Last-Event-ID"]
        assert (await place.http.get(f"{events}?after=-1", headers={"accept": MEDIA})).status_code == 400
        assert (await place.http.get(f"{events}?after=2")).json()["items"] == [], "a page is as before"


def _problem(answer: httpx.Response, status: int) -> list[str]:
    """The fields a problem names."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [e["field"] for e in answer.json().get("errors", [])]


# ------------------------------------------------------------------ which process


@ON_POSTGRESQL
async def test_another_process_writes(house: House, database_url: str) -> None:
    """At once: the silence after which a stream looks by itself is far away."""
    other = Database(database_url)
    try:
        async with opened(house, ping_seconds=600) as place:
            run_id = await place.begin()
            async with place.stream(run_id) as listener:
                assert await listener.seq() == 1
                for seq in range(2, 12):
                    await other.write(fill, run_id, 1)
                    assert await listener.seq() == seq
    finally:
        other.close()


@ON_POSTGRESQL
async def test_gone_on_with_at_another_process(house: House, database_url: str) -> None:
    other = Database(database_url)
    second = replace(house, database=other, doors=replace(house.doors, database=other))
    try:
        async with opened(house) as here, opened(second) as there:
            run_id = await here.begin()
            async with here.stream(run_id) as listener:
                assert await listener.seq() == 1
            await here.fill(run_id, 2)
            async with there.stream(run_id, last=1) as listener:
                assert await listener.take(2) == [2, 3]
                await here.cancel(run_id)
                assert [m.event for m in await listener.rest()] == ["entry", "end"]
    finally:
        other.close()


async def test_a_hint_that_is_lost_only_delays(house: House) -> None:
    async with opened(house, ping_seconds=0.05) as place:
        run_id = await place.begin()
        async with place.stream(run_id) as listener:
            assert await listener.seq() == 1
            place.streams.changes._ring = lambda run_ids: None  # type: ignore[method-assign]
            await place.fill(run_id, 1)
            assert await listener.seq() == 2
            del place.streams.changes._ring


@ON_SQLITE
async def test_silence_is_broken_by_comments(house: House) -> None:
    async with opened(house, ping_seconds=0.02) as place:
        run_id = await place.begin()
        async with place.stream(run_id) as listener:
            assert await listener.seq() == 1
            late = asyncio.create_task(listener.next())
            await until(lambda: listener.comments >= 3)
            await place.cancel(run_id)
            message = await late
            assert message is not None
            assert message.event == "entry"


# ------------------------------------------------------------------ who may, and how many


@ON_SQLITE
async def test_the_same_rules_as_for_the_page(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()

        async def ask(path: str, **headers: str) -> httpx.Response:
            async with httpx.AsyncClient(base_url=place.base, trust_env=False, timeout=SOON) as stranger:
                return await stranger.get(f"/v1/runs/{path}/events", headers={"accept": MEDIA, **headers})

        none, wrong = await ask(run_id), await ask(run_id, Authorization="Bearer nonsense")
        assert (_problem(none, 401), _problem(wrong, 401)) == ([], [])
        assert _problem(await ask(run_id, **bearer("old")), 401) == []
        assert _problem(await ask(run_id, **bearer("trigger")), 403) == []
        assert _problem(await ask("run_000000000000000000000000", **bearer()), 404) == []
        assert _problem(await ask("%00", **bearer()), 404) == []


@ON_SQLITE
async def test_a_stream_ends_with_its_token(house: House) -> None:
    ends = replace(next(t for t in ALL_TOKENS if t.name == "reader"), expires=later(seconds=10))
    tokens = (*(t for t in ALL_TOKENS if t.name != "reader"), ends)
    house.doors = replace(house.doors, tokens=tokens)
    async with opened(house, ping_seconds=0.02) as place:
        run_id = await place.begin()
        place.http.headers.update(bearer("reader"))
        async with place.stream(run_id) as listener:
            assert await listener.seq() == 1
            house.clock.now = later(seconds=10)
            assert await listener.rest() == []
        assert (await place.http.get(f"/v1/runs/{run_id}/events")).status_code == 401


@ON_SQLITE
async def test_there_are_so_many_places(house: House) -> None:
    async with opened(house, most=3) as place:
        run_id = await place.begin()
        headers = {"accept": MEDIA}
        begun = [
            await place.http.send(
                place.http.build_request("GET", f"/v1/runs/{run_id}/events", headers=headers), stream=True
            )
            for _ in range(3)
        ]
        assert [a.status_code for a in begun] == [200] * 3
        refused = await place.http.get(f"/v1/runs/{run_id}/events", headers=headers)
        assert _problem(refused, 503) == []
        assert refused.headers["retry-after"] == "5"
        assert (await place.http.get(f"/v1/runs/{run_id}/events")).status_code == 200, "pages are free"
        await begun.pop().aclose()
        await until(lambda: place.streams.open == 2)
        async with place.stream(run_id) as listener:
            assert await listener.seq() == 1
        for answer in begun:
            await answer.aclose()
        await until(lambda: place.streams.open == 0)
        assert place.streams.changes._signals == {}


@ON_SQLITE
async def test_a_rush_takes_no_more_places_than_there_are(house: House) -> None:
    async with opened(house, most=3) as place:
        run_id = await place.begin()
        codes: list[int] = []
        enough = asyncio.Event()

        async def one() -> None:
            async with place.stream(run_id) as listener:
                codes.append(listener.answer.status_code)
                if len(codes) == 20:
                    enough.set()
                await enough.wait()

        await asyncio.gather(*(one() for _ in range(20)))
        assert sorted(codes) == [200] * 3 + [503] * 17


@ON_SQLITE
async def test_a_run_that_ends_frees_the_place(house: House) -> None:
    async with opened(house, most=1) as place:
        run_id = await place.begin()
        await place.cancel(run_id)
        for _ in range(5):
            async with place.stream(run_id) as listener:
                assert listener.answer.status_code == 200
                await listener.rest()
            await until(lambda: place.streams.open == 0)


# ------------------------------------------------------------------ readers that are slow or gone


@asynccontextmanager
async def unread(place: Place, run_id: str) -> AsyncIterator[socket.socket]:
    """A client that asks for a stream and does not read it."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.setblocking(False)
        port = int(place.base.rpartition(":")[2])
        await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", port))
        lines = (f"GET /v1/runs/{run_id}/events HTTP/1.1", "Host: here", f"Accept: {MEDIA}")
        token = f"Authorization: Bearer {TOKENS['all']}"
        await asyncio.get_running_loop().sock_sendall(s, "\r\n".join([*lines, token, "", ""]).encode())
        await until(lambda: place.streams.open == 1)
        yield s


@ON_SQLITE
async def test_nothing_is_read_ahead_for_a_slow_reader(house: House) -> None:
    """40 MB wait in the database, not in our memory; once it reads, it gets everything."""
    database = house.database
    assert isinstance(database, Counting)
    async with opened(house) as place:
        run_id = await place.begin()
        for _ in range(20):
            await place.fill(run_id, BATCH, size=50_000)
        await place.cancel(run_id)
        before = database.reads
        async with unread(place, run_id) as reader:
            await asyncio.sleep(0.5)
            assert database.reads - before <= 6, "it goes on reading for nobody"
            received = b""
            async with asyncio.timeout(30):
                while not received.endswith(b"0\r\n\r\n"):
                    piece = await asyncio.get_running_loop().sock_recv(reader, 1 << 20)
                    assert piece
                    received = received[-10_000:] + piece
        assert b"event: end" in received
        assert database.reads - before >= 20


@ON_SQLITE
async def test_a_slow_reader_that_leaves_frees_its_place(house: House) -> None:
    """It is left in the middle of a send, where no `finally` of a generator runs by itself."""
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 5 * BATCH, size=50_000)
        async with unread(place, run_id):
            await asyncio.sleep(0.2)
            assert place.streams.open == 1
        await until(lambda: place.streams.open == 0)
        assert place.streams.changes._signals == {}


@ON_SQLITE
async def test_the_generator_ends_with_the_answer_and_not_some_time_later(house: House) -> None:
    async with opened(house) as place:
        record = place.streams._record(await place.begin(), 0, ALL_TOKENS[0])
        sent = Live(record, place.streams._sending).to_asgi_response(None, None)
        stuck = asyncio.Event()

        async def send(message: Any) -> None:
            if b"event: entry" in message.get("body", b""):
                assert place.streams.changes._signals
                stuck.set()
                await asyncio.Event().wait()

        async def receive() -> Any:
            await stuck.wait()
            return {"type": "http.disconnect"}

        scope: Any = {"state": {}}
        await sent(scope, receive, send)
        assert (place.streams.open, place.streams.changes._signals) == (0, {})


async def test_a_stream_that_cannot_read_on_ends_without_end(house: House) -> None:
    def drop(s: Session) -> None:
        s.connection().exec_driver_sql("DROP TABLE event")

    async with opened(house, ping_seconds=0.02) as place:
        run_id = await place.begin()
        with structlog.testing.capture_logs() as logs:
            async with place.stream(run_id) as listener:
                assert await listener.seq() == 1
                await house.database.write(drop)
                assert await listener.rest() == []
        assert [e["event"] for e in logs if e["log_level"] == "warning"] == ["stream_broken"]
        await until(lambda: place.streams.open == 0)


# ------------------------------------------------------------------ which form


FORMS = {
    MEDIA: MEDIA,
    "Text/Event-Stream": MEDIA,
    f"{MEDIA}, */*;q=0.1": MEDIA,
    f"application/json;q=0.5, {MEDIA}": MEDIA,
    "*/*": "application/json",
    "": "application/json",
    "text/html, */*;q=0.8": "application/json",
    f"application/json, {MEDIA}": "application/json",
    f"{MEDIA};q=0.1, application/json": "application/json",
    f"{MEDIA};q=inf": "application/json",
    ";;,=;q=": "application/json",
}


@ON_SQLITE
async def test_who_prefers_the_stream_gets_it(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.cancel(run_id)
        for accept, form in FORMS.items():
            answer = await place.http.get(f"/v1/runs/{run_id}/events", headers={"accept": accept})
            assert answer.status_code == 200, accept
            assert answer.headers["content-type"].partition(";")[0] == form, accept


@ON_SQLITE
async def test_the_document_names_both_forms(house: House) -> None:
    with TestClient(house.app()) as client:
        spec = client.get("/docs/openapi.json").json()
        page = client.get("/docs").text
    record = spec["paths"]["/v1/runs/{run_id}/events"]["get"]
    content = record["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/EventPage"}
    assert content[MEDIA]["schema"]["type"] == "string"
    assert set(record["responses"]) == {"200", "400", "401", "403", "404", "429", "500", "503"}
    assert ("Last-Event-ID", "header") in {(p["name"], p["in"]) for p in record["parameters"]}
    assert "Last-Event-ID" in page


# ------------------------------------------------------------------ the end of the service


async def test_a_stop_ends_the_streams_at_once(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        async with place.stream(run_id) as one, place.stream(run_id) as two:
            assert [await one.seq(), await two.seq()] == [1, 1]
            place.server.should_exit = True
            async with asyncio.timeout(SOON):
                assert [await one.rest(), await two.rest()] == [[], []], "the run is not over"
                await place.serving


@ON_SQLITE
async def test_a_stop_does_not_wait_for_who_does_not_read(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(house) as place:
        run_id = await place.begin()
        await place.fill(run_id, 5 * BATCH, size=50_000)
        async with unread(place, run_id):
            await asyncio.sleep(0.2)
            place.server.should_exit = True
            async with asyncio.timeout(SOON):
                await asyncio.shield(place.serving)
    assert [r.message for r in caplog.records if r.levelname in ("ERROR", "WARNING")] == []


@ON_SQLITE
async def test_sigterm_ends_the_process_with_a_stream_open(tmp_path: Path, database_url: str) -> None:
    """The real command. Its grace is ten minutes; a stream takes none of it."""
    port = own_port()
    async with _process(tmp_path, database_url, port) as process:
        token = {"authorization": f"Bearer {TOKENS['all']}"}
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, headers=token, trust_env=False, timeout=SOON) as http:
            await _ready(http, process)
            began = await http.post("/v1/workflows/talk/runs", json={"input": "Hello."})
            assert began.status_code == 202, began.text
            url = f"/v1/runs/{began.json()['id']}/events"
            async with http.stream("GET", url, headers={"accept": MEDIA}) as answer:
                listener = Listener(answer)
                assert await listener.seq() == 1
                process.send_signal(signal.SIGTERM)
                assert "end" not in [m.event for m in await listener.rest()]
            async with asyncio.timeout(SOON):
                assert await process.wait() == 0


@asynccontextmanager
async def _process(folder: Path, database_url: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    (folder / "tools").mkdir(mode=0o700)
    config = {
        "server": {"port": port, "graceful_seconds": 600},
        "gemini": {"base_url": "http://127.0.0.1:9"},  # nobody there: the run stays queued
        "slack": {"enabled": False},
        "tools": {"folder": str(folder / "tools"), "modules": []},
        "api": {
            "tokens": [
                {
                    "name": "all",
                    "sha256": hashlib.sha256(TOKENS["all"].encode()).hexdigest(),
                    "scopes": ["trigger", "read"],
                }
            ]
        },
        "workflows": {"talk": {"model": "gemini-3.8-flash"}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    foreign = ("GEMINI_", "GOOGLE_API_KEY", "SLACK_", "ORCHESTRATOR_", "DATABASE_URL")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
        "GEMINI_API_KEY": "a-key",
        "GEMINI_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "DATABASE_URL": database_url,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", "serve", env=environ, cwd=folder
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(http: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(2 * SOON):
        while True:
            assert process.returncode is None, "it ended"
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # its port is not open yet
            await asyncio.sleep(0.05)
