"""Pictures by Slack's upload of today: left there, then shown in the thread; and the card they are of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.slack_cards import NOW, card
from support.slack_messages import actions
from support.slack_server import FakeSlack, ok

from orchestrator.domain.cards import Card, Picture
from orchestrator.domain.choosing import CHOOSE_MEDIA
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.validation import validate_view
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.slack import human, modals
from orchestrator.slack.blocks import draw
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.manifest import scopes
from orchestrator.slack.uploads import hosts
from orchestrator.slack.web_api import answerable

JPEG = Picture(1, b"\xff\xd8\xff" + bytes(2_000))
PNG = Picture(2, b"\x89PNG\r\n\x1a\n" + bytes(2_000))


def choice(files: int = 2, **changes: Any) -> Card:
    paths = [f"run_{'a' * 24}/job_{n:024}-1.mp4" for n in range(files)]
    asked = {"files": paths, "question": "Which <one>?", "labels": None, "again_allowed": True, **changes}
    one = card(asked)
    return replace(one, call=replace(one.call, tool=CHOOSE_MEDIA))


@asynccontextmanager
async def local() -> AsyncIterator[tuple[LocalSlack, SlackGateway]]:
    app = build(clock=NOW.timestamp)
    async with running(app) as address:
        gateway = SlackGateway("xoxb-local", clock=lambda: NOW, base_url=f"{address}/api/", blip_seconds=0.01)
        try:
            yield app.state.slack, gateway
        finally:
            await gateway.aclose()


async def posted(gateway: SlackGateway) -> Card:
    asked = choice()
    channel, ts = await gateway.post(asked, seen_before=False)
    return replace(asked, approval=replace(asked.approval, channel=channel, ts=ts))


@pytest.mark.asyncio
async def test_pictures_stand_in_the_thread_once() -> None:
    async with local() as (slack, gateway):
        asked = await posted(gateway)
        files = [(await gateway.send_picture(p), title) for p, title in ((JPEG, "1. <dusk>"), (PNG, "2"))]
        assert all(slack.uploads.shown(file_id) is None for file_id, _ in files), "nobody sees them yet"
        slack.fault("files.completeUploadExternal", "accept_then_reset")
        with pytest.raises(UncertainError):
            await gateway.show_pictures(asked, files, seen_before=False)
        await gateway.show_pictures(asked, files, seen_before=True)
        (reply,) = slack.workspace.replies(slack.latest("C0APPR", action_id="choose_1"))
        assert [(f["id"], f["title"], f["mimetype"]) for f in reply.files] == [
            (files[0][0], "1. <dusk>", "image/jpeg"),
            (files[1][0], "2", "image/png"),
        ]
        assert asked.approval.id in reply.text
        shown = slack.uploads.shown(files[1][0])
        assert shown is not None
        assert shown.content == PNG.content


@pytest.mark.asyncio
async def test_trouble_on_the_way_is_told_apart() -> None:
    async with local() as (slack, gateway):
        asked = await posted(gateway)
        slack.fault("upload", "status", status=503)
        with pytest.raises(UnavailableError):
            await gateway.send_picture(JPEG)
        slack.fault("files.getUploadURLExternal", "reset")
        left = await gateway.send_picture(JPEG)  # announced again: nothing was shown
        slack.uploads.drop_unshared()
        with pytest.raises(RejectedError) as dropped:
            await gateway.show_pictures(asked, [(left, "1")], seen_before=False)
        assert dropped.value.code == "file_not_found"
        slack.switches.scopes = tuple(s for s in slack.switches.scopes if s != "files:write")
        with pytest.raises(RejectedError, match="files:write"):
            await gateway.send_picture(JPEG)
        assert slack.workspace.replies(slack.latest("C0APPR", action_id="choose_1")) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "url",
    ["https://evil.example/upload/v1/x", "http://files.slack.com/upload/v1/x", "http://127.0.0.1@e.example/"],
)
async def test_bytes_go_nowhere_but_to_slack(url: str) -> None:
    async with FakeSlack(files__getUploadURLExternal=ok(upload_url=url, file_id="F1")) as fake:
        gateway = SlackGateway("xoxb-x", base_url=fake.base_url)
        with pytest.raises(RejectedError) as refused:
            await gateway.send_picture(JPEG)
        await gateway.aclose()
    assert refused.value.code == "foreign_url"
    assert [method for method, _ in fake.calls] == ["files.getUploadURLExternal"]


def test_slacks_own_hosts_and_a_local_one() -> None:
    ours, local_one = hosts("https://slack.com/api/"), hosts("http://127.0.0.1:3101/api/")
    assert answerable("https://files.slack.com/upload/v1/abc", ours)
    assert not answerable("http://files.slack.com/upload/v1/abc", ours)
    assert not answerable("https://files.slack.com.evil.example/x", ours)
    assert not answerable("http://127.0.0.1:1/x", ours)
    assert answerable("http://127.0.0.1:3101/upload/v1/abc", local_one)
    assert not answerable("https://files.slack.com/upload/v1/abc", local_one)
    needed = {"groups": False, "direct": False}
    assert "files:write" in scopes(**needed, pictures=True)
    assert "files:write" not in scopes(**needed)


@pytest.mark.parametrize("files", [1, 2, 20])
@pytest.mark.parametrize("labels", [False, True])
def test_a_choice_has_a_button_for_each_file(files: int, labels: bool) -> None:
    asked = choice(files, labels=["dusk <!channel> " + "x" * 40] * files if labels else None)
    numbered = [f"choose_{n}" for n in range(files)]
    assert actions(draw(asked, now=NOW)) == [*numbered, "again", "reject_reason", "ask"]
    assert "again" not in actions(draw(choice(files, again_allowed=False), now=NOW))
    form = human.form(asked.call)
    assert form is not None
    views = (modals.answer(asked, form), modals.details(asked, open_=True), modals.again(asked))
    assert [validate_view(view) for view in views] == [()] * 3
    (field,) = form.blocks
    sent = {field["block_id"]: {"v": {"selected_option": {"value": str(files - 1)}}}}
    filled = form.filled(sent).arguments
    assert filled is not None
    last = asked.call.arguments["files"][-1]
    assert human.answer_of(asked.call, filled) == {"file": last, "number": files}


def test_the_card_says_where_files_are_and_why_there_is_no_picture() -> None:
    links = ("https://o.example/v1/files/run_a/1.mp4", "javascript:alert(1)")
    told = replace(choice(), file_links=links, no_pictures="No picture could be shown: Slack refused (x)")
    drawn = str(draw(told, now=NOW).blocks)
    assert actions(draw(told, now=NOW))[:2] == ["choose_0", "choose_1"]
    assert "No picture could be shown" in drawn
    assert links[0] in drawn
    assert "javascript" not in drawn
    discreet = replace(told.approval, terms=replace(told.approval.terms, discreet=True))
    hidden = replace(told, approval=discreet, call=replace(told.call, approval=discreet))
    assert actions(draw(hidden, now=NOW)) == ["answer", "again", "reject_reason", "ask"]
    assert "files" not in str(draw(hidden, now=NOW).blocks)
