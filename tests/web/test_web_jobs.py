"""Long jobs by the API: listed, shown with what they made, told of in their run, resubmitted."""

from typing import Any

import pytest
from litestar.testing import TestClient
from support.toolkit import FakeToolkit, Rule
from web_kit import House, bearer

from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Actor
from orchestrator.domain.events import (
    CallClaimed,
    CallFinished,
    CallWaits,
    CreateClaimed,
    InteractionObserved,
    JobClaimed,
    JobGraceEnded,
    JobHarvested,
    JobObserved,
    JobUncertain,
    StepBegun,
)
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.jobs import Harvest, JobKind, JobReading, JobState, JobWish, StoredFile
from orchestrator.domain.model import Outcome, OutcomeKind, Recipe
from orchestrator.domain.pipeline import Step, StepKind, Thinker
from orchestrator.domain.resubmission import FILMS, RESUBMIT_BATCH, RESUBMIT_VIDEO, WORKFLOW

LINES = [{"key": f"line-{n}", "request": {"contents": []}} for n in range(1, 151)]
BATCH = JobWish(JobKind.BATCH, {"model": "gemini-3.8-flash", "lines": LINES})
FILM = JobWish(JobKind.VIDEO, {"model": "veo-3.1", "prompt": "a harbour", "parameters": {}})
FACTS: dict[str, Any] = {
    "succeeded": 10,
    "failed": 120,
    "missing": 20,
    "failed_keys": [f"line-{n}" for n in range(1, 121)],
    "missing_keys": [f"line-{n}" for n in range(131, 151)],
}


def waiting(house: House, *wishes: JobWish) -> tuple[str, list[str]]:
    """A run whose one call waits for jobs; its id and theirs."""
    run_id = house.run()
    seen = Snapshot(f"i_{run_id}", "requires_action", (FunctionCall("c1", "refund_order", {}),))
    wish = Assessment("c1", "refund_order", Ruling.ALLOW)
    run = house.apply(run_id, CreateClaimed(1, 1), InteractionObserved(1, 1, seen, (wish,)))
    call = run.turn.calls[0].id
    run = house.apply(run_id, CallClaimed(call, "k1", wish), CallWaits(call, "k1", wishes))
    return run_id, [j.id for j in run.turn.calls[0].jobs]


def begins(house: House, run_id: str, job: str, remote: str) -> None:
    house.apply(run_id, JobClaimed(job, 1), JobObserved(job, 1, JobReading(remote, JobState.LIVE)))


def ends(house: House, run_id: str, job: str, remote: str, facts: dict[str, Any] | None = None) -> None:
    file = StoredFile(f"{run_id}/{job}-1.jsonl", "application/jsonl", 12, "a" * 64)
    done = JobReading(remote, JobState.DONE, counts={"requests": 150})
    house.apply(run_id, JobObserved(job, 1, done), JobHarvested(job, Harvest((file,), facts or {})))


@pytest.fixture
def tooled(house: House) -> House:
    """A house in which the tool that resubmits is registered."""
    house.look_tools_up(FakeToolkit(dict.fromkeys((RESUBMIT_BATCH, RESUBMIT_VIDEO), Rule(Ruling.ASK))))
    return house


def test_a_batch_is_shown_with_all_it_made_and_listed_in_short(client: TestClient, house: House) -> None:
    run_id, [job] = waiting(house, BATCH)
    begins(house, run_id, job, "batches/b1")
    ends(house, run_id, job, "batches/b1", FACTS)
    shown = client.get(f"/v1/jobs/{job}", headers=bearer()).json()
    assert (shown["run"], shown["tool"], shown["model"]) == (run_id, "refund_order", "gemini-3.8-flash")
    assert (shown["status"], shown["remote"], shown["counts"]) == (
        "succeeded",
        "batches/b1",
        {"requests": 150, "succeeded": 10, "failed": 120},
    )
    [file] = shown["files"]
    assert file["link"] == f"/v1/files/{run_id}/{job}-1.jsonl"
    assert shown["facts"] == FACTS
    assert shown["links"]["resubmit"] == f"/v1/jobs/{job}/resubmit"
    assert "request" not in shown
    for path in ("/v1/jobs", f"/v1/runs/{run_id}/jobs"):
        [listed] = client.get(path, headers=bearer()).json()["items"]
        assert listed["facts"]["failed_keys"] == FACTS["failed_keys"][:100]
        assert {**listed, "facts": FACTS} == shown
    assert client.get("/v1/jobs/job_nobody", headers=bearer()).status_code == 404
    assert client.get("/v1/runs/run_nobody/jobs", headers=bearer()).status_code == 404


def test_page_by_page_and_by_what_they_are(client: TestClient, house: House) -> None:
    run_id, films = waiting(house, *(FILM,) * 5)
    _, [batch] = waiting(house, BATCH)
    begins(house, run_id, films[0], "models/veo-3.1/operations/op1")
    found, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/v1/jobs?limit=2{cursor and f'&cursor={cursor}'}", headers=bearer()).json()
        found += [j["id"] for j in page["items"]]
        cursor = page["next"]
    assert sorted(found) == sorted([*films, batch])
    listed = lambda query: [  # noqa: E731
        j["id"] for j in client.get(f"/v1/jobs?{query}", headers=bearer()).json()["items"]
    ]
    assert listed("kind=batch") == [batch]
    assert listed("status=live") == [films[0]]
    assert listed("workflow=nobody") == []
    assert len(listed("workflow=refund")) == 6
    in_order = client.get(f"/v1/runs/{run_id}/jobs", headers=bearer()).json()["items"]
    assert [j["id"] for j in in_order] == films
    assert client.get("/v1/jobs?status=vanished", headers=bearer()).status_code == 400


def test_a_run_tells_how_far_its_jobs_are(client: TestClient, house: House) -> None:
    run_id, films = waiting(house, *(FILM,) * 5)
    for n, job in enumerate(films):
        begins(house, run_id, job, f"models/veo-3.1/operations/op{n}")
    for n, job in enumerate(films[:3]):
        house.clock.now = house.clock.now.replace(minute=10)
        ends(house, run_id, job, f"models/veo-3.1/operations/op{n}")
    shown = client.get(f"/v1/runs/{run_id}", headers=bearer()).json()
    assert shown["progress"]["jobs"] == "3 of 5 jobs done"
    assert shown["progress"]["left_seconds"] == 600.0  # ten minutes each, two at once
    [call] = shown["calls"]
    assert [j["status"] for j in call["jobs"]] == ["succeeded"] * 3 + ["live"] * 2
    assert client.get(f"/v1/runs/{run_id}/calls", headers=bearer()).json()["items"] == [call]


def test_a_run_with_steps_tells_where_it_is(client: TestClient, house: House) -> None:
    import asyncio

    steps = (
        Step("ask", StepKind.TOOL, tool="refund_order", arguments={"order": {"from": "input"}}),
        Step("tell", StepKind.AGENT, Thinker(model="gemini-3.8-flash")),
    )
    recipe = Recipe("content", steps=steps)
    run_id = asyncio.run(house.intake.start(recipe, "A-17", Actor("api:all", "all", "api"))).run_id
    assert client.get(f"/v1/runs/{run_id}", headers=bearer()).json()["step"] == {
        "name": "ask",
        "position": 1,
        "of": 2,
    }
    wish = Assessment("step:ask.1", "refund_order", Ruling.ALLOW)
    call = house.apply(run_id, StepBegun(1, wish)).turn.calls[0].id
    done = Outcome(OutcomeKind.SUCCEEDED, {"half": "\ud800"})
    house.apply(run_id, CallClaimed(call, "k1", wish), CallFinished(call, "k1", done))
    shown = client.get(f"/v1/runs/{run_id}", headers=bearer()).json()
    assert (shown["step"]["name"], shown["outputs"]) == ("tell", {"ask": {"half": "?"}})
    assert shown["steps"] == [
        {"name": "ask", "kind": "tool", "tool": "refund_order", "state": "done"},
        {"name": "tell", "kind": "agent", "tool": None, "state": "doing"},
    ]
    stopped = client.post(f"/v1/runs/{run_id}/cancel", headers=bearer(), json={}).json()
    assert stopped["step"]["position"] == 2
    states = [s["state"] for s in client.get(f"/v1/runs/{run_id}", headers=bearer()).json()["steps"]]
    assert states == ["done", "stopped"]
    assert client.get(f"/v1/runs/{house.run()}", headers=bearer()).json()["step"] is None


def test_resubmitting_is_one_run_however_often_it_is_asked_for(tooled: House) -> None:
    with TestClient(tooled.app()) as client:
        run_id, [job] = waiting(tooled, BATCH)
        begins(tooled, run_id, job, "batches/b1")
        early = client.post(f"/v1/jobs/{job}/resubmit", headers=bearer())
        assert (early.status_code, "must have ended" in early.json()["detail"]) == (409, True)
        ends(tooled, run_id, job, "batches/b1", FACTS)
        first = client.post(f"/v1/jobs/{job}/resubmit", headers=bearer("trigger"))
        assert first.status_code == 202
        made = first.json()
        assert (made["workflow"], made["step"]["name"]) == (WORKFLOW, "again")
        assert first.headers["location"] == f"/v1/runs/{made['id']}"
        second = client.post(f"/v1/jobs/{job}/resubmit", headers=bearer(), json={})
        assert (second.status_code, second.json()["id"]) == (200, made["id"])
        keys = [*FACTS["failed_keys"], *FACTS["missing_keys"]]
        assert tooled.load(made["id"]).recipe.steps[0].arguments == {"job": job, "keys": keys}
        client.post(f"/v1/runs/{made['id']}/cancel", headers=bearer(), json={})
        again = client.post(f"/v1/runs/{made['id']}/restart", headers=bearer(), json={})
        assert (again.status_code, again.json()["workflow"]) == (202, WORKFLOW)
        _, [film] = waiting(tooled, FILM)
        assert client.post(f"/v1/jobs/{film}/resubmit", headers=bearer()).status_code == 409
        assert client.post("/v1/jobs/job_nobody/resubmit", headers=bearer()).status_code == 404


def test_lost_films_are_shown_as_such_and_made_anew_by_one_run_of_their_call(tooled: House) -> None:
    with TestClient(tooled.app()) as client:
        run_id, [first, second] = waiting(tooled, FILM, FILM)
        for film in (first, second):
            early = client.post(f"/v1/jobs/{first}/resubmit", headers=bearer())
            assert early.status_code == 409
            lost = (JobClaimed(film, 1), JobUncertain(film, 1, "reset"), JobGraceEnded(film, 1))
            tooled.apply(run_id, *lost)
        [one, _] = client.get(f"/v1/runs/{run_id}/jobs", headers=bearer()).json()["items"]
        assert one["status"] == "lost"
        assert "orchestrator jobs resubmit" in one["said"]
        assert client.get("/v1/jobs?status=lost", headers=bearer()).json()["items"]
        made = client.post(one["links"]["resubmit"], headers=bearer("trigger"))
        assert (made.status_code, made.json()["workflow"]) == (202, FILMS)
        arguments = tooled.load(made.json()["id"]).recipe.steps[0].arguments
        assert arguments == {"jobs": [first, second]}
        again = client.post(f"/v1/jobs/{second}/resubmit", headers=bearer(), json={})
        assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
        client.post(f"/v1/runs/{made.json()['id']}/cancel", headers=bearer(), json={})
        third = client.post(f"/v1/runs/{made.json()['id']}/restart", headers=bearer(), json={})
        assert (third.status_code, third.json()["workflow"]) == (202, FILMS)
