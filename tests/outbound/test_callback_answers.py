"""What a caller's address answers, in every form HTTP has for it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from orchestrator.domain.callbacks import Receipt
from orchestrator.errors import UncertainError
from orchestrator.outbound import Outbound, Rules
from orchestrator.outbound.callbacks import CallbackSender

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@asynccontextmanager
async def receiver(answer: bytes) -> AsyncIterator[str]:
    """An address that says these bytes and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def sent(answer: bytes) -> Receipt:
    async def story() -> Receipt:
        async with receiver(answer) as host:
            sender = CallbackSender(Outbound(Rules(local=[host])), [SECRET], clock=lambda: NOW)
            return await sender.send(f"http://{host}/", "msg_1", "{}")

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 21 Nov 2026 10:02:00 GMT", 120.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_how_long_to_wait_is_heard_as_seconds_and_as_a_date(asked: str, seconds: float | None) -> None:
    busy = f"HTTP/1.1 503 Busy\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n"
    assert sent(busy.encode()).retry_after == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 100\r\n\r\nshorter",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
@pytest.mark.parametrize("status", [200, 410])
def test_the_answer_is_its_status_whatever_becomes_of_its_body(status: int, body: bytes) -> None:
    assert sent(f"HTTP/1.1 {status} Word\r\n".encode() + body).status == status


def test_without_a_status_there_is_no_answer() -> None:
    with pytest.raises(UncertainError):
        sent(b"")
