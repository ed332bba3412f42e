"""`orchestrator runs` as a person types it, against the API of a service that listens."""

import asyncio
import json
from typing import Any

import pytest
from cli_kit import Shell

from orchestrator import app
from orchestrator.cli.runs import CHOICES, STATUSES
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.events import Choice, CreateClaimed, CreateRefused, InteractionObserved
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.model import Policy, RunStatus
from orchestrator.engine import step
from orchestrator.store.database import Database


def happens(served: Database, run_id: str, *events: Any) -> None:
    for event in events:
        asyncio.run(served.write(step.apply, run_id, event, policy=Policy(), now=app.now()))


def started(shell: Shell) -> str:
    code, out, _ = shell("runs start shop 'Refund A-17.'")
    assert code == 0
    assert out.endswith(" is queued\n")
    return out.split()[0]


def test_the_words_are_the_services_own() -> None:
    assert set(STATUSES) == set(RunStatus)
    assert set(CHOICES) == set(Choice)


@pytest.mark.parametrize("option", ["--key", "--callback"])
def test_an_option_left_empty_is_not_taken_for_one_left_out(
    shell: Shell, served: Database, option: str
) -> None:
    """As from a variable that is not set: whoever gives a key wants one run, not two."""
    code, out, err = shell(f"runs start shop hello {option} ''")
    assert (code, out) == (2, "")
    assert option.replace("--key", "idempotency_key").removeprefix("--") in err
    assert shell("runs list") == (0, "no run was started yet\n", "")


def test_start_list_show_cancel(shell: Shell, served: Database) -> None:
    assert shell("runs list") == (0, "no run was started yet\n", "")
    run_id = started(shell)
    assert (
        shell("runs start shop 'Refund A-17.' --key k1")[1]
        == shell("runs start shop 'Refund A-17.' --key k1")[1]
    )
    assert run_id in shell("runs list --status queued --workflow shop")[1]
    assert shell("runs list --status failed") == (0, "no such run\n", "")
    lines = shell("runs list --json")[1].splitlines()
    assert {json.loads(line)["status"] for line in lines} == {"queued"}
    seen = Snapshot("i1", "completed", output="Done.\nReally.")
    happens(served, run_id, CreateClaimed(1, 1), InteractionObserved(1, 1, seen))
    out = shell(f"runs show {run_id}")[1]
    assert "output     Done.\noutput     Really.\n" in out
    assert json.loads(shell(f"runs show {run_id} --json")[1])["output"] == "Done.\nReally."
    code, _, err = shell(f"runs cancel {run_id} --reason late")
    assert (code, "completed" in err) == (1, True)
    other = started(shell)
    assert shell(f"runs cancel {other}") == (0, f"{other} is cancelled\n", "")


def test_a_run_that_waits_for_a_person_is_settled_or_taken_up(shell: Shell, served: Database) -> None:
    run_id = started(shell)
    wish = Assessment("c1", "gone", Ruling.UNKNOWN, reason="there is no such tool")
    asks = Snapshot("i1", "requires_action", (FunctionCall("c1", "gone", {}),))
    happens(
        served,
        run_id,
        CreateClaimed(1, 1),
        InteractionObserved(1, 1, asks, (wish,)),
        CreateClaimed(2, 1),
        CreateRefused(2, 1, "HTTP 400", "invalid_request"),
    )
    assert run_id in shell("runs list --status attention")[1]
    out = shell(f"runs show {run_id}")[1]
    assert "gone {}: settled failed\n  because  " in out
    assert "there is no such tool" in out
    assert shell(f"runs resolve {run_id} retry") == (0, f"{run_id} is resuming\n", "")
    happens(served, run_id, CreateClaimed(2, 2), CreateRefused(2, 2, "HTTP 400", "invalid_request"))
    code, out, _ = shell(f"runs restart {run_id}")
    assert (code, f"goes on with the work of {run_id}" in out) == (0, True)
    assert shell(f"runs restart {run_id}")[1] == out
    assert f"restart of {run_id}" in shell(f"runs show {out.split()[0]}")[1]
    assert shell(f"runs resolve {run_id} give_up")[0] == 1


@pytest.mark.parametrize("line", ["runs show run_x", "runs restart run_x", "runs start nothing hi"])
def test_what_is_not_there_is_said(line: str, shell: Shell, served: Database) -> None:
    code, out, err = shell(line)
    assert (code, out) == (1, "")
    assert "there is no" in err.replace("\n", " ")


def test_input_that_does_not_fit_names_the_field(shell: Shell, served: Database) -> None:
    code, _, err = shell("""runs start shop '{"order": 1}'""")
    assert code == 2
    assert "input" in err
