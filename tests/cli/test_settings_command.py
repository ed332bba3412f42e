"""`orchestrator settings check`: what stops a start, and what deserves a look."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from support.signing import WHSEC

from orchestrator.cli import cli
from orchestrator.cli.examination import Finding

CALLED = '{"news": {"model": "gemini-3.8-flash", "callback": {"url": "%s"}}}'


def check(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    secrets: str,
    text: str = "body.t",
    command: str = "settings check",
) -> Result:
    """The command over a configuration with one trigger that takes deliveries."""
    config = {
        "slack": {"enabled": False},
        "webhooks": {"mode": "poll"},
        "workflows": {"news": {"model": "gemini-3.8-flash"}},
        "triggers": {"hook": {"workflow": "news", "webhook": True, "text": text}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    told = {"GEMINI_API_KEY": "k", "ORCHESTRATOR_API_TOKEN": "t" * 32, "TRIGGER_SECRETS": secrets}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(cli, ["--config", str(folder / "config.yaml"), *command.split()])


def test_what_deserves_a_look_is_told_and_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = check(tmp_path, monkeypatch, f"hook={WHSEC}")
    assert (good.exit_code, good.stderr) == (0, "")
    ended = check(tmp_path, monkeypatch, f"hook={WHSEC};until=2020-01-01T00:00:00Z")
    assert ended.exit_code == 0
    assert ended.stderr.startswith("look: trigger_secrets: every secret of hook has ended")
    assert ended.stdout.startswith("good: 1 workflows")


def test_what_would_stop_the_start_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = check(tmp_path, monkeypatch, f"others={WHSEC}")
    assert other.exit_code != 0
    assert "triggers.hook.webhook: needs a secret" in f"{other.output}{other.exception}"
    odd = check(tmp_path, monkeypatch, f"hook={WHSEC}", text="body.")
    assert odd.exit_code != 0
    assert "triggers.hook.text" in f"{odd.output}{odd.exception}"


STOPPING = {
    "callbacks.secrets": {"ORCHESTRATOR_WORKFLOWS": CALLED % "https://hooks.example.com/x"},
    "workflows.news.callback.url": {
        "ORCHESTRATOR_WORKFLOWS": CALLED % "https://10.0.0.1/x",
        "CALLBACK_SECRETS": WHSEC,
    },
    "storage.url": {"ORCHESTRATOR_STORAGE__URL": "/dev/null/files"},
    "media.ffmpeg": {"ORCHESTRATOR_MEDIA__FFMPEG": "/nowhere/ffmpeg"},
    "work.dispatcher": {"ORCHESTRATOR_WORK__DISPATCHER": "pgqueuer"},
}


@pytest.mark.parametrize("command", ["settings check", "doctor"])
@pytest.mark.parametrize("says", STOPPING)
def test_what_would_stop_the_start_behind_the_settings_is_found_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, command: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("ORCHESTRATOR_GEMINI__BASE_URL", "http://127.0.0.1:1")
    for name, value in STOPPING[says].items():
        monkeypatch.setenv(name, value)
    told = check(tmp_path, monkeypatch, f"hook={WHSEC}", command=command)
    assert told.exit_code != 0
    assert f"{says}: " in f"{told.output}{told.exception}"


@pytest.mark.parametrize(
    ("secrets", "text", "says"),
    [
        (f"others={WHSEC}", "body.t", "missing │ triggers   │ triggers.hook.webhook: needs a secret"),
        (f"hook={WHSEC}", "body.", "missing │ triggers   │ triggers.hook.text"),
        (f"hook={WHSEC}", "body.t", "ok      │ triggers   │ hook"),
    ],
)
def test_the_doctor_finds_what_would_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secrets: str, text: str, says: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("ORCHESTRATOR_GEMINI__BASE_URL", "http://127.0.0.1:1")
    assert says in check(tmp_path, monkeypatch, secrets, text, "doctor").output


@pytest.mark.parametrize("odd", ["[postgres]", "[/]", "[red]\x1b[31m"])
def test_the_doctor_says_what_it_found_letter_by_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """Findings hold neighbours' words, and `pip install 'gemini-orchestrator[postgres]'`."""

    async def examine(_: object) -> list[Finding]:
        return [Finding("bad", "Slack", f"first\nit says {odd} too")]

    monkeypatch.setattr("orchestrator.cli.examination.examine", examine)
    told = check(tmp_path, monkeypatch, f"hook={WHSEC}", command="doctor")
    assert isinstance(told.exception, SystemExit)
    assert f"it says {odd.replace(chr(27), '?')} too" in told.output
