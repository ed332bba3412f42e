"""What a job has made, copied: every documented shape, every download that goes wrong, every line counted."""

import asyncio
import base64
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.jobs import JobKind, JobOrder
from orchestrator.domain.values import replace
from orchestrator.errors import OrchestratorError, RejectedError, UnavailableError
from orchestrator.gemini.batch_results import Tally, tallied
from orchestrator.gemini.connection import Connection
from orchestrator.gemini.jobs import GeminiJobs
from orchestrator.gemini.transfers import Transfers
from orchestrator.storage.files import opened as storage_at

KEY = "AIza-canary-key"
JOB = "job_0123456789abcdef01234567"
OP = "models/veo-3.1/operations/op1"
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(range(256)) * 8
VIDEO = JobOrder(JOB, "run_1", JobKind.VIDEO, 1, {"model": "veo-3.1", "prompt": "A lake", "parameters": {}})
SHOT = replace(VIDEO, kind=JobKind.VIDEO_INTERACTION)
KEYS = [f"r{n}" for n in range(1, 6)]
BATCH = replace(
    VIDEO, kind=JobKind.BATCH, request={"model": "m", "lines": [{"key": k, "request": {}} for k in KEYS]}
)
MIB = 1024 * 1024


def operation(*videos: Any, **more: Any) -> dict[str, Any]:
    samples = [{"video": video} for video in videos]
    return {
        "name": OP,
        "done": True,
        "response": {"generateVideoResponse": {"generatedSamples": samples, **more}},
    }


def shot(*blocks: Any) -> dict[str, Any]:
    steps = [
        {"type": "thought"},
        {"type": "model_output", "content": [{"type": "text", "text": "so"}, *blocks]},
    ]
    return {"id": "v1_a", "status": "completed", "steps": steps}


def batch(**output: Any) -> dict[str, Any]:
    return {
        "name": "batches/b1",
        "done": True,
        "metadata": {"state": "BATCH_STATE_SUCCEEDED", "output": output},
    }


@pytest.fixture
def opened(serving: Callable[[], Any], tmp_path: Path) -> Any:
    """`async with opened(…) as (server, jobs, folder)`"""

    @asynccontextmanager
    async def both(*, max_bytes: int = 4 * MIB, timeout_seconds: float = 60.0, **transfers: Any) -> Any:
        async with serving() as server:
            connection = Connection(
                api_key=KEY, base_url=server.base_url, timeout_seconds=timeout_seconds, retry_wait_seconds=0
            )
            files = storage_at(str(tmp_path), max_bytes=max_bytes, min_free_bytes=0)
            try:
                yield (
                    server,
                    GeminiJobs(connection, files, transfers=Transfers(connection, **transfers)),
                    tmp_path,
                )
            finally:
                await connection.aclose()

    return both


def kept(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# ------------------------------------------------------------------ videos


@pytest.mark.asyncio
async def test_videos_are_fetched_at_our_address_by_the_name_in_theirs(opened: Any, reply: Any) -> None:
    uri = "https://generativelanguage.googleapis.com/v1beta/files/vid-1:download?alt=media"
    async with opened() as (server, jobs, folder):
        server.answer(
            reply.of(operation({"uri": uri}, {"uri": "files/vid2"})), reply(200, MP4), reply(200, MP4 * 2)
        )
        harvest = await jobs.harvest(VIDEO, OP)
        assert [r.target for r in server.requests] == [
            f"/v1beta/{OP}",
            "/v1beta/files/vid-1:download?alt=media",
            "/v1beta/files/vid2:download?alt=media",
        ]
        assert {r.headers["x-goog-api-key"] for r in server.requests} == {KEY}
        assert [(f.path, f.type, f.bytes, f.sha256) for f in harvest.files] == [
            (f"run_1/{JOB}-1.mp4", "video/mp4", len(MP4), sha256(MP4).hexdigest()),
            (f"run_1/{JOB}-2.mp4", "video/mp4", 2 * len(MP4), sha256(MP4 * 2).hexdigest()),
        ]
        assert (harvest.facts, harvest.trouble) == ({}, "")
        server.answer(reply.of(operation({"uri": uri}, {"uri": "files/vid2"})), reply(200, MP4))
        assert [f.path for f in (await jobs.harvest(VIDEO, OP)).files] == kept(folder)


@pytest.mark.asyncio
async def test_videos_that_come_inside_the_answer(opened: Any, reply: Any) -> None:
    data = base64.b64encode(MP4).decode()
    spread = "\n".join(data[i : i + 76] for i in range(0, len(data), 76))
    url_safe = base64.urlsafe_b64encode(MP4).decode().rstrip("=")
    blocks = [{"type": "video", "data": d, "mime_type": "text/html"} for d in (data, spread, url_safe)]
    async with opened() as (server, jobs, folder):
        server.answer(reply.of(shot(*blocks)))
        harvest = await jobs.harvest(SHOT, "v1_a")
        assert {f.sha256 for f in harvest.files} == {sha256(MP4).hexdigest()}
        assert len(harvest.files) == 3
        server.answer(
            reply.of(shot({"type": "video", "uri": f"{server.base_url}/v1beta/files/v1"})), reply(200, MP4)
        )
        assert len((await jobs.harvest(SHOT, "v1_a")).files) == 1
        server.answer(reply.of(operation({"encodedVideo": data, "encoding": "video/mp4"})))
        assert len((await jobs.harvest(VIDEO, OP)).files) == 1
        big = base64.b64encode(MP4 + bytes(4 * MIB)).decode()
        server.answer(reply.of(shot({"type": "video", "data": big})))
        assert "larger than 4 MiB" in (await jobs.harvest(SHOT, "v1_a")).trouble
        assert len(kept(folder)) == 3


HOME = "https://generativelanguage.googleapis.com"
ROUND = {"status": 302, "headers": {"location": "/v1beta/files/v1:download"}}
USELESS: list[tuple[dict[str, Any], list[dict[str, Any]], str]] = [
    (operation(), [], "no video"),
    ({"name": OP, "done": True}, [], "no video"),
    (operation(raiMediaFilteredCount=2, raiMediaFilteredReasons=["a face"]), [], "2 kept back by the safety"),
    (operation({"uri": "https://files.evil.example/v1beta/files/v1"}), [], "host: files.evil.example"),
    (operation({"uri": f"{HOME}@evil.example/files/v1"}), [], "host: evil.example"),
    (operation({"uri": f"{HOME}/v1beta/models/m"}), [], "names no file"),
    (operation({"uri": "files/../../etc"}), [], "another host"),
    (operation({"uri": 7}), [], "without address"),
    (operation({"uri": "files/v1"}), [{"status": 404}], "HTTP 404"),
    (operation({"uri": "files/v1"}), [{"body": b"<html>sign in</html>"}], "text/plain"),
    (operation({"uri": "files/v1"}), [{"body": b'{"error": {}}'}], "application/jsonl"),
    (operation({"uri": "files/v1"}), [{"body": b""}], "empty"),
    (operation({"uri": "files/v1"}), [ROUND] * 3, "do not end"),
    (operation({"encodedVideo": "!!!!"}), [], "not base64"),
]


@pytest.mark.asyncio
async def test_nothing_that_can_be_used(opened: Any, reply: Any) -> None:
    async with opened() as (server, jobs, folder):
        for raw, replies, trouble in USELESS:
            server.answer(reply.of(raw), *(reply(**{"body": MP4, **r}) for r in replies))
            harvest = await jobs.harvest(VIDEO, OP)
            assert trouble in harvest.trouble
            assert harvest.absent == (trouble == "HTTP 404")
            assert (harvest.files, kept(folder)) == ((), [])
            assert len(server.requests) == 1 + len(replies)


@pytest.mark.asyncio
async def test_a_film_that_was_not_made_says_why(opened: Any, reply: Any) -> None:
    blocked = {"type": "model_output", "error": {"code": 3, "message": "blocked: a face"}}
    video = {"type": "video", "data": base64.b64encode(MP4).decode()}
    async with opened() as (server, jobs, _):
        server.answer(reply.of({"id": "v1_a", "status": "completed", "steps": [blocked]}))
        assert (await jobs.harvest(SHOT, "v1_a")).trouble == "3: blocked: a face"
        server.answer(reply.of({"id": "v1_a", "status": "incomplete", "steps": []}))
        assert (await jobs.harvest(SHOT, "v1_a")).trouble == "incomplete"
        server.answer(reply.of({**shot(video), "status": "budget_exceeded"}))
        harvest = await jobs.harvest(SHOT, "v1_a")
        assert (len(harvest.files), harvest.facts) == (1, {"troubles": ["budget_exceeded"]})


@pytest.mark.asyncio
async def test_one_video_of_two(opened: Any, reply: Any) -> None:
    async with opened() as (server, jobs, _):
        videos = [{"uri": "https://evil.example/files/v1"}, {"uri": "files/v2"}]
        server.answer(reply.of(operation(*videos)), reply(200, MP4))
        harvest = await jobs.harvest(VIDEO, OP)
        assert ([f.path for f in harvest.files], harvest.trouble) == ([f"run_1/{JOB}-2.mp4"], "")
        assert harvest.facts == {"troubles": ["an address at another host: evil.example"]}


@pytest.mark.asyncio
async def test_a_download_that_does_not_work_now_leaves_nothing(opened: Any, reply: Any) -> None:
    cut = reply(act="cut", body=MP4 * 1000)
    async with opened() as (server, jobs, folder):
        for answer in (cut, reply(act="reset"), reply(503), reply(401), reply(402), reply(403), reply(429)):
            server.answer(reply.of(operation({"uri": "files/v1"})), answer)
            await unavailable(jobs.harvest(VIDEO, OP))
            assert kept(folder) == []
        server.answer(reply.of(operation({"uri": "files/v1"})), reply(200, MP4))
        assert len((await jobs.harvest(VIDEO, OP)).files) == 1


@pytest.mark.asyncio
async def test_a_download_that_drips_is_given_up(opened: Any, reply: Any) -> None:
    async with opened(within_seconds=0.12) as (server, jobs, folder):
        server.answer(reply.of(operation({"uri": "files/v1"})), reply(act="drip", body=MP4))
        async with asyncio.timeout(30):
            assert "too slowly" in str(await unavailable(jobs.harvest(VIDEO, OP)))
        assert kept(folder) == []


@pytest.mark.asyncio
async def test_what_has_not_ended_is_not_harvested(opened: Any, reply: Any) -> None:
    async with opened() as (server, jobs, _):
        server.answer(reply.of({"name": OP, "done": False}))
        await unavailable(jobs.harvest(VIDEO, OP))
        server.answer(reply(404))
        with pytest.raises(RejectedError) as gone:
            await jobs.harvest(VIDEO, OP)
        assert gone.value.code == "not_found"


async def unavailable(work: Any) -> OrchestratorError:
    with pytest.raises(UnavailableError) as caught:
        await work
    return caught.value


@pytest.mark.asyncio
async def test_a_redirect_keeps_the_key_at_home(opened: Any, reply: Any, serving: Callable[[], Any]) -> None:
    async with opened() as (server, jobs, folder), serving() as elsewhere:
        elsewhere.answer(reply(200, MP4))
        for location in (
            f"{elsewhere.base_url}/x",
            "https://evil.example/x",
            "file:///etc/passwd",
            "//[",
            "/download/v1\x7f",
            "",
        ):
            away = reply(302, headers={"location": location})
            server.answer(reply.of(operation({"uri": "files/v1"})), away, away, away)
            assert "redirect" in (await jobs.harvest(VIDEO, OP)).trouble
        assert (elsewhere.requests, kept(folder)) == ([], [])
        server.answer(
            reply.of(operation({"uri": "files/v1"})),
            reply(302, headers={"location": "/download/v1"}),
            reply(200, MP4),
        )
        assert len((await jobs.harvest(VIDEO, OP)).files) == 1
        assert server.requests[2].headers["x-goog-api-key"] == KEY


@pytest.mark.asyncio
async def test_a_trusted_host_is_gone_on_to_by_https_only_and_without_the_key(
    opened: Any, reply: Any, serving: Callable[[], Any]
) -> None:
    async with opened(redirects_to=("127.0.0.1",)) as (server, jobs, _), serving() as elsewhere:
        seen: list[bytes] = []

        async def first_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.read(5))
            writer.close()

        tls = await asyncio.start_server(first_bytes, "127.0.0.1", 0)
        port = tls.sockets[0].getsockname()[1]
        for location in (f"{elsewhere.base_url}/x", f"https://127.0.0.1:{port}/x"):
            server.answer(
                reply.of(operation({"uri": "files/v1"})), reply(307, headers={"location": location})
            )
            if location.startswith("https"):
                await unavailable(jobs.harvest(VIDEO, OP))
            else:
                assert "redirect" in (await jobs.harvest(VIDEO, OP)).trouble
        tls.close()
        assert elsewhere.requests == []
        assert [piece[:1] for piece in seen] == [b"\x16"]  # a TLS handshake: nothing in the open
        form = jobs._transfers._onwards(
            (await jobs._connection.opened()).fetch, f"https://127.0.0.1:{port}/x"
        )
        assert KEY not in str(dict(form.headers))


@pytest.mark.asyncio
async def test_a_large_video_goes_through_in_little_memory_and_a_larger_one_is_stopped(opened: Any) -> None:
    """20 MiB of one, and of another that says it is small and never ends, without a length."""
    block = bytes(64 * 1024)

    async def big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        if b"files" not in target:
            body = json.dumps(operation({"uri": f"files/{file}"})).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\nx-size: 10\r\n\r\n" + MP4)
            try:
                for _ in range(320 if b"fits" in target else 100_000):
                    writer.write(block)
                    await writer.drain()
            except ConnectionError:
                ended.append(target)
        writer.close()

    file, ended = "fits", list[bytes]()
    told = await asyncio.start_server(big, "127.0.0.1", 0)
    async with opened(max_bytes=32 * MIB) as (_, jobs, folder):
        jobs._connection.base_url = f"http://127.0.0.1:{told.sockets[0].getsockname()[1]}"
        await jobs._connection.opened()
        tracemalloc.start()
        harvest = await jobs.harvest(VIDEO, OP)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert harvest.files[0].bytes == len(MP4) + 320 * len(block)
        assert peak < 8 * MIB
        file = "lies"
        assert "larger than 32 MiB" in (await jobs.harvest(VIDEO, OP)).trouble
        async with asyncio.timeout(30):
            while not ended:  # noqa: ASYNC110 - a real server is involved
                await asyncio.sleep(0.01)
        assert kept(folder) == [f"run_1/{JOB}-1.mp4"]
    told.close()


# ------------------------------------------------------------------ batches


CANDIDATE = {"content": {"role": "model", "parts": [{"text": "so"}]}, "finishReason": "STOP"}


def answered(key: str, tokens: int = 10) -> dict[str, Any]:
    usage = {
        "promptTokenCount": tokens,
        "candidatesTokenCount": 1,
        "totalTokenCount": tokens + 1,
        "other": "x",
    }
    return {"key": key, "response": {"candidates": [CANDIDATE], "usageMetadata": usage}}


def failed(key: str) -> dict[str, Any]:
    return {"key": key, "error": {"code": 3, "message": "no"}}


FACTS = {
    "succeeded": 3,
    "failed": 1,
    "missing": 1,
    "failed_keys": ["r2"],
    "missing_keys": ["r4"],
    "usage": {"promptTokenCount": 30, "candidatesTokenCount": 3, "totalTokenCount": 33},
}
ANSWERS = [answered("r5"), failed("r2"), answered("r1"), answered("r3")]


@pytest.mark.asyncio
async def test_the_lines_of_a_file_are_all_accounted_for(opened: Any, reply: Any) -> None:
    odd = [answered("r1"), answered("stranger"), {"response": {}}]
    text = "\n".join(json.dumps(line) for line in [*ANSWERS, *odd]) + '\n\n{"key": "r4", "resp'
    async with opened() as (server, jobs, folder):
        server.answer(reply.of(batch(responsesFile="files/out1")), reply(200, text.encode()))
        harvest = await jobs.harvest(BATCH, "batches/b1")
        assert harvest.facts == {**FACTS, "unreadable": 2, "unasked": 1, "repeated": 1}
        assert [(f.path, f.type) for f in harvest.files] == [(f"run_1/{JOB}-1.jsonl", "application/jsonl")]
        whole, _, broken = text.rpartition("\n\n")
        kept_as = f"{whole}\n{json.dumps({'unreadable': broken})}\n"
        assert (folder / harvest.files[0].path).read_text() == kept_as
        kept_file = replace(BATCH, request={"model": "m", "file": harvest.files[0].path})
        server.answer(
            reply.of(batch(responsesFile="files/out2")), reply(200, json.dumps(answered("r5")).encode())
        )
        again = (await jobs.harvest(replace(kept_file, id=f"{JOB}a"), "batches/b1")).facts
        assert (again["succeeded"], again["missing_keys"]) == (1, ["r2", "r1", "r3", "stranger"])


@pytest.mark.asyncio
async def test_lines_that_are_none_cost_only_themselves(opened: Any, reply: Any) -> None:
    strange = [b"", b"not json", b"[1, 2]", b"null", b'{"key": 5}', b"\xff\x00\x1b", b'"' + b"x" * 3000]
    answers = [json.dumps(a).encode() for a in ANSWERS]
    async with opened() as (server, jobs, folder):
        for lines, end, odd in ((answers, b"\n", {}), ([*strange, *answers], b"\r\n", {"unreadable": 6})):
            server.answer(
                reply.of(batch(responsesFile="files/out1")), reply(200, b"\xef\xbb\xbf" + end.join(lines))
            )
            harvest = await jobs.harvest(BATCH, "batches/b1")
            assert (harvest.facts, harvest.trouble) == ({**FACTS, **odd}, "")
            assert harvest.files[0].type == "application/jsonl"
            found = [json.loads(x) for x in (folder / harvest.files[0].path).read_bytes().split(b"\n")]
            assert found[-4:] == ANSWERS
        assert found[:5] == [
            *({"unreadable": x} for x in ("not json", "[1, 2]", "null")),
            {"key": 5},
            found[4],
        ]
        assert (found[4], len(found[5]["unreadable"])) == ({"unreadable": "\ufffd\0\x1b"}, 1000)


def test_an_answer_without_content_has_failed_for_its_reason() -> None:
    empty: list[dict[str, Any]] = [
        {"candidates": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 7}},
        {"candidates": [{"finishReason": "SAFETY"}, None]},
        {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]},
        {"candidates": "none", "promptFeedback": {"blockReason": 7}},
    ]
    tally = Tally(KEYS)
    for key, response in zip(KEYS, empty, strict=True):
        tally.feed(json.dumps({"key": key, "response": response}).encode() + b"\n")
    facts = tally.end()
    assert (facts["succeeded"], facts["failed"], facts["failed_keys"]) == (0, 5, KEYS)
    assert facts["without_content"] == {
        "PROHIBITED_CONTENT": 2,
        "SAFETY": 1,
        "MAX_TOKENS": 1,
        "no candidates": 1,
    }
    assert facts["usage"]["promptTokenCount"] == 7
    tally = Tally(None)
    for n in range(100):
        answer = {"candidates": [{"finishReason": f"R{n}" * 100}]}
        tally.feed(json.dumps({"key": f"r{n}", "response": answer}).encode() + b"\n")
    reasons = tally.end()["without_content"]
    assert (len(reasons), reasons["other"], max(map(len, reasons))) == (21, 80, 64)


@pytest.mark.asyncio
async def test_answers_inside_the_batch_become_lines(opened: Any, reply: Any) -> None:
    inside = [{"metadata": {"key": a["key"]}, **{k: v for k, v in a.items() if k != "key"}} for a in ANSWERS]
    nested = batch(inlinedResponses={"inlinedResponses": inside})
    plain = {**batch(), "response": {"inlinedResponses": inside}}
    async with opened() as (server, jobs, folder):
        for raw in (nested, plain):
            server.answer(reply.of(raw))
            harvest = await jobs.harvest(BATCH, "batches/b1")
            assert harvest.facts == FACTS
            lines = [json.loads(line) for line in (folder / harvest.files[0].path).read_text().splitlines()]
            assert lines == ANSWERS
        unnamed = [{"response": {"candidates": [CANDIDATE]}}, {"error": {"message": "no"}}, None]
        server.answer(reply.of(batch(inlinedResponses={"inlinedResponses": unnamed})))
        facts = (await jobs.harvest(BATCH, "batches/b1")).facts
        assert (facts["succeeded"], facts["failed_keys"], facts["missing_keys"]) == (
            1,
            ["r2", "r3"],
            ["r4", "r5"],
        )


@pytest.mark.asyncio
async def test_a_batch_without_answers_misses_all(opened: Any, reply: Any) -> None:
    in_a_file = batch(responsesFile="files/out1")
    useless: list[tuple[dict[str, Any], list[Any], str]] = [
        (batch(), [], "no responses"),
        (batch(responsesFile="../files/x"), [], "no responses"),
        (in_a_file, [reply(404)], "404"),
        (in_a_file, [reply(200, MP4)], "none of the "),
        (in_a_file, [reply(200, b"<html>\nsign in\n")], "none of the 2 lines of the file can be read"),
        (in_a_file, [reply(200, b'{"error": {"code": 500}}')], "none of the 1 lines"),
        (in_a_file, [reply(200, b"\n" * 2000)], "empty"),
        (batch(inlinedResponses={"inlinedResponses": []}), [], "empty"),
    ]
    async with opened() as (server, jobs, folder):
        for raw, replies, trouble in useless:
            server.answer(reply.of(raw), *replies)
            harvest = await jobs.harvest(BATCH, "batches/b1")
            assert trouble in harvest.trouble
            assert (harvest.files, harvest.facts["missing_keys"], kept(folder)) == ((), KEYS, [])


@pytest.mark.asyncio
async def test_a_results_file_that_breaks_off_is_tried_again(opened: Any, reply: Any) -> None:
    async with opened() as (server, jobs, folder):
        text = b"".join(json.dumps(a).encode() + b"\n" for a in ANSWERS)
        server.answer(reply.of(batch(responsesFile="files/out1")), reply(act="cut", body=text))
        await unavailable(jobs.harvest(BATCH, "batches/b1"))
        assert kept(folder) == []


def test_a_tally_counts_all_and_lists_ten_thousand() -> None:
    tally = Tally([f"r{n}" for n in range(24_000)])
    for n in range(0, 24_000, 2):
        tally.feed((json.dumps(failed(f"r{n}")) + "\n").encode())
    facts = tally.end()
    assert (facts["failed"], facts["missing"]) == (12_000, 12_000)
    assert facts["failed_keys"] == [f"r{n}" for n in range(0, 20_000, 2)]
    assert facts["missing_keys"] == [f"r{n}" for n in range(1, 20_000, 2)]


def test_lines_may_be_cut_anywhere_and_must_end() -> None:
    text = b"".join(json.dumps(a).encode() + b"\r\n" for a in ANSWERS)
    tally = Tally(KEYS)
    for at in range(len(text)):
        tally.feed(text[at : at + 1])
    assert tally.end() == FACTS
    with pytest.raises(RejectedError, match="longer than 10 bytes"):
        Tally(KEYS, max_line_bytes=10).feed(b"x" * 11)


@pytest.mark.asyncio
async def test_lines_are_counted_beside_the_loop() -> None:
    """One may be 64 MB long, and 64 KB may be 30 000 of them."""
    threads: set[int] = set()

    class Noted(Tally):
        def feed(self, chunk: bytes) -> bytes:
            threads.add(threading.get_ident())
            return super().feed(chunk)

        def rest(self) -> bytes:
            threads.add(threading.get_ident())
            return super().rest()

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"key":"a","error":{}}\n{"key":'
        yield b'"b","error":{}}'

    kept = [piece async for piece in tallied(chunks(), Noted(None))]
    assert [json.loads(line)["key"] for line in b"".join(kept).splitlines()] == ["a", "b"]
    assert threading.get_ident() not in threads
    assert threads
