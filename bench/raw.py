"""The least a webhook endpoint can do: raw ASGI, verify the HMAC, insert durably, answer.

Beside it our own endpoint is measured. The insert commits with synchronous=FULL, many waiting
requests in one commit, like ours.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import queue
import sqlite3
import threading
import time
from typing import Any

from bench import asgi

INSERT = "INSERT INTO delivery VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class Sink:
    """One writer thread; requests that wait at the same moment share a commit."""

    def __init__(self, path: str) -> None:
        self._queue: queue.SimpleQueue[
            tuple[tuple[Any, ...], asyncio.AbstractEventLoop, asyncio.Future[None]]
        ] = queue.SimpleQueue()
        self._path = path
        threading.Thread(target=self._run, daemon=True).start()

    async def put(self, row: tuple[Any, ...]) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put((row, loop, done))
        await done

    def _run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE delivery (id TEXT PRIMARY KEY, at REAL, body BLOB)")
        while True:
            batch = [self._queue.get()]
            while len(batch) < 64 and not self._queue.empty():
                batch.append(self._queue.get())
            db.execute("BEGIN IMMEDIATE")
            for row, _, _ in batch:
                db.execute(INSERT, row)
            db.execute("COMMIT")
            for _, loop, done in batch:
                loop.call_soon_threadsafe(done.set_result, None)


sink = Sink(os.environ["BENCH_DB"]) if "BENCH_DB" in os.environ else None
key = base64.b64decode(os.environ.get("BENCH_SECRET", "whsec_").removeprefix("whsec_"))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The endpoint."""
    if scope["type"] != "http" or sink is None:
        return
    headers = dict(scope["headers"])
    body = await asgi.body(receive)
    webhook_id, stamp = headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b"0")
    mac = hmac.new(key, webhook_id + b"." + stamp + b"." + body, hashlib.sha256).digest()
    good = hmac.compare_digest(b"v1," + base64.b64encode(mac), headers.get(b"webhook-signature", b""))
    good = good and abs(time.time() - int(stamp)) <= 300
    if good:
        await sink.put((webhook_id.decode(), time.time(), body))
    await send(
        {
            "type": "http.response.start",
            "status": 200 if good else 401,
            "headers": [(b"content-length", b"2")],
        }
    )
    await send({"type": "http.response.body", "body": b"{}"})
