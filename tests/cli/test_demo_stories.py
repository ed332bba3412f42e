"""`orchestrator demo`: each story to its end. One by the command itself, the others served in here."""

import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from subprocess import run as run_process
from typing import Any

import pytest
from rich.console import Console
from support.databases import sqlite_copy
from support.signing import WHSEC

from orchestrator import app
from orchestrator.cli.hosting import Hosted
from orchestrator.cli.stage import Stage, _environment
from orchestrator.cli.stories import content, overnight, play
from orchestrator.cli.stories.telling import Teller
from orchestrator.emulator.serving import free_port, running
from orchestrator.settings import load, strict_yaml
from orchestrator.store.database import Database

ROOT = Path(__file__).parents[2]
WIDE = 4000


@dataclass
class Here:
    """Implements `Hosted`, as a clock too."""

    service: app.Service | None = None
    lead: timedelta = timedelta()
    ended: bool = False

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.lead

    def moved(self, lead: timedelta) -> None:
        self.lead = lead
        assert self.service is not None
        assert self.service.worker is not None
        self.service.worker.wake()


@pytest.fixture
def teller(monkeypatch: pytest.MonkeyPatch) -> Teller:
    """Tells into a text; the service is served by this process, which saves starting one."""

    @asynccontextmanager
    async def host(environ: Mapping[str, str], folder: Path, lead: timedelta | None) -> AsyncIterator[Hosted]:
        for name in ("CMS_URL", "RECEIPTS", "ORDERS_LEDGER"):
            monkeypatch.setenv(name, environ.get(name, ""))
        settings = load(None, environ)
        here = Here(lead=lead or timedelta())
        database = Database(sqlite_copy(folder / "demo.db"))
        try:
            here.service = app.build(settings, database, clock=here)
            async with running(here.service.web, port=settings.server.port):
                yield here
        finally:
            database.close()

    monkeypatch.chdir(ROOT)
    return Teller(auto=True, host=host, console=Console(file=StringIO(), width=WIDE))


def nothing_left(said: str) -> bool:
    """Whether the folder it named is gone."""
    [folder] = re.findall(r"database, files +(\S+)", said)
    return not Path(folder).exists()


async def told(story: str, teller: Teller) -> str:
    """What the story said, which came out right. The temporary folder must be gone."""
    code = await play(story, teller)
    said: str = teller.console.file.getvalue()  # type: ignore[attr-defined]  # the fixture's own
    assert code == 0, said
    assert nothing_left(said)
    return said


@pytest.mark.asyncio
async def test_a_refund_is_in_the_shops_own_ledger(teller: Teller) -> None:
    assert re.search(r"refunds in the shop's own ledger +│ 1 ", await told("refund", teller))


@pytest.mark.asyncio
async def test_a_post_is_sent_back_once_and_published_once_though_an_answer_got_lost(teller: Teller) -> None:
    said = await told("content", teller)
    assert re.search(r"asked to pick +│ 2 times", said)
    assert re.search(r"calls the CMS heard +│ 2 ", said)
    assert said.count("published as post-") == 1
    assert "has started\nrun_" in said
    assert "for https://blog.example.com/lamp" in said


def test_a_tool_that_posts_to_the_stage_is_told_of_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    environ = _environment("http://127.0.0.1:1", "http://127.0.0.1:2", 3, tmp_path)
    assert not [name for name in environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]


@pytest.mark.asyncio
@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_a_review_is_put_on_record_whatever_was_decided(teller: Teller, verdict: str) -> None:
    teller.verdict = verdict
    said = await told("review", teller)
    receipt = {
        "approve": "accepted: alice (U0ALICE) for risk, then bob (U0BOB) for legal",
        "reject": "not accepted: step decision: rejected",
    }
    assert receipt[verdict] in said
    assert "bob (slack)" in said.partition("orchestrator audit show")[2]


@pytest.mark.timeout(300)
def test_fifty_films_of_one_night_by_the_command_itself() -> None:
    """It has the service as a process of its own, on a clock that is moved on. No proxy is asked."""
    done = run_process(
        [sys.executable, "-m", "orchestrator", "demo", "overnight", "--auto"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(WIDE), "HTTP_PROXY": f"http://127.0.0.1:{free_port()}"},
        capture_output=True,
        timeout=240,
        check=False,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    assert re.search(r"films begun at Gemini +│ 50, 0 of them twice", said)
    assert re.search(r"files in the storage +│ 50, 50 of them", said)
    assert "08:00 in Berlin" in said.partition("The films are there")[2].partition("A person is asked")[0]
    assert nothing_left(said)


@pytest.mark.asyncio
async def test_the_night_is_not_missed_by_a_machine_that_is_slow_to_start(
    teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(stage: Stage, teller: Teller, dusk: datetime) -> bool:
        stage.leap(stage.calendar.now() + timedelta(minutes=10))
        await overnight._armed(stage, dusk)
        return True

    monkeypatch.setattr(overnight, "_night", slowly)
    assert await overnight.tell(teller)


def test_what_does_not_come_out_right_is_no_success() -> None:
    closed = {"status": "completed", "outputs": {"pick": {"answer": {"file": "a.mp4"}}}}
    post, other = {"film": "a.mp4"}, {"film": "b.mp4"}
    by_itself = Teller(auto=True)
    assert content.right(closed, [post], by_itself)
    for posts in ([], [post, post], [other]):
        assert not content.right(closed, posts, by_itself)
    assert not content.right({"status": "failed"}, [], by_itself)
    declined = Teller(auto=True, verdict="reject")
    assert content.right({"status": "failed"}, [], declined)
    assert not content.right({"status": "failed"}, [post], declined)


def test_the_triggers_that_stand_commented_out_are_those_the_demo_switches_on(tmp_path: Path) -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    [block] = re.findall(r"^# triggers:\n(?:#   .*\n)+", text, re.MULTILINE)
    uncommented = re.sub("^# ?", "", block, flags=re.MULTILINE)
    both: dict[str, Any] = strict_yaml.parse(uncommented.encode()).tree["triggers"]
    assert both["dusk"] == {**overnight.TRIGGER, "text": "'evening'"}
    assert both["news"]["input"] == content.FIELDS
    changed = {**strict_yaml.parse(text.encode()).tree, "triggers": both}
    (tmp_path / "config.yaml").write_text(json.dumps(changed), encoding="utf-8")
    secrets = {"GEMINI_API_KEY": "k", "GEMINI_WEBHOOK_SECRETS": WHSEC}
    secrets |= {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "0123456789abcdef"}
    assert not load(ROOT / "config.yaml", secrets).triggers
    assert set(load(tmp_path / "config.yaml", secrets).triggers) == {"dusk", "news"}
