"""Bytes as they go over a real socket. The server is uvicorn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from web_kit import TOKENS, House, event_body, signed

from orchestrator.emulator.serving import running
from orchestrator.web.framing import Framing

GOOD = event_body()


@asynccontextmanager
async def served(house: House) -> AsyncIterator[int]:
    async with running(house.app(), http=Framing) as base:
        yield int(base.rpartition(":")[2])


async def talk(port: int, raw: bytes, *, end: bool = False) -> bytes:
    """Send those bytes; what comes back until the peer closes or has answered once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    await writer.drain()
    if end:
        writer.write_eof()
    try:
        async with asyncio.timeout(30):
            return await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError as e:
        return e.partial
    finally:
        writer.close()


def request(head: str, *lines: str, body: bytes = b"", sign: bool = True) -> bytes:
    own = [f"{k}: {v}" for k, v in signed(GOOD).items()] if sign else []
    return "\r\n".join([head, "Host: here", *own, *lines, "", ""]).encode("latin-1") + body


def status(line: bytes) -> int:
    return int(line.split()[1]) if line else 0


POST = "POST /webhooks/gemini HTTP/1.1"
LENGTH = f"Content-Length: {len(GOOD)}"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)

TOKEN = f"Authorization: Bearer {TOKENS['all']}"
START = b'{"input": "x"}'


def start(*lines: str) -> bytes:
    own = (TOKEN, "Content-Type: application/json", f"Content-Length: {len(START)}")
    return request("POST /v1/workflows/refund/runs HTTP/1.1", *own, *lines, body=START, sign=False)
