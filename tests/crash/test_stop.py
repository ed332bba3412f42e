"""Clean ends and refused starts. P12, P13's refusal, P39.

SIGTERM under load: exit code 0 in time, no call cut off that had the time to end, nothing lost. A start
that cannot be right says which key is wrong and ends before a port opens.
"""

import asyncio
import os
import random
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from laboratory import BUSY_SECONDS, Laboratory, Process, Wish, laboratory, meanwhile, until
from sqlalchemy.orm import Session
from support.ports import own_port

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import Policy
from orchestrator.engine.perform import Performer
from orchestrator.engine.tickets import Ticket
from orchestrator.engine.worker import Worker
from orchestrator.store import outbox
from orchestrator.store.database import Database

T = TypeVar("T")

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(400)]

STOPS = int(os.environ.get("CRASH_STOPS", "3"))
STORIES = ("refund", "all at once", "look", "note")
STOP_SECONDS = 30.0
GRACE = {"graceful_seconds": 300}
"""More than any stop here is waited for: whoever uses it up is found out."""
HANG_SECONDS = 60.0
"""Nothing is promised about a refusal but that it comes: a guard against waiting for ever."""


async def test_stops_under_load_lose_nothing_and_cut_nothing_off(tmp_path: Path, sqlite_url: str) -> None:
    """Tools of 0.4 s under a long grace: not one of them is in doubt, however the stop meets it."""
    dice = random.Random(12)
    async with laboratory(tmp_path, sqlite_url, pause_seconds=0.4, server=GRACE) as lab:
        wishes: dict[str, str] = {}
        took = []
        for _ in range(STOPS):
            await lab.start()
            async with meanwhile(_ask_for_more(lab, wishes, dice)):
                await asyncio.sleep(dice.uniform(0.5, 1.6))
                began = time.monotonic()
                assert await lab.stop(STOP_SECONDS) == 0, lab.said()
                took.append(time.monotonic() - began)
        await lab.start()
        runs = await lab.settled(list(wishes.values()))
        assert {r["status"] for r in runs} == {"completed"}, [r["reason"] for r in runs]
        assert len(runs) >= 2 * STOPS
        lab.judge(runs)
        assert await lab.judge_chain(runs) == [], "a clean stop leaves no orphan"
        print(f"\n{STOPS} stops with {len(runs)} runs: the longest took {max(took):.2f} s")


async def _ask_for_more(lab: Laboratory, wishes: dict[str, str], dice: random.Random) -> None:
    """Callers who keep asking while the service comes and goes."""
    while True:
        wish = Wish(f"Please {dice.choice(STORIES)} order A-17.")
        if (run_id := await lab.ask(wish)) is not None:
            wishes[wish.key] = run_id
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_service_stops_soon(tmp_path: Path, sqlite_url: str, sign: signal.Signals) -> None:
    """The true command line, in an interpreter of its own; with nothing to wait for it uses no grace."""
    async with laboratory(tmp_path, sqlite_url, server=GRACE) as lab:
        lab.plain = True
        await lab.start()
        assert lab.process is not None
        lab.process.send_signal(sign)
        async with asyncio.timeout(STOP_SECONDS + BUSY_SECONDS):
            assert await lab.process.wait() == 0, lab.said()
        assert "Traceback" not in lab.said()


async def test_a_tool_longer_than_the_grace_does_not_hold_the_stop(tmp_path: Path, sqlite_url: str) -> None:
    """It is cut off, and a person is asked what became of it."""
    async with laboratory(tmp_path, sqlite_url, pause_seconds=240, server={"graceful_seconds": 1}) as lab:
        await lab.start()
        run_id = await lab.ask(Wish("Please all at once order A-17."))
        assert run_id is not None

        async def refunding() -> bool:
            return _executing(await lab.run(run_id), "refund_order")

        await until(refunding, 20, "the refund runs", told=lab.said)
        lab.kills.append(time.time())  # for the judge: this is a cut like any other
        assert await lab.stop(STOP_SECONDS) == 0
        lab.pause_seconds = 0.02
        await lab.start()
        [run] = await lab.settled([run_id])
        assert run["status"] == "attention"
        lab.judge([run])


class Slow(Database):
    """A database that answers whoever has claimed something when it is let."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.let = asyncio.Event()

    async def write(self, job: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            return await super().write(job, *args, **kwargs)
        finally:
            if await _claimed(self):
                await self.let.wait()


class Hands(Performer):
    """Performs nothing, and not at once; knows what was begun and what was done."""

    begun = done = 0

    async def perform(self, _: Ticket) -> None:
        self.begun += 1
        await asyncio.sleep(0.1)
        self.done += 1


async def test_what_is_being_claimed_when_the_stop_comes_gets_its_time(sqlite_url: str) -> None:
    """The narrowest moment: committed as claimed, not yet begun."""
    database, policy = Slow(sqlite_url), Policy()
    nothing: Any = None  # nobody is called
    hands = Hands(database, nothing, nothing, None, policy=policy, clock=_now)
    worker = Worker(database, hands, policy=policy, clock=_now)
    try:
        effect = Effect(EffectKind.FETCH_INTERACTION, "v1_a", _now())
        await database.write(outbox.add, "", [effect])
        working = asyncio.create_task(worker.run())
        await until(partial(_claimed, database), 5, "it is claimed", every=0.005)
        assert hands.begun == 0, "the stop comes before it is begun"
        stopping = asyncio.create_task(worker.stop(grace_seconds=60))
        await asyncio.sleep(0)
        database.let.set()
        await stopping
        assert hands.done == hands.begun == 1
        await working
    finally:
        database.close()


def _now() -> datetime:
    return datetime.now(UTC)


async def _claimed(database: Database) -> bool:
    def job(s: Session) -> bool:
        return bool(s.connection().exec_driver_sql("SELECT count(claim) FROM effect").scalar_one())

    return await database.read(job)


def _executing(run: Mapping[str, Any] | None, tool: str) -> bool:
    return run is not None and any(c["tool"] == tool and c["status"] == "executing" for c in run["calls"])


async def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url) as lab:
        await lab.start()
        other = await lab.command("serve", env=lab.environment(ORCHESTRATOR_SERVER__PORT=str(own_port())))
        async with asyncio.timeout(HANG_SECONDS):
            assert await other.wait() == 2
        assert "in use by another process" in lab.said()
        assert (await lab.api.get("/readyz")).status_code == 200, "the first one goes on"


async def test_a_taken_port_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url) as lab:
        with closing(socket.create_server(("127.0.0.1", lab.port))):
            await lab.spawn()
            assert lab.process is not None
            async with asyncio.timeout(HANG_SECONDS):
                assert await lab.process.wait() == 2
        assert f"could not listen on 127.0.0.1:{lab.port}" in lab.said()


# --- starts that cannot be right ------------------------------------------------------------------

Spoil = Callable[[Laboratory], Mapping[str, str]]


def _config_line(old: str, new: str) -> Spoil:
    def spoil(lab: Laboratory) -> Mapping[str, str]:
        file = lab.folder / "config.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return {}

    return spoil


def _without(variable: str) -> Spoil:
    return lambda lab: {variable: ""}


def _module(text: str) -> Spoil:
    def spoil(lab: Laboratory) -> Mapping[str, str]:
        (lab.folder / "tools" / "shop.py").write_text(text)
        return {}

    return spoil


def _newer_schema(lab: Laboratory) -> Mapping[str, str]:
    path = lab.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    return {}


def _no_database(lab: Laboratory) -> Mapping[str, str]:
    blocked = lab.folder / "blocked"
    blocked.write_text("")
    return {"DATABASE_URL": f"sqlite:///{blocked}/orchestrator.db"}


def _no_tools(lab: Laboratory) -> Mapping[str, str]:
    shutil.rmtree(lab.folder / "tools")
    return {}


REFUSALS: Mapping[str, tuple[Spoil, str]] = {
    "unknown key": (
        _config_line("reconcile_seconds: 1\n", "reconcile_second: 1\n"),
        "gemini.reconcile_second",
    ),
    "wrong type": (_config_line("graceful_seconds: 10", "graceful_seconds: ten"), "server.graceful_seconds"),
    "out of range": (
        _config_line("graceful_seconds: 10", "graceful_seconds: 9999"),
        "server.graceful_seconds",
    ),
    "given twice": (_config_line("log:\n", "server: {}\nlog:\n"), "server: is given twice"),
    "unknown tool": (_config_line("- send_note", "- send_nothing"), "workflows.shop.tools[2]"),
    "no API key": (_without("GEMINI_API_KEY"), "GEMINI_API_KEY"),
    "no webhook secret": (_without("GEMINI_WEBHOOK_SECRETS"), "GEMINI_WEBHOOK_SECRETS"),
    "no bot token": (_without("SLACK_BOT_TOKEN"), "SLACK_BOT_TOKEN"),
    "no signing secret": (_without("SLACK_SIGNING_SECRET"), "SLACK_SIGNING_SECRET"),
    "misspelt variable": (lambda lab: {"ORCHESTRATOR_SERVER__PROT": "1"}, "ORCHESTRATOR_SERVER__PROT"),
    "broken tool module": (_module("import nothing_of_that_name\n"), "shop"),
    "tool module without tools": (_module("x = 1\n"), "shop"),
    "no tool folder": (_no_tools, "tools.folder: "),
    "newer schema": (_newer_schema, "9999"),
    "no place for the database": (_no_database, "database.url: "),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_start_that_cannot_be_right_is_refused(what: str, tmp_path: Path, sqlite_url: str) -> None:
    spoil, told = REFUSALS[what]
    async with laboratory(tmp_path, sqlite_url, clicking=False) as lab:
        assert await _refused(lab, **spoil(lab)) == 2
        assert told in lab.said()
        assert "Traceback" not in lab.said(), lab.said()
        assert '"listening"' not in lab.said()


async def _refused(lab: Laboratory, **more: str) -> int:
    """The exit code; the port is tried all the while and must never open."""
    process = await lab.command("serve", env=lab.environment(**more))
    opens = asyncio.ensure_future(_opens(lab.port, process))
    async with asyncio.timeout(HANG_SECONDS):
        code = await process.wait()
    assert not await opens, "the port was open before the mistake was told"
    return code


async def _opens(port: int, process: Process) -> bool:
    """Whether anybody listens there while the process lives."""
    while process.returncode is None:
        with socket.socket() as s:
            s.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", port))
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                return True
    return False
