"""Long jobs on the wire: one request per start, what each answer means, and how a lost start is found."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google import genai
from google.genai import types

from orchestrator.domain.jobs import JobKind, JobOrder, JobReading, JobState, StoredFile
from orchestrator.domain.values import replace
from orchestrator.errors import (
    NotFoundError,
    OrchestratorError,
    RejectedError,
    UnavailableError,
    UncertainError,
    UnreadAnswerError,
)
from orchestrator.gemini import job_wire
from orchestrator.gemini.connection import Connection
from orchestrator.gemini.jobs import GeminiJobs

KEY = "AIza-canary-key"
URI = "https://hooks.example.com/webhooks/gemini/t0ken"
JOB = "job_0123456789abcdef01234567"
OP = "models/veo-3.1-generate-preview/operations/op1"
GREETING = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
VIDEO = JobOrder(
    JOB,
    "run_1",
    JobKind.VIDEO,
    1,
    {"model": "veo-3.1-generate-preview", "prompt": "A lake", "parameters": {"aspectRatio": "9:16"}},
)
SHOT = replace(
    VIDEO,
    kind=JobKind.VIDEO_INTERACTION,
    request={"model": "gemini-omni-1.2-flash", "prompt": "A lake", "parameters": {"aspect_ratio": "9:16"}},
)
BATCH = replace(
    VIDEO,
    kind=JobKind.BATCH,
    attempt=2,
    request={"model": "models/gemini-3.8-flash", "lines": [{"key": "r1", "request": GREETING}]},
)
ORDERS = {VIDEO.kind: VIDEO, SHOT.kind: SHOT, BATCH.kind: BATCH}
TAKEN = {
    JobKind.VIDEO: {"name": OP},
    JobKind.VIDEO_INTERACTION: {"id": "v1_a", "status": "in_progress"},
    JobKind.BATCH: {"name": "batches/b1", "metadata": {"state": "BATCH_STATE_PENDING", "displayName": JOB}},
}
BOOM = {"code": 13, "message": "boom"}
METADATA = {"job": JOB, "run": "run_1", "attempt": "1"}


class Files:
    """A storage of one stored file; nothing is written here."""

    def __init__(self, **stored: bytes) -> None:
        self.stored = stored

    async def write(self, path: str, chunks: AsyncIterator[bytes], *, accept: Collection[str]) -> StoredFile:
        raise AssertionError(f"nothing is to be written: {path}")

    async def read(
        self, path: str, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(self.stored[path]), 1 << 20):
            yield self.stored[path][start : start + (1 << 20)]

    async def size(self, path: str) -> int:
        if path not in self.stored:
            raise NotFoundError("there is no such file in the storage")
        return len(self.stored[path])


@pytest.fixture
def opened(serving: Callable[[], Any]) -> Any:
    """`async with opened(uris=…, files=…, inline_bytes=…) as (server, jobs)`"""

    @asynccontextmanager
    async def both(
        *, uris: Any = (), files: Files | None = None, timeout_seconds: float = 60.0, **made: Any
    ) -> Any:
        async with serving() as server:
            connection = Connection(
                api_key=KEY,
                base_url=server.base_url,
                timeout_seconds=timeout_seconds,
                webhook_uris=uris,
                retry_wait_seconds=0,
            )
            try:
                yield server, GeminiJobs(connection, files or Files(), **made)
            finally:
                await connection.aclose()

    return both


async def fails(work: Any) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        await work
    return caught.value


# ------------------------------------------------------------------ start


@pytest.mark.asyncio
async def test_what_a_start_says(opened: Any, reply: Any) -> None:
    async with opened(uris=[URI]) as (server, jobs):
        server.answer(reply.of(TAKEN[JobKind.VIDEO]))
        assert await jobs.start(VIDEO) == JobReading(OP, JobState.LIVE, job=JOB)
        assert [(r.method, r.target) for r in server.requests] == [
            ("POST", "/v1beta/models/veo-3.1-generate-preview:predictLongRunning")
        ]
        assert server.requests[0].headers["x-goog-api-key"] == KEY
        assert server.requests[0].json == {
            "instances": [{"prompt": "A lake"}],
            "parameters": {"aspectRatio": "9:16"},
            "webhookConfig": {"uris": [URI], "user_metadata": METADATA},
        }
        server.answer(reply.of(TAKEN[JobKind.VIDEO_INTERACTION]))
        assert await jobs.start(SHOT) == JobReading("v1_a", JobState.LIVE, "in_progress", job=JOB)
        assert server.requests[0].target == "/v1beta/interactions"
        assert server.requests[0].json == {
            "model": "gemini-omni-1.2-flash",
            "input": "A lake",
            "background": True,
            "store": True,
            "response_format": {"type": "video", "delivery": "uri", "aspect_ratio": "9:16"},
            "webhook_config": {"uris": [URI], "user_metadata": METADATA},
        }


ENDS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"status": 400}, RejectedError),
    ({"status": 404}, RejectedError),
    ({"status": 501}, RejectedError),
    ({"status": 401}, UnavailableError),
    ({"status": 429}, UnavailableError),
    ({"status": 409}, UncertainError),
    ({"status": 503}, UncertainError),
    ({"status": 302, "headers": {"location": "/elsewhere"}}, UncertainError),
    ({"body": b"[]"}, UnreadAnswerError),
    ({"body": b'{"name": "operations/../x", "id": "../x", "status": "in_progress"}'}, UnreadAnswerError),
    ({"body": b"<html>"}, UnreadAnswerError),
    ({"act": "reset"}, UncertainError),
    ({"act": "cut", "body": b"{}"}, UncertainError),
    ({"act": "silence"}, UncertainError),
]


@pytest.mark.asyncio
async def test_a_start_is_sent_once_whatever_happens_to_it(opened: Any, reply: Any) -> None:
    quoting = b'{"error": {"code": 400, "message": "' + KEY.encode() + b'"}}'
    for answer, expected in ENDS:
        async with opened() as (server, jobs):
            for order in ORDERS.values():
                server.answer(reply(**{"body": quoting, **answer}))
                caught = await fails(jobs.start(order))
                assert type(caught) is expected, (order.kind, answer)
                assert "AIza" not in str(caught)
                assert len(server.requests) == 1, (order.kind, answer)


@pytest.mark.asyncio
async def test_an_order_that_can_be_none_is_not_sent(opened: Any, reply: Any) -> None:
    line = {"key": "a", "request": GREETING}
    wrong = [
        replace(VIDEO, request={**VIDEO.request, "model": "../files"}),
        replace(VIDEO, request={**VIDEO.request, "prompt": " "}),
        replace(SHOT, request={**SHOT.request, "parameters": "big"}),
        replace(BATCH, request={"model": "m", "lines": []}),
        replace(BATCH, request={"model": "m", "lines": [line, line]}),
        replace(BATCH, request={"model": "m", "lines": [{"request": GREETING}]}),
        replace(BATCH, request={"model": "m", "file": "run_1/none.jsonl"}),
    ]
    async with opened() as (server, jobs):
        server.answer(reply.of({}))
        for order in wrong:
            caught = await fails(jobs.start(order))
            assert isinstance(caught, RejectedError)
            assert caught.code == "invalid_request"
        assert server.requests == []


@pytest.mark.asyncio
async def test_a_batch_is_what_the_library_would_send(opened: Any, reply: Any) -> None:
    """Small lines inside the request, and large ones as a file that is sent before, piece by piece."""
    async with opened(uris=[URI]) as (server, jobs):
        server.answer(reply.of(TAKEN[JobKind.BATCH]))
        await jobs.start(BATCH)
        ours = server.requests[0]

        def plainly(source: Any) -> None:
            hook = types.WebhookConfig(uris=[URI], user_metadata={**METADATA, "attempt": "2"})
            config = types.CreateBatchJobConfig(display_name=f"{JOB}.2", webhook_config=hook)
            options = types.HttpOptions(base_url=server.base_url, api_version="v1beta")
            with genai.Client(api_key=KEY, vertexai=False, http_options=options) as client:
                client.batches.create(model="gemini-3.8-flash", src=source, config=config)

        inline = types.InlinedRequest(contents=[types.UserContent("hi")], metadata={"key": "r1"})
        await asyncio.to_thread(plainly, [inline])
        theirs = server.requests[1]
        assert (ours.method, ours.target, ours.json) == (theirs.method, theirs.target, theirs.json)

        order = replace(BATCH, request={"model": "gemini-3.8-flash", "file": "run_1/in.jsonl"})
        stored = b'{"key": "r1"}\n' * 700_000
        jobs = GeminiJobs(jobs._connection, Files(**{"run_1/in.jsonl": stored}))
        address = {"x-goog-upload-url": f"{server.base_url}/upload/session?upload_id=u1"}
        file = {"file": {"name": "files/in1"}}
        server.answer(
            reply(200, b"{}", address),
            reply.of({}, **{"x-goog-upload-status": "active"}),
            reply.of(file, **{"x-goog-upload-status": "final"}),
            reply.of(TAKEN[JobKind.BATCH]),
        )
        await jobs.start(order)
        begun, first, last, ours = server.requests
        await asyncio.to_thread(plainly, "files/in1")
        assert ours.json == server.requests[4].json
        assert (begun.method, begun.target) == ("POST", "/upload/v1beta/files")
        assert begun.json["file"]["mimeType"] == "application/jsonl"
        told = {name: text for name, text in begun.headers.items() if name.startswith("x-goog-upload")}
        assert told == {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-length": str(len(stored)),
            "x-goog-upload-header-content-type": "application/jsonl",
        }
        parts = [
            (p.headers["x-goog-upload-command"], p.headers["x-goog-upload-offset"]) for p in (first, last)
        ]
        assert parts == [("upload", "0"), ("upload, finalize", str(len(first.body)))]
        assert first.body + last.body == stored
        assert "x-goog-api-key" not in first.headers | last.headers


@pytest.mark.asyncio
async def test_a_batch_whose_lines_are_not_sent_has_not_begun(opened: Any, reply: Any) -> None:
    elsewhere = {"x-goog-upload-url": "http://elsewhere.example/u"}
    final = {"x-goog-upload-status": "final"}
    ends: list[list[dict[str, Any]]] = [
        [{"status": 503}],
        [{"act": "reset"}],
        [{"headers": {}}],
        [{"headers": elsewhere}],
        [{}, {"status": 500}],
        [{}, {"headers": {"x-goog-upload-status": "active"}}],
        [{}, {"headers": final, "body": b'{"file": {"name": "../x"}}'}],
    ]
    async with opened(inline_bytes=10) as (server, jobs):
        here = {"x-goog-upload-url": f"{server.base_url}/u"}
        for replies in ends:
            server.answer(*(reply(**{"body": b"{}", "headers": here, **r}) for r in replies))
            assert isinstance(await fails(jobs.start(BATCH)), UnavailableError)
            assert len(server.requests) == len(replies)
            assert not any("batchGenerateContent" in r.target for r in server.requests)


# ------------------------------------------------------------------ look


def batch(state: Any = "BATCH_STATE_RUNNING", **more: Any) -> dict[str, Any]:
    return {"name": "batches/b1", "metadata": {"state": state, "displayName": JOB}, **more}


@pytest.mark.parametrize(
    ("kind", "raw", "state", "said"),
    [
        (JobKind.VIDEO, {"name": OP}, JobState.LIVE, ""),
        (JobKind.VIDEO, {"name": OP, "done": False, "metadata": None}, JobState.LIVE, ""),
        (JobKind.VIDEO, {"name": OP, "done": True, "response": {}}, JobState.DONE, "done"),
        (JobKind.VIDEO, {"name": OP, "done": True}, JobState.DONE, "done"),
        (JobKind.VIDEO, {"name": OP, "done": True, "error": BOOM}, JobState.FAILED, "13: boom"),
        (JobKind.VIDEO, {"name": OP, "done": "soon"}, JobState.STRANGE, "done: 'soon'"),
        (JobKind.VIDEO_INTERACTION, {"id": "v1_a", "status": "queued"}, JobState.LIVE, "queued"),
        (JobKind.VIDEO_INTERACTION, {"id": "v1_a", "status": "completed"}, JobState.DONE, "completed"),
        (JobKind.VIDEO_INTERACTION, {"id": "v1_a", "status": "incomplete"}, JobState.DONE, "incomplete"),
        (JobKind.VIDEO_INTERACTION, {"id": "v1_a", "status": "cancelled"}, JobState.CANCELLED, "cancelled"),
        (
            JobKind.VIDEO_INTERACTION,
            {"id": "v1_a", "status": "failed", "errors": [{"code": "safety", "message": "no"}]},
            JobState.FAILED,
            "safety: no",
        ),
        (JobKind.VIDEO_INTERACTION, {"id": "v1_a", "status": "dreaming"}, JobState.STRANGE, "dreaming"),
        (JobKind.BATCH, {"name": "batches/b1"}, JobState.LIVE, ""),
        (JobKind.BATCH, {"name": "batches/b1", "done": True, "response": {}}, JobState.DONE, ""),
        (JobKind.BATCH, {"name": "batches/b1", "done": True, "error": BOOM}, JobState.FAILED, "13: boom"),
        (JobKind.BATCH, batch(), JobState.LIVE, "BATCH_STATE_RUNNING"),
        (JobKind.BATCH, batch("JOB_STATE_SUCCEEDED"), JobState.DONE, "JOB_STATE_SUCCEEDED"),
        (JobKind.BATCH, batch("BATCH_STATE_CANCELLED"), JobState.CANCELLED, "BATCH_STATE_CANCELLED"),
        (JobKind.BATCH, batch("BATCH_STATE_EXPIRED"), JobState.EXPIRED, "BATCH_STATE_EXPIRED"),
        (
            JobKind.BATCH,
            batch("BATCH_STATE_FAILED", done=True, error={"code": 3, "message": "bad file"}),
            JobState.FAILED,
            "3: bad file",
        ),
        (JobKind.BATCH, batch("BATCH_STATE_NAPPING"), JobState.STRANGE, "BATCH_STATE_NAPPING"),
        (JobKind.BATCH, batch("ODD", done=True, error={"message": "x"}), JobState.FAILED, "x"),
        (JobKind.BATCH, batch(7), JobState.STRANGE, "7"),
    ],
)  # fmt: skip
def test_where_it_stands(kind: JobKind, raw: Any, state: JobState, said: str) -> None:
    read = job_wire.reading(kind, raw)
    assert (read.state, read.said) == (state, said)


def test_what_else_a_reading_tells() -> None:
    stats = {"requestCount": "1000", "successfulRequestCount": "970", "failedRequestCount": 30}
    read = job_wire.reading(
        JobKind.BATCH, {**batch(), "metadata": {**batch()["metadata"], "batchStats": stats}}
    )
    assert read.counts == {"requests": 1000, "succeeded": 970, "failed": 30}
    assert read.job == JOB
    echo = {"id": "v1_a", "status": "queued", "webhook_config": {"user_metadata": METADATA}}
    seen = job_wire.reading(JobKind.VIDEO_INTERACTION, echo)
    assert (seen.job, seen.attempt) == (JOB, 1)
    shown = {"name": OP, "metadata": {"webhookConfig": {"user_metadata": METADATA | {"attempt": 2.0}}}}
    assert job_wire.reading(JobKind.VIDEO, shown).attempt == 2
    assert job_wire.reading(JobKind.VIDEO, {"name": OP}).attempt == 0
    odd = {"requestCount": "many", "failedRequestCount": -1, "successfulRequestCount": "9" * 30}
    read = job_wire.reading(JobKind.BATCH, {**batch(), "metadata": {"displayName": "x y", "batchStats": odd}})
    assert (read.counts, read.job) == ({"requests": 0, "succeeded": 0, "failed": 0}, "")


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", list(JobKind))
async def test_a_fetch_outlives_blips_and_believes_its_own_object_only(
    kind: JobKind, opened: Any, reply: Any
) -> None:
    remote = {JobKind.VIDEO: OP, JobKind.VIDEO_INTERACTION: "v1_a", JobKind.BATCH: "batches/b1"}[kind]
    async with opened() as (server, jobs):
        server.answer(
            reply(503), reply.of({"name": "batches/b2", "id": "v1_b", "status": "x"}), reply.of(TAKEN[kind])
        )
        assert (await jobs.fetch(kind, remote)).state is JobState.LIVE
        assert [r.method for r in server.requests] == ["GET"] * 3
        assert server.requests[0].target.startswith("/v1beta/")
        assert remote in server.requests[0].target
        server.answer(reply.of({"error": {"code": 404, "status": "NOT_FOUND"}}, 404))
        gone = await fails(jobs.fetch(kind, remote))
        assert isinstance(gone, RejectedError)
        assert gone.code == "not_found"
        for answer in (reply(429), reply(401), reply(500), reply(200, b"[1]"), reply(act="reset")):
            server.answer(answer)
            assert isinstance(await fails(jobs.fetch(kind, remote)), UnavailableError)


@pytest.mark.asyncio
async def test_an_impossible_name_is_not_asked_for(opened: Any, reply: Any) -> None:
    names = ("", "..", "../x", "batches/..", "batches/b?x=1", "models/m/operations/../../x", "files/f")
    names += (f"models/{'m' * 250}/operations/{'o' * 244}",)  # one character more than is kept
    async with opened() as (server, jobs):
        server.answer(reply.of({}))
        for kind, remote in itertools.product(JobKind, names):
            gone = await fails(jobs.fetch(kind, remote))
            assert isinstance(gone, RejectedError)
            assert gone.code == "not_found"
            await jobs.cancel(kind, remote)
        assert server.requests == []


@pytest.mark.asyncio
async def test_a_lost_batch_is_found_by_its_name_and_a_video_is_not_looked_for(
    opened: Any, reply: Any
) -> None:
    other = {"name": "batches/b0", "metadata": {"displayName": "nightly"}}
    async with opened() as (server, jobs):
        pages = [{"operations": [other, "junk"], "nextPageToken": "p&2"}, {"operations": [other, batch()]}]
        server.answer(*(reply.of(page) for page in pages))
        (found,) = await jobs.find(BATCH)
        assert (found.remote, found.state, found.job) == ("batches/b1", JobState.LIVE, JOB)
        assert [r.target for r in server.requests] == [
            "/v1beta/batches?pageSize=50",
            "/v1beta/batches?pageSize=50&pageToken=p%262",
        ]
        server.answer(reply.of({}))
        assert await jobs.find(BATCH) == ()
        server.answer(reply.of({"operations": [other], "nextPageToken": "again"}))
        assert await jobs.find(BATCH) == ()
        assert len(server.requests) == 40  # pages smaller than asked for
        server.answer(reply.of({"operations": [other] * 60, "nextPageToken": "again"}))
        assert await jobs.find(BATCH) == ()
        assert len(server.requests) == 4
        server.answer(reply(500))
        assert isinstance(await fails(jobs.find(BATCH)), UnavailableError)
        server.answer(reply.of({}))
        assert (await jobs.find(VIDEO), await jobs.find(SHOT), server.requests) == ((), (), [])


@pytest.mark.asyncio
async def test_the_name_of_a_batch_tells_its_attempt(opened: Any, reply: Any) -> None:
    """A release before told none: those are found, too."""

    def named(remote: str, name: object) -> dict[str, Any]:
        return {
            "name": f"batches/{remote}",
            "metadata": {"state": "BATCH_STATE_PENDING", "displayName": name},
        }

    strange = [f"{JOB}.", f"{JOB}.0", f"{JOB}.x", f"{JOB}.1.2", f"{JOB}.{'9' * 20}", f"x{JOB}.1", 7]
    listed = [*(named(f"s{n}", name) for n, name in enumerate(strange)), named("b2", f"{JOB}.2")]
    rest = [named("b2", f"{JOB}.2"), named("b1", f"{JOB}.1"), named("b0", JOB)]
    async with opened() as (server, jobs):
        server.answer(reply.of({"operations": listed, "nextPageToken": "p"}), reply.of({"operations": rest}))
        found = [(r.remote, r.job, r.attempt) for r in await jobs.find(BATCH)]
    assert found == [("batches/b2", JOB, 2), ("batches/b1", JOB, 1), ("batches/b0", JOB, 0)]


@pytest.mark.asyncio
async def test_what_can_be_cancelled_is_and_nothing_else_is_asked(opened: Any, reply: Any) -> None:
    async with opened() as (server, jobs):
        server.answer(reply.of({}))
        await jobs.cancel(JobKind.VIDEO, OP)
        assert server.requests == []
        await jobs.cancel(JobKind.BATCH, "batches/b1")
        await jobs.cancel(JobKind.VIDEO_INTERACTION, "v1_a")
        assert [(r.method, r.target, r.body) for r in server.requests] == [
            ("POST", "/v1beta/batches/b1:cancel", b""),
            ("POST", "/v1beta/interactions/v1_a/cancel", b""),
        ]
        server.answer(reply(503), reply.of({"error": {"code": "failed_precondition"}}, 400))
        await jobs.cancel(JobKind.BATCH, "batches/b1")
        assert len(server.requests) == 2
        server.answer(reply(503))
        assert isinstance(await fails(jobs.cancel(JobKind.BATCH, "batches/b1")), UnavailableError)
