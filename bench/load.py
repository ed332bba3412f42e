"""A load of signed webhooks over keep-alive connections, cheap enough not to measure itself."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

PATH = "/webhooks/gemini"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one load came to: answers per second, and milliseconds to an answer."""

    per_second: float
    p50: float
    p99: float
    refused: int


def signed(secret: str, subject: str, size: int) -> bytes:
    """One delivery as raw HTTP, about `size` bytes of body."""
    stamp = int(time.time())
    event = {
        "type": "interaction.requires_action",
        "version": "v1",
        "timestamp": "2026-11-21T10:00:07Z",
        "data": {"id": subject},
    }
    event["data"] = {"id": subject, "padding": "x" * max(0, size - len(json.dumps(event)) - 16)}
    body = json.dumps(event).encode()
    webhook_id = f"msg_{secrets.token_hex(16)}"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{webhook_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nwebhook-id: {webhook_id}\r\nwebhook-timestamp: {stamp}\r\n"
        f"webhook-signature: v1,{base64.b64encode(mac).decode()}\r\n\r\n"
    )
    return head.encode() + body


async def flood(address: str, requests: Sequence[bytes], connections: int) -> Figures:
    """As fast as the answers come."""
    queue = iter(requests)
    took: list[float] = []
    refused = 0

    async def one() -> None:
        nonlocal refused
        reader, writer = await _connect(address)
        for request in queue:
            began = time.perf_counter()
            refused += await _exchange(reader, writer, request) != 200
            took.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return _figures(took, time.perf_counter() - began, refused)


async def drip(address: str, requests: Sequence[bytes], per_second: float, connections: int = 16) -> Figures:
    """At a steady pace; a late answer does not slow the next request down."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await _connect(address))
    took: list[float] = []
    refused = 0
    start = time.perf_counter()

    async def one(position: int, request: bytes) -> None:
        nonlocal refused
        planned = start + position / per_second
        await asyncio.sleep(max(0.0, planned - time.perf_counter()))
        connection = await free.get()
        refused += await _exchange(*connection, request) != 200
        free.put_nowait(connection)
        took.append(time.perf_counter() - planned)

    await asyncio.gather(*(one(i, r) for i, r in enumerate(requests)))
    return _figures(took, time.perf_counter() - start, refused)


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(address)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if length:
        await reader.readexactly(length)
    return int(head[9:12])


def _figures(took: list[float], seconds: float, refused: int) -> Figures:
    cuts = statistics.quantiles(took, n=100) if len(took) > 1 else took * 99
    return Figures(len(took) / seconds, cuts[49] * 1000, cuts[98] * 1000, refused)
