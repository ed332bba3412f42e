"""Jobs of minutes to days, end to end: films and batches started, heard of, stored, shown, stopped."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from looking import Json, headline_of, text_of, until
from scenery import asks, call, says, workflow
from stage import ON_SQLITE, Stage, staged

pytestmark = pytest.mark.asyncio

FILM_SECONDS = 0.3
PROMPTS = ["A harbour at dusk.", "Rain on a tin roof.", "A fox in the snow."]
LINES = 100
PROJECT = "a-key-of-the-stage"


def made_by(kind: str, tool: str) -> Json:
    """A workflow of one step, which nobody is asked about."""
    prompts = {"type": "array", "items": {"type": "string"}}
    given = {"type": "object", "required": ["prompts"], "properties": {"prompts": prompts}}
    step = {"name": "made", "kind": kind, "arguments": {"prompts": {"from": "input.prompts"}}}
    return {"input": given, "steps": [step], "overrides": {tool: {"approval": "allow"}}}


def changes(folder: Path) -> Json:
    return {
        "storage": {"url": str(folder / "files"), "min_free_mb": 0},
        "jobs": {"at_once": 2},
        "workflows": {
            "films": made_by("video", "generate_video"),
            "lines": made_by("batch", "run_batch"),
            "director": workflow(["generate_video"]),
        },
    }


@pytest_asyncio.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    stand_in = {"video_seconds": FILM_SECONDS, "video_bytes": 60_000, "batch_seconds": FILM_SECONDS}
    async with staged(tmp_path, database_url, stand_in=stand_in, **changes(tmp_path)) as made:
        yield made


async def files_of(stage: Stage, run_id: str) -> list[Json]:
    found: list[Json] = (await stage.get(f"/v1/runs/{run_id}/files"))["items"]
    return found


async def content(stage: Stage, file: Json) -> bytes:
    """A file's bytes as the service hands them out, which must be those it says it has."""
    answer = await stage.call("GET", f"/v1/files/{file['path']}")
    assert answer.status_code == 200, answer.text
    assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
    assert len(answer.content) == file["bytes"]
    return answer.content


async def same_as_served(stage: Stage, run_id: str, jobs: list[Json]) -> None:
    """Every film is kept once, byte for byte as Gemini made it."""
    kept = {file["job"]: await content(stage, file) for file in await files_of(stage, run_id)}
    made = stage.gemini.files
    assert kept == {job["job"]: made.find(PROJECT, job["files"][0]).content for job in jobs}
    assert len(list((stage.folder / "files" / run_id).iterdir())) == len(jobs)  # no partial file is left


async def jobs_once(stage: Stage, count: int) -> list[Json]:
    """The jobs that Gemini was really asked for: so many, none doubled."""
    ledger = stage.gemini.ledger()
    assert ledger["doubled"] == []
    assert len(ledger["jobs"]) == count
    jobs: list[Json] = ledger["jobs"]
    return jobs


async def test_films_of_a_step_are_told_of_by_webhook_and_stored(stage: Stage) -> None:
    run_id = await stage.trigger({"prompts": PROMPTS}, "films")
    run = await stage.ended(run_id)
    jobs = await jobs_once(stage, len(PROMPTS))
    await same_as_served(stage, run_id, jobs)
    # Each is read when its webhook tells of it and when it is fetched; nobody asked in between.
    assert stage.gemini.ledger()["polls"] == 2 * len(PROMPTS)
    said = json.loads(run["output"])
    assert (said["succeeded"], said["failed"]) == (3, 0)
    assert said["files"] == [file["path"] for file in await files_of(stage, run_id)]


@ON_SQLITE
async def test_an_agents_films_are_approved_and_the_card_tells_how_far_they_are(stage: Stage) -> None:
    stage.gemini.add_jobs([{"match": {"kind": "video", "input_contains": "fox"}, "seconds": 3600}])
    wish = call("generate_video", prompts=PROMPTS, seconds=4)
    run_id = await stage.play(asks(wish), says("Three films."), workflow="director")
    [approval] = await stage.asked(run_id)
    assert "3 films of 4 seconds" in text_of(stage.message(approval).blocks)
    assert stage.gemini.ledger()["jobs"] == []
    await stage.click(approval)

    async def shown() -> bool:
        return "2 of 3 jobs done" in text_of(stage.message(approval).blocks)

    await until(shown, "a card that says 2 of 3")
    assert headline_of(stage.message(approval)).startswith("Approved and running")
    [last] = [job for job in await jobs_once(stage, 3) if job["state"] == "live"]
    stage.gemini.end_video(last["name"])
    await stage.ended(run_id)
    await same_as_served(stage, run_id, await jobs_once(stage, 3))
    [told] = [
        step for step in stage.creates(run_id)[-1]["body"]["input"] if step["type"] == "function_result"
    ]
    assert "succeeded" in json.dumps(told)

    async def done() -> bool:
        return "2 of 3" not in text_of(stage.message(approval).blocks)

    await until(done, "a card that no longer waits")


@ON_SQLITE
async def test_every_line_of_a_batch_is_accounted_for(stage: Stage) -> None:
    keys = {"fail_keys": ["line-5", "line-40", "line-99"], "missing_keys": ["line-17"]}
    plan = {"match": {"kind": "batch"}, **keys, "shuffle": True}
    stage.gemini.add_jobs([plan])
    run_id = await stage.trigger({"prompts": [f"Is {n} prime?" for n in range(LINES)]}, "lines")
    [job] = json.loads((await stage.ended(run_id))["output"])["jobs"]
    await jobs_once(stage, 1)
    [file] = await files_of(stage, run_id)
    rows = {row["key"]: row for row in map(json.loads, (await content(stage, file)).splitlines())}
    failed = sorted(key for key, row in rows.items() if "error" in row)
    asked = {f"line-{n}" for n in range(1, LINES + 1)}
    assert set(rows) == asked - {"line-17"}
    assert failed
    assert sorted(job["failed_keys"]) == failed
    assert job["missing_keys"] == ["line-17"]
    assert (job["succeeded"], job["failed"]) == (LINES - len(failed) - 1, len(failed))


@ON_SQLITE
async def test_a_cancel_while_films_are_made_begins_and_stores_no_more(stage: Stage) -> None:
    stage.gemini.add_jobs([{"match": {"kind": "video"}, "seconds": 3600}])
    run_id = await stage.trigger({"prompts": PROMPTS}, "films")

    async def begun() -> bool:
        return len(stage.gemini.ledger()["jobs"]) == 2

    await until(begun, "two films under way")
    await stage.cancel(run_id, "Nobody wants them.")
    await stage.ended(run_id, "cancelled")
    for job in await jobs_once(stage, 2):  # an operation of Veo's goes on, and tells of its end
        stage.gemini.end_video(job["name"])

    async def told() -> bool:
        return len(await stage.deliveries()) == 2

    await until(told, "both webhooks")
    await stage.quiet()
    ledger = stage.gemini.ledger()
    assert len(ledger["jobs"]) == 2
    assert sum(ledger["downloads"].values()) == 0
    assert await files_of(stage, run_id) == []


@ON_SQLITE
async def test_without_webhooks_films_are_asked_for_at_their_pace(tmp_path: Path, database_url: str) -> None:
    told: dict[str, Any] = {"webhooks": {"mode": "poll"}, "gemini": {"poll_seconds": 1}}
    stand_in = {"webhooks": (), "video_seconds": FILM_SECONDS}
    async with staged(tmp_path, database_url, stand_in=stand_in, start=False, **changes(tmp_path)) as stage:
        stage.environ.pop("GEMINI_WEBHOOK_SECRETS", None)
        await stage.start(**told)
        run_id = await stage.trigger({"prompts": PROMPTS}, "films")
        await stage.ended(run_id)
        await same_as_served(stage, run_id, await jobs_once(stage, 3))
        assert await stage.deliveries() == []
