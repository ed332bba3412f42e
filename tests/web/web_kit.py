"""A whole set of doors on a real database and a real intake, and runs brought to where a test wants them."""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from litestar import Litestar
from sqlalchemy.exc import OperationalError
from support.clock import SettableClock
from support.databases import sqlite_copy

from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Actor, Approval, Terms
from orchestrator.domain.events import CallClaimed, CallCutOff, CreateClaimed, InteractionObserved
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.model import Policy, Recipe, Run
from orchestrator.domain.values import replace
from orchestrator.engine import step
from orchestrator.engine.intake import Intake
from orchestrator.engine.ports import ToolkitPort
from orchestrator.errors import InvalidError
from orchestrator.gemini.webhook import StaticVerifier
from orchestrator.store import questions, runs
from orchestrator.store.database import Database
from orchestrator.web.application import build_app
from orchestrator.web.doors import Check, Doors, Limits, SlackDoor, Token, WorkflowInfo

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = bytes(range(32))
WEBHOOK_SECRET = "whsec_" + base64.b64encode(KEY).decode()
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TEAM, APP, CHANNEL, TS = "T0ACME", "A0APPROVE1", "C0APPR", "1795290000.000100"
TOKENS = {
    name: f"tok-{name}-0123456789abcdef" for name in ("all", "reader", "trigger", "alice", "ops", "old")
}
POLICY = Policy()
DIGEST = "9f2c41aa" * 8
REFUND = {"order_id": "A-1042", "amount_cents": 1250}


@dataclass
class Whispered:
    """Keeps what was whispered; `fail` makes it raise."""

    said: list[dict[str, str]] = field(default_factory=list)
    fail: bool = False

    @property
    def texts(self) -> list[str]:
        """The words alone, in their order."""
        return [one["text"] for one in self.said]

    async def __call__(self, **words: str) -> None:
        if self.fail:
            raise RuntimeError("no Slack today")
        self.said.append(words)


@dataclass(frozen=True)
class Report:
    name: str
    schema: Mapping[str, Any]
    approvers: tuple[str, ...] = ("U0ALICE",)
    module: str = "orders"
    summary: str = "Refund an order."
    approval: str = "required"
    idempotent: bool = False
    timeout_seconds: float = 30.0
    tool_version: str = "1" * 64
    policy_version: str = "2" * 64
    secret: tuple[str, ...] = ()


def render_text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidError("input must be text", [("input", "must be text, not an object")])
    return value


def render_fields(value: object) -> str:
    if not isinstance(value, dict) or set(value) != {"order_id"}:
        raise InvalidError("it does not fit", [("input.order_id", "is missing; must be text")])
    return f"Order {value['order_id']}"


def away(why: str = "connection refused") -> OperationalError:
    """What a database that cannot be asked comes to."""
    return OperationalError("INSERT canary", {}, ConnectionError(why), hide_parameters=True)


class Flaky:
    """What stands behind a door, and fails as `trouble` says while there is any."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind
        self.trouble: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        async def act(*args: Any, **kwargs: Any) -> Any:
            if self.trouble is not None:
                raise self.trouble
            return await getattr(self._behind, name)(*args, **kwargs)

        return act


def _token(name: str, *scopes: str, **more: Any) -> Token:
    return Token(name, hashlib.sha256(TOKENS[name].encode()).hexdigest(), frozenset(scopes), **more)


ALL_TOKENS = (
    _token("all", "trigger", "read", "decide", "operate"),
    _token("reader", "read"),
    _token("trigger", "trigger"),
    _token("alice", "decide", user="U0ALICE"),
    _token("ops", "operate", "decide", "read"),
    _token("old", "trigger", "read", "decide", "operate", expires=NOW),
)
RECIPE = Recipe(workflow="refund", model="gemini-3.8-flash", tools=("refund_order",))
WORKFLOWS = {
    "refund": WorkflowInfo("refund", RECIPE, render_text, "Gives money back."),
    "support": WorkflowInfo(
        "support",
        Recipe(workflow="support", model="gemini-3.8-flash"),
        render_fields,
        input_schema={"type": "object", "properties": {"order_id": {"type": "string"}}},
    ),
}


async def all_fine() -> Sequence[Check]:
    return [Check("schema", True), Check("worker", True), Check("neighbours", True, "Gemini, Slack")]


@dataclass
class House:
    """The doors and what stands behind them."""

    database: Database
    clock: SettableClock
    intake: Intake
    whispered: Whispered
    doors: Doors
    woken: list[int]
    windows: list[dict[str, Any]] = field(default_factory=list)
    trouble: Exception | None = None

    async def open_view(self, trigger_id: str, view: Mapping[str, Any], *, push: bool = False) -> None:
        """Keeps the windows that were opened; raises `trouble` if there is any."""
        if self.trouble is not None:
            raise self.trouble
        self.windows.append(dict(view) | {"pushed": push})

    def app(self, **changes: Any) -> Litestar:
        return build_app(replace(self.doors, **changes))

    def write(self, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A database job outside the event loop, by the writer thread all the same."""
        import asyncio

        return asyncio.run(self.database.write(job, *args, **kwargs))

    def apply(self, run_id: str, *events: Any) -> Run:
        for event in events:
            applied = self.write(step.apply, run_id, event, policy=POLICY, now=self.clock())
        return applied.run

    def run(self, text: str = "Order A-1042 arrived broken.", *, asked_before: tuple[str, ...] = ()) -> str:
        import asyncio

        recipe = replace(RECIPE, asked_before=asked_before)
        started = asyncio.run(self.intake.start(recipe, text, Actor("api:all", "all", "api")))
        return started.run_id

    def stands(self, approval: Approval) -> Approval:
        """The question as it is now."""
        found: Approval = self.write(questions.load_approval, approval.id)[0]
        return found

    def asked(
        self,
        *,
        calls: int = 1,
        approvers: tuple[str, ...] = ("U0ALICE", "api:ops"),
        terms: Terms | None = None,
        tool: str = "refund_order",
        arguments: Mapping[str, Any] = REFUND,
        asked_before: tuple[str, ...] = (),
    ) -> Run:
        """A run that waits for people; `terms` instead of `approvers`."""
        run_id = self.run(asked_before=asked_before)
        terms = terms or Terms(approvers, CHANNEL)
        names = [f"fc_{i}" for i in range(calls)]
        snapshot = Snapshot(
            f"int_{run_id}",
            "requires_action",
            tuple(FunctionCall(n, tool, arguments) for n in names),
            usage={"total": 12},
        )
        seen = tuple(Assessment(n, tool, Ruling.ASK, arguments, digest=DIGEST, terms=terms) for n in names)
        return self.apply(run_id, CreateClaimed(1, 1), InteractionObserved(1, 1, snapshot, seen))

    def question(self, **more: Any) -> Approval:
        """The one question of such a run."""
        approval = self.asked(**more).turn.calls[0].approval
        assert approval is not None
        return approval

    def doubtful(self, *, calls: int = 1) -> Run:
        """A run whose calls were cut off while running."""
        run_id = self.run()
        names = [f"fc_{i}" for i in range(calls)]
        snapshot = Snapshot(
            f"int_{run_id}", "requires_action", tuple(FunctionCall(n, "refund_order", {}) for n in names)
        )
        seen = tuple(Assessment(n, "refund_order", Ruling.ALLOW) for n in names)
        run = self.apply(run_id, CreateClaimed(1, 1), InteractionObserved(1, 1, snapshot, seen))
        for call, wish in zip(run.turn.calls, seen, strict=True):
            run = self.apply(
                run_id, CallClaimed(call.id, "claim1", wish), CallCutOff(call.id, "claim1", "power cut")
            )
        return run

    def load(self, run_id: str) -> Run:
        return self.write(runs.load, run_id)

    def look_tools_up(self, toolkit: ToolkitPort) -> None:
        """From here on the terms of the moment, and other arguments, are looked up there."""
        self.intake = intake_on(self.database, self.clock, self.woken, toolkit)
        self.doors = replace(self.doors, intake=self.intake)


def intake_on(
    database: Database, clock: SettableClock, woken: list[int], toolkit: ToolkitPort | None = None
) -> Intake:
    """The one way in; `woken` counts how often a worker was told."""
    told = {"wake": lambda: woken.append(1), "stop_tools": lambda run_id: None}
    return Intake(database, policy=POLICY, clock=clock, toolkit=toolkit, **told)


def build(
    tmp_path: Path,
    *,
    limits: Limits | None = None,
    teams: Collection[str] = (TEAM,),
    readiness: Callable[[], Awaitable[Sequence[Check]]] = all_fine,
) -> House:
    database = Database(sqlite_copy(tmp_path / "web.db"))
    clock, whispered, woken = SettableClock(NOW), Whispered(), []
    intake = intake_on(database, clock, woken)
    doors = Doors(
        database=database,
        intake=intake,
        clock=clock,
        tokens=ALL_TOKENS,
        workflows=WORKFLOWS,
        tools=(Report("refund_order", {"type": "function", "name": "refund_order"}),),
        webhook=StaticVerifier([WEBHOOK_SECRET]),
        whisper=whispered,
        readiness=readiness,
        slack=SlackDoor([SLACK_SECRET], lambda: frozenset(teams), APP),
        limits=limits or Limits(64 * 1024, 64 * 1024, requests_per_minute=6000),
    )
    house = House(database, clock, intake, whispered, doors, woken)
    slack = SlackDoor([SLACK_SECRET], lambda: frozenset(teams), APP, open_view=house.open_view)
    house.doors = replace(doors, slack=slack)
    return house


def bearer(name: str = "all") -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"}


def event_body(interaction: str = "v1_abc", kind: str = "interaction.completed", **more: Any) -> bytes:
    event = {"type": kind, "version": "v1", "timestamp": "2026-11-21T12:00:00Z", "data": {"id": interaction}}
    return json.dumps({**event, **more}).encode()


def signed(
    body: bytes, *, webhook_id: str = "msg_1", at: datetime = NOW, key: bytes = KEY, entry: str | None = None
) -> dict[str, str]:
    """Headers of a delivery, made by hand and not by the code under test."""
    stamp = str(int(at.timestamp()))
    mac = hmac.new(key, f"{webhook_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp,
        "webhook-signature": entry if entry is not None else "v1," + base64.b64encode(mac).decode(),
    }


def click_payload(
    approval: str, *, kind: str = "approve", user: str = "U0ALICE", **more: Any
) -> dict[str, Any]:
    revision, digest = more.pop("revision", 1), more.pop("digest", DIGEST[:16])
    payload: dict[str, Any] = {
        "type": "block_actions",
        "api_app_id": APP,
        "trigger_id": "7391.8210.5f0c",
        "team": {"id": TEAM, "domain": "acme"},
        "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": TEAM},
        "container": {"type": "message", "message_ts": TS, "channel_id": CHANNEL},
        "channel": {"id": CHANNEL, "name": "approvals"},
        "message": {"type": "message", "app_id": APP, "ts": TS, "text": "Approval needed"},
        "response_url": "https://hooks.slack.com/actions/T0ACME/1/x",
        "actions": [
            {
                "type": "button",
                "action_id": kind,
                "block_id": "decide:1",
                "value": f"{approval}|{revision}|{digest}",
                "action_ts": "1795290042.118200",
            }
        ],
    }
    return {**payload, **more}


def form(payload: object) -> bytes:
    return urlencode({"payload": payload if isinstance(payload, str) else json.dumps(payload)}).encode()


def slack_signed(body: bytes, *, at: datetime = NOW, secret: str = SLACK_SECRET) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    mac = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": f"v0={mac}",
    }


def later(**span: float) -> datetime:
    return NOW + timedelta(**span)
