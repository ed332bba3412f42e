"""What goes wrong with long jobs on purpose, by name: requests, outcomes, events, downloads."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from google.genai import errors
from jobs_kit import Stand, standing

from orchestrator.emulator.gemini.faults import JOB_OPERATIONS, parse, storm

INLINE: Any = [{"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "metadata": {"key": "r1"}}]


@pytest.fixture(scope="module")
def one() -> Iterator[Stand]:
    with standing(video_bytes=20_000) as made:
        yield made


@pytest.fixture
def s(one: Stand) -> Stand:
    one.gemini.reset()
    return one


def filmed(s: Stand, job: str = "job_1") -> tuple[str, str]:
    """A finished video: its operation's name and its address."""
    name = s.film(job).json()["name"]
    s.gemini.advance(1)
    done: Any = s.ask("GET", f"/v1beta/{name}").json()
    return name, done["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"]


def starts(s: Stand) -> int:
    return sum(s.gemini.ledger()["starts"].values())


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_a_refused_start_starts_nothing(s: Stand, status: int) -> None:
    for operation in ("videos.create", "batches.create"):
        s.gemini.inject(operation, "status", status=status, retry_after="3")
    refused = s.film()
    assert (refused.status_code, refused.headers["retry-after"]) == (status, "3")
    assert refused.json()["error"]["code"] == status  # the older shape has the number
    with pytest.raises(errors.APIError) as raised:
        s.batch(INLINE)
    assert raised.value.code == status
    assert starts(s) == 0


UNREAD: dict[str, Callable[[httpx.Response], bool]] = {
    "accept_then_status": lambda answer: answer.status_code == 503,
    "html": lambda answer: "<html>" in answer.text,
    "null": lambda answer: answer.text == "null",
    "broken_json": lambda answer: answer.text.startswith("{"),
    "empty_body": lambda answer: answer.content == b"",
}


def test_an_answer_that_is_lost_has_started_something(s: Stand) -> None:
    for count, kind in enumerate(("accept_then_reset", "truncated"), 1):
        s.gemini.inject("videos.create", kind)
        with pytest.raises(httpx.HTTPError):
            s.film()
        assert starts(s) == count
    for kind, lost in UNREAD.items():
        s.gemini.inject("videos.create", kind)
        assert lost(s.film()), kind
    assert starts(s) == 7
    assert s.gemini.ledger()["doubled"] == ["job_1"]


def test_reads_that_lag_lie_or_find_nothing(s: Stand) -> None:
    name, _ = filmed(s)
    path = f"/v1beta/{name}"
    s.gemini.inject("videos.get", "stale")
    assert s.ask("GET", path).json() == {"name": name}
    s.gemini.inject("videos.get", "wrong_types", subject=name.rpartition("/")[2])
    assert s.ask("GET", path).json()["done"] == "almost"
    s.gemini.inject("videos.get", "missing_name")
    assert "name" not in s.ask("GET", path).json()
    s.gemini.inject("videos.get", "not_found", for_seconds=20)
    assert s.ask("GET", path).json()["error"]["status"] == "NOT_FOUND"
    s.gemini.advance(20)
    assert s.ask("GET", path).json()["done"]


def test_batches_that_lag_lie_and_run_on(s: Stand) -> None:
    made = s.batch(INLINE)
    s.gemini.inject("batches.cancel", "ignored")
    s.client.batches.cancel(name=made.name)
    s.gemini.advance(2)
    s.gemini.inject("batches.get", "stale")
    assert s.client.batches.get(name=made.name).state.name == "JOB_STATE_RUNNING"
    s.gemini.inject("batches.get", "unknown_state")
    with pytest.warns(UserWarning, match="PONDERING"):  # the library's, for a state it does not know
        assert s.client.batches.get(name=made.name).done is False
    assert s.client.batches.get(name=made.name).state.name == "JOB_STATE_SUCCEEDED"


def test_outcomes_by_name(s: Stand) -> None:
    for kind in ("fails", "filtered", "empty", "stuck"):
        s.gemini.inject("videos.create", kind, subject=kind)
        s.film(kind)
    for kind in ("fails", "expires", "stuck"):
        s.gemini.inject("batches.create", kind, subject=f"b {kind}")
        s.batch(INLINE, f"b {kind}")
    s.film("well")
    s.gemini.advance(10)
    states = {job["job"]: job["state"] for job in s.gemini.ledger()["jobs"]}
    assert states == {
        "fails": "failed",
        "filtered": "filtered",
        "empty": "empty",
        "stuck": "live",
        "b fails": "FAILED",
        "b expires": "EXPIRED",
        "b stuck": "RUNNING",
        "well": "succeeded",
    }


def test_an_event_may_come_before_the_answer(s: Stand) -> None:
    s.gemini.inject("videos.create", "early")
    s.gemini.inject("batches.create", "early")
    name, made = s.film().json()["name"], s.batch(INLINE)
    assert s.read(name).done
    assert made.state.name == "JOB_STATE_PENDING"
    assert [e["type"] for e in s.events()] == ["video.generated", "batch.succeeded"]


def test_events_are_lost_late_doubled_and_reordered(s: Stand) -> None:
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("lose", {}),
        ("delay", {"seconds": 30}),
        ("duplicate", {}),
        ("reorder", {"seconds": 60}),
    )
    for kind, options in kinds:
        s.gemini.inject("deliver", kind, event="video.generated", **options)
    s.batch(INLINE)
    for job in ("lost", "late", "doubled", "last"):
        s.film(job)
    s.gemini.advance(2)
    assert "batch.succeeded" in {e["type"] for e in s.events()}
    s.gemini.advance(100)
    jobs = [e["data"]["user_metadata"]["job"] for e in s.events("video")]
    assert Counter(jobs) == {"late": 1, "doubled": 2, "last": 1}
    assert jobs[:2] == ["doubled", "doubled"]


def test_downloads_that_are_not_the_file(s: Stand) -> None:
    _, uri = filmed(s)
    file = "files/" + uri.rpartition("/")[2].partition(":")[0]
    content = s.http.get(uri).content
    digest = hashlib.sha256(content).digest()

    def got(kind: str, **options: Any) -> httpx.Response:
        s.gemini.inject("files.download", kind, **options)
        return s.http.get(uri)

    assert got("short").content == content[:10_000]
    foreign = got("wrong_type")
    assert (foreign.headers["content-type"], foreign.content[:4]) == ("video/mp4", b"\x89PNG")
    altered = got("altered").content
    assert len(altered) == len(content)
    assert hashlib.sha256(altered).digest() != digest
    assert len(got("oversize", copies=3).content) == 80_000
    assert got("not_found").status_code == 404
    assert got("status", status=403).json()["error"]["status"] == "PERMISSION_DENIED"
    moved = got("redirect", times=2)
    assert moved.status_code == 302
    assert s.http.get(s.gemini.base_url + moved.headers["location"]).content == content
    with pytest.raises(httpx.RemoteProtocolError):
        got("truncated")
    assert got("slow_bytes", seconds=0.05).content == content
    assert got("gone").status_code == 404
    assert s.http.get(uri).status_code == 404
    assert s.ask("GET", f"/v1beta/{file}").status_code == 404


def test_the_same_seed_strikes_the_same_jobs(s: Stand) -> None:
    def struck() -> list[int]:
        s.gemini.reset()
        s.gemini.inject("videos.create", "status", probability=0.5, times=None)
        return [s.film(f"job_{n}").status_code for n in range(8)]

    first = struck()
    assert first == struck()
    assert set(first) == {200, 503}


def test_names_for_a_command_line_and_a_storm() -> None:
    assert parse("batches.create:expires,probability=0.1,times=forever")["times"] is None
    assert parse("deliver:lose,event=video.generated")["event"] == "video.generated"
    with pytest.raises(ValueError, match=r"no fault of 'videos\.get'"):
        parse("videos.get:short")
    assert {fault["operation"] for fault in storm()} >= set(JOB_OPERATIONS)
