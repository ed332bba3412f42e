"""`orchestrator jobs` as a person types it, against the API of a service that listens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import app, tooling
from orchestrator.cli.jobs import EXIT, KINDS, STATUSES
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.events import (
    CallClaimed,
    CallWaits,
    CreateClaimed,
    InteractionObserved,
    JobClaimed,
    JobHarvested,
    JobObserved,
)
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.jobs import (
    ENDED,
    Harvest,
    JobKind,
    JobReading,
    JobState,
    JobStatus,
    JobWish,
    StoredFile,
)
from orchestrator.domain.model import Policy, Run
from orchestrator.engine import step
from orchestrator.settings import load
from orchestrator.store.database import Database

LINES = [{"key": f"line-{n}", "request": {}} for n in range(1, 16)]
BATCH = JobWish(JobKind.BATCH, {"model": "gemini-3.8-flash", "lines": LINES})
KEYS = [f"line-{n}" for n in range(1, 13)]
FACTS = {"succeeded": 3, "failed": 12, "missing": 0, "failed_keys": KEYS, "missing_keys": []}


def happens(served: Database, run_id: str, *events: Any) -> Run:
    for event in events:
        applied = asyncio.run(served.write(step.apply, run_id, event, policy=Policy(), now=app.now()))
    return applied.run


@pytest.fixture
def waits(shell: Any, served: Database) -> tuple[str, str]:
    """A run and the batch it waits for, which is at work."""
    run_id = json.loads(shell("runs start shop 'A lake.' --json")[1])["id"]
    wish = Assessment("c1", "ask_many", Ruling.ALLOW)
    seen = Snapshot(f"i_{run_id}", "requires_action", (FunctionCall("c1", "ask_many", {}),))
    run = happens(served, run_id, CreateClaimed(1, 1), InteractionObserved(1, 1, seen, (wish,)))
    call = run.turn.calls[0].id
    run = happens(served, run_id, CallClaimed(call, "k1", wish), CallWaits(call, "k1", (BATCH,)))
    job = run.turn.calls[0].jobs[0].id
    live = JobObserved(job, 1, JobReading("batches/b1", JobState.LIVE))
    happens(served, run_id, JobClaimed(job, 1), live)
    return run_id, job


def ends(served: Database, run_id: str, job: str, state: JobState = JobState.DONE) -> None:
    happens(served, run_id, JobObserved(job, 1, JobReading("batches/b1", state, "as it is")))
    if state is JobState.DONE:
        file = StoredFile(f"{run_id}/{job}-1.jsonl", "application/jsonl", 99, "a" * 64)
        happens(served, run_id, JobHarvested(job, Harvest((file,), FACTS)))


def test_the_words_are_the_services_own() -> None:
    assert set(STATUSES) == set(JobStatus)
    assert set(KINDS) == set(JobKind)
    assert set(EXIT) == set(ENDED)


def test_listed_and_shown(shell: Any, served: Database, waits: tuple[str, str]) -> None:
    run_id, job = waits
    assert shell("jobs list --kind video") == (0, "no such job\n", "")
    for query in ("", "--status live", "--kind batch", "--workflow shop", f"--run {run_id}"):
        assert job in shell(f"jobs list {query}")[1]
    assert shell(f"jobs list --run {run_id} --kind batch")[0] == 2
    ends(served, run_id, job)
    [line] = shell("jobs list --json")[1].splitlines()
    assert json.loads(line)["status"] == "succeeded"
    out = shell(f"jobs show {job}")[1]
    assert f"file          {run_id}/{job}-1.jsonl application/jsonl 99 bytes" in out
    assert "failed_keys   line-1, line-2" in out
    assert "line-10 and 2 more" in out
    assert json.loads(shell(f"jobs show {job} --json")[1])["facts"] == FACTS
    shown = shell(f"runs show {run_id}")[1]
    assert f"  job      {job} batch succeeded\n" in shown
    code, _, err = shell("jobs show job_none")
    assert (code, "there is no job" in err) == (1, True)


def test_watched_to_its_end(shell: Any, served: Database, waits: tuple[str, str]) -> None:
    run_id, job = waits
    ends(served, run_id, job)
    assert shell(f"jobs watch {job}") == (0, f"{job} is succeeded\n", "")


def test_a_bad_end_is_an_exit_code(shell: Any, served: Database, waits: tuple[str, str]) -> None:
    run_id, job = waits
    ends(served, run_id, job, JobState.EXPIRED)
    code, out, _ = shell(f"jobs watch {job} --json")
    assert (code, json.loads(out)["said"]) == (1, "as it is")


def test_resubmitting_needs_a_tool_somebody_may_decide_about(
    shell: Any, served: Database, waits: tuple[str, str]
) -> None:
    run_id, job = waits
    code, _, err = shell(f"jobs resubmit {job}")
    assert (code, "must have ended" in err) == (1, True)
    ends(served, run_id, job)
    code, _, err = shell(f"jobs resubmit {job}")
    assert (code, "tools.overrides" in err) == (1, True)


@pytest.mark.parametrize(
    ("kind", "first", "again"),
    [("batch", "run_batch", "resubmit_batch"), ("video", "generate_video", "resubmit_video")],
)
@pytest.mark.parametrize("why", ["somebody may decide", "it is told of", ""])
def test_it_is_there_where_such_jobs_are_and_somebody_may_decide_or_it_is_told_of(
    port: int, kind: str, first: str, again: str, why: str
) -> None:
    config = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    step = {"name": "ask", "kind": kind, "arguments": {"prompts": ["a"]}}
    free = {first: {"approval": "allow"}}
    reasons: dict[str, dict[str, Any]] = {
        "somebody may decide": {"approvals": {"approvers": ["U0ALICE"]}},
        "it is told of": {"tools": {"overrides": {again: {"approval": "allow"}}}},
    }
    more = reasons.get(why, {})
    tools = {"overrides": {**free, **more.get("tools", {}).get("overrides", {})}}
    config |= {**more, "tools": tools, "workflows": {"nightly": {"steps": [step]}}}
    Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    names = [t.name for t in tooling.toolkit(load(Path("config.yaml"))).tools]
    assert (again in names, first in names) == (bool(why), True)
    assert len([name for name in names if name.startswith("resubmit_")]) == bool(why)
