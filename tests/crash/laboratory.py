"""The crash laboratory: the real service as a real process, its neighbours and the ledger outside of it.

The stand-in Gemini and the local Slack live in the test's event loop and survive every kill; so does
the ledger, a file that the tools append to. The service is `python -m orchestrator serve`, killed with
SIGKILL and started again on the same database and the same port. Its processes come from the cradle,
which spares them their imports, unless a laboratory is `plain`.
"""

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import sqlalchemy as sa
import yaml
from cradle import AVAILABLE, Child, cradle
from shop_floor import SCENARIOS, TOOLS
from support.ports import own_port
from verdict import Entry, entries, judge, judge_chain, stopped

from orchestrator.emulator.gemini.app import build as build_gemini
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.interactions import Interaction
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackEmulatorSettings

APPROVER, CHANNEL = "U0ALICE", "C0APPR"
START_SECONDS = 60.0
"""How long a start may take on a busy machine before the laboratory gives up."""
BUSY_SECONDS = float(os.environ.get("CRASH_BUSY_SECONDS", "60"))
"""What a busy machine may add to anything that is waited for; 0 holds the service to its promises."""
RECOVERY_SECONDS = 30.0
"""Promised: so long after a restart a run has ended, waits for a person, or asks for one."""
ENDED = frozenset({"completed", "failed", "cancelled"})
RESTING = ENDED | {"attention"}

Process = asyncio.subprocess.Process | Child


@dataclass(frozen=True, slots=True)
class Wish:
    """A run somebody wants: the same key however often they ask."""

    text: str
    key: str = field(default_factory=lambda: secrets.token_hex(12))


@dataclass
class Laboratory:
    """One service and its neighbours.

    Args:
        sections: Changes to config.yaml, by section.
        pause_seconds: How long a tool takes.
        plain: Every process is a new interpreter's, started by the true command line.
        piped: What the processes say goes through a pipe, as under a supervisor; they are plain ones.
        takes_seconds: How long the last start took that came to its end.
        more: What else every process finds in its environment.
        not_now: Statuses that count as no answer; with its database away the service cannot know better.
    """

    folder: Path
    database_url: str
    gemini: Emulator
    slack: LocalSlack
    gemini_url: str
    slack_url: str
    port: int
    hook_secret: str
    api: httpx.AsyncClient
    pause_seconds: float
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    process: Process | None = None
    spawned_at: float = 0.0
    ready_at: float = 0.0
    takes_seconds: float = 1.0
    kills: list[float] = field(default_factory=list)
    workers: dict[str, Process] = field(default_factory=dict)
    command_line: tuple[str, ...] = ("serve",)
    plain: bool = not AVAILABLE
    piped: bool = False
    not_now: frozenset[int] = frozenset({503})
    scribes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    token: str = "crash-laboratory-token"
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    # --- the process ------------------------------------------------------------------

    def furnish(self) -> None:
        """Write config.yaml and the tool module."""
        tools = self.folder / "tools"
        tools.mkdir(mode=0o700, exist_ok=True)
        (tools / "shop.py").write_text(TOOLS)
        (tools / "shop.py").chmod(0o600)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config()))

    def config(self) -> dict[str, Any]:
        """config.yaml: everything quick, so that a crash is over in seconds."""
        config: dict[str, dict[str, Any]] = {
            "server": {"port": self.port, "graceful_seconds": 10},
            "gemini": {
                "base_url": self.gemini_url,
                "reconcile_seconds": 1,
                "waiting_reconcile_seconds": 5,
                "gets_per_second": 1000,
                "create_grace_seconds": 1,
            },
            "slack": {
                "api_url": f"{self.slack_url}/api/",
                "burst": 1000,
                "channel": CHANNEL,
                "response_url_hosts": ["127.0.0.1"],
            },
            "approvals": {"approvers": [APPROVER]},
            "api": {"rate_limit_per_minute": 1_000_000},
            "tools": {"folder": str(self.folder / "tools"), "modules": ["shop"]},
            "workflows": {
                "shop": {
                    "model": "gemini-3.8-flash",
                    "tools": ["lookup_order", "refund_order", "send_note", "watch_parcel"],
                }
            },
            "log": {"level": "info", "format": "json"},
        }
        for name, changes in self.sections.items():
            config[name] = {**config.get(name, {}), **changes}
        return config

    def environment(self, **more: str) -> dict[str, str]:
        """The service's environment: nothing of a real account, secrets for the stand-ins."""
        foreign = ("GEMINI_", "GOOGLE_API_KEY", "SLACK_", "ORCHESTRATOR_", "DATABASE_URL")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        return kept | {
            "ORCHESTRATOR_CONFIG": str(self.folder / "config.yaml"),
            "ORCHESTRATOR_API_TOKEN": self.token,
            "GEMINI_API_KEY": "laboratory-key",
            "GEMINI_WEBHOOK_SECRETS": self.hook_secret,
            "SLACK_BOT_TOKEN": self.slack.settings.bot_token,
            "SLACK_SIGNING_SECRET": self.slack.settings.signing_secret,
            "DATABASE_URL": self.database_url,
            "LAB_LEDGER": str(self.ledger),
            "LAB_PAUSE": str(self.pause_seconds),
            **self.more,
            **more,
        }

    async def spawn(self, *, failpoints: str = "") -> None:
        """Start the process and do not wait for anything."""
        assert self.process is None or self.process.returncode is not None, "it is running already"
        armed = {"GEMINI_ORCHESTRATOR_FAILPOINTS": failpoints} if failpoints else {}
        self.spawned_at = time.time()
        self.process = await self.command(*self.command_line, env=self.environment(**armed))

    async def hire(self, name: str) -> Process:
        """A worker process of its own, beside the service."""
        self.pulse(name).unlink(missing_ok=True)
        process = await self.command("worker", "--pulse", str(self.pulse(name)), env=self.environment())
        self.workers[name] = process
        return process

    def pulse(self, name: str) -> Path:
        """The file that worker touches; it is there when the worker has gone round once."""
        return self.folder / f"{name}.pulse"

    async def at_work(self, *names: str) -> None:
        """Wait until those workers have gone round."""

        async def all_beat() -> bool:
            for name in names:
                code = self.workers[name].returncode
                assert code is None, f"worker {name} ended with {code}:\n{self.said()}"
            return all(self.pulse(name).exists() for name in names)

        await until(all_beat, START_SECONDS, f"{names} work", every=0.03, told=self.said)

    async def fell(self, name: str) -> None:
        """SIGKILL for a worker, now."""
        self.kills.append(time.time())
        self.workers[name].kill()
        await self.workers[name].wait()

    async def dismiss(self, name: str, within: float = 30.0) -> int:
        """SIGTERM for a worker; returns the exit code."""
        self.workers[name].terminate()
        async with asyncio.timeout(within + BUSY_SECONDS):
            return await self.workers[name].wait()

    async def stop_all(self) -> set[int]:
        """SIGTERM for every process there is; returns the exit codes."""
        return {*await asyncio.gather(self.stop(), *(self.dismiss(name) for name in self.workers))}

    async def command(self, *words: str, env: Mapping[str, str]) -> Process:
        """Any command of the program's; what it says goes to the laboratory's log."""
        if not (self.plain or self.piped):
            return await asyncio.to_thread(cradle().bear, words, env=env, cwd=self.folder, log=self.log)
        with self._listening() as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "orchestrator", *words, env=env, cwd=self.folder, stdout=log, stderr=log
            )

    @contextmanager
    def _listening(self) -> Iterator[IO[bytes]]:
        """The log, or a pipe to it, as under a supervisor: a limit on files does not hold for that."""
        with self.log.open("ab") as log:
            if not self.piped:
                yield log
                return
            scribe = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
            self.scribes.append(scribe)
            assert scribe.stdin is not None
            with scribe.stdin as pipe:
                yield pipe

    async def start(self, *, failpoints: str = "") -> float:
        """Start the process; returns after how many seconds it was ready."""
        await self.spawn(failpoints=failpoints)
        await self.ready()
        return self.ready_at - self.spawned_at

    async def ready(self) -> None:
        """Wait for `/readyz`; the service's own words if it ends instead."""
        assert self.process is not None

        async def asked() -> bool:
            assert self.process is not None
            if self.process.returncode is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.said()}")
            try:
                return (await self.api.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False  # not listening yet

        await until(asked, START_SECONDS, "the service is ready", every=0.03, told=self.said)
        self.ready_at = time.time()
        self.takes_seconds = self.ready_at - self.spawned_at

    async def kill(self) -> None:
        """SIGKILL, now."""
        assert self.process is not None
        self.kills.append(time.time())
        self.process.kill()
        await self.process.wait()

    async def died(self, within: float) -> None:
        """Wait for the process to kill itself at its failpoint."""
        assert self.process is not None
        try:
            async with asyncio.timeout(within + BUSY_SECONDS):
                code = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"it did not pass its failpoint within {within} s:\n{self.said()}") from None
        self.kills.append(time.time())
        assert code == -signal.SIGKILL, f"it ended with {code}, not by its failpoint:\n{self.said()}"

    async def stop(self, within: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        async with asyncio.timeout(within + BUSY_SECONDS):
            return await self.process.wait()

    def said(self) -> str:
        """The end of the service's log."""
        return self.log.read_text()[-6000:] if self.log.exists() else ""

    # --- callers ----------------------------------------------------------------------

    async def ask(self, wish: Wish) -> str | None:
        """Ask for a run once; its id, or None where there was no answer, or a "not now"."""
        try:
            answer = await self.api.post(
                "/v1/workflows/shop/runs",
                json={"input": wish.text},
                headers={"idempotency-key": wish.key},
            )
        except httpx.TransportError:
            return None
        if answer.status_code in self.not_now:
            return None
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    async def run(self, run_id: str) -> dict[str, Any] | None:
        """A run with its turns and calls, or None where there was no answer."""
        try:
            answer = await self.api.get(f"/v1/runs/{run_id}")
        except httpx.TransportError:
            return None
        if answer.status_code in self.not_now:
            return None
        assert answer.status_code == 200, f"{run_id}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    async def settled(
        self, run_ids: Collection[str], within: float = RECOVERY_SECONDS
    ) -> list[dict[str, Any]]:
        """Wait until every run has ended or asks for a person."""
        found: dict[str, dict[str, Any]] = {}

        async def all_rest() -> bool:
            for run_id in run_ids:
                if run_id not in found and (run := await self.run(run_id)) and run["status"] in RESTING:
                    found[run_id] = run
            return len(found) == len(run_ids)

        def told() -> str:
            return f"still open: {sorted(set(run_ids) - set(found))}\n{self.said()}"

        await until(all_rest, within, "every run rests", told=told)
        return [found[run_id] for run_id in run_ids]

    async def cancel(self, run_id: str) -> int | None:
        """Cancel a run once; the status of the answer, or None where there was none."""
        try:
            return (await self.api.post(f"/v1/runs/{run_id}/cancel", json={})).status_code
        except httpx.TransportError:
            return None

    # --- people -----------------------------------------------------------------------

    def live_buttons(self) -> list[tuple[str, str]]:
        """Channel and ts of every message that still has an Approve button."""
        return [
            (m.channel, m.ts)
            for m in self.slack.workspace.listed(CHANNEL)
            if not m.deleted and '"action_id": "approve"' in json.dumps(m.blocks)
        ]

    async def approve_all(self, pause: float = 0.1) -> None:
        """A person who approves whatever is asked, and presses again where nothing seems to happen."""
        pressed: dict[tuple[str, str], float] = {}
        while True:
            waiting = [p for p in self.live_buttons() if time.monotonic() - pressed.get(p, 0.0) > 0.5]
            pressed |= {place: time.monotonic() for place in waiting}
            await asyncio.gather(*(self._press(*place) for place in waiting))
            await asyncio.sleep(pause)

    async def _press(self, channel: str, ts: str) -> None:
        with suppress(CannotClick):  # redrawn since it was looked at
            await self.slack.click(channel, ts, "approve", APPROVER)

    # --- the judge --------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """The ledger."""
        return entries(self.ledger)

    def judge(self, runs: Sequence[Mapping[str, Any]]) -> None:
        """Every effect against every record; `runs` are all runs there are, each at rest."""
        judge(runs, self.entries(), self.kills)

    async def judge_chain(self, runs: Sequence[Mapping[str, Any]], within: float = 10.0) -> list[Interaction]:
        """One continuation per turn: every other interaction is stopped, and was never acted on.

        Returns the orphans: interactions that a lost answer left behind.
        """
        orphans = judge_chain(runs, self.gemini)

        async def all_stopped() -> bool:
            return all(stopped(orphan, self.gemini) for orphan in orphans)

        await until(all_stopped, within, f"orphans {[o.id for o in orphans]} are stopped", told=self.said)
        return orphans

    async def buttons_gone(self, within: float = 10.0) -> None:
        """No question stays open in Slack that the record has closed."""

        async def gone() -> bool:
            return not self.live_buttons()

        await until(gone, within, "every question in Slack is closed", told=self.said)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Look into the database from outside; a SQLite file is opened read-only."""
        path = self.database_url.removeprefix("sqlite:///")
        sqlite = path != self.database_url
        engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true" if sqlite else self.database_url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.exec_driver_sql(query)]
        finally:
            engine.dispose()


@asynccontextmanager
async def laboratory(
    folder: Path,
    database_url: str,
    *,
    think_seconds: float = 0.03,
    pause_seconds: float = 0.02,
    clicking: bool = True,
    **sections: Mapping[str, Any],
) -> AsyncIterator[Laboratory]:
    """The neighbours are up while the block runs; the service is started by the test, and ended here."""
    port = own_port()
    hook_secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    gemini_app = build_gemini(
        EmulatorSettings(
            scenarios=SCENARIOS,
            think_seconds=think_seconds,
            webhooks=(StaticWebhook(uri=f"http://127.0.0.1:{port}/webhooks/gemini", secret=hook_secret),),
            retry_base_seconds=0.4,
            retry_cap_seconds=2.0,
        )
    )
    slack_app = build_slack(
        SlackEmulatorSettings(interactivity_url=f"http://127.0.0.1:{port}/slack/interactivity")
    )
    async with AsyncExitStack() as stack:
        gemini_url = await stack.enter_async_context(running(gemini_app))
        slack_url = await stack.enter_async_context(running(slack_app))
        api = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"authorization": f"Bearer {Laboratory.token}"},
                timeout=30,
                trust_env=False,
            )
        )
        lab = Laboratory(
            folder=folder,
            database_url=database_url,
            gemini=gemini_app.state.emulator,
            slack=slack_app.state.slack,
            gemini_url=gemini_url,
            slack_url=slack_url,
            port=port,
            hook_secret=hook_secret,
            api=api,
            pause_seconds=pause_seconds,
            sections=sections,
        )
        lab.furnish()
        stack.push_async_callback(_end, lab)
        if clicking:
            await stack.enter_async_context(meanwhile(lab.approve_all()))
        yield lab


async def _end(lab: Laboratory) -> None:
    for process in (lab.process, *lab.workers.values()):
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
    for scribe in lab.scribes:  # what they listen to has ended
        await asyncio.to_thread(scribe.wait, 30)


@asynccontextmanager
async def meanwhile(work: Awaitable[None]) -> AsyncIterator[None]:
    """Do `work` beside the block; a failure in it is raised at the block's end."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        if not task.done():
            task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def until(
    claim: Callable[[], Awaitable[bool]],
    within: float,
    what: str,
    *,
    every: float = 0.1,
    told: Callable[[], str] = lambda: "",
) -> None:
    """Wait for `claim` to hold, `within` seconds at the most, on a machine with nothing else to do."""
    ends = time.monotonic() + within + BUSY_SECONDS
    while not await claim():
        assert time.monotonic() < ends, f"not within {within:g} s: {what}\n{told()}"
        await asyncio.sleep(every)
