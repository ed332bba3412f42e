"""`orchestrator emulator gemini`: a help that tells everything, options that arrive."""

import asyncio
import sys

import httpx
import pytest
from click.testing import CliRunner

from orchestrator.cli.emulator import emulator
from orchestrator.emulator.gemini.faults import KINDS


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fault", "create:dream"], "no fault of"),
        (["--fault", "create"], "expected operation:kind"),
        (["--webhook", "https://x.example"], "as many --secret"),
        (["--retention", "long"], "paid, free or a number"),
    ],
)
def test_mistakes_are_named(options: list[str], said: str) -> None:
    refused = CliRunner().invoke(emulator, ["gemini", *options], env={"COLUMNS": "200"})
    assert (refused.exit_code, said in refused.output) == (2, True)


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
            line = (await program.stdout.readline()).decode()
        address = next(word for word in line.split() if word.startswith("http://"))
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
            faults = (await http.get("/_emulator/faults")).json()["faults"]
            moved = await http.post("/_emulator/clock/advance", json={"seconds": 5})
            stranger = await http.get("/v1/interactions/x", headers={"x-goog-api-key": "l"})
        assert (faults[0]["kind"], faults[0]["times"], len(faults) > 20) == ("not_found", None, True)
        assert (moved.status_code, stranger.status_code) == (200, 401)
    finally:
        program.terminate()
        await program.wait()
