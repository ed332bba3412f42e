"""Who reads a run's record as it grows: who may, how many, how slow, and until the service stops."""

import asyncio
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import yaml
from sqlalchemy.orm import Session
from stream_kit import (
    ON_SQLITE,
    SOON,
    Counting,
    Listener,
    Place,
    opened,
    problem_of,
    streaming,
)
from support.patience import until
from support.ports import own_port
from web_kit import ALL_TOKENS, TOKENS, WEBHOOK_SECRET, House, bearer, later

from orchestrator.domain.values import replace
from orchestrator.web.stream import BATCH, MEDIA, Live

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with streaming(tmp_path, database_url) as house:
        yield house


# ------------------------------------------------------------------ who may, and how many


@ON_SQLITE
async def test_the_same_rules_as_for_the_page(house: House) -> None:
    async with opened(house) as place:
        run_id = await place.begin()

        async def ask(path: str, **headers: str) -> httpx.Response:
            async with httpx.AsyncClient(base_url=place.base, trust_env=False, timeout=SOON) as stranger:
                return await stranger.get(f"/v1/runs/{path}/events", headers={"accept": MEDIA, **headers})

        none, wrong = await ask(run_id), await ask(run_id, Authorization="Bearer nonsense")
        assert (problem_of(none, 401), problem_of(wrong, 401)) == ([], [])
        assert problem_of(await ask(run_id, **bearer("old")), 401) == []
        assert problem_of(await ask(run_id, **bearer("trigger")), 403) == []
        assert problem_of(await ask("run_000000000000000000000000", **bearer()), 404) == []
        assert problem_of(await ask("%00", **bearer()), 404) == []


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
        assert problem_of(refused, 503) == []
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
