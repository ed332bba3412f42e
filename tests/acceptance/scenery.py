"""What stands on the stage before a story begins: config, callers, clock, journal, the model's lines."""

import asyncio
import base64
import hashlib
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from orchestrator.emulator.gemini.clock import RealClock
from orchestrator.emulator.serving import running

Json = dict[str, Any]

HOOK_SECRET = "whsec_" + base64.b64encode(b"the first secret of the webhook").decode()
NEXT_HOOK_SECRET = "whsec_" + base64.b64encode(b"the secret after the rotation").decode()
SIGNING_SECRET = "0123456789abcdef0123456789abcdef"
INSTRUCTION = "You keep a small shop."
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
TOOLS = (
    "look_up",
    "weigh",
    "charge",
    "discount",
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


def call(name: str, call_id: str = "", **arguments: Any) -> Json:
    """A function call as the model makes it."""
    return {"name": name, "arguments": arguments, **({"id": call_id} if call_id else {})}


def asks(*calls: Json, **more: Any) -> Json:
    """A turn in which the model wants these calls made."""
    return {"calls": list(calls), **more}


def says(text: str, refused: str | None = None, **more: Any) -> Json:
    """A turn in which the model says something and is done; `refused` where a result was an error."""
    return {"text": text, **({"text_refused": refused} if refused else {}), **more}


LEASE_SECONDS = 120
"""None is to run out on a busy machine; who wants one to run out skips so much time."""


def config(folder: Path) -> Json:
    """config.yaml with small intervals."""
    return {
        "server": {"graceful_seconds": 0.3, "max_body_bytes": 4096, "max_webhook_bytes": 8192},
        "gemini": {
            "timeout_seconds": 60,
            "reconcile_seconds": 30,
            "waiting_reconcile_seconds": 3600,
            "create_grace_seconds": 1,
            "missing_readings": 3,
        },
        "work": {"lease_seconds": LEASE_SECONDS},
        "slack": {"channel": "C0APPR", "response_url_hosts": ["127.0.0.1"], "timeout_seconds": 30},
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


def merged(tree: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    """`over` laid over `tree`, section by section."""
    both = {**tree, **over}
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), Mapping):
            both[key] = merged(tree[key], value)
    return both


def write_tools(folder: Path) -> None:
    (folder / "tools").mkdir(mode=0o700)
    target = folder / "tools" / "shop.py"
    shutil.copyfile(Path(__file__).with_name("shop.py"), target)
    target.chmod(0o600)


def token_text(name: str) -> str:
    return f"token-of-{name}-0123456789"


@asynccontextmanager
async def together(*apps: Any) -> AsyncIterator[list[str]]:
    """Serve several apps; a server needs a moment to stop, so they stop at the same time."""
    servers = [running(app) for app in apps]
    addresses = [await server.__aenter__() for server in servers]
    try:
        yield addresses
    finally:
        await asyncio.gather(*(server.__aexit__(None, None, None) for server in servers))
