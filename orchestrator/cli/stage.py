"""The demo's stage: a stand-in Gemini and a local Slack in this process, and the service."""

import asyncio
import base64
import json
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.panel import Panel

from orchestrator.cli.hosting import Host, Hosted
from orchestrator.emulator.gemini.app import build as build_gemini
from orchestrator.emulator.gemini.clock import RealClock
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import authorities, free_port, running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.errors import ConfigError
from orchestrator.settings import strict_yaml

PATIENCE_SECONDS = 60.0
"""How long one step may take when nobody is asked."""
POLL_SECONDS = 0.1
ALICE = "U0ALICE"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
Json = dict[str, Any]


class Calendar(RealClock):
    """Think times are real, the calendar can be moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.lead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.lead

    def unix(self) -> float:
        return self.now().timestamp()


@dataclass(frozen=True)
class Setting:
    """What a story wants of its stage.

    Args:
        gemini: Of `EmulatorSettings`, where it is not as usual.
        changes: Laid over ./config.yaml; none uses it as it is.
        environ: Added to the service's environment.
        moves: Clock and calendar of all three are the stage's own, from this instant on.
    """

    gemini: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    moves: datetime | None = None


@dataclass
class Stage:
    """Where everything runs.

    Args:
        api: A client of the service; it carries the token.
        hands: A client of the local Slack, for what people do there.
        environ: The service's.
    """

    slack: str
    api: httpx.AsyncClient
    hands: httpx.AsyncClient
    folder: Path
    emulator: Emulator
    environ: Mapping[str, str]
    calendar: Calendar
    hosted: Hosted

    async def get(self, path: str, **params: Any) -> Json:
        """What the API says."""
        answer = await self.api.get(path, params=params)
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    async def slack_does(self, what: str, **how: Any) -> None:
        """Somebody presses or types something in the local Slack, which tells the service as Slack does."""
        (await self.hands.post(f"/_emulator/{what}", json=how)).raise_for_status()

    def page(self, user: str = ALICE) -> str:
        """Where a person sees the local Slack."""
        return f"{self.slack}/?as={user}"

    def leap(self, to: datetime) -> None:
        """Let everybody's clock be `to`. Only of a stage that `moves`."""
        self.calendar.lead += to - self.calendar.now()
        self.hosted.moved(self.calendar.lead)

    async def command(self, *words: str) -> str:
        """What `orchestrator <words>` prints about this service. Raises `RuntimeError` where it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestrator",
            *words,
            env={**self.environ, "COLUMNS": "120"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"orchestrator {' '.join(words)} ended with {process.returncode}: {said!r}")
        return said.decode()


@asynccontextmanager
async def staged(console: Console, host: Host, setting: Setting | None = None) -> AsyncIterator[Stage]:
    """Everything running; at the end nothing of it is left.

    Args:
        host: Runs the service.

    Raises:
        ConfigError: It does not start; its own words say why.
    """
    setting = setting or Setting()
    port, calendar = free_port(), Calendar()
    if setting.moves is not None:
        calendar.lead = setting.moves - calendar.now()
    secret = {
        "GEMINI_WEBHOOK_SECRETS": "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
        "SLACK_SIGNING_SECRET": secrets.token_hex(16),
        "ORCHESTRATOR_API_TOKEN": secrets.token_urlsafe(24),
    }
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-demo-")))
        service = f"http://127.0.0.1:{port}"
        gemini_app = build_gemini(_gemini(setting, service, secret, calendar))
        slack_app = build_slack(_slack(service, secret), clock=calendar.unix)
        gemini = await stack.enter_async_context(running(gemini_app))
        slack = await stack.enter_async_context(running(slack_app))
        environ = {**_environment(gemini, slack, port, folder), **secret, **setting.environ}
        if setting.changes:
            environ["ORCHESTRATOR_CONFIG"] = str(_configured(setting.changes, folder))
        lead = None if setting.moves is None else calendar.lead
        hosted = await stack.enter_async_context(host(environ, folder, lead))
        bearer = {"authorization": f"Bearer {secret['ORCHESTRATOR_API_TOKEN']}"}
        api, hands = _client(service, bearer), _client(slack)
        for client in (api, hands):
            await stack.enter_async_context(client)
        await _ready(api, hosted, folder)
        stage = Stage(slack, api, hands, folder, gemini_app.state.emulator, environ, calendar, hosted)
        places = {"service": service, "stand-in Gemini": gemini, "local Slack": stage.page()}
        console.print(_map({**places, "database, files": folder}))
        yield stage


def _map(places: Mapping[str, object]) -> Panel:
    """Where a person finds each of them."""
    lines = "\n".join(f"{name:17}{place}" for name, place in places.items())
    return Panel.fit(lines, title="Everything runs on this machine")


def _gemini(
    setting: Setting, service: str, secret: Mapping[str, str], calendar: Calendar
) -> EmulatorSettings:
    hook = StaticWebhook(uri=f"{service}/webhooks/gemini", secret=secret["GEMINI_WEBHOOK_SECRETS"])
    return EmulatorSettings(
        **{"think_seconds": 0.6, "webhooks": (hook,), "clock": calendar, **setting.gemini}
    )


def _slack(service: str, secret: Mapping[str, str]) -> SlackEmulatorSettings:
    return SlackEmulatorSettings(
        signing_secret=secret["SLACK_SIGNING_SECRET"],
        interactivity_url=f"{service}/slack/interactivity",
        commands_url=f"{service}/slack/commands",
        events_url=f"{service}/slack/events",
    )


def _client(address: str, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """Of something on this machine: nothing of it goes through a proxy."""
    return httpx.AsyncClient(
        base_url=address, headers=headers, timeout=10, verify=authorities(), trust_env=False
    )


def _environment(gemini: str, slack: str, port: int, folder: Path) -> dict[str, str]:
    """This process's environment without any real account or proxy, and the stage's addresses in it."""
    foreign = ("GEMINI_", "GOOGLE_API_KEY", "SLACK_", "ORCHESTRATOR_", "DATABASE_URL", "CMS_", "TRIGGER_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith((*foreign, "CALLBACK_", "SHOTLISTS"))}
    direct = {k: v for k, v in kept.items() if k.lower() not in _PROXIES}
    return direct | {
        "GEMINI_API_KEY": "demo-key",
        "SLACK_BOT_TOKEN": "xoxb-local",
        "DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "ORDERS_LEDGER": str(folder / "ledger.jsonl"),
        "RECEIPTS": str(folder / "receipts"),
        "ORCHESTRATOR_GEMINI__BASE_URL": gemini,
        "ORCHESTRATOR_SLACK__API_URL": f"{slack}/api/",
        "ORCHESTRATOR_SLACK__RESPONSE_URL_HOSTS": "127.0.0.1",
        "ORCHESTRATOR_STORAGE__URL": f"file://{folder / 'files'}",
        "ORCHESTRATOR_SERVER__PORT": str(port),
        "ORCHESTRATOR_LOG__LEVEL": "warning",
    }


def _configured(changes: Mapping[str, Any], folder: Path) -> Path:
    """./config.yaml with the changes of a story.

    Raises:
        ConfigError: There is none, or it is no YAML.
    """
    try:
        told = strict_yaml.parse(Path("config.yaml").read_bytes()).tree
    except OSError as e:
        raise ConfigError(f"./config.yaml cannot be read: {e.strerror}; the demo plays its workflows") from e
    except strict_yaml.YamlError as e:
        raise ConfigError(f"./config.yaml:{e.line}: {e}") from e
    path = folder / "config.yaml"
    path.write_text(json.dumps(_laid_over(told or {}, changes)), encoding="utf-8")  # which is YAML, too
    return path


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = _laid_over(below, value) if both else value  # type: ignore[arg-type]  # looked at
    return merged


async def _ready(api: httpx.AsyncClient, hosted: Hosted, folder: Path) -> None:
    """Wait for the service to take work; its own words if it does not."""
    why = f"was not ready within {PATIENCE_SECONDS:.0f} s"
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not hosted.ended:
                try:
                    if (await api.get("/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                await asyncio.sleep(POLL_SECONDS)
        why = "did not start"
    except TimeoutError:
        pass  # told below, as the other way to fail
    log = folder / "service.log"
    raise ConfigError(f"the service {why}:\n{log.read_text() if log.exists() else ''}")
