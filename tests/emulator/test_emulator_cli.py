"""`orchestrator emulator gemini`: a help that tells everything, options that arrive."""

import asyncio
import socket
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from click.testing import CliRunner

from orchestrator.cli.emulator import GEMINI_HELP, _whom, emulator
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.faults import KINDS
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.errors import ConfigError


def test_the_help_names_every_fault_and_mode() -> None:
    shown = CliRunner().invoke(emulator, ["gemini", "--help"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    words = set(shown.output.split())
    assert {kind for kinds in KINDS.values() for kind in kinds} <= words
    assert {"static", "dynamic", "--storm", "--retention", "POST", "/_emulator/clock/advance"} <= words


def test_the_local_slack_tells_how_it_is_steered() -> None:
    shown = CliRunner().invoke(emulator, ["slack", "--help"], env={"COLUMNS": "100"})
    wanted = {"--service", "--socket-mode", "--rate-limits", "/_emulator/switches", "/_emulator/event,"}
    assert wanted <= set(shown.output.split())


def test_the_local_slack_tells_whom_a_config_may_name() -> None:
    said = _whom(SlackEmulatorSettings())
    wanted = "slack.channel C0APPR; approvals.approvers of U0ALICE, U0BOB, U0DANA, S0APPROVERS"
    assert said == f"for config.yaml: {wanted}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fault", "create:dream"], "no fault of"),
        (["--fault", "create"], "expected operation:kind"),
        (["--webhook", "https://x.example"], "as many --secret"),
        (["--retention", "long"], "paid, free or a number"),
        (["--webhook", "https://x.example", "--secret", "abc"], "must be whsec_ and base64"),
        (["--webhook", "https://x.example", "--secret", "whsec_"], "must be whsec_ and base64"),
        (["--port", "70000"], "70000 is not in the range"),
        (["--think", "-1"], "-1.0 is not in the range"),
    ],
)
def test_mistakes_are_named(options: list[str], said: str) -> None:
    refused = CliRunner().invoke(emulator, ["gemini", *options], env={"COLUMNS": "200"})
    assert (refused.exit_code, said in refused.output) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scenarios", "{file}"], "--scenarios: expected the keys"),
        (["--webhook", "nowhere", "--secret", "whsec_YWJj"], "--webhook: uri: 'nowhere' is not"),
        (["--port", "{taken}"], "cannot be listened on: Address already in use"),
    ],
)
def test_what_cannot_be_started_names_its_option(options: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("turns: []")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {"file": str(tmp_path / "wrong.yaml"), "taken": str(taken.getsockname()[1])}
        refused = CliRunner().invoke(emulator, ["gemini", *(o.format(**given) for o in options)])
    assert isinstance(refused.exception, ConfigError)
    assert said in str(refused.exception)


@pytest.mark.parametrize("option", ["--service", "--interactivity"])
def test_the_local_slack_needs_an_address_to_send_to(option: str) -> None:
    refused = CliRunner().invoke(emulator, ["slack", option, "nowhere"], env={"COLUMNS": "200"})
    assert (refused.exit_code, "must be http:// or https://" in refused.output) == (2, True)


def test_the_scenario_in_the_help_can_be_played() -> None:
    source = yaml.safe_load(GEMINI_HELP.partition("\b\n")[2].partition("\n\n")[0])
    assert source.keys() == {"scenarios", "jobs"}
    assert Emulator(EmulatorSettings(scenarios=source)).scenarios.add(source) == ["late order"]


@pytest.mark.asyncio
async def test_it_serves_what_it_was_told_to() -> None:
    options = ["--port", "0", "--clock", "virtual", "--key", "k=team", "--retention", "free"]
    options += ["--fault", "get:not_found,times=forever", "--storm"]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", "emulator", "gemini", *options, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(60):
            line, variables = [(await program.stdout.readline()).decode() for _ in range(2)]
        address = next(word for word in line.split() if word.startswith("http://"))
        wanted = {f"ORCHESTRATOR_GEMINI__BASE_URL={address}", "GEMINI_API_KEY=k"}
        assert {*wanted, "ORCHESTRATOR_WEBHOOKS__MODE=poll"} <= {*variables.split()}
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
            faults = (await http.get("/_emulator/faults")).json()["faults"]
            moved = await http.post("/_emulator/clock/advance", json={"seconds": 5})
            stranger = await http.get("/v1/interactions/x", headers={"x-goog-api-key": "l"})
        assert (faults[0]["kind"], faults[0]["times"], len(faults) > 20) == ("not_found", None, True)
        assert (moved.status_code, stranger.status_code) == (200, 401)
    finally:
        program.terminate()
        await program.wait()
