"""The stage of the acceptance stories: the real service between a stand-in Gemini and a local Slack.

All three are served on loopback in one event loop; requests, webhooks and clicks go over real
sockets. One clock with an adjustable lead serves all of them, so that hours pass at once. A story
ends with `Stage.check`: what must hold after every story, whatever happened in it.
"""

import asyncio
import base64
import copy
import hashlib
import json
import random
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import sqlalchemy as sa
import structlog
import yaml
from sqlalchemy.orm import Session

from orchestrator import app, settings
from orchestrator.emulator.gemini.app import build as build_gemini
from orchestrator.emulator.gemini.clock import RealClock
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.emulator.slack.interactivity import Click, sign
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.workspace import Message
from orchestrator.store.database import Database
from orchestrator.store.inbox import delivery_t

Json = dict[str, Any]
T = TypeVar("T")

PATIENCE_SECONDS = 20.0
"""How long a story waits for what must come; far more than it takes, even on a busy machine."""
POLL_SECONDS = 0.03
SLACK = timedelta(seconds=1)
"""An event's time is read before it waits for its run's row, so two that race may be noted a little apart."""
THINK_SECONDS = 0.02
PORTS = range(20_000, 32_000)
"""Below what kernels hand out by themselves, so that a port is still free after a restart."""

HOOK_SECRET = "whsec_" + base64.b64encode(b"the first secret of the webhook").decode()
NEXT_HOOK_SECRET = "whsec_" + base64.b64encode(b"the secret after the rotation").decode()
SIGNING_SECRET = "0123456789abcdef0123456789abcdef"
INSTRUCTION = "You keep a small shop."
ENDED = ("completed", "failed", "cancelled")
TROUBLE = ("effect_failed", "worker_failed", "request_failed", "whisper_failed", "lease_not_renewed")
"""Log lines that say that something was not foreseen."""
OPERATOR = "operator"
TOKENS = {
    OPERATOR: {"scopes": ["trigger", "read", "decide", "operate"]},
    "alice": {"scopes": ["read", "decide"], "user": "U0ALICE"},
    "dana": {"scopes": ["read", "decide"], "user": "U0DANA"},
    "reader": {"scopes": ["read"]},
    "starter": {"scopes": ["trigger"]},
    "stopper": {"scopes": ["operate"]},
    "bygone": {"scopes": ["trigger", "read", "decide", "operate"], "expires": "2020-01-01T00:00:00Z"},
}
GATED = {"charge", "refund"}
TOOLS = (
    "look_up",
    "weigh",
    "charge",
    "refund",
    "demolish",
    "crash",
    "refuse",
    "ship",
    "pack",
    "courier",
    "ask_stock",
    "watch",
)


class Clock:
    """The computer's time plus a lead that only grows."""

    def __init__(self) -> None:
        self.lead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.lead


class GeminiClock(RealClock):
    """Gemini's think times are real, its calendar is ours."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()


@dataclass
class Journal:
    """Every log line of the service, as a structlog processor."""

    lines: list[Json] = field(default_factory=list)

    def __call__(self, _: Any, method: str, event: Any) -> Any:
        self.lines.append({"level": method, **event})
        raise structlog.DropEvent

    def named(self, name: str) -> list[Json]:
        return [line for line in self.lines if line["event"] == name]


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
    _life: AsyncExitStack = field(default_factory=AsyncExitStack)
    _service: app.Service | None = None

    # ------------------------------------------------------------------ the service's life

    async def start(self, **changes: Any) -> None:
        """Build the service from its configuration, with `changes` laid over it, and serve it."""
        self.config = merged(self.config, changes)
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(self.config), encoding="utf-8")
        chosen = settings.load(file, environ=self.environ)
        database = Database(self.url)
        self._life.callback(database.close)
        self._service = app.build(chosen, database, clock=self.clock)
        await self._life.enter_async_context(running(self._service.web, port=self.port))
        await until(self._ready, "readiness")

    async def _ready(self) -> bool:
        """Ready, and Slack has told who we are, so that clicks count."""
        answer = await self.http.get(f"{self.base}/readyz")
        return answer.status_code == 200 and not any(c["detail"] for c in answer.json()["checks"])

    async def stop(self) -> None:
        """Stop the service as SIGTERM does."""
        self._service = None
        await self._life.aclose()

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
        if self._service is not None:
            self._service.worker.wake()

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

    async def click(self, approval: Json, action: str = "approve", user: str = "U0ALICE") -> Click:
        return await self.slack.click(approval["channel"], approval["ts"], action, user)

    async def payload(self, approval: Json, action: str = "approve", user: str = "U0ALICE") -> Json:
        """What Slack would send for a press, without sending it: to be altered, or sent late."""
        address, self.slack.interactivity.url = self.slack.interactivity.url, "http://127.0.0.1:1/nowhere"
        try:
            pressed = await self.click(approval, action, user)
        finally:
            self.slack.interactivity.url = address
        return copy.deepcopy(pressed.payload)

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

    async def past_trouble(self, seconds: float = 5.0) -> None:
        """Let the ordered trouble happen, then the pauses after it pass."""

        async def probe() -> bool:
            return not (self.slack.faults.pending() or self.gemini.faults.view())

        await until(probe, "the end of the trouble")
        await asyncio.sleep(POLL_SECONDS)  # for what failed last to be written down
        self.skip(seconds)

    def message(self, approval: Json) -> Message:
        """The message of a question."""
        found = self.slack.workspace.find(approval["channel"], approval["ts"])
        assert found is not None
        return found

    def messages(self, approval_id: str) -> list[Message]:
        """Every message that was posted about a question, however often."""
        return [
            m
            for m in self.slack.workspace.listed()
            if (m.metadata or {}).get("event_payload", {}).get("request_id") == approval_id
        ]

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
        """The webhooks the service has kept, oldest first."""

        def job(s: Session) -> list[Json]:
            rows = s.connection().execute(sa.select(delivery_t).order_by(delivery_t.c.received_at))
            return [dict(row) for row in rows.mappings()]

        return await self.service.database.read(job)

    async def quiet(self) -> None:
        """Until nothing is due: whatever came in has been worked on."""

        async def probe() -> bool:
            backlog = await self.backlog()
            return not (backlog["deliveries"] or backlog["effects_due"] or self.service.worker.busy)

        await until(probe, "quiet")

    async def whole(self, run_id: str) -> Json:
        """Everything the API tells about a run, to see whether anything changes."""
        return {
            "run": await self.run(run_id),
            "record": await self.record(run_id),
            "approvals": await self.approvals(run_id),
        }

    # ------------------------------------------------------------------ what always holds

    async def check(self) -> None:
        """After every story: nothing twice, nothing unforeseen, records without gaps."""
        strange = [x for x in self.journal.lines if x["event"] in TROUBLE and x["event"] not in self.foreseen]
        assert not strange, strange
        told = str(self.journal.lines)
        assert not [name for name, secret in self.secrets().items() if secret in told]
        twice = {key: n for key, n in Counter(row["key"] for row in self.book()).items() if n > 1}
        assert not twice, f"done more than once: {twice}"
        taken = [tuple(sorted(i.request.metadata.items())) for i in self.gemini.interactions.all()]
        assert len(set(taken)) == len(taken), "one attempt was taken twice by Gemini"
        if self._service is not None:
            for summary in (await self.get("/v1/runs", limit=100))["items"]:
                await self._check_run(await self.run(summary["id"]))

    def secrets(self) -> dict[str, str]:
        """What must never stand in a log."""
        tokens = {name: token_text(name) for name in TOKENS}
        keys = ("GEMINI_API_KEY", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET")
        return {
            **tokens,
            **{key: self.environ[key] for key in keys},
            "hook": HOOK_SECRET.removeprefix("whsec_"),
        }

    async def _check_run(self, run: Json) -> None:
        events = await self.record(run["id"])
        assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
        assert events[0]["kind"] == "RunRequested"
        times = [datetime.fromisoformat(e["at"]) for e in events]
        assert all(b - a > -SLACK for a, b in pairwise(times)), times
        assert events[-1]["status"] == run["status"]
        if run["status"] in ENDED:
            assert run["closed_at"] is not None
        for approval in await self.approvals(run["id"]):
            await self._check_question(approval, run)
        by_id = {c["id"]: c for c in run["calls"]}
        for row in self.book():
            if row["key"] in by_id:
                self._check_effect(row, by_id[row["key"]])
        self._check_results(run)

    async def _check_question(self, approval: Json, run: Json) -> None:
        """A question has one message, and no live button once it is none."""
        assert len(self.messages(approval["id"])) <= 1
        assert (approval["status"] == "pending") <= (run["status"] not in ENDED)
        if approval["ts"] and approval["status"] != "pending":

            async def spent() -> bool:
                return buttons(self.message(approval)) == []

            await until(spent, f"a message without buttons about {approval['id']}")

    def _check_effect(self, row: Json, call: Json) -> None:
        """Nothing happens that was not allowed to."""
        assert call["tool"] == row["tool"]
        if row["tool"] in GATED:
            assert call["approval"]["status"] == "approved", call
        assert row["tool"] != "demolish"

    def _check_results(self, run: Json) -> None:
        """Each continuation names the interaction before it, and exactly its calls."""
        turns = {t["number"]: t for t in run["turns"]}
        for request in self.creates(run["id"]):
            body, number = request["body"], metadata(request["body"])["turn"]
            assert body.get("previous_interaction_id") == turns[number]["previous_id"]
            if number > 1 and "continuation_token" not in body:
                wanted = sorted(c["call_id"] for c in run["calls"] if c["turn"] == number - 1)
                assert sorted(step["call_id"] for step in body["input"]) == wanted


def metadata(body: Any) -> Json:
    """What we sent along with a create."""
    config = body.get("webhook_config", {}) if isinstance(body, dict) else {}
    found: Json = config.get("user_metadata", {})
    return found


def headline_of(message: Message) -> str:
    return str(message.blocks[0]["text"]["text"]) if message.blocks else ""


def text_of(value: Any) -> str:
    """Every text of a message's blocks, one a line."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(text_of, value)))
    if not isinstance(value, dict):
        return ""
    own = value.get("text")
    inner = [text_of(v) for k, v in value.items() if k != "text" or not isinstance(own, str)]
    user = f"<@{value['user_id']}>" if "user_id" in value else ""
    return "\n".join(filter(None, [own if isinstance(own, str) else "", user, *inner]))


def buttons(message: Message) -> list[str]:
    """The action ids a person can press."""
    rows = [block for block in message.blocks if block["type"] == "actions"]
    return [element["action_id"] for row in rows for element in row["elements"]]


async def until(probe: Callable[[], Awaitable[T | None]], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """What `probe` gives, once it is something; fails after `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not (found := await probe()):
        assert loop.time() < end, f"waited {seconds:g} s in vain for {what}"
        await asyncio.sleep(POLL_SECONDS)
    return found


async def stays(probe: Callable[[], Awaitable[Any]], seconds: float = 0.4) -> None:
    """`probe` stays true over a while: for what must not happen."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        assert await probe()
        await asyncio.sleep(POLL_SECONDS)


def call(name: str, call_id: str = "", **arguments: Any) -> Json:
    """A function call as the model makes it."""
    return {"name": name, "arguments": arguments, **({"id": call_id} if call_id else {})}


def asks(*calls: Json, **more: Any) -> Json:
    """A turn in which the model wants these calls made."""
    return {"calls": list(calls), **more}


def says(text: str, refused: str | None = None, **more: Any) -> Json:
    """A turn in which the model says something and is done; `refused` where a result was an error."""
    return {"text": text, **({"text_refused": refused} if refused else {}), **more}


# ---------------------------------------------------------------------- building it


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
        }
        # No connection is kept: one that a restart closed would be no fault of the service's.
        http = httpx.AsyncClient(
            timeout=10, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
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
        await made.check()


@asynccontextmanager
async def together(*apps: Any) -> AsyncIterator[list[str]]:
    """Serve several apps; a server needs a moment to stop, so they stop at the same time."""
    servers = [running(app) for app in apps]
    addresses = [await server.__aenter__() for server in servers]
    try:
        yield addresses
    finally:
        await asyncio.gather(*(server.__aexit__(None, None, None) for server in servers))


def write_tools(folder: Path) -> None:
    (folder / "tools").mkdir(mode=0o700)
    target = folder / "tools" / "shop.py"
    shutil.copyfile(Path(__file__).with_name("shop.py"), target)
    target.chmod(0o600)


def merged(tree: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    """`over` laid over `tree`, section by section."""
    both = {**tree, **over}
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), Mapping):
            both[key] = merged(tree[key], value)
    return both


def config(folder: Path) -> Json:
    """config.yaml with small intervals."""
    return {
        "server": {"graceful_seconds": 0.3, "max_body_bytes": 4096, "max_webhook_bytes": 8192},
        "gemini": {
            "timeout_seconds": 5,
            "reconcile_seconds": 30,
            "waiting_reconcile_seconds": 3600,
            "create_grace_seconds": 1,
            "missing_readings": 3,
        },
        "slack": {"channel": "C0APPR", "response_url_hosts": ["127.0.0.1"], "timeout_seconds": 2},
        "approvals": {"approvers": ["U0ALICE", "U0BOB", "api:operator"], "timeout_seconds": 3600},
        "tools": {"folder": str(folder / "tools"), "modules": ["shop"]},
        "api": {
            "rate_limit_per_minute": 1_000_000,
            "tokens": [
                {"name": name, "sha256": hashlib.sha256(token_text(name).encode()).hexdigest(), **more}
                for name, more in TOKENS.items()
            ],
        },
        "workflows": {
            "shop": workflow(TOOLS),
            "other": workflow(("look_up", "refund")),
            "order": workflow(
                ("look_up",),
                input={
                    "type": "object",
                    "required": ["item", "count"],
                    "properties": {
                        "item": {"type": "string", "minLength": 1, "maxLength": 40},
                        "count": {"type": "integer", "minimum": 1, "maximum": 9},
                    },
                },
                prompt="Please order {item}, {count} times.",
            ),
            "brief": workflow(("look_up",), limits={"max_turns": 2, "max_bad_calls": 1}),
        },
    }


def workflow(tools: Sequence[str], **more: Any) -> Json:
    return {
        "model": "gemini-3.8-flash",
        "system_instruction": INSTRUCTION,
        "generation_config": {"thinking_level": "low"},
        "tools": list(tools),
        **more,
    }


def token_text(name: str) -> str:
    return f"token-of-{name}-0123456789"


def own_port() -> int:
    """A loopback port nobody listens on."""
    for port in random.sample(PORTS, 50):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")
