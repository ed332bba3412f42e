"""A service that listens on this machine, and a shell to type commands in."""

import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
import yaml
from cli_kit import TOKEN, Shell
from support.databases import sqlite_copy
from support.signing import WHSEC

from orchestrator import app, cli
from orchestrator.emulator.serving import free_port
from orchestrator.settings import load
from orchestrator.store.database import Database


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A folder with a config.yaml whose service listens at that port, once it is started."""
    monkeypatch.chdir(tmp_path)
    Path("tools").mkdir()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    monkeypatch.setenv("GEMINI_WEBHOOK_SECRETS", WHSEC)
    monkeypatch.setenv("ORCHESTRATOR_API_TOKEN", TOKEN)
    monkeypatch.setenv("COLUMNS", "200")
    chosen = free_port()
    config = {
        "slack": {"enabled": False},
        "server": {"port": chosen, "host": "0.0.0.0"},  # noqa: S104
        "workflows": {"shop": {"model": "gemini-3.8-flash"}},
    }
    Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return chosen


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs a command; its exit code, output and complaints."""

    def run(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["orchestrator", *shlex.split(line)])
        code = 0
        try:
            cli.main()
        except SystemExit as e:
            code = int(e.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def served(port: int, tmp_path: Path) -> Iterator[Database]:
    """The service's own database, while it serves at its port."""
    opened = Database(sqlite_copy(tmp_path / "runs.db"))
    service = app.build(load(Path("config.yaml")), opened)
    config = uvicorn.Config(service.web, host="127.0.0.1", port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield opened
    server.should_exit = True
    thread.join()
    opened.close()
