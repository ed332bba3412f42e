"""Stops before the service is up, and what it says once it is. P12.

As the first process of a container it would not hear a signal it has no handler for, and be killed at last.
"""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from laboratory import BUSY_SECONDS, laboratory, until
from support.ports import own_port

from orchestrator.errors import UnavailableError
from orchestrator.running import Server, run

HANG_SECONDS = 60.0
"""Nothing is promised about how long it takes to come so far: a guard against waiting for ever."""
STOP_SECONDS = 30.0
ENDLESS = """
import pathlib, time
pathlib.Path("loading").touch()
while True:
    time.sleep(0.05)
"""
"""A tool module that never comes to its end."""
SIGNS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.asyncio
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("word", ["serve", "worker"])
async def test_a_stop_before_it_is_ready_is_a_clean_end(
    tmp_path: Path, postgres_url: str, word: str, sign: signal.Signals
) -> None:
    async with laboratory(tmp_path, postgres_url, clicking=False) as lab:
        (lab.folder / "tools" / "shop.py").write_text(ENDLESS)
        lab.process = await lab.command(word, env=lab.environment())

        async def loading() -> bool:
            assert lab.process is not None
            assert lab.process.returncode is None, lab.said()
            return (lab.folder / "loading").exists()

        await until(loading, HANG_SECONDS, "its tools are being loaded", every=0.02, told=lab.said)
        lab.process.send_signal(sign)
        async with asyncio.timeout(STOP_SECONDS + BUSY_SECONDS):
            assert await lab.process.wait() == 0, lab.said()
        assert "Traceback" not in lab.said()


@pytest.fixture
def handlers() -> Iterator[None]:
    """Of signals; as they were, afterwards."""
    before = {sign: signal.getsignal(sign) for sign in SIGNS}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)


class Hasty(Server):
    """Is told to stop in the moment before it listens for signals."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        signal.raise_signal(signal.SIGTERM)
        super().run(sockets)


async def nothing(_scope: Any, receive: Any, send: Any) -> None:
    """An application that starts and stops."""
    for told in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{told}"
        await send({"type": f"lifespan.{told}.complete"})


@pytest.mark.usefixtures("handlers")
@pytest.mark.timeout(60)
def test_a_stop_in_the_moment_before_it_listens_for_signals_is_heard() -> None:
    stopped: list[bool] = []
    config = uvicorn.Config(nothing, port=own_port(), log_config=None, lifespan="on")
    server = Hasty(config, stopping=lambda: stopped.append(True))
    run(server)
    assert server.started
    assert stopped == [True]


async def nowhere_to_write(_scope: Any, receive: Any, send: Any) -> None:
    """An application that cannot start."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "database or disk is full"})


@pytest.mark.usefixtures("handlers")
@pytest.mark.timeout(60)
def test_a_start_that_fails_is_not_told_as_a_taken_port() -> None:
    config = uvicorn.Config(nowhere_to_write, port=own_port(), log_config=None, lifespan="on")
    with pytest.raises(UnavailableError, match="the start failed"):
        run(Server(config, stopping=lambda: None))


@pytest.mark.asyncio
@pytest.mark.timeout(400)
async def test_it_says_where_it_listens_also_where_it_chose_the_port(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url, clicking=False, server={"port": 0}) as lab:
        await lab.spawn()

        async def listening() -> bool:
            assert lab.process is not None
            assert lab.process.returncode is None, lab.said()
            return '"listening"' in lab.said()

        await until(listening, HANG_SECONDS, "it listens", every=0.02, told=lab.said)
        said = next(json.loads(line) for line in lab.said().splitlines() if '"listening"' in line)
        with socket.create_connection((said["host"], said["port"])):
            assert await lab.stop(STOP_SECONDS) == 0


@pytest.mark.asyncio
@pytest.mark.timeout(400)
async def test_it_does_not_say_that_it_listens_where_it_cannot(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url, clicking=False) as lab:
        with socket.create_server(("127.0.0.1", lab.port)):
            await lab.spawn()
            assert lab.process is not None
            async with asyncio.timeout(HANG_SECONDS):
                assert await lab.process.wait() == 2
        assert "could not listen" in lab.said()
        assert '"listening"' not in lab.said()
