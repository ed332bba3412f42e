"""Files by Slack's upload of today, with Slack's own client: announced, sent, shown; and what is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from slack_kit import error_of
from slack_sdk.web.async_client import AsyncWebClient

from orchestrator.emulator.serving import authorities, running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import CHANNELS, SlackChannel, SlackEmulatorSettings

pytestmark = pytest.mark.asyncio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(500)
OLD = SlackChannel("C0OLD", "old", is_archived=True)


@asynccontextmanager
async def slack() -> AsyncIterator[tuple[AsyncWebClient, LocalSlack, httpx.AsyncClient]]:
    app = build(SlackEmulatorSettings(channels=(*CHANNELS, OLD)), clock=lambda: 1_795_290_000.0)
    async with (
        running(app) as base,
        httpx.AsyncClient(base_url=base, timeout=60, verify=authorities()) as http,
    ):
        yield AsyncWebClient("xoxb-local", f"{base}/api/", retry_handlers=[]), app.state.slack, http


async def test_slacks_own_client_uploads_into_a_thread_and_the_page_shows_it() -> None:
    async with slack() as (client, local, http):
        ts = (await client.chat_postMessage(channel="C0APPR", text="Which?"))["ts"]
        evil = '<script>alert("x")</script>'
        done = await client.files_upload_v2(
            filename="1.png", content=PNG, title=evil, channel="C0APPR", thread_ts=ts, initial_comment="Look"
        )
        (message,) = (await client.conversations_replies(channel="C0APPR", ts=ts))["messages"][1:]
        page = (await http.get("/?channel=C0APPR")).text
        file_id = message["files"][0]["id"]
        picture = await http.get(f"/files/{file_id}")
        other = await http.get("/files/F00000009")
    assert done["files"][0]["id"] == file_id
    assert (message["text"], message["files"][0]["mimetype"]) == ("Look", "image/png")
    assert f'<img src="/files/{file_id}"' in page
    assert evil not in page
    assert (picture.content, picture.headers["content-type"]) == (PNG, "image/png")
    assert other.status_code == 404
    assert [call.method for call in local.calls if "chat" not in call.method][:3] == [
        "files.getUploadURLExternal",
        "upload",
        "files.completeUploadExternal",
    ]


async def test_what_slack_refuses() -> None:
    async with slack() as (client, local, http):
        told = await client.files_getUploadURLExternal(filename="1.png", length=len(PNG))
        files = [{"id": told["file_id"], "title": "1"}]

        async def complete(**more: Any) -> str:
            return await error_of(client.files_completeUploadExternal(files=files, **more))

        assert await complete(channel_id="C0APPR") == "file_not_found"  # no bytes yet
        assert (await http.post(told["upload_url"], content=b"short")).status_code == 400
        assert (await http.post("/upload/v1/nothing", content=PNG)).status_code == 404
        assert (await http.post(told["upload_url"], content=PNG)).text == f"OK - {len(PNG)}"
        assert await complete(channel_id="C0NONE") == "channel_not_found"
        assert await complete(channel_id="C0GENERAL") == "not_in_channel"
        assert await complete(channel_id="C0OLD") == "is_archived"
        assert await complete(channel_id="C0APPR", thread_ts="1.000001") == "thread_not_found"
        assert (await http.get(f"/files/{told['file_id']}")).status_code == 404, "nobody was shown it"
        assert await error_of(client.files_getUploadURLExternal(filename="", length=1)) == "invalid_arguments"
        too_much = client.files_getUploadURLExternal(filename="a", length=1, alt_txt="x" * 1_001)
        assert await error_of(too_much) == "alt_txt_too_large"
        local.switches.scopes = ("chat:write",)
        assert await complete(channel_id="C0APPR") == "missing_scope"
