"""How a story is told: the run's record as it grows, who is asked, and what it all came to."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from orchestrator.cli.entries import sentence
from orchestrator.cli.hosting import Host, own_process
from orchestrator.cli.stage import PATIENCE_SECONDS, POLL_SECONDS, Stage

Json = dict[str, Any]


@dataclass
class Teller:
    """Tells a story to whoever looks.

    Args:
        auto: People's buttons are pressed by the story itself.
        verdict: `approve` or `reject`, where it does.
        host: Runs the service.
    """

    auto: bool
    verdict: str = "approve"
    host: Host = own_process
    console: Console = field(default_factory=Console)

    def say(self, text: str) -> None:
        self.console.print(text)

    def begin(self, title: str, text: str) -> None:
        """What is played, and what is not as in real life."""
        self.console.print(Panel(text, title=title, width=min(self.console.width, 110)))

    def result(self, run: Mapping[str, Any], rows: Sequence[tuple[str, str]]) -> None:
        """The closed record, and what the world outside saw."""
        table = Table(title="The closed record", show_header=False)
        for name in ("id", "status", "reason", "output"):
            if run[name]:
                table.add_row("run" if name == "id" else name, escape(_short(str(run[name]))))
        for row in rows:
            table.add_row(*map(escape, row))
        self.console.print()
        self.console.print(table)


Asked = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""What a story does when people can see a question: the approval's id, and where it stands in Slack."""


async def start(stage: Stage, teller: Teller, workflow: str, text: str) -> str:
    """Start a run over HTTP; its id."""
    teller.say(f"\n[bold]POST /v1/workflows/{workflow}/runs[/] {escape(repr(text))}")
    answer = await stage.api.post(
        f"/v1/workflows/{workflow}/runs",
        json={"input": text},
        headers={"idempotency-key": secrets.token_hex(8)},
    )
    answer.raise_for_status()
    run_id = str(answer.json()["id"])
    teller.say(f"[bold]{answer.status_code}[/] {run_id}\n")
    return run_id


async def triggered(stage: Stage, teller: Teller, trigger: str) -> str:
    """The run a trigger has started, once it has."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            told = await stage.get(f"/v1/triggers/{trigger}")
            for occurrence in told["occurrences"]:
                if occurrence["run"]:
                    teller.say(f"\nthe trigger [bold]{trigger}[/] ({escape(told['waits_for'])}) has started")
                    teller.say(f"{occurrence['run']} for {escape(occurrence['key'])}\n")
                    return str(occurrence["run"])
            await asyncio.sleep(POLL_SECONDS)


async def follow(
    stage: Stage,
    teller: Teller,
    run_id: str,
    asked: Asked,
    until: Callable[[Json], bool] = lambda run: False,
    seen: int = 0,
) -> tuple[Json, int]:
    """Tell each new entry of the run's history until its record is closed, or `until` says so.

    Of long jobs only how far they are is told. Returns the run, and the last entry that was told.
    """
    progress = ""
    async with asyncio.timeout(PATIENCE_SECONDS if teller.auto else None):
        while True:
            events = (await stage.get(f"/v1/runs/{run_id}/events", after=seen, limit=100))["items"]
            for event in events:
                seen = event["seq"]
                if not event["kind"].startswith("Job"):
                    _tell(teller, event["at"], event["status"], sentence(event))
                if event["kind"] == "ApprovalPosted":
                    await asked(event["data"]["approval"], event["data"])
            run = await stage.get(f"/v1/runs/{run_id}")
            jobs = run["progress"]["jobs"]
            if jobs and jobs != progress:
                _tell(teller, run["updated_at"], run["status"], jobs)
                progress = jobs
            if not events and (run["closed_at"] or until(run)):
                return run, seen
            await asyncio.sleep(POLL_SECONDS)


def _tell(teller: Teller, at: str, status: str, text: str) -> None:
    teller.say(f"  {at[11:19]}  [cyan]{status:<10}[/] {escape(_short(text))}")


def _short(text: str, most: int = 400) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def asking(stage: Stage, teller: Teller, who: str, what: str) -> None:
    """That a person is asked, and where."""
    if teller.auto:
        pressed = f"pressing [bold]{what}[/] through Slack's wire"
        teller.say(f"\n  [bold yellow]A person is asked[/] at {stage.page(who)}; {pressed}\n")
    else:
        teller.say(f"\n  [bold yellow]A person is asked.[/] Open {stage.page(who)} and press a button.\n")
