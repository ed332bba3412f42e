"""Long jobs as the real client sees them: videos, files, batches, films out of interactions."""

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.genai import errors
from jobs_kit import FLASH, OMNI, VEO, Stand, jsonl, line, standing
from standardwebhooks import Webhook

from orchestrator.emulator.gemini.clock import VirtualClock
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook

DAY = 86_400


@pytest.fixture(scope="module")
def one() -> Iterator[Stand]:
    with standing() as made:
        yield made


@pytest.fixture
def s(one: Stand) -> Stand:
    one.gemini.reset()
    return one


def boxes(content: bytes) -> list[str]:
    """The kinds of the outermost boxes; every length must lead exactly to the next one."""
    found, at = [], 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        found.append(kind.decode())
        at += size
    assert at == len(content)
    return found


def test_a_video_from_start_to_file(s: Stand) -> None:
    name = s.film(durationSeconds=4, aspectRatio="9:16").json()["name"]
    assert name.startswith(f"models/{VEO}/operations/")
    assert not s.read(name).done
    s.gemini.advance(1)
    done = s.read(name)
    (made,) = done.response.generated_videos
    assert made.video.uri.startswith(f"{s.gemini.base_url}/v1beta/files/")
    content = s.http.get(made.video.uri)
    assert content.headers["content-type"] == "video/mp4"
    assert boxes(content.content) == ["ftyp", "moov", "free", "mdat"]
    file = made.video.uri.removeprefix(f"{s.gemini.base_url}/v1beta/").partition(":")[0]
    assert s.client.files.download(file=file) == content.content
    about = s.client.files.get(name=file)
    assert (about.source.name, about.video_metadata) == ("GENERATED", {"videoDuration": "4s"})
    assert base64.b64decode(about.sha256_hash) == hashlib.sha256(content.content).digest()
    (event,) = s.events("video.generated")
    told = {"id": name, "file_name": file, "output_file_uri": made.video.uri}
    assert event["data"] == {**told, "user_metadata": {"job": "job_1"}}
    assert s.gemini.received[0].headers["webhook-signature"].startswith("v1a,")


def test_every_video_is_another_of_the_size_asked_for(s: Stand) -> None:
    s.gemini.script_job(bytes=50_000, samples=3)
    name = s.film().json()["name"]
    s.gemini.advance(1)
    videos = [v.video.uri for v in s.read(name).response.generated_videos]
    contents = [s.http.get(uri).content for uri in videos]
    assert [len(content) for content in contents] == [50_000] * 3
    assert len({hashlib.sha256(content).digest() for content in contents}) == 3


def test_videos_that_come_to_nothing(s: Stand) -> None:
    s.gemini.script_job(match={"input_contains": "storm"}, end="failed", error={"message": "boom"})
    s.gemini.script_job(match={"metadata": {"job": "bad"}}, end="filtered")
    s.gemini.script_job(match={"kind": "video"}, end="empty", times=1)
    empty = s.film().json()["name"]  # plans added later come first, so this one takes what fits all
    failed, filtered = s.film(prompt="A Storm.").json()["name"], s.film("bad").json()["name"]
    s.gemini.advance(1)
    assert s.read(failed).error == {"code": 13, "message": "boom"}
    assert s.read(filtered).response.rai_media_filtered_count == 1
    assert s.read(empty).response.generated_videos is None
    assert s.events() == []


BAD: list[dict[str, Any]] = [
    {},
    {"instances": []},
    {"instances": [{"prompt": " "}]},
    {"instances": [{"prompt": "x", "mood": 1}]},
    {"instances": [{"prompt": "x"}], "parameters": {"mood": 1}},
    {"instances": [{"prompt": "x"}], "parameters": {"durationSeconds": 5}},
    {"instances": [{"prompt": "x"}], "parameters": {"resolution": "4k", "durationSeconds": 4}},
    {"instances": [{"prompt": "x"}], "webhookConfig": {"uris": ["http://example.com/"]}},
    {"instances": [{"prompt": "x"}], "config": {}},
]


def test_what_is_refused_in_the_older_shape(s: Stand) -> None:
    for body in BAD:
        refused = s.ask("POST", f"/v1beta/models/{VEO}:predictLongRunning", json=body)
        assert refused.json()["error"]["status"] == "INVALID_ARGUMENT", body
    for target in (f"{FLASH}:predictLongRunning", f"{VEO}:batchGenerateContent", f"{VEO}:dream"):
        assert s.ask("POST", f"/v1beta/models/{target}", json=BAD[1]).status_code == 404
    assert s.ask("GET", f"/v1beta/models/{VEO}/operations/none").json()["error"]["status"] == "NOT_FOUND"
    foreign = {"headers": {"x-goog-api-key": s.gemini.other_key}}
    assert s.ask("GET", f"/v1beta/{s.film().json()['name']}", **foreign).status_code == 404
    assert s.gemini.ledger()["starts"] == {"job_1": 1}


def test_files_are_uploaded_listed_deleted_and_expire(s: Stand, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(jsonl(line("a", "x")))
    config = {"mime_type": "application/jsonl", "display_name": "in"}
    up = s.client.files.upload(file=path, config=config)
    clip = s.client.files.upload(file=path, config={"mime_type": "video/mp4", "name": "clip-1"})
    assert (up.size_bytes, up.mime_type, up.source.name) == (
        path.stat().st_size,
        "application/jsonl",
        "UPLOADED",
    )
    assert [file.name for file in s.client.files.list(config={"page_size": 1})] == [clip.name, up.name]
    with pytest.raises(errors.ClientError, match="Only generated files"):
        s.client.files.download(file=up.name)
    with pytest.raises(errors.ClientError, match="already exists"):
        s.client.files.upload(file=path, config={"mime_type": "video/mp4", "name": "clip-1"})
    s.client.files.delete(name=clip.name)
    s.gemini.advance(2 * DAY)
    for gone in (up.name, clip.name):
        with pytest.raises(errors.ClientError) as raised:
            s.client.files.get(name=gone)
        assert raised.value.code == 404
    assert list(s.client.files.list()) == []


def test_an_upload_in_pieces_wants_the_right_ones(s: Stand) -> None:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    sized = {**start, "X-Goog-Upload-Header-Content-Length": "6"}
    assert s.ask("POST", "/upload/v1beta/files", headers=start, json={}).status_code == 400
    begun = s.ask("POST", "/upload/v1beta/files", headers=sized, json={"file": {"displayName": "six"}})
    where = begun.headers["x-goog-upload-url"]

    def piece(content: bytes, command: str, offset: int) -> Any:
        headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
        return s.http.post(where, headers=headers, content=content)

    assert piece(b"abc", "upload", 0).headers["x-goog-upload-status"] == "active"
    assert piece(b"abc", "upload", 0).status_code == 400
    assert piece(b"", "query", 0).headers["x-goog-upload-size-received"] == "3"
    assert piece(b"", "finalize", 3).status_code == 400
    last = piece(b"def", "upload, finalize", 3)
    assert (last.json()["file"]["sizeBytes"], last.headers["x-goog-upload-status"]) == ("6", "final")
    assert piece(b"", "query", 6).status_code == 404


def test_a_file_wants_its_projects_key(s: Stand) -> None:
    name = s.film().json()["name"]
    s.gemini.advance(1)
    uri = s.read(name).response.generated_videos[0].video.uri
    for key in ("", "wrong", s.gemini.other_key):
        assert s.http.get(uri, headers={"x-goog-api-key": key}).status_code == 403
    s.gemini.advance(2 * DAY)
    assert s.http.get(uri).status_code == 404


def test_a_batch_by_file_goes_its_way(s: Stand) -> None:
    lines = [line(f"r{n}", f"Question {n}") for n in range(6)]
    s.gemini.script_job(
        match={"kind": "batch", "input_contains": "question 3"},
        fail_keys=["r1"],
        missing_keys=["r4"],
        answers={"r0": "Yes."},
        text="${key}: ${input}",
        shuffle=True,
        pending=10,
        seconds=60,
    )
    s.gemini.emulator.files.put(s.gemini.key, "files/in1", jsonl(*lines))
    made = s.batch("files/in1")
    states = [made.state.name]
    for seconds in (10, 50):
        s.gemini.advance(seconds)
        states.append(s.client.batches.get(name=made.name).state.name)
    assert states == ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]
    done = s.client.batches.get(name=made.name)
    got = [json.loads(one) for one in s.client.files.download(file=done.dest.file_name).splitlines()]
    assert sorted(one["key"] for one in got) == ["r0", "r1", "r2", "r3", "r5"]
    assert [one["key"] for one in got] != sorted(one["key"] for one in got)
    by_key = {one["key"]: one for one in got}
    assert by_key["r1"]["error"]["code"] == 13
    said = [by_key[k]["response"]["candidates"][0]["content"]["parts"][0]["text"] for k in ("r0", "r2")]
    assert said == ["Yes.", "r2: Question 2"]
    raw = s.ask("GET", f"/v1beta/{made.name}").json()["metadata"]["batchStats"]
    assert raw == {"requestCount": "6", "successfulRequestCount": "5", "failedRequestCount": "1"}
    (event,) = s.events("batch.succeeded")
    assert event["data"]["id"] == made.name.replace("batches/", "batch_")
    assert event["data"]["output_file_uri"] == done.dest.file_name


def test_a_share_of_lines_fails_the_same_way_every_time(s: Stand) -> None:
    failed = []
    for _ in range(2):
        s.gemini.reset()
        s.gemini.script_job(match={"kind": "batch"}, fail_share=0.03)
        s.gemini.emulator.files.put(
            s.gemini.key, "files/big", jsonl(*(line(f"r{n}", "x") for n in range(1000)))
        )
        made = s.batch("files/big")
        s.gemini.advance(2)
        done = s.client.batches.get(name=made.name)
        got = [json.loads(one) for one in s.client.files.download(file=done.dest.file_name).splitlines()]
        assert [one["key"] for one in got] == [f"r{n}" for n in range(1000)]
        failed.append([one["key"] for one in got if "error" in one])
    assert failed[0] == failed[1]
    assert 15 <= len(failed[0]) <= 50


def test_batches_fail_expire_and_are_cancelled(s: Stand) -> None:
    src: Any = [{"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "metadata": {"key": "r1"}}]
    s.gemini.script_job(match={"metadata": {"job": "f"}}, end="failed", error={"message": "boom"})
    s.gemini.script_job(match={"metadata": {"job": "e"}}, end="expired", seconds=5)
    s.gemini.script_job(match={"metadata": {"job": "s"}}, end="stuck")
    made = [s.batch(src, name) for name in ("f", "e", "s", "c")]
    s.client.batches.cancel(name=made[3].name)
    s.gemini.advance(2 * DAY)
    states = [s.client.batches.get(name=one.name).state.name[10:] for one in made]
    assert states == ["FAILED", "EXPIRED", "EXPIRED", "CANCELLED"]
    assert [e["type"] for e in s.events()] == ["batch.failed", "batch.expired", "batch.expired"]
    assert s.events("failed")[0]["data"]["error_message"] == "boom"
    first = s.gemini.received[0]
    assert Webhook(s.gemini.webhook_secret).verify(first.body, first.headers)["type"] == "batch.failed"


def test_a_film_out_of_an_interaction(s: Stand) -> None:
    form = {"type": "video", "delivery": "uri", "duration": "5s"}
    made = s.client.interactions.create(
        model=OMNI,
        input="A bee.",
        background=True,
        response_format=form,
        webhook_config={"user_metadata": {"job": "job_o"}},
    )
    s.gemini.advance(1)
    raw = s.ask("GET", f"/v1beta/interactions/{made.id}").json()
    (content,) = raw["steps"][-1]["content"]
    assert (content["type"], content["mime_type"], "uri" in content) == ("video", "video/mp4", False)
    assert boxes(base64.b64decode(content["data"]))[0] == "ftyp"
    assert s.client.interactions.get(id=made.id).status == "completed"
    assert [e["type"] for e in s.events()] == ["interaction.completed"]
    for body in (
        {"model": FLASH, "response_format": form},
        {"model": OMNI, "response_format": {**form, "duration": "30s"}},
        {"model": OMNI, "response_format": {**form, "gcs_uri": "gs://x"}},
        {"model": VEO, "response_format": form},
    ):
        refused = s.ask("POST", "/v1beta/interactions", json={"input": "x", "background": True, **body})
        assert refused.status_code == 400, body
    assert s.gemini.ledger()["polls"] == 2
    (job,) = s.gemini.ledger()["jobs"]
    assert (job["kind"], job["state"], job["gets"]) == ("video_interaction", "completed", 2)
    fetched = s.ask("GET", f"/v1beta/{job['files'][0]}:download?alt=media")
    assert fetched.content == base64.b64decode(content["data"])


def test_a_film_in_the_foreground_has_its_address_in_the_answer() -> None:
    with standing(clock=None, video_seconds=0.01) as s:
        body = {"model": OMNI, "input": "A bee.", "response_format": {"type": "video", "delivery": "uri"}}
        (step,) = s.ask("POST", "/v1beta/interactions", json=body).json()["steps"][-1:]
        uri = step["content"][0]["uri"]
        assert boxes(s.http.get(uri).content)[0] == "ftyp"


def test_the_ledger_counts_starts_gets_and_downloads(s: Stand) -> None:
    names = [s.film(job).json()["name"] for job in ("job_1", "job_2", "job_1")]
    s.gemini.advance(1)
    uri = s.read(names[0]).response.generated_videos[0].video.uri
    s.read(names[0])
    s.http.get(uri)
    ledger = s.ask("GET", "/_emulator/ledger").json()
    assert ledger["starts"] == {"job_1": 2, "job_2": 1}
    assert (ledger["doubled"], ledger["polls"]) == (["job_1"], 2)
    assert (ledger["gets"], ledger["downloads"]) == ({"job_1": 2, "job_2": 0}, {"job_1": 1, "job_2": 0})
    assert [job["events"] for job in ledger["jobs"]] == [1, 1, 1]


def test_plans_and_ends_over_the_control_api(s: Stand) -> None:
    plans = {"jobs": [{"match": {"kind": "video"}, "end": "stuck"}]}
    assert s.ask("POST", "/_emulator/scenarios", json=plans).json() == {"added": ["jobs[0]"]}
    name = s.film().json()["name"]
    s.gemini.advance(DAY)
    assert not s.read(name).done
    ended = s.ask("POST", f"/_emulator/operations/{name.rpartition('/')[2]}/end", json={"end": "failed"})
    assert ended.json()["error"]["code"] == 13
    for bad in ({"end": "glorious"}, {"fail_share": 3}, {"match": {"colour": "red"}}, {"bytes": "many"}):
        assert s.ask("POST", "/_emulator/scenarios", json={"jobs": [bad]}).status_code == 400


@pytest.mark.asyncio
async def test_switches_of_the_events() -> None:
    async def told(**options: Any) -> list[Any]:
        events = ("video.generated", "batch.failed", "batch.succeeded")
        hook = StaticWebhook("http://127.0.0.1:9/h", "whsec_AAECAwQ=", subscribed_events=events)
        emulator = Emulator(EmulatorSettings(clock=VirtualClock(), seed=1, webhooks=[hook], **options))
        metadata = {"webhookConfig": {"user_metadata": {"job": "j"}}}
        await emulator.jobs.create_video("p", VEO, {"instances": [{"prompt": "x"}], **metadata}, None)
        inline = {"requests": {"requests": [line("r1", "x")]}}
        batch = {"batch": {"input_config": inline, **metadata}}
        made = await emulator.jobs.create_batch("p", FLASH, batch, None, size=0)
        other = await emulator.jobs.create_batch("p", FLASH, batch, None, size=0)
        emulator.end_batch(other["name"], "CANCELLED")
        emulator.end_batch(made["name"], "SUCCEEDED")
        emulator.end_video(emulator.jobs.videos.all()[0].name)
        return [json.loads(delivery.body) for delivery in emulator.courier.deliveries]

    succeeded, video = await told()
    assert set(video["data"]) == {"id", "file_name", "output_file_uri", "user_metadata"}
    assert succeeded["data"]["id"].startswith("batch_")
    cancelled, succeeded, video = await told(
        metadata="top",
        video_event_id="bare",
        video_event_uri="video_uri",
        batch_event_id="resource",
        batch_cancelled_event=True,
    )
    assert cancelled["type"] == "batch.cancelled"
    assert succeeded["data"]["id"].startswith("batches/")
    assert (set(video["data"]), video["user_metadata"]) == ({"id", "file_name", "video_uri"}, {"job": "j"})
    assert "/" not in video["data"]["id"]
