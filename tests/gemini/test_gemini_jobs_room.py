"""Long jobs against the stand-in Gemini, by every road: begun, read until they end, found, brought home."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.domain.jobs import JobKind, JobOrder, JobState
from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.serving import running
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.gemini.jobs import INLINE_BYTES, GeminiJobs
from orchestrator.storage.files import opened

VIDEO = {"prompt": "A lake", "parameters": {}}
REQUEST = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
LINES = {"model": "gemini-3.8-flash", "lines": [{"key": f"r{n}", "request": REQUEST} for n in range(5)]}


@pytest.mark.asyncio
async def test_every_road_from_start_to_stored_files(tmp_path: Path) -> None:
    roads = [
        (JobKind.VIDEO, {"model": "veo-3.1-generate-preview", **VIDEO}, INLINE_BYTES, "video/mp4"),
        (JobKind.VIDEO_INTERACTION, {"model": "gemini-omni-1.2-flash", **VIDEO}, INLINE_BYTES, "video/mp4"),
        (JobKind.BATCH, LINES, INLINE_BYTES, "application/jsonl"),
        (JobKind.BATCH, LINES, 10, "application/jsonl"),  # as a file, by the resumable upload
    ]
    async with running(build(EmulatorSettings(think_seconds=0.02))) as base_url:
        gateway = GeminiGateway(api_key="made-up", base_url=base_url)
        storage = opened(str(tmp_path), max_bytes=1 << 24, min_free_bytes=0)
        for number, (kind, request, inline, kept) in enumerate(roads):
            jobs = GeminiJobs(gateway.connection, storage, inline_bytes=inline)
            order = JobOrder(f"job_{number:024x}", "run_1", kind, 1, request)
            remote = (await jobs.start(order)).remote
            async with asyncio.timeout(30):
                while (read := await jobs.fetch(kind, remote)).state is JobState.LIVE:  # noqa: ASYNC110 - a server
                    await asyncio.sleep(0.05)
            assert read.state is JobState.DONE
            found = await jobs.find(order)
            assert [(r.remote, r.attempt) for r in found] == ([(remote, 1)] if kind is JobKind.BATCH else [])
            harvest = await jobs.harvest(order, remote)
            assert (harvest.trouble, [f.type for f in harvest.files]) == ("", [kept])
            assert (tmp_path / harvest.files[0].path).stat().st_size == harvest.files[0].bytes
            if kind is JobKind.BATCH:
                assert (harvest.facts["succeeded"], harvest.facts["missing"]) == (5, 0)
                assert harvest.facts["usage"]["totalTokenCount"] > 0
        await gateway.aclose()
