"""Redrawing: every answer Slack can give, and every lack of one, through the real client."""

import json
from typing import Any

import pytest
from gateway_kit import CHANNEL, HTML, PLACED, TS, gateway, message
from structlog.testing import capture_logs
from support.slack_cards import card, plan_card, states
from support.slack_server import DROPPED, ME, POSTED, SILENT, FakeSlack, Reply, no, ok

from orchestrator.domain.consent import Place
from orchestrator.domain.values import replace
from orchestrator.errors import (
    RejectedError,
    UnavailableError,
    UnfamiliarError,
)

pytestmark = pytest.mark.asyncio


async def test_an_update_redraws_the_message_it_names() -> None:
    async with FakeSlack(chat__update=ok(ts=TS)) as slack, gateway(slack) as slacks:
        await slacks.update(PLACED)
        [sent] = slack.made("chat.update")
        assert (sent["channel"], sent["ts"]) == (CHANNEL, TS)
        assert (sent["parse"], sent["link_names"]) == ("none", False)
        assert sent["blocks"][0]["text"]["text"] == "Approved: refund_order"


@pytest.mark.parametrize(
    "reply", [DROPPED, HTML, no("fatal_error"), no("internal_error"), no("update_failed")]
)
async def test_an_update_rides_out_blips(reply: Reply) -> None:
    async with FakeSlack(chat__update=[reply, reply, ok(ts=TS)]) as slack, gateway(slack) as slacks:
        await slacks.update(PLACED)
        assert len(slack.calls) == 3


async def test_an_update_tries_a_connection_again_and_a_post_does_not() -> None:
    async with gateway(None) as slacks:
        for work, blips in ((slacks.update(PLACED), 2), (slacks.post(card(), seen_before=False), 0)):
            with capture_logs() as logs, pytest.raises(UnavailableError):
                await work
            assert [line["event"] for line in logs] == ["slack_blip"] * blips


async def test_a_try_that_took_too_long_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.slack.web_api._RETRY_WITHIN_SECONDS", 0.0)
    async with FakeSlack(chat__update=SILENT) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError):
            await slacks.update(PLACED)
        assert len(slack.calls) == 1


@pytest.mark.parametrize("reply", [SILENT, DROPPED, HTML, no("request_timeout")])
async def test_an_update_without_an_answer_is_to_be_tried_later(reply: Reply) -> None:
    async with FakeSlack(chat__update=reply) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError):
            await slacks.update(PLACED)
        assert len(slack.calls) == 3


async def test_an_update_that_is_too_fast_waits_for_the_queue() -> None:
    reply = Reply({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "3"})
    async with FakeSlack(chat__update=reply) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError) as e:
            await slacks.update(PLACED)
        assert e.value.retry_after == 3
        assert len(slack.calls) == 1


@pytest.mark.parametrize(
    ("code", "may_pass"),
    [
        *[(gone, False) for gone in ("message_not_found", "channel_not_found", "is_inactive", "is_archived")],
        *[
            (odd, True)
            for odd in ("an_error_of_next_year", "external_channel_migrating", "team_added_to_org")
        ],
    ],
)
async def test_an_update_of_what_is_gone_is_final(code: str, may_pass: bool) -> None:
    async with FakeSlack(chat__update=no(code)) as slack, gateway(slack) as slacks:
        with pytest.raises(RejectedError) as e:
            await slacks.update(PLACED)
        assert (e.value.code, isinstance(e.value, UnfamiliarError)) == (code, may_pass)


async def test_that_the_app_was_removed_is_the_trouble_until_a_message_is_taken_again() -> None:
    replies = [no("account_inactive"), POSTED]
    async with FakeSlack(chat__postMessage=replies, auth__test=ME) as slack, gateway(slack) as slacks:
        slacks.removed("app_uninstalled")
        await slacks.identity()
        assert "removed from the workspace (app_uninstalled)" in slacks.trouble
        with pytest.raises(UnavailableError):
            await slacks.post(card(), seen_before=False)
        assert "account_inactive" in slacks.trouble
        await slacks.post(card(), seen_before=False)
        assert slacks.trouble == ""


REPLACED = replace(
    states()["replaced"],
    approval=replace(states()["replaced"].approval, channel=CHANNEL, ts=TS),
    replaced_by=(Place("C0OTHER", "1.2"), Place(CHANNEL, "1.3")),
)


async def test_a_message_of_a_question_that_was_replaced_leads_to_the_new_one() -> None:
    there = "https://acme.slack.com/archives/C0APPR/p13"
    async with (
        FakeSlack(chat__getPermalink=ok(permalink=there), chat__update=ok(ts=TS)) as slack,
        gateway(slack) as slacks,
    ):
        await slacks.update(REPLACED)
        assert slack.made("chat.getPermalink") == [{"channel": CHANNEL, "message_ts": "1.3"}]
        [sent] = slack.made("chat.update")
        assert f"<{there}|the new message>" in json.dumps(sent["blocks"])
        await slacks.update(replace(REPLACED, replaced_by=REPLACED.replaced_by[:1]))
        assert slack.made("chat.getPermalink")[1] == {"channel": "C0OTHER", "message_ts": "1.2"}
        await slacks.update(replace(REPLACED, replaced_by=()))
        assert len(slack.made("chat.getPermalink")) == 2


@pytest.mark.parametrize(
    "reply", [no("message_not_found"), DROPPED, HTML, ok(), no("ratelimited", status=429)]
)
async def test_a_way_to_the_new_question_that_slack_does_not_tell_keeps_no_button_alive(reply: Reply) -> None:
    async with FakeSlack(chat__getPermalink=reply, chat__update=ok(ts=TS)) as slack, gateway(slack) as slacks:
        await slacks.update(REPLACED)
        [sent] = slack.made("chat.update")
        assert "the new message" not in json.dumps(sent["blocks"])
        assert "actions" not in [block["type"] for block in sent["blocks"]]


@pytest.mark.parametrize("code", ["cant_update_message", "edit_window_closed"])
async def test_a_message_that_cannot_be_changed_gets_its_news_in_the_thread(code: str) -> None:
    async with (
        FakeSlack(chat__update=no(code), chat__postMessage=POSTED) as slack,
        gateway(slack) as slacks,
    ):
        await slacks.update(PLACED)
        await slacks.update(replace(card(), approval=replace(card().approval, channel=CHANNEL, ts=TS)))
        await slacks.update(plan_card())
        first, second, plan = slack.made("chat.postMessage")
        assert first["thread_ts"] == second["thread_ts"] == TS
        assert first["text"] == "Approved: refund_order (workflow support)."
        assert {"actions", "input"}.isdisjoint(b["type"] for b in second["blocks"] + plan["blocks"])
        assert "metadata" not in first


async def test_a_thread_reply_without_an_answer_is_to_be_tried_later() -> None:
    script: dict[str, Any] = {"chat__update": no("cant_update_message"), "chat__postMessage": DROPPED}
    async with FakeSlack(**script) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError):
            await slacks.update(PLACED)


async def test_a_refused_redrawing_goes_out_plain() -> None:
    async with FakeSlack(chat__update=[no("invalid_blocks"), ok(ts=TS)]) as slack, gateway(slack) as slacks:
        await slacks.update(PLACED)
        assert "blocks" not in slack.made("chat.update")[1]


async def test_a_message_whose_place_was_never_learned_is_found_and_redrawn() -> None:
    lost = states()["withdrawn"]
    lost = replace(lost, approval=replace(lost.approval, channel="", ts=""))
    history = [ok(messages=[message()]), ok(messages=[])]
    script: dict[str, Any] = {"auth__test": ME, "conversations__history": history, "chat__update": ok(ts=TS)}
    async with FakeSlack(**script) as slack, gateway(slack) as slacks:
        await slacks.update(lost)
        assert [c["ts"] for c in slack.made("chat.update")] == [TS]
        await slacks.update(lost)
        assert len(slack.made("chat.update")) == 1
