"""A caller's server that takes webhooks, on this machine; it can go away and come back."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Heard:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> str:
        return str(json.loads(self.body)["type"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["data"])

    @property
    def signatures(self) -> list[str]:
        return self.headers["webhook-signature"].split(" ")


class Receiver:
    """Answers `answers` one after the other, then 204 for ever; a status, or whole header lines after it."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[str] = []
        self.refused = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Receiver":
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/hooks/canary-in-path?token=canary-in-query"

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def events(self) -> list[str]:
        return [h.event for h in self.heard]

    @property
    def times(self) -> Counter[str]:
        """How often each message came."""
        return Counter(h.id for h in self.heard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            self.heard.append(Heard(head[0].split(" ")[1], headers, body))
            answer = self.answers.pop(0) if self.answers else "204 No Content"
            writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        finally:
            writer.close()
