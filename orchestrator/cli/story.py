"""The demo's story: three servers, one run, every step told as it happens."""

import asyncio
import base64
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from orchestrator.cli.entries import sentence
from orchestrator.emulator.gemini.app import build as build_gemini
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook
from orchestrator.emulator.serving import free_port, running
from orchestrator.emulator.slack.app import build as build_slack
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.errors import ConfigError

INPUT = "Order A-1042 arrived broken. Please refund it."
APPROVER = "U0ALICE"
PATIENCE_SECONDS = 60.0
"""How long one step may take when nobody is asked."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything runs. `api` carries the token."""

    gemini: str
    slack: str
    service: str
    api: httpx.AsyncClient
    folder: Path


async def tell(*, auto: bool, verdict: str) -> int:
    """Play the story; 0 when the record closed as it should."""
    console = Console()
    if (story := asyncio.current_task()) is not None:  # so that a killed demo leaves no service behind
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, story.cancel)
    async with _stage(console) as stage:
        run_id = await _trigger(stage, console)
        run = await _follow(stage, console, run_id, auto=auto, verdict=verdict)
        await _record(stage, console, run)
    return 0 if run["status"] == "completed" else 1


@asynccontextmanager
async def _stage(console: Console) -> AsyncIterator[Stage]:
    """Both stand-ins in this process, the service as a process of its own, as it is deployed."""
    port = free_port()
    service = f"http://127.0.0.1:{port}"
    hook_secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    token = secrets.token_urlsafe(24)
    signing = secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-demo-")))
        hook = StaticWebhook(uri=f"{service}/webhooks/gemini", secret=hook_secret)
        gemini_app = build_gemini(EmulatorSettings(think_seconds=0.6, webhooks=(hook,)))
        slack_app = build_slack(
            SlackEmulatorSettings(
                signing_secret=signing,
                interactivity_url=f"{service}/slack/interactivity",
                commands_url=f"{service}/slack/commands",
                events_url=f"{service}/slack/events",
            )
        )
        gemini = await stack.enter_async_context(running(gemini_app))
        slack = await stack.enter_async_context(running(slack_app))
        env = _environment(gemini, slack, port, folder) | {
            "GEMINI_WEBHOOK_SECRETS": hook_secret,
            "SLACK_SIGNING_SECRET": signing,
            "ORCHESTRATOR_API_TOKEN": token,
        }
        await stack.enter_async_context(_service(env, folder))
        api = await stack.enter_async_context(
            httpx.AsyncClient(base_url=service, headers={"authorization": f"Bearer {token}"}, timeout=10)
        )
        await _ready(api, folder)
        console.print(
            Panel.fit(
                f"service          {service}\n"
                f"stand-in Gemini  {gemini}\n"
                f"local Slack      {slack}/?as={APPROVER}\n"
                f"database         {folder / 'demo.db'}",
                title="Everything runs on this machine",
            )
        )
        yield Stage(gemini, slack, service, api, folder)


def _environment(gemini: str, slack: str, port: int, folder: Path) -> dict[str, str]:
    """This process's environment without any real account, and the stage's addresses in it."""
    foreign = ("GEMINI_", "GOOGLE_API_KEY", "SLACK_", "ORCHESTRATOR_", "DATABASE_URL")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return kept | {
        "GEMINI_API_KEY": "demo-key",
        "SLACK_BOT_TOKEN": "xoxb-local",
        "DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "ORDERS_LEDGER": str(folder / "ledger.jsonl"),
        "ORCHESTRATOR_GEMINI__BASE_URL": gemini,
        "ORCHESTRATOR_SLACK__API_URL": f"{slack}/api/",
        "ORCHESTRATOR_SLACK__RESPONSE_URL_HOSTS": "127.0.0.1",
        "ORCHESTRATOR_SERVER__PORT": str(port),
        "ORCHESTRATOR_LOG__LEVEL": "warning",
    }


@asynccontextmanager
async def _service(env: Mapping[str, str], folder: Path) -> AsyncIterator[None]:
    with (folder / "service.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "orchestrator", "serve", env=dict(env), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(api: httpx.AsyncClient, folder: Path) -> None:
    """Wait for the service to take work; its own words if it does not."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    if (await api.get("/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                if not (log := (folder / "service.log").read_text()).isspace() and "orchestrator:" in log:
                    raise ConfigError(f"the service did not start:\n{log}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        log = (folder / "service.log").read_text()
        raise ConfigError(f"the service was not ready within {PATIENCE_SECONDS:.0f} s:\n{log}") from None


async def _trigger(stage: Stage, console: Console) -> str:
    console.print(f"\n[bold]POST /v1/workflows/refund/runs[/] {INPUT!r}")
    answer = await stage.api.post(
        "/v1/workflows/refund/runs", json={"input": INPUT}, headers={"idempotency-key": secrets.token_hex(8)}
    )
    answer.raise_for_status()
    run_id = str(answer.json()["id"])
    console.print(f"[bold]{answer.status_code}[/] {run_id}\n")
    return run_id


async def _follow(stage: Stage, console: Console, run_id: str, *, auto: bool, verdict: str) -> dict[str, Any]:
    """Tell each new entry of the run's history, until the record is closed."""
    seen, clicked = 0, False
    async with asyncio.timeout(PATIENCE_SECONDS if auto else None):
        while True:
            events = (await stage.api.get(f"/v1/runs/{run_id}/events", params={"after": seen})).json()[
                "items"
            ]
            for event in events:
                seen = event["seq"]
                line = escape(sentence(event))
                console.print(f"  {event['at'][11:23]}  [cyan]{event['status']:<10}[/] {line}")
                if event["kind"] == "ApprovalPosted" and not clicked:
                    clicked = True
                    await _ask(stage, console, event["data"], auto=auto, verdict=verdict)
            run: dict[str, Any] = (await stage.api.get(f"/v1/runs/{run_id}")).json()
            if run["closed_at"] and not events:
                return run
            await asyncio.sleep(0.1)


async def _ask(
    stage: Stage, console: Console, posted: Mapping[str, Any], *, auto: bool, verdict: str
) -> None:
    page = f"{stage.slack}/?as={APPROVER}"
    if not auto:
        console.print(f"\n  [bold yellow]A person is asked.[/] Open {page} and press a button.\n")
        return
    console.print(
        f"\n  [bold yellow]A person is asked[/] at {page}; pressing {verdict.title()} through Slack's wire\n"
    )
    asks = verdict == "reject"  # the button opens a window, in which a reason may be given
    press = {"channel": posted["channel"], "ts": posted["ts"], "user": APPROVER}
    async with httpx.AsyncClient(base_url=f"{stage.slack}/_emulator", timeout=10) as client:
        button = {"action_id": "reject_reason" if asks else verdict}
        (await client.post("/click", json=press | button)).raise_for_status()
        if asks:
            typed = {"reason": {"reason": "Not without a photo of the damage."}}
            sent = {"user": APPROVER, "values": typed}
            (await client.post("/submit", json=sent)).raise_for_status()


async def _record(stage: Stage, console: Console, run: Mapping[str, Any]) -> None:
    """The closed record, and what the world outside saw."""
    table = Table(title="The closed record", show_header=False)
    table.add_row("run", run["id"])
    table.add_row("status", run["status"])
    table.add_row("output", run["output"])
    table.add_row("interactions", str(len(run["turns"])))
    for call in run["calls"]:
        asked = call["approval"] and call["approval"]["status"]
        table.add_row(
            f"call {call['tool']}", f"{call['outcome']}" + (f", {asked} by a person" if asked else "")
        )
    table.add_row("tokens", str(run["usage"].get("total_tokens", 0)))
    ledger = stage.folder / "ledger.jsonl"
    refunds = len(ledger.read_text().splitlines()) if ledger.exists() else 0
    table.add_row("refunds in the shop's own ledger", str(refunds))
    console.print()
    console.print(table)
