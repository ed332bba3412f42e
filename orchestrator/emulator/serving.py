"""Run an ASGI app on loopback inside the current event loop."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import uvicorn


@cache
def authorities() -> ssl.SSLContext:
    """Whom a client of ours trusts; read once, because that takes longer than a whole request here."""
    return ssl.create_default_context()


def free_port() -> int:
    """A loopback TCP port nobody listens on right now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@asynccontextmanager
async def running(app: Any, *, port: int = 0, http: Any = "auto") -> AsyncIterator[str]:
    """Serve `app` on 127.0.0.1 while the block runs; yields its base address, without a slash at the end.

    Args:
        http: uvicorn's name of a protocol, or the class of one.

    Raises:
        OSError: The port cannot be listened on.
    """
    # The protocol is named, because asyncio sets TCP_NODELAY only then; without it an answer sent in
    # two pieces waits 40 ms for the other side's acknowledgement.
    sock = _bound(port)
    config = uvicorn.Config(
        app, http=http, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan="on"
    )
    server = _Quiet(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started:
            if task.done():
                await task
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        sock.close()


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


class _Quiet(uvicorn.Server):
    """A server that leaves the process's signal handlers alone."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)  # the public `serve` wraps this in signal capture
