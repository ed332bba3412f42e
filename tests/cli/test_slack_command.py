"""`orchestrator slack`: a manifest before there is any token, and what the check ends with."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
import yaml

from orchestrator.emulator.serving import free_port
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackEmulatorSettings


@pytest.fixture
def slack(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSlack]:
    """A workspace of its own, and settings that ask people there."""
    app, chosen = build(SlackEmulatorSettings()), free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=chosen, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    config = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    config["slack"] = {"channel": "C0APPR", "api_url": f"http://127.0.0.1:{chosen}/api/"}
    config["approvals"] = {"approvers": ["S0APPROVERS"]}
    Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-local")
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "local-signing-secret")
    yield app.state.slack
    server.should_exit = True
    thread.join()


def test_the_check_ends_with_what_it_found(slack: LocalSlack, shell) -> None:
    code, told, _ = shell("slack check --post --json")
    found = {line["what"]: line for line in map(json.loads, told.splitlines())}
    assert (code, [f["state"] for f in found.values()]) == (0, ["ok"] * 5)
    assert list(found) == [
        *("token", "scopes", "channel C0APPR", "user group S0APPROVERS", "test card in C0APPR")
    ]
    slack.switches.paid_plan = False
    code, told, err = shell("slack check")
    assert code == 1
    assert "plan_upgrade_required" in told
    assert "not set up" in err
    code, told, _ = shell("doctor")
    assert "S0APPROVERS" in told


def test_a_manifest_needs_no_token(port: int, shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell("slack manifest")[0] == 2  # nobody said where we are
    code, told, _ = shell("slack manifest --socket-mode --name 'Our approvals'")
    assert (code, yaml.safe_load(told)["display_information"]["name"]) == (0, "Our approvals")
    monkeypatch.setenv("ORCHESTRATOR_PUBLIC_URL", "https://hitl.example.com")
    code, told, _ = shell("slack manifest --json")
    assert json.loads(told)["settings"]["interactivity"]["request_url"].startswith(
        "https://hitl.example.com/"
    )
    assert shell("slack check")[0] == 2  # Slack is off in these settings
