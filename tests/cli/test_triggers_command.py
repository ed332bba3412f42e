"""`orchestrator triggers` as a person types it, against a service that listens."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from cli_kit import Shell

from orchestrator.store.database import Database


@pytest.fixture
def port(port: int) -> int:
    """The same service, with triggers."""
    file = Path("config.yaml")
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["triggers"] = {
        "nightly": {
            "workflow": "shop",
            "cron": "30 2 * * *",
            "timezone": "Europe/Berlin",
            "text": '"Count the stock of " + occurrence.at',
        },
        "news": {"workflow": "shop", "feed": "https://news.example/feed?key=canary", "text": "entry.title"},
    }
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return port


def test_list_show_and_fire(shell: Shell, served: Database) -> None:
    code, out, err = shell("triggers list")
    assert (code, err) == (0, "")
    for word in ("nightly", "cron", "shop", "30 2 * * * Europe/Berlin", "news", "feed"):
        assert word in out
    assert "canary" not in out
    code, out, _ = shell("triggers fire nightly")
    assert code == 0
    run = re.search(r"run (run_\w+) is started", out)
    assert run is not None
    code, out, _ = shell("triggers show nightly")
    assert code == 0
    assert run[1] in out
    assert "fired by env" in out
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", out)
    told = json.loads(shell("triggers show nightly --json")[1])
    assert (told["occurrences"][0]["verdict"], len(told["times"])) == ("started", 5)
    assert shell("triggers fire news")[1] == "news: it is read now\n"
    code, out, _ = shell("""triggers fire news --event '{"title": 5}'""")
    assert (code, out) == (1, "news: refused: fired by env; text: the expression does not make a text\n")


def test_an_unknown_trigger_is_a_no_and_a_broken_event_a_mistake(shell: Shell, served: Database) -> None:
    assert shell("triggers show nope")[0] == 1
    assert shell("triggers fire nope")[0] == 1
    assert shell("triggers fire news --event '{'")[0] == 2


def test_next_asks_nobody(shell: Shell, port: int) -> None:
    code, out, _ = shell("triggers next nightly -n 3")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 3)
    assert all(re.fullmatch(r"\w{3} \d{4}-\d\d-\d\d 0[23]:[03]0 CES?T  \S+Z", line) for line in lines)
    code, out, _ = shell("triggers next nightly -n 2 --json")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [datetime.fromisoformat(t["at"]) for t in told] == [
        datetime.fromisoformat(t["local"]) for t in told
    ]
    assert shell("triggers next news")[0] == 2
    assert "known are news, nightly" in shell("triggers next nope")[2]
