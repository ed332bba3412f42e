"""A database that stands still: whoever asks has an answer all the same, and asking again is safe."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import httpx
import pytest
import structlog
from litestar.types import Message, Receive, Scope, Send
from support.clock import pass_by
from support.patience import until
from web_kit import House, bearer, event_body, signed

from orchestrator.store import views
from orchestrator.store.sql import crowded
from orchestrator.web.failures import Failures
from orchestrator.web.patience import ANSWER_SECONDS, DELIVERIES, in_time

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]
RUNS = "/v1/workflows/refund/runs"


class Still:
    """The doors of a house whose database writes nothing until it is let go."""

    def __init__(self, house: House, http: httpx.AsyncClient) -> None:
        self._house, self._http = house, http
        self.go = threading.Event()

    async def begin(self) -> "asyncio.Task[bool]":
        stands = threading.Event()

        def job(s: object) -> bool:
            stands.set()
            return self.go.wait(60)

        held = asyncio.create_task(self._house.database.write(job))
        await until(stands.is_set, "nothing is written any more")
        return held

    async def start(self, key: str = "once") -> httpx.Response:
        headers = {**bearer(), "idempotency-key": key}
        return await self._http.post(RUNS, json={"input": "Order A-1042"}, headers=headers)

    async def deliver(self) -> httpx.Response:
        body = event_body()
        return await self._http.post("/webhooks/gemini", content=body, headers=signed(body))


@asynccontextmanager
async def still(house: House) -> AsyncIterator[Still]:
    app = house.app()
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http,  # type: ignore[arg-type]
    ):
        yield Still(house, http)


async def begun(asking: Awaitable[httpx.Response]) -> "asyncio.Task[httpx.Response]":
    """It waits for the database."""
    task = asyncio.ensure_future(asking)
    for _ in range(200):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def of_late(answer: httpx.Response) -> str:
    """What an answer says that tells to come again."""
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("door", "seconds", "done", "words"),
    [
        ("start", ANSWER_SECONDS, 202, "may have been done"),
        ("deliver", 1.1 * DELIVERIES.seconds, 200, "send it again"),
    ],
)
async def test_who_asks_has_an_answer_and_asking_again_comes_to_the_same(
    house: House, door: str, seconds: float, done: int, words: str
) -> None:
    async with still(house) as doors:
        ask = getattr(doors, door)
        held = await doors.begin()
        asked = await begun(ask())
        with structlog.testing.capture_logs() as logs:
            pass_by(seconds)
            assert words in of_late(await asked)
            doors.go.set()
            await held
            again = await ask()
        assert again.status_code in (200, done)
        told = [e for e in logs if e["event"].startswith("request_")]
        assert [e["event"] for e in told] == ["request_failed", "request_recovered"]
        assert told[0]["why"] == "no answer in time"
        if door == "start":
            listed = await house.database.read(views.runs, limit=9)
            assert [row["id"] for row in listed.rows] == [again.json()["id"]], "one run, begun by the first"
        else:
            assert (await house.database.read(views.backlog, house.clock()))["deliveries"] == 1


async def test_who_comes_when_too_many_wait_is_told_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowded, "MOST_WAITING", 2)
    async with still(house) as doors:
        held = await doors.begin()
        waiting = [await begun(doors.start(key)) for key in ("first", "second")]
        assert of_late(await doors.start("third")) == "the database does not answer; nothing was changed"
        doors.go.set()
        await held
        assert [(await one).status_code for one in waiting] == [202, 202]
        assert len((await house.database.read(views.runs, limit=9)).rows) == 2


async def test_an_answer_that_has_begun_goes_on() -> None:
    """A stream waits for news for longer than anybody is kept waiting for a beginning."""
    news, sent = asyncio.Event(), []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await news.wait()
        await send({"type": "http.response.body", "body": b"news", "more_body": False})

    async def send(message: Message) -> None:
        sent.append(message["type"])

    answering = asyncio.create_task(in_time(stream, Failures())({"type": "http"}, None, send))  # type: ignore[arg-type, typeddict-item]
    await asyncio.sleep(0)
    pass_by(2 * ANSWER_SECONDS)
    await asyncio.sleep(0.01)
    news.set()
    await answering
    assert sent == ["http.response.start", "http.response.body"]
