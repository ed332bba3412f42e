"""The worked tools of the longer workflows: shot lists and takes, a CMS, receipts."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, Request, Response, post

from orchestrator.domain.assessment import CallContext, Consent, Ruling
from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.model import OutcomeKind
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.toolkit import Toolkit, load_modules
from orchestrator.toolkit.confirm import confirming

pytestmark = pytest.mark.asyncio

WORKED = Path(__file__).parents[2] / "tools"
DEFAULTS = Terms(("U1",))
CONTEXT = CallContext("call_1", "run_1", "shop", Actor("U9"), Actor("U1"))
POST = {"title": "Lamp", "text": "It is here.", "film": "run_1/job_1-1.mp4", "source": "https://b.example/1"}


@pytest.fixture
def worked(bench: Any, eager: Any) -> Any:
    return bench(*load_modules(WORKED, ["films", "cms", "records"]), defaults=DEFAULTS, executor=eager)


def made(*sizes: int) -> dict[str, Any]:
    """A film's job as `generate_video` tells it."""
    return {"files": [{"path": f"run_1/{size}.mp4", "bytes": size} for size in sizes]}


async def test_the_shot_list_of_this_repository_fills_a_night(worked: Any) -> None:
    found = (await worked.run({"name": "evening"}, name="read_shotlist")).result
    assert len(found["prompts"]) == len(found["scenes"]) == 50
    assert len(set(found["prompts"])) == 50
    assert len(set(found["scenes"])) == 10


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "There is no shot list 'night'."),
        ("# nothing yet\n", "has 0 films"),
        ("a | b\n" * 51, "has 51 films"),
        ("a | b\nno bar\n", "Line 2"),
        ("| b\n", "Line 1"),
    ],
)
async def test_a_shot_list_that_cannot_be_made_is_told(
    worked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, why: str
) -> None:
    monkeypatch.setenv("SHOTLISTS", str(tmp_path))
    if text is not None:
        (tmp_path / "night.txt").write_text(text)
    outcome = await worked.run({"name": "night"}, name="read_shotlist")
    assert outcome.kind is OutcomeKind.FAILED
    assert why in outcome.result


async def test_a_shot_list_is_found_in_its_folder_only(
    worked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOTLISTS", str(tmp_path / "lists"))
    (tmp_path / "lists").mkdir()
    (tmp_path / "secret.txt").write_text("a | b\n")
    (tmp_path / "lists" / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert "no shot list" in (await worked.run({"name": "link"}, name="read_shotlist")).result
    assert worked.find({"name": "../secret"}, name="read_shotlist").ruling is Ruling.INVALID


async def test_of_each_scene_the_best_take_and_what_failed_is_counted(worked: Any) -> None:
    scenes = ["sea", "sea", "city", "forest"]
    jobs = [made(10), made(30, 20), made(5), made()]
    found = await worked.run({"scenes": scenes, "jobs": jobs}, name="best_takes")
    files = ["run_1/30.mp4", "run_1/5.mp4"]
    assert found.result == {"files": files, "labels": ["sea", "city"], "made": 3, "failed": 1}
    many = {"scenes": [f"s{n}" for n in range(30)], "jobs": [made(n + 1) for n in range(30)]}
    assert len((await worked.run(many, name="best_takes")).result["files"]) == 20
    nothing = await worked.run({"scenes": ["sea"], "jobs": [made()]}, name="best_takes")
    assert nothing.kind is OutcomeKind.FAILED


async def test_a_post_is_tried_again_under_one_key_until_the_cms_has_said_something(
    worked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, str, Any]] = []
    statuses = [503, 429, 201]

    @post("/api/posts")
    async def posts(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
        headers = request.headers
        heard.append((headers["idempotency-key"], headers["authorization"], await request.json()))
        return Response({"id": "p1", "address": "/p1"}, status_code=statuses.pop(0))

    async with running(Litestar([posts], openapi_config=None)) as address:
        monkeypatch.setenv("CMS_URL", f"{address}/api/")
        monkeypatch.setenv("CMS_TOKEN", "t1")
        assert worked.find(POST, name="publish_post").ruling is Ruling.ASK
        done = await worked.run(POST, name="publish_post")
        assert done.result == {"id": "p1", "address": "/p1"}
        assert heard == [("call_1", "Bearer t1", POST)] * 3
        statuses.append(422)
        refused = await worked.run(POST, name="publish_post")
        assert (refused.kind, refused.result) == (OutcomeKind.FAILED, "The CMS does not take it: HTTP 422.")
        assert len(heard) == 4
    gone = await worked.run(POST, name="publish_post")
    assert gone.kind is OutcomeKind.FAILED
    monkeypatch.delenv("CMS_URL")
    assert "CMS_URL" in (await worked.run(POST, name="publish_post")).result


async def test_a_receipt_is_written_once_and_never_changed(
    worked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIPTS", str(tmp_path / "receipts"))
    by = [{"id": "U1", "stage": "risk"}, {"id": "U2", "stage": "legal"}]
    decision = {"subject": "Northwind", "verdict": "accepted", "by": by, "grounds": "A report."}
    first = await worked.run(decision, name="record_decision")
    assert (await worked.run(decision, name="record_decision")).result == first.result
    [file] = (tmp_path / "receipts").iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == first.result["sha256"]
    assert json.loads(file.read_text()) == {
        "receipt": "call_1",
        "run": "run_1",
        "subject": "Northwind",
        "verdict": "accepted",
        "by": by,
        "reason": "",
        "grounds_sha256": hashlib.sha256(b"A report.").hexdigest(),
    }
    other = await worked.run({**decision, "verdict": "not accepted"}, name="record_decision")
    assert other.kind is OutcomeKind.FAILED
    assert json.loads(file.read_text())["verdict"] == "accepted"


async def test_an_approval_step_hands_on_who_said_yes_in_which_stage() -> None:
    toolkit = Toolkit([confirming("confirm_review_decision")], defaults=DEFAULTS)
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    consents = (Consent(Actor("U1", "Ann", "slack"), noon, "risk"), Consent(Actor("U2"), noon, "legal"))
    context = replace(CONTEXT, consents=consents)
    arguments = {"facts": {"n": 1}}
    done = await toolkit.execute("confirm_review_decision", arguments, context, asyncio.Event())
    at = noon.isoformat()
    assert done.result["by"] == [
        {"id": "U1", "name": "Ann", "door": "slack", "stage": "risk", "at": at},
        {"id": "U2", "name": "", "door": "system", "stage": "legal", "at": at},
    ]
