"""A connection of ours, against a Slack that says what it likes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from support.slack_server import FakeSlack, ok

from orchestrator.domain.plain import JsonObject
from orchestrator.errors import InvalidError
from orchestrator.slack.sockets import Socket

pytestmark = pytest.mark.asyncio


class End:
    """Slack's end of the connection; `acknowledged` has what was, in order."""

    def __init__(self) -> None:
        self.connected: asyncio.Future[web.WebSocketResponse] = asyncio.get_running_loop().create_future()
        self.acknowledged: asyncio.Queue[Any] = asyncio.Queue()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        link = web.WebSocketResponse()
        await link.prepare(request)
        await link.send_json({"type": "hello"})
        self.connected.set_result(link)
        async for message in link:
            await self.acknowledged.put(json.loads(message.data)["envelope_id"])
        return link


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[End, int]]:
    end, app = End(), web.Application()
    app.router.add_get("/link", end.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield end, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def hear(kind: str, payload: JsonObject) -> JsonObject | None:
    if kind != "interactive":
        raise InvalidError("nothing is done about that")
    return None


@pytest.mark.parametrize("kind", [5, None, ["interactive"], {}, "something_new"])
async def test_an_envelope_of_a_strange_kind_is_refused_in_words_and_the_next_is_heard(kind: Any) -> None:
    async with listening() as (end, port), FakeSlack() as api:
        api.script["apps.connections.open"] = [ok(url=f"ws://127.0.0.1:{port}/link?ticket=t")]
        socket = Socket("xapp-1", clock=lambda: datetime.now(UTC), base_url=api.base_url)
        with capture_logs() as logs:
            async with socket.hearing(hear):
                link = await end.connected
                for envelope, said in (("E1", kind), ("E2", "interactive")):
                    await link.send_json({"envelope_id": envelope, "type": said, "payload": {}})
                assert await end.acknowledged.get() == "E2"
    assert [log["kind"] for log in logs if log["event"] == "slack_envelope_refused"] == [str(kind)]


async def test_what_is_nested_too_deeply_is_passed_by_at_once_in_a_line_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deep = (
        '{"envelope_id": "E1", "type": "interactive", "payload": ' + '{"a":' * 200_000 + "1" + "}" * 200_001
    )
    async with listening() as (end, port), FakeSlack() as api:
        api.script["apps.connections.open"] = [ok(url=f"ws://127.0.0.1:{port}/link?ticket=t")]
        socket = Socket("xapp-1", clock=lambda: datetime.now(UTC), base_url=api.base_url)
        with capture_logs() as logs:
            async with socket.hearing(hear):
                link = await end.connected
                await link.send_str(deep)
                await link.send_json({"envelope_id": "E2", "type": "interactive", "payload": {}})
                assert await end.acknowledged.get() == "E2"
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["slack_message_too_deep"]
    assert caplog.messages == [], "the library has nothing to say about it"
