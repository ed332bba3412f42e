"""A stand-in for Gemini's address that does as it is told, down to dropping connections."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.clock import pass_by

LONG_SECONDS = 600.0
"""More than anybody here waits for an answer."""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How often something is tried does not depend on how busy this machine is."""
    monkeypatch.setattr("orchestrator.gemini.mapping.RETRY_WITHIN_SECONDS", LONG_SECONDS)


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """`act`: answer, reset (once the request was read), hang, silence (a hang, and nobody's patience lasts),
    drip (a byte at a time), cut (half a body).
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    act: str = "answer"

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> "Reply":
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status, json.dumps(value).encode(), {"content-type": "application/json", **named})


class Server:
    """Answers with `replies` in turn; the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        self.base_url = ""
        self._open: set[asyncio.Task[None]] = set()

    def answer(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                if not await _perform(reply, writer):
                    return
        except (asyncio.CancelledError, ConnectionError):
            pass  # the test is over, or the client has gone
        finally:
            writer.close()
            self._open.discard(task)

    async def stop(self) -> None:
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


async def _perform(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    if reply.act == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if reply.act == "silence":
        pass_by(LONG_SECONDS)
    if reply.act in ("hang", "silence"):
        await asyncio.sleep(3600)
    headers = {**reply.headers, "content-length": str(len(reply.body) + (reply.act == "cut"))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {reply.status} Told\r\n{head}\r\n".encode())
    if reply.act == "drip":
        for byte in reply.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)
    writer.write(reply.body)
    await writer.drain()
    return reply.act == "answer"


@asynccontextmanager
async def _serving() -> AsyncIterator[Server]:
    told = Server()
    server = await asyncio.start_server(told.serve, "127.0.0.1", 0)
    told.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield told
    finally:
        server.close()
        await told.stop()
        await server.wait_closed()


@pytest.fixture
def serving() -> Callable[[], Any]:
    """Opens a `Server` inside the test's own event loop: `async with serving() as server`."""
    return _serving


@pytest.fixture
def reply() -> type[Reply]:
    return Reply
