"""Batches and their files, as the real client sees them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from gemini_kit import MODEL, Stage, receiving, stage
from google.genai import errors, types

SAID: Any = [{"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "metadata": {"key": "r1"}}]


async def created(s: Stage, uri: str = "https://x.example/h", src: Any = SAID) -> Any:
    hook = types.WebhookConfig(uris=[uri], user_metadata={"n": 1})
    config = types.CreateBatchJobConfig(display_name="nightly", webhook_config=hook)
    return await classic(s.client.batches.create, model=MODEL, src=src, config=config)


async def classic(method: Callable[..., Any], **options: Any) -> Any:
    """A call of the synchronous client: the asynchronous one takes aiohttp for these where it can."""
    return await asyncio.to_thread(method, **options)


@pytest.mark.asyncio
async def test_from_create_to_results_and_webhook() -> None:
    async with receiving() as r, stage() as s:
        made = await created(s, r.uri)
        assert (made.state.name, made.display_name, made.done) == ("JOB_STATE_PENDING", "nightly", False)
        await s.emulator.advance(2)
        done = await classic(s.client.batches.get, name=made.name)
        assert (done.state.name, done.done) == ("JOB_STATE_SUCCEEDED", True)
        (result,) = done.dest.inlined_responses
        assert result.response.candidates[0].content.parts[0].text == "Answer to: hi"
        assert result.metadata == {"key": "r1"}
        event = json.loads(r.got[0][1])
        data = {"id": made.name.replace("batches/", "batch_"), "user_metadata": {"n": 1}}
        assert (event["type"], event["data"]) == ("batch.succeeded", data)


@pytest.mark.asyncio
async def test_files_in_and_out() -> None:
    async with stage() as s:
        lines = [
            {"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}]}},
            {"key": "b", "request": {}},
        ]
        content = "\n".join(json.dumps(line) for line in lines).encode()
        s.emulator.files.put("k", "files/in1", content)
        made = await created(s, src="files/in1")
        await s.emulator.advance(2)
        done = await classic(s.client.batches.get, name=made.name)
        out = await classic(s.client.files.download, file=done.dest.file_name)
        answered = [json.loads(line) for line in out.splitlines()]
        assert [(line["key"], "error" in line) for line in answered] == [("a", False), ("b", True)]
        with pytest.raises(errors.ClientError) as raised:
            await created(s, src="files/unknown")
        assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")


@pytest.mark.asyncio
async def test_cancelled_failed_expired_and_deleted() -> None:
    async with receiving() as r, stage(batch_seconds=300_000) as s:
        cancelled, failed, expired, deleted = [await created(s, r.uri) for _ in range(4)]
        await classic(s.client.batches.cancel, name=cancelled.name)
        body = {"state": "BATCH_STATE_FAILED", "message": "boom"}
        await s.http("POST", f"/_emulator/{failed.name}/state", json=body)
        await classic(s.client.batches.delete, name=deleted.name)
        await s.emulator.advance(200_000)
        states = [
            (await classic(s.client.batches.get, name=one.name)).state.name
            for one in (cancelled, failed, expired)
        ]
        assert states == ["JOB_STATE_CANCELLED", "JOB_STATE_FAILED", "JOB_STATE_EXPIRED"]
        assert [json.loads(body)["type"] for _, body in r.got] == ["batch.failed", "batch.expired"]
        with pytest.raises(errors.ClientError, match="was not found"):
            await classic(s.client.batches.get, name=deleted.name)
        with pytest.raises(errors.ClientError, match="has ended"):
            await classic(s.client.batches.cancel, name=cancelled.name)


@pytest.mark.asyncio
async def test_lists_in_pages_of_ones_own_project() -> None:
    async with stage() as s:
        made = [(await created(s)).name for _ in range(3)]
        jobs = await classic(lambda: list(s.client.batches.list(config={"page_size": 2})))
        assert [job.name for job in jobs] == made
        foreign = {"headers": {"x-goog-api-key": "other"}}
        assert (await s.http("GET", "/v1/batches", **foreign)).json() == {"operations": []}
        assert (await s.http("GET", f"/v1/{made[0]}", **foreign)).status_code == 404
        assert (await s.http("POST", f"/v1/{made[0]}:cancel", **foreign)).status_code == 404
        for path in (f"/v1/models/{MODEL}:dream", f"/v1/{made[0]}:dream"):
            assert (await s.http("POST", path, json={})).status_code == 404
        for bad in ({}, {"batch": {}}, {"batch": {"inputConfig": {"requests": {"requests": []}}}}):
            refused = await s.http("POST", f"/v1/models/{MODEL}:batchGenerateContent", json=bad)
            assert refused.json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.asyncio
async def test_faults_come_in_the_older_shape() -> None:
    async with stage() as s:
        s.emulator.inject("batches.get", "status", status=503)
        with pytest.raises(errors.ServerError) as raised:
            await classic(s.client.batches.get, name="batches/x")
        assert (raised.value.code, raised.value.status) == (503, "UNAVAILABLE")
