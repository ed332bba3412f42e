"""`orchestrator files`: listed and copied over the running service, whole or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy.orm import Session

from orchestrator import app, clients
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Terms
from orchestrator.domain.events import CreateClaimed, InteractionObserved
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.jobs import JobKind, JobStatus
from orchestrator.domain.model import Policy
from orchestrator.engine import step
from orchestrator.settings import load
from orchestrator.store.database import Database
from orchestrator.store.jobs import job_t

MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(3000)


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content


def waiting(shell: Any, served: Database) -> tuple[str, str]:
    """A run with a call that waits; both by their ids."""
    run_id = json.loads(shell("runs start shop 'A lake.' --json")[1])["id"]
    wish = Assessment("c1", "film", Ruling.ASK, {}, digest="9f2c41aa" * 8, terms=Terms(("api:env",)))
    seen = Snapshot(f"i_{run_id}", "requires_action", (FunctionCall("c1", "film", {}),))
    for event in (CreateClaimed(1, 1), InteractionObserved(1, 1, seen, (wish,))):
        applied = asyncio.run(served.write(step.apply, run_id, event, policy=Policy(), now=app.now()))
    return run_id, applied.run.turn.calls[0].id


@pytest.fixture
def path(served: Database, shell: Any) -> str:
    """Of a video that a job of a waiting call has made."""
    run_id, call = waiting(shell, served)
    storage = clients.storage(load(Path("config.yaml")))
    file = asyncio.run(storage.write(f"{run_id}/job_1-1", _one(MP4), accept={"video/mp4"}))

    def record(s: Session) -> None:
        texts = {"key": "", "said": "", "number": 1, "attempt": 1, "readings": 0}
        empty: dict[str, Any] = {"request": {}, "counts": {}, "facts": {}}
        s.execute(
            job_t.insert().values(
                id="job_1",
                run_id=run_id,
                call=call,
                created_at=app.now(),
                kind=JobKind.VIDEO,
                status=JobStatus.SUCCEEDED,
                files=msgspec.to_builtins((file,)),
                **texts,
                **empty,
            )
        )

    asyncio.run(served.write(record))
    return file.path


def test_listed_and_copied(path: str, shell: Any) -> None:
    code, out, _ = shell(f"files list {path.split('/')[0]}")
    assert code == 0
    assert path in out
    code, out, _ = shell(f"files get {path}")
    assert (code, out) == (0, f"job_1-1.mp4: {len(MP4)} bytes\n")
    assert Path("job_1-1.mp4").read_bytes() == MP4
    assert shell(f"files get {path}")[0] == 2  # nothing is written over
    assert shell(f"files get {path} --out here.mp4")[0] == 0


def test_what_is_not_there_or_not_what_it_was(path: str, shell: Any) -> None:
    for wrong, code in ((f"{path}x", 1), ("run_1", 2), ("a/b/c", 2), ("run_1/.x", 2)):
        assert shell(f"files get {wrong} --out out.mp4")[0] == code
    stored = Path("files") / path
    stored.write_bytes(MP4[:-1] + b"x")
    code, _, err = shell(f"files get {path} --out out.mp4")
    assert (code, "checksum" in err) == (3, True)
    assert not Path("out.mp4").exists()
