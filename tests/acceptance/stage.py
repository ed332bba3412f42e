"""The stage of the acceptance stories: the real service between a stand-in Gemini and a local Slack.

All three are served on loopback in one event loop; requests, webhooks and clicks go over real
sockets. One clock with an adjustable lead serves all of them, so that hours pass at once. A story
that went well ends with `always.check`.
"""

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode

import httpx
import pytest
import sqlalchemy as sa
import structlog
import yaml
from always import ENDED, check
from looking import Json, buttons, headline_of, metadata, until
from scenery import (
    HOOK_SECRET,
    OPERATOR,
    SIGNING_SECRET,
    Clock,
    GeminiClock,
    Journal,
    config,
    merged,
    together,
    token_text,
    write_tools,
)
from sqlalchemy.orm import Session
from support.ports import own_port

from orchestrator import app, settings
from orchestrator.emulator.gemini.app import build as build_gemini
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import authorities, running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.emulator.slack.interactivity import Click, sign
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.workspace import Message
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.worker import Worker
from orchestrator.slack.blocks import EVENT_TYPE
from orchestrator.store.claims import Hold
from orchestrator.store.database import Database
from orchestrator.store.inbox import delivery_t

T = TypeVar("T")

THINK_SECONDS = 0.02
ON_SQLITE = pytest.mark.one_database
"""For stories in which the database has no say, so that one will do; see `conftest.py`."""
ONE_PROCESS = pytest.mark.one_process
"""For stories about what each process knows by itself, such as which neighbour it leaves alone."""


@dataclass
class Stage:
    """Everything a story touches.

    Args:
        gemini: The stand-in itself: its faults, its deliveries, what it was asked.
        slack: The local workspace itself: what was posted, who presses what.
        http: A client of the service; `call` gives it a token.
        config: What config.yaml says at the next start.
        foreseen: Names of log lines of `TROUBLE` that this story provokes.
    """

    gemini: Emulator
    slack: LocalSlack
    http: httpx.AsyncClient
    clock: Clock
    folder: Path
    url: str
    config: Json
    environ: dict[str, str]
    port: int
    journal: Journal
    foreseen: set[str] = field(default_factory=set)
    workers: ClassVar[int] = 0
    """So many processes' worth of worker beside one that only answers; 0 for one that does both.
    `conftest.py` sets it: a story is the same whoever does the work."""
    _hired: list[app.Service] = field(default_factory=list)
    _life: AsyncExitStack = field(default_factory=AsyncExitStack)
    _service: app.Service | None = None

    # ------------------------------------------------------------------ the service's life

    async def start(self, **changes: Any) -> None:
        """Build the service from its configuration, with `changes` laid over it, and serve it."""
        self.config = merged(self.config, changes)
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(self.config), encoding="utf-8")
        chosen = settings.load(file, environ=self.environ)
        self._hired = [self._build(chosen, app.Role.WORKER) for _ in range(self.workers)]
        await self._life.enter_async_context(_at_work(self._hired))
        self._service = self._build(chosen, app.Role.WEB if self.workers else app.Role.ALL)
        await self._life.enter_async_context(running(self._service.web, port=self.port))
        await until(self._ready, "readiness")

    def _build(self, chosen: settings.Settings, role: app.Role) -> app.Service:
        """A process's worth of service, with connections of its own."""
        database = Database(self.url)
        self._life.callback(database.close)

        def hold(lease: timedelta) -> Hold:
            """Hours that pass at once pass for those who hold claims, too."""
            return Hold.at(self.clock(), lease)

        return app.build(chosen, database, clock=self.clock, role=role, leases=hold)

    async def _ready(self) -> bool:
        """Ready, Slack has told who we are, so that clicks count, and workers hear of their jobs.

        That a neighbour asked to be left alone keeps nobody waiting.
        """
        answer = await self.http.get(f"{self.base}/readyz")
        told = answer.status_code == 200 and not any(
            c["detail"] for c in answer.json()["checks"] if "left alone" not in c["detail"]
        )
        return told and all(w.jobs.alive for w in self._hands() if isinstance(w, QueuedWorker))

    def _hands(self) -> list[Worker]:
        """Every worker there is, wherever it works."""
        services = [*self._hired, *([self._service] if self._service else [])]
        return [s.worker for s in services if s.worker is not None]

    async def stop(self) -> None:
        """Stop the service as SIGTERM does, workers last."""
        self._service = None
        self._hired = []
        await self._life.aclose()

    async def stop_working(self, grace_seconds: float = 1.0) -> None:
        """From here on nobody works; requests are still answered."""
        await asyncio.gather(*(worker.stop(grace_seconds) for worker in self._hands()))

    async def restart(self, **changes: Any) -> None:
        await self.stop()
        await self.start(**changes)

    @property
    def service(self) -> app.Service:
        assert self._service is not None, "the service is stopped"
        return self._service

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take_away(self, tool: str) -> None:
        """From the next start on there is no such tool: neither its code nor any mention of it."""
        module = self.folder / "tools" / "shop.py"
        module.write_text(f"{module.read_text()}\ndel {tool}\n")
        for recipe in self.config["workflows"].values():
            recipe["tools"] = [name for name in recipe["tools"] if name != tool]

    def skip(self, seconds: float) -> None:
        """Let so much time pass at once, for everybody."""
        self.clock.lead += timedelta(seconds=seconds)
        for worker in self._hands():
            if isinstance(worker, QueuedWorker):  # what it leaves between two looks has passed as well
                worker._sweep_at = worker._near_at = 0.0
            worker.wake()

    # ------------------------------------------------------------------ the API

    async def call(
        self, method: str, path: str, *, token: str | None = OPERATOR, **options: Any
    ) -> httpx.Response:
        """One request by the holder of that token."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {token_text(token)}"
        return await self.http.request(method, f"{self.base}{path}", headers=headers, **options)

    async def get(self, path: str, **params: Any) -> Json:
        answer = await self.call("GET", path, params=params)
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    async def trigger(self, text: Any, workflow: str = "shop") -> str:
        """Start a run; its id."""
        answer = await self.call("POST", f"/v1/workflows/{workflow}/runs", json={"input": text})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def play(self, *turns: Json, workflow: str = "shop") -> str:
        """Start a run in which the model does `turns`; its id."""
        mark = f"story {len(self.gemini.interactions.all())}-{random.randrange(10**9)}"
        self.script(mark, *turns)
        return await self.trigger(mark, workflow)

    def script(self, mark: str, *turns: Json, times: int | None = None) -> None:
        """What the model does in a conversation whose input contains `mark`; the newest script comes first.

        Args:
            times: For so many conversations at most.
        """
        scenario = {"name": mark, "match": {"input_contains": mark}, "turns": list(turns), "times": times}
        self.gemini.add_scenarios({"scenarios": [scenario]})

    async def run(self, run_id: str) -> Json:
        return await self.get(f"/v1/runs/{run_id}")

    async def record(self, run_id: str) -> list[Json]:
        """The run's events, all of them."""
        found: list[Json] = (await self.get(f"/v1/runs/{run_id}/events", limit=100))["items"]
        while True:
            more = await self.get(f"/v1/runs/{run_id}/events", limit=100, after=found[-1]["seq"])
            if not more["items"]:
                return found
            found += more["items"]

    async def kinds(self, run_id: str) -> list[str]:
        return [event["kind"] for event in await self.record(run_id)]

    async def reach(self, run_id: str, *statuses: str) -> Json:
        """The run once it is in one of those statuses."""

        async def probe() -> Json | None:
            run = await self.run(run_id)
            return run if run["status"] in statuses else None

        return await self._told(run_id, probe, " or ".join(statuses))

    async def ended(self, run_id: str, status: str = "completed") -> Json:
        """The run at its end, which must be that one."""
        run = await self.reach(run_id, *ENDED)
        assert run["status"] == status, (run["status"], run["reason"])
        return run

    async def event(self, run_id: str, kind: str, count: int = 1) -> Json:
        """The `count`-th event of that kind, once it is in the record."""

        async def probe() -> Json | None:
            found = [e for e in await self.record(run_id) if e["kind"] == kind]
            return found[count - 1] if len(found) >= count else None

        return await self._told(run_id, probe, f"{kind} number {count}")

    async def noted(self, run_id: str, words: str) -> Json:
        """An event of the record whose note has those words, once there is one."""

        async def probe() -> Json | None:
            return next((e for e in await self.record(run_id) if words in e["note"]), None)

        return await self._told(run_id, probe, f"a note of {words!r}")

    async def _told(self, run_id: str, probe: Callable[[], Awaitable[T | None]], what: str) -> T:
        try:
            return await until(probe, what)
        except AssertionError as e:
            told = [f"{x['seq']} {x['kind']} {x['status']} {x['note']}" for x in await self.record(run_id)]
            raise AssertionError("\n".join([str(e), *told])) from None

    async def approvals(self, run_id: str) -> list[Json]:
        """The run's questions, oldest first."""
        found: list[Json] = (await self.get(f"/v1/runs/{run_id}/approvals"))["items"]
        return found[::-1]

    async def asked(self, run_id: str, count: int = 1, *, shown: bool = True) -> list[Json]:
        """The run's questions once there are so many, all to be seen in Slack unless `shown` is False."""

        async def probe() -> list[Json] | None:
            found = await self.approvals(run_id)
            seen = [a for a in found if a["ts"] or not shown]
            return found if len(seen) >= count else None

        return await self._told(run_id, probe, f"{count} question(s)")

    async def decide(
        self, approval: str, verdict: str = "approve", token: str = OPERATOR, **more: Any
    ) -> httpx.Response:
        body = {"verdict": verdict, **more}
        return await self.call("POST", f"/v1/approvals/{approval}/decision", token=token, json=body)

    async def cancel(self, run_id: str, reason: str = "") -> httpx.Response:
        return await self.call("POST", f"/v1/runs/{run_id}/cancel", json={"reason": reason})

    async def resolve(self, run_id: str, choice: str, **more: Any) -> httpx.Response:
        return await self.call("POST", f"/v1/runs/{run_id}/resolve", json={"choice": choice, **more})

    # ------------------------------------------------------------------ Slack

    async def click(
        self, approval: Json, action: str = "approve", user: str = "U0ALICE", reason: str = ""
    ) -> Click:
        """Press a button. Where a rejection opens a window, that is sent off too, with the reason."""
        asks = action == "reject" and "reject_reason" in buttons(self.message(approval))
        pressed = await self.press_button(approval, "reject_reason" if asks else action, user)
        if not asks or not (windows := self.slack.views.stack(user)):
            return pressed
        typed = {"reason": {"reason": reason}} if reason else {}
        return await self.slack.interactivity.submit(windows[-1].id, typed)

    async def press_button(self, approval: Json, action: str, user: str = "U0ALICE") -> Click:
        """One button, whatever it does."""
        return await self.slack.click(approval["channel"], approval["ts"], action, user)

    async def payload(self, approval: Json, action: str = "approve", user: str = "U0ALICE") -> Json:
        """What Slack would send for a press, without sending it: to be altered, or sent late."""
        address, self.slack.interactivity.url = self.slack.interactivity.url, "http://127.0.0.1:1/nowhere"
        asks = action == "reject" and "reject_reason" in buttons(self.message(approval))
        try:
            pressed = await self.press_button(approval, "reject_reason" if asks else action, user)
        finally:
            self.slack.interactivity.url = address
        payload = copy.deepcopy(pressed.payload)
        payload["actions"][0]["action_id"] = action  # a card of an older version rejects at once
        return payload

    async def press(
        self, payload: Json, *, secret: str = SIGNING_SECRET, late: int = 0, door: str = "", **headers: str
    ) -> httpx.Response:
        """Send a payload as Slack does, signed with `secret`, `late` seconds ago."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        stamp = int(self.clock().timestamp()) - late
        signed = {"x-slack-request-timestamp": str(stamp), "x-slack-signature": sign(secret, stamp, body)}
        usual = {"content-type": "application/x-www-form-urlencoded", **signed, **headers}
        door = door or f"{self.base}/slack/interactivity"
        return await self.http.post(door, content=body, headers=usual)

    async def told(self, user: str, count: int = 1) -> str:
        """The newest whisper to a person, once there are so many."""

        async def probe() -> str | None:
            said = self.whispers(user)
            return said[-1] if len(said) >= count else None

        return await until(probe, f"whisper number {count} to {user}")

    def message(self, approval: Json) -> Message:
        """The message of a question."""
        found = self.slack.workspace.find(approval["channel"], approval["ts"])
        assert found is not None
        return found

    def messages(self, approval_id: str) -> list[Message]:
        """Every card that was posted of a question, however often; reminders are none."""
        told = [(m, m.metadata or {}) for m in self.slack.workspace.listed()]
        cards = [(m, about["event_payload"]) for m, about in told if about.get("event_type") == EVENT_TYPE]
        return [m for m, payload in cards if payload.get("request_id") == approval_id]

    async def was_posted(self, approval_id: str) -> bool:
        return bool(self.messages(approval_id))

    def whispers(self, user: str) -> list[str]:
        """What only that person was told."""
        return [m.text for m in self.slack.workspace.listed() if m.only_for == user]

    async def redrawn(self, approval: Json, headline: str) -> Message:
        """The question's message once its headline says so; by then it has no buttons."""

        async def probe() -> bool:
            return headline_of(self.message(approval)).startswith(headline)

        try:
            await until(probe, f"a message that says {headline!r}")
        except AssertionError as e:
            raise AssertionError(f"{e}; it says {headline_of(self.message(approval))!r}") from None
        return self.message(approval)

    # ------------------------------------------------------------------ what the outside saw

    def book(self, name: str = "ledger") -> list[Json]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []

    def bought(self) -> list[str]:
        """What the ledger says was bought, in alphabetical order."""
        return sorted(row["item"] for row in self.book())

    async def begun(self, tool: str, count: int = 1) -> None:
        """Until that tool was started so often."""

        async def probe() -> bool:
            return sum(row["tool"] == tool for row in self.book("starts")) >= count

        await until(probe, f"{count} start(s) of {tool}")

    def let_go(self) -> None:
        """Let the tools that wait go on."""
        (self.folder / "go").touch()

    def creates(self, run_id: str) -> list[Json]:
        """Every create that Gemini was sent for a run, in order; `body` is its body."""
        sent = [r for r in self.gemini.requests if r["operation"] == "create"]
        return [r for r in sent if metadata(r["body"]).get("run") == run_id]

    def interactions(self, run_id: str) -> list[Any]:
        """Every interaction that Gemini took for a run."""
        return [i for i in self.gemini.interactions.all() if i.request.metadata.get("run") == run_id]

    def counts(self, operation: str) -> int:
        return sum(r["operation"] == operation for r in self.gemini.requests)

    async def backlog(self) -> Json:
        """What waits: `deliveries`, `effects_due`, `effects_dead`, `live_runs`."""
        found: Json = (await self.http.get(f"{self.base}/readyz")).json()["backlog"]
        return found

    async def deliveries(self) -> list[Json]:
        """The webhooks the service has taken, oldest first."""

        def job(s: Session) -> list[Json]:
            taken = sa.select(delivery_t).where(delivery_t.c.verdict != "refused")
            rows = s.connection().execute(taken.order_by(delivery_t.c.received_at))
            return [dict(row) for row in rows.mappings()]

        return await self.service.database.read(job)

    async def quiet(self) -> None:
        """Until nothing is due: whatever came in has been worked on."""

        async def probe() -> bool:
            backlog = await self.backlog()
            busy = any(worker.busy for worker in self._hands())
            return not (busy or bool(backlog["deliveries"]) or bool(backlog["effects_due"]))

        await until(probe, "quiet")

    async def whole(self, run_id: str) -> Json:
        """Everything the API tells about a run, to see whether anything changes."""
        return {
            "run": await self.run(run_id),
            "record": await self.record(run_id),
            "approvals": await self.approvals(run_id),
        }

    # ------------------------------------------------------------------ what always holds

    @property
    def running(self) -> bool:
        return self._service is not None


@asynccontextmanager
async def _at_work(services: Sequence[app.Service]) -> AsyncIterator[None]:
    """What those do beside requests; they begin and end at the same time."""
    lives = [service.lifespan(service.web) for service in services]
    await asyncio.gather(*(life.__aenter__() for life in lives))
    try:
        yield
    finally:
        await asyncio.gather(*(life.__aexit__(None, None, None) for life in lives))


@asynccontextmanager
async def staged(
    folder: Path,
    url: str,
    *,
    stand_in: Mapping[str, Any] | None = None,
    start: bool = True,
    **changes: Any,
) -> AsyncIterator[Stage]:
    """A stage with everything running; checked at the end of a story that went well.

    Args:
        url: Of a migrated database.
        stand_in: Fields of `EmulatorSettings`.
        start: False leaves the service to be started by the story.
        changes: Sections laid over the configuration.
    """
    clock, port = Clock(), own_port()
    base = f"http://127.0.0.1:{port}"
    hook = StaticWebhook(uri=f"{base}/webhooks/gemini", secret=HOOK_SECRET)
    chosen = {"think_seconds": THINK_SECONDS, "webhooks": (hook,), "retry_base_seconds": 0.5, "seed": 7}
    gemini_app = build_gemini(EmulatorSettings(**{**chosen, "clock": GeminiClock(clock), **(stand_in or {})}))
    slack_settings = SlackEmulatorSettings(
        signing_secret=SIGNING_SECRET, interactivity_url=f"{base}/slack/interactivity"
    )
    slack_app = build_slack(slack_settings, clock=lambda: clock().timestamp())
    journal = Journal()
    structlog.configure(processors=[journal])
    async with AsyncExitStack() as stack:
        stack.callback(structlog.reset_defaults)
        gemini_url, slack_url = await stack.enter_async_context(together(gemini_app, slack_app))
        write_tools(folder)
        environ = {
            "GEMINI_API_KEY": "a-key-of-the-stage",
            "GEMINI_WEBHOOK_SECRETS": HOOK_SECRET,
            "SLACK_BOT_TOKEN": "xoxb-local",
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "DATABASE_URL": url,
            "ORCHESTRATOR_GEMINI__BASE_URL": gemini_url,
            "ORCHESTRATOR_SLACK__API_URL": f"{slack_url}/api/",
            "ORCHESTRATOR_SLACK__BURST": "1000",  # the channels here hold more than a person reads
        }
        # No connection is kept: one that a restart closed would be no fault of the service's.
        http = httpx.AsyncClient(
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            verify=authorities(),
        )
        await stack.enter_async_context(http)
        stand_ins = gemini_app.state.emulator, slack_app.state.slack
        tree = merged(config(folder), changes)
        made = Stage(*stand_ins, http, clock, folder, url, tree, environ, port, journal)
        stack.push_async_callback(made.stop)
        stack.callback(made.let_go)
        if start:
            await made.start()
        yield made
        await check(made)
