"""`orchestrator callbacks` as a person types it, against the API of a service that listens."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from cli_kit import Shell
from support.signing import WHSEC

from orchestrator import app
from orchestrator.domain.callbacks import CallbackState
from orchestrator.store import callbacks
from orchestrator.store.callbacks import Attempt, CallbackRow, Patience
from orchestrator.store.database import Database
from orchestrator.store.tables import table

URL = "http://localhost:9/hook"  # nobody listens there


@pytest.fixture(autouse=True)
def calling(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the shop are told to a developer's machine."""
    monkeypatch.setenv("CALLBACK_SECRETS", WHSEC)
    config = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    config |= {"callbacks": {"insecure_hosts": ["localhost:9"]}}
    Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def only(served: Database) -> str:
    def job(s: object) -> str:
        (row,) = s.connection().execute(table(CallbackRow).select()).mappings()  # type: ignore[attr-defined]
        return str(row["id"])

    return asyncio.run(served.read(job))


def failed(served: Database, message: str, *, gone: bool) -> None:
    attempt = Attempt(410, "it answered 410: it wants no more", gone=gone)
    asyncio.run(served.write(callbacks.settle, message, attempt, Patience(), app.now(), 0.5))


def test_list_show_replay_and_enable(shell: Shell, served: Database) -> None:
    assert shell("callbacks list") == (0, "nobody was told of anything yet\n", "")
    assert shell("callbacks addresses") == (0, "no such address\n", "")
    code, told, _ = shell(f"runs start shop hello --json --callback {URL}")
    run = json.loads(told)["id"]
    assert code == 0
    assert shell(f"runs cancel {run}")[0] == 0
    message = only(served)
    code, told, _ = shell("callbacks list --state waiting")
    assert (code, message in told, "localhost:9" in told, "/hook" in told) == (0, True, True, False)
    failed(served, message, gone=True)
    code, told, _ = shell(f"callbacks show {message}")
    assert code == 0
    assert "run.cancelled to localhost:9" in told
    assert "it answered 410" in told
    code, _, why = shell(f"callbacks replay {message}")
    assert (code, "is disabled: enable adr_" in why) == (1, True)
    address = json.loads(shell("callbacks addresses --state disabled --json")[1])["id"]
    assert shell(f"callbacks enable {address}")[1] == (
        f"{address} at localhost:9 is enabled: 1 sent now, 0 were too old\n"
    )
    assert shell(f"callbacks replay {message}") == (0, f"{message} run.cancelled is sent again\n", "")
    row = asyncio.run(served.read(callbacks.one, message))
    assert row is not None
    assert row["state"] is CallbackState.WAITING


def test_an_address_is_tried(shell: Shell, served: Database) -> None:
    code, told, why = shell(f"callbacks test {URL}")
    assert (code, told) == (1, "localhost:9: localhost:9 cannot be reached\n")
    assert "not delivered" in why
    code, _, why = shell("callbacks test https://10.0.0.1/")
    assert (code, "url: its host must be a public address" in why) == (2, True)
    assert shell("callbacks test")[0] == 2
    assert shell("runs start shop hello --callback https://10.0.0.1/")[0] == 2
