"""A Slack that answers as it is told: one scripted answer per request, the last one again and again."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from support.clock import pass_by

PATIENCE_SECONDS = 30.0
"""Of whoever asks here: a busy machine's answer may be late."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; `dropped` closes the connection instead, `silent` says nothing while
    whoever asks loses his patience."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json; charset=utf-8"
    dropped: bool = False
    silent: bool = False

    def wire(self) -> bytes:
        raw = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} Said", f"Content-Length: {len(raw)}", f"Content-Type: {self.kind}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + raw


def ok(**fields: Any) -> Reply:
    return Reply({"ok": True, **fields})


def no(error: str, *, status: int = 200, **fields: Any) -> Reply:
    return Reply({"ok": False, "error": error, **fields}, status=status)


POSTED = ok(channel="C0APPR", ts="1795290000.000100")
ME = ok(team_id="T0ACME", user_id="U0BOT", bot_id="B0BOT")
DROPPED = Reply(dropped=True)
SILENT = Reply(silent=True)


class FakeSlack:
    """Serves on loopback while its block runs. `calls` holds (method, arguments) in order."""

    def __init__(self, **script: Reply | list[Reply]) -> None:
        self.script = {k.replace("__", "."): v if isinstance(v, list) else [v] for k, v in script.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.heads: list[dict[str, str]] = []

    async def __aenter__(self) -> "FakeSlack":
        self._gone = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    def made(self, method: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.calls if name == method]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *rest = head.strip().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (row.partition(":") for row in rest)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path, _, query = first.split(" ")[1].partition("?")
            method = path.rsplit("/", 1)[-1]
            self.heads.append(headers)
            self.calls.append((method, json.loads(body) if body[:1] == b"{" else dict(parse_qsl(query))))
            await self._answer(method, writer)
        finally:
            writer.close()

    async def _answer(self, method: str, writer: asyncio.StreamWriter) -> None:
        replies = self.script[method]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply.silent:
            pass_by(2 * PATIENCE_SECONDS)
            await self._gone.wait()
        elif not reply.dropped:
            writer.write(reply.wire())
            await writer.drain()
