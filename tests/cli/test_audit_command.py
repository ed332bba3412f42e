"""`orchestrator audit` as a person types it."""

import asyncio
import json
from datetime import datetime
from pathlib import Path

import pytest
from cli_kit import Shell
from support.conversation import ANNA
from support.databases import sqlite_copy
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.store.chain import Head, verify
from orchestrator.store.database import Database

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="done"))}


@pytest.fixture
def run_id(port: int, tmp_path: Path) -> str:
    """The settings' database holds one run that ended after an approval."""

    async def tell() -> str:
        url = sqlite_copy(tmp_path / "runs.db")
        async with World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK)}) as world:
            run_id, approval = await world.one_question()
            await world.decide(approval, True, ANNA, reason="she \x1b[31mcalled")
            await world.to_the_end(run_id)
            return run_id

    return asyncio.run(tell())


def change(tmp_path: Path, statement: str) -> None:
    database = Database(f"sqlite:///{tmp_path}/runs.db")
    with database.engine.begin() as conn:
        conn.exec_driver_sql(statement)
    database.close()


def test_verify_of_nothing_says_so(shell: Shell, port: int, tmp_path: Path) -> None:
    sqlite_copy(tmp_path / "runs.db")
    code, out, _ = shell("audit verify")
    assert code == 0
    assert "the chain is empty" in out


def test_verify(shell: Shell, run_id: str, tmp_path: Path) -> None:
    code, out, _ = shell("audit verify --json")
    told = json.loads(out)
    assert (code, told["broken"], told["faults"], told["approvals"]) == (0, None, [], 1)
    head = told["head"]
    code, out, _ = shell(f"audit verify --head {head}")
    assert code == 0
    assert f"the chain ends at {head}" in out
    assert shell("audit verify --head nonsense")[0] == 2

    change(tmp_path, "UPDATE approval SET status = 'rejected'")
    code, out, _ = shell("audit verify")
    assert code == 1
    assert "is rejected, the audit says approved" in out

    last = Head.read(head).seq
    change(tmp_path, f"DELETE FROM audit WHERE seq = {last}")  # noqa: S608
    code, out, _ = shell(f"audit verify --head {head}")
    assert code == 1
    assert f"entry {last} is not there: the chain ends at {last - 1}" in out

    change(tmp_path, "UPDATE audit SET body = replace(body, 'she', 'he') WHERE kind = 'decided'")
    code, out, _ = shell("audit verify --json")
    assert (code, json.loads(out)["broken"]["seq"]) == (1, 3)


def test_an_export_is_the_whole_chain_or_a_part_and_overwrites_nothing(shell: Shell, run_id: str) -> None:
    code, out, _ = shell("audit export --out all.jsonl")
    assert (code, "entries" in out) == (0, True)
    lines = [json.loads(line) for line in Path("all.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [{**line, "run_id": line["run"], "at": datetime.fromisoformat(line["at"])} for line in lines]
    assert verify(rows, "default").broken is None
    assert shell("audit export --from 2 --to 3 --out some.jsonl")[0] == 0
    assert len(Path("some.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    code, _, err = shell("audit export --out all.jsonl")
    assert (code, "cannot be written" in err) == (2, True)


def test_an_export_that_breaks_off_leaves_nothing(shell: Shell, run_id: str, tmp_path: Path) -> None:
    change(tmp_path, "UPDATE audit SET at = 'noon' WHERE seq = 3")
    code, _, err = shell("audit export --out all.jsonl")
    assert (code, "cannot be read" in err) == (1, True)
    assert not Path("all.jsonl").exists()
    assert shell("audit verify")[0] == 1
    assert shell("audit export --to 2 --out some.jsonl")[0] == 0


def test_show(shell: Shell, run_id: str) -> None:
    code, out, _ = shell(f"audit show {run_id}")
    assert code == 0
    for word in ("run_opened", "decided", "anna (slack)", "verdict approve", "run_closed"):
        assert word in out
    assert "\x1b[31m" not in out
    code, out, _ = shell(f"audit show {run_id} --json")
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [*range(1, len(out.splitlines()) + 1)]
    assert shell("audit show run_nobody")[0] == 1
