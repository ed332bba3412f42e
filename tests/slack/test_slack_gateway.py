"""Every answer Slack can give, and every lack of one, through the real client."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.slack_cards import ID, LINK, NOW, card, plan_card, states
from support.slack_server import DROPPED, ME, PATIENCE_SECONDS, POSTED, SILENT, FakeSlack, Reply, no, ok

from orchestrator.domain.consent import Place, Terms
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import free_port
from orchestrator.errors import (
    RejectedError,
    UnavailableError,
    UncertainError,
    UnfamiliarError,
    UnreachedError,
)
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.history import Identity
from orchestrator.slack.web_api import answerable

pytestmark = pytest.mark.asyncio

CHANNEL = "C0APPR"
TS = "1795290000.000100"
PLACED = replace(
    states()["approved"], approval=replace(states()["approved"].approval, channel=CHANNEL, ts=TS)
)
HTML = Reply(b"<html>Bad gateway</html>", status=503, kind="text/html")


@asynccontextmanager
async def gateway(slack: FakeSlack | None, **options: Any) -> AsyncIterator[SlackGateway]:
    base_url = slack.base_url if slack else f"http://127.0.0.1:{free_port()}/api/"
    settings: dict[str, Any] = {
        "clock": lambda: NOW,
        "base_url": base_url,
        "timeout_seconds": PATIENCE_SECONDS,
        "blip_seconds": 0.001,
        "response_hosts": ("hooks.slack.com", "127.0.0.1"),
    }
    made = SlackGateway("xoxb-test", **(settings | options))
    try:
        yield made
    finally:
        await made.aclose()


# --- posting once ------------------------------------------------------------------------------------


async def test_a_post_says_where_it_is_and_goes_out_quietly() -> None:
    async with FakeSlack(chat__postMessage=POSTED) as slack, gateway(slack) as slacks:
        assert await slacks.post(card(), seen_before=False) == (CHANNEL, TS)
        [sent] = slack.made("chat.postMessage")
        assert sent["channel"] == CHANNEL
        assert sent["metadata"]["event_payload"] == {
            "request_id": ID,
            "delivery_id": f"dlv_{ID[4:]}_1",
            "rev": 1,
        }
        assert (sent["unfurl_links"], sent["unfurl_media"]) == (False, False)
        assert (sent["parse"], sent["link_names"]) == ("none", False)
        assert slack.heads[0]["authorization"] == "Bearer xoxb-test"


UNCERTAIN = {
    "timeout": SILENT,
    "dropped": DROPPED,
    "500": Reply({"ok": False}, status=500),
    "502 as text": Reply(b"upstream", status=502, kind="text/plain"),
    "503 as html": HTML,
    "fatal_error": no("fatal_error"),
    "internal_error": no("internal_error"),
    "request_timeout": no("request_timeout"),
    "service_unavailable": no("service_unavailable"),
    "cut JSON": Reply(b'{"ok": tr'),
    "no JSON object": Reply(["ok"]),
    "text": Reply(b"ok", kind="text/plain"),
    "zipped": Reply(b"\x1f\x8b", kind="application/gzip"),
    "empty": Reply(b"", kind="text/html"),
    "bad bytes": Reply(b'{"ok": "\xff"}'),
    "not ok, no word why": Reply({"ok": False}),
    "error of a wrong type": Reply({"ok": False, "error": {"x": 1}}),
    "taken, no ts": ok(channel="C0APPR"),
    "taken, odd ts": ok(channel="C0APPR", ts=17.1),
}


@pytest.mark.parametrize("name", UNCERTAIN)
async def test_an_answer_that_got_lost_is_uncertain_and_never_repeated(name: str) -> None:
    async with FakeSlack(chat__postMessage=UNCERTAIN[name]) as slack, gateway(slack) as slacks:
        with pytest.raises(UncertainError):
            await slacks.post(card(), seen_before=False)
        assert len(slack.calls) == 1


async def test_where_nobody_listens_nothing_was_posted() -> None:
    async with gateway(None) as slacks:
        with pytest.raises(UnavailableError):
            await slacks.post(card(), seen_before=False)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (no("ratelimited", status=429), 30),
        (Reply({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "7"}), 7),
        (Reply(b"slow down", status=429, kind="text/html", headers={"Retry-After": "9"}), 9),
        (Reply({"ok": False, "error": "rate_limited"}, headers={"Retry-After": "4"}), 4),
        (Reply({}, status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 30),
        (Reply({}, status=429, headers={"Retry-After": "-5"}), 30),
        (Reply({}, status=429, headers={"Retry-After": "0"}), 1),
        (Reply({}, status=429, headers={"Retry-After": "999999"}), 3600),
    ],
)
async def test_too_fast_says_when_to_come_again(reply: Reply, seconds: float) -> None:
    async with FakeSlack(chat__postMessage=reply) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError) as e:
            await slacks.post(card(), seen_before=False)
        assert e.value.retry_after == seconds
        assert len(slack.calls) == 1


async def test_where_nobody_is_reached_nothing_was_sent() -> None:
    async with FakeSlack() as gone:
        pass
    async with gateway(gone) as slacks:
        with pytest.raises(UnreachedError, match="cannot be reached"):
            await slacks.post(card(), seen_before=False)


async def test_a_channel_that_asked_to_wait_is_left_alone_until_then() -> None:
    now = [NOW]

    def clock() -> datetime:
        return now[0]

    busy = Reply({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "7"})
    elsewhere = card()
    elsewhere = replace(elsewhere, approval=replace(elsewhere.approval, terms=Terms((), "C0OTHER")))
    async with FakeSlack(chat__postMessage=[busy, POSTED]) as slack, gateway(slack, clock=clock) as slacks:
        for waited, left in ((0.0, 7.0), (6.5, 0.5)):
            now[0] = NOW + timedelta(seconds=waited)
            with pytest.raises(UnavailableError) as e:
                await slacks.post(card(), seen_before=False)
            assert e.value.retry_after == left
        assert len(slack.calls) == 1
        await slacks.post(elsewhere, seen_before=False)
        now[0] = NOW + timedelta(seconds=7)
        await slacks.post(card(), seen_before=False)
        assert [c["channel"] for c in slack.made("chat.postMessage")] == [CHANNEL, "C0OTHER", CHANNEL]


@pytest.mark.parametrize(
    "code",
    [
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "not_allowed_token_type",
    ],
)
async def test_credentials_are_said_to_be_the_trouble_and_rows_stay_queued(code: str) -> None:
    async with (
        FakeSlack(chat__postMessage=no(code), chat__update=no(code)) as slack,
        gateway(slack) as slacks,
    ):
        for doing in (slacks.post(card(), seen_before=False), slacks.update(PLACED)):
            with pytest.raises(UnavailableError, match=f"credentials \\({code}\\)") as e:
                await doing
            assert e.value.retry_after == 60
            assert "xoxb" not in str(e.value)


async def test_refused_credentials_are_told_until_slack_takes_them_again() -> None:
    async with FakeSlack(chat__postMessage=[no("token_revoked"), POSTED]) as slack, gateway(slack) as slacks:
        assert slacks.trouble == ""
        with pytest.raises(UnavailableError):
            await slacks.post(card(), seen_before=False)
        assert slacks.trouble.startswith("Slack does not accept our credentials (token_revoked)")
        await slacks.members(["S0NOBODY"])  # another answer says nothing about messages
        assert slacks.trouble != ""
        await slacks.post(card(), seen_before=False)
        assert slacks.trouble == ""


async def test_a_missing_scope_is_named() -> None:
    reply = no("missing_scope", needed="chat:write", provided="commands")
    async with FakeSlack(chat__postMessage=reply) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError, match="scope chat:write"):
            await slacks.post(card(), seen_before=False)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("channel_not_found", "/invite"),
        ("not_in_channel", "/invite"),
        ("is_archived", "archived"),
        ("restricted_action", "admin"),
        ("restricted_action_read_only_channel", "admin"),
        ("messages_tab_disabled", "Messages tab"),
        ("message_limit_exceeded", "limit"),
        ("an_error_of_next_year", "error list"),
    ],
)
async def test_a_broken_route_is_final_and_says_how_to_mend_it(code: str, advice: str) -> None:
    async with FakeSlack(chat__postMessage=no(code)) as slack, gateway(slack) as slacks:
        with pytest.raises(RejectedError, match=advice) as e:
            await slacks.post(card(), seen_before=False)
        assert e.value.code == code
        assert isinstance(e.value, UnfamiliarError) == (code == "an_error_of_next_year")
        assert len(slack.calls) == 1


async def test_a_request_without_a_channel_is_refused_here() -> None:
    homeless = replace(card(), approval=replace(card().approval, terms=Terms(("U0ALICE",))))
    async with gateway(None) as slacks:
        with pytest.raises(RejectedError) as e:
            await slacks.post(homeless, seen_before=False)
        assert e.value.code == "no_channel"


async def test_a_proxys_refusal_is_not_taken_for_slacks() -> None:
    reply = Reply(b"<html>blocked</html>", status=403, kind="text/html")
    async with FakeSlack(chat__postMessage=reply) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError, match="HTTP 403"):
            await slacks.post(card(), seen_before=False)


DRAWING = ["invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"]


@pytest.mark.parametrize("code", DRAWING)
async def test_a_refused_drawing_goes_out_plain_once(code: str) -> None:
    refused = no(code, response_metadata={"messages": ["[ERROR] too long [json-pointer:/blocks/2]"]})
    async with FakeSlack(chat__postMessage=[refused, POSTED]) as slack, gateway(slack) as slacks:
        with capture_logs() as logs:
            assert await slacks.post(card({"iban": "DE02"}), seen_before=False) == (CHANNEL, TS)
        first, second = slack.made("chat.postMessage")
        assert "blocks" in first
        assert "blocks" not in second
        assert LINK in second["text"]
        assert "DE02" not in second["text"]
        assert second["metadata"] == first["metadata"]
        [entry] = [e for e in logs if e["event"] == "slack_drawing_refused"]
        assert entry["details"] == ("[ERROR] too long [json-pointer:/blocks/2]",)
        assert "DE02" not in str(logs)


async def test_a_drawing_refused_twice_is_refused() -> None:
    async with FakeSlack(chat__postMessage=no("invalid_blocks")) as slack, gateway(slack) as slacks:
        with pytest.raises(RejectedError) as e:
            await slacks.post(card(), seen_before=False)
        assert e.value.code == "invalid_blocks"
        assert len(slack.calls) == 2


@pytest.mark.parametrize("metadata", [{"messages": "x"}, {"messages": [1, None]}, [], "x", None])
async def test_odd_remarks_on_a_refusal_do_no_harm(metadata: Any) -> None:
    replies = [no("invalid_blocks", response_metadata=metadata), POSTED]
    async with FakeSlack(chat__postMessage=replies) as slack, gateway(slack) as slacks:
        assert await slacks.post(card(), seen_before=False) == (CHANNEL, TS)


async def test_refused_metadata_is_left_out() -> None:
    replies = [no("metadata_must_be_sent_from_app"), POSTED]
    async with FakeSlack(chat__postMessage=replies) as slack, gateway(slack) as slacks:
        assert await slacks.post(card(), seen_before=False) == (CHANNEL, TS)
        assert "metadata" not in slack.made("chat.postMessage")[1]
        assert "blocks" in slack.made("chat.postMessage")[1]


# --- finding what was posted ----------------------------------------------------------------------------


def message(ts: str = TS, *, rev: int = 1, request: str = ID, **changes: Any) -> dict[str, Any]:
    payload = {"request_id": request, "delivery_id": f"dlv_{request[4:]}_{rev}", "rev": rev}
    return {
        "type": "message",
        "user": "U0BOT",
        "bot_id": "B0BOT",
        "ts": ts,
        "metadata": {"event_type": "approval_request", "event_payload": payload},
        **changes,
    }


def posted_by(ts: str, payload: dict[str, Any]) -> dict[str, Any]:
    return message(ts, metadata={"event_type": "approval_request", "event_payload": payload})


STRANGERS = [
    {"type": "message", "user": "U0DANA", "ts": "1.1", "text": "hello"},
    message("1.2", rev=2),
    message("1.3", request="apr_other"),
    message("1.4", user="U0EVIL", bot_id="B0EVIL"),
    message("1.5", metadata={"event_type": "other", "event_payload": {"request_id": ID, "rev": 1}}),
    message("1.6", metadata={"event_type": "approval_request", "event_payload": [ID, 1]}),
    message("1.7", metadata="x"),
    posted_by("1.8", {"request_id": ID, "delivery_id": "dlv_other_1", "rev": 1}),
    "not a message",
]


@pytest.mark.parametrize(
    "found", [message(), posted_by(TS, {"request_id": ID, "rev": 1})], ids=["ours", "older"]
)
async def test_a_message_that_got_through_is_adopted(found: dict[str, Any]) -> None:
    history = ok(messages=[*STRANGERS, found])
    async with FakeSlack(auth__test=ME, conversations__history=history) as slack, gateway(slack) as slacks:
        assert await slacks.post(card(), seen_before=True) == (CHANNEL, TS)
        [asked] = slack.made("conversations.history")
        assert asked["include_all_metadata"] == "1"
        assert asked["channel"] == CHANNEL
        assert float(asked["oldest"]) == card().approval.requested_at.timestamp() - 5
        assert slack.made("chat.postMessage") == []


async def test_only_our_own_bots_word_for_the_same_question_counts() -> None:
    script: dict[str, Any] = {"auth__test": ME, "conversations__history": ok(messages=STRANGERS)}
    async with FakeSlack(**script, chat__postMessage=POSTED) as slack, gateway(slack) as slacks:
        await slacks.post(card(), seen_before=True)
        assert len(slack.made("chat.postMessage")) == 1


async def test_later_pages_are_read_but_not_for_ever() -> None:
    more = ok(messages=[], response_metadata={"next_cursor": "c1"})
    script = {"auth__test": ME, "chat__postMessage": POSTED}
    last = ok(messages=[message()])
    async with (
        FakeSlack(**script, conversations__history=[more, more, last]) as slack,
        gateway(slack) as slacks,
    ):
        assert await slacks.post(card(), seen_before=True) == (CHANNEL, TS)
        assert [c.get("cursor") for c in slack.made("conversations.history")] == [None, "c1", "c1"]
        assert slack.made("chat.postMessage") == []
    async with FakeSlack(**script, conversations__history=more) as slack, gateway(slack) as slacks:
        await slacks.post(card(), seen_before=True)
        assert len(slack.made("conversations.history")) == 5


@pytest.mark.parametrize(
    "reply",
    [
        no("missing_scope", needed="channels:history"),
        no("not_in_channel"),
        Reply({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "60"}),
        ok(messages="x"),
        ok(response_metadata=[]),
    ],
)
async def test_a_history_that_cannot_be_read_means_a_possible_twin(reply: Reply) -> None:
    script = {"auth__test": ME, "conversations__history": reply, "chat__postMessage": POSTED}
    async with FakeSlack(**script) as slack, gateway(slack) as slacks:
        assert await slacks.post(card(), seen_before=True) == (CHANNEL, TS)
        assert len(slack.made("conversations.history")) == 1


@pytest.mark.parametrize("reply", [HTML, DROPPED, no("invalid_auth"), no("fatal_error")])
async def test_a_slack_that_is_down_is_not_posted_to_blindly(reply: Reply) -> None:
    script = {"auth__test": ME, "conversations__history": reply, "chat__postMessage": POSTED}
    async with FakeSlack(**script) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError):
            await slacks.post(card(), seen_before=True)
        assert slack.made("chat.postMessage") == []


# --- redrawing ---------------------------------------------------------------------------------------------


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


# --- whispers and who we are -------------------------------------------------------------------------------


async def test_a_whisper_goes_through_the_clicks_own_address() -> None:
    async with FakeSlack(x=Reply(b"ok", kind="text/html")) as slack, gateway(slack) as slacks:
        url = f"http://127.0.0.1:{slack.port}/actions/T0/1/x"
        await slacks.whisper(
            channel=CHANNEL, user="U0BOB", text="Already approved by <@U0ALICE>.", response_url=url
        )
        [(name, sent)] = slack.calls
        assert (name, sent["response_type"], sent["replace_original"]) == ("x", "ephemeral", False)
        assert {"type": "user", "user_id": "U0ALICE"} in sent["blocks"][0]["elements"][0]["elements"]
        assert "authorization" not in slack.heads[0]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"used_url", status=404, kind="text/plain"),
        Reply(b"", status=500),
        DROPPED,
        SILENT,
    ],
)
async def test_a_whisper_falls_back_to_an_ephemeral_message(reply: Reply) -> None:
    async with FakeSlack(x=reply, chat__postEphemeral=ok()) as slack, gateway(slack) as slacks:
        url = f"http://127.0.0.1:{slack.port}/x"
        await slacks.whisper(channel=CHANNEL, user="U0BOB", text="<!here> no", response_url=url)
        [sent] = slack.made("chat.postEphemeral")
        assert (sent["channel"], sent["user"]) == (CHANNEL, "U0BOB")
        assert (sent["parse"], sent["link_names"]) == ("none", False)
        assert "<" not in sent["text"]


async def test_who_is_not_in_the_channel_is_whispered_to_in_direct_messages() -> None:
    """An ephemeral message does not reach whoever left it, or decides from elsewhere."""
    replies = {
        "chat__postEphemeral": no("user_not_in_channel"),
        "conversations__open": ok(channel={"id": "D1"}),
    }
    async with FakeSlack(**replies, chat__postMessage=ok(channel="D1", ts="1.2")) as slack:
        async with gateway(slack) as slacks:
            await slacks.whisper(channel=CHANNEL, user="U0BOB", text="Already approved.")
        [sent] = slack.made("chat.postMessage")
        assert (sent["channel"], sent["text"]) == ("D1", "Already approved.")
        assert [asked["users"] for asked in slack.made("conversations.open")] == ["U0BOB"]


@pytest.mark.parametrize("reply", [no("user_not_in_channel"), HTML, DROPPED, SILENT, no("invalid_auth")])
async def test_a_whisper_that_fails_is_logged_and_nothing_more(reply: Reply) -> None:
    nobody = no("user_not_found")
    async with (
        FakeSlack(chat__postEphemeral=reply, conversations__open=nobody) as slack,
        gateway(slack) as slacks,
    ):
        with capture_logs() as logs:
            await slacks.whisper(channel=CHANNEL, user="U0BOB", text="secret words")
            await slacks.whisper(channel="", user="U0BOB", text="secret words")
        assert [e["event"] for e in logs] == ["slack_whisper_lost"] * 2
        assert "secret words" not in str(logs)


async def test_our_own_words_are_posted_as_they_are_written() -> None:
    async with FakeSlack(chat__postMessage=ok(channel=CHANNEL, ts="1.2")) as slack, gateway(slack) as slacks:
        await slacks.say(CHANNEL, "the chain ends at 7:abc")
        [sent] = slack.made("chat.postMessage")
        assert (sent["channel"], sent["text"]) == (CHANNEL, "the chain ends at 7:abc")


async def test_a_redirect_is_not_followed() -> None:
    moved = Reply(b"", status=307)
    async with FakeSlack(x=moved, y=ok(), chat__postEphemeral=ok()) as slack, gateway(slack) as slacks:
        moved.headers["Location"] = f"http://127.0.0.1:{slack.port}/y"
        url = f"http://127.0.0.1:{slack.port}/x"
        await slacks.whisper(channel=CHANNEL, user="U0BOB", text="no", response_url=url)
        assert [name for name, _ in slack.calls] == ["x", "chat.postEphemeral"]


async def test_a_strangers_address_is_never_called() -> None:
    async with FakeSlack(x=ok(), chat__postEphemeral=ok()) as slack, gateway(slack) as slacks:
        url = f"http://localhost:{slack.port}/x"  # loopback, but not listed
        await slacks.whisper(channel=CHANNEL, user="U0BOB", text="no", response_url=url)
        assert [name for name, _ in slack.calls] == ["chat.postEphemeral"]


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://hooks.slack.com/actions/T0/1/x", True),
        ("https://HOOKS.slack.com/actions/T0/1/x", True),
        ("https://hooks.slack.com:443/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("https://[::1]:8080/x", True),
        ("http://localhost:8080/x", False),
        ("http://hooks.slack.com/x", False),
        ("https://hooks.slack.com:8443/x", False),
        ("https://hooks.slack.com./x", False),
        ("https://hooks.slack.com.evil.example/x", False),
        ("https://evil.example/hooks.slack.com", False),
        ("https://hooks.slack.com@evil.example/x", False),
        ("https://user:pw@hooks.slack.com/x", False),
        ("https://hooks.slack.com\\@evil.example/x", False),
        ("https://evil.example#hooks.slack.com/", False),
        ("https://hooks.slack.com/x\r\nHost: evil", False),
        ("https://hooks.slack.com/ x", False),
        ("https://hooks.slack.cоm/x", False),
        ("HTTPS://hooks.slack.com/x", False),
        ("//hooks.slack.com/x", False),
        ("http://2130706433:80/x", False),
        ("http://127.1/x", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
async def test_which_addresses_may_be_answered(url: str, may: bool) -> None:
    assert answerable(url, {"hooks.slack.com", "127.0.0.1", "::1"}) is may
    assert answerable(url, ()) is False


async def test_who_we_are() -> None:
    async with FakeSlack(auth__test=[DROPPED, ME]) as slack, gateway(slack) as slacks:
        assert await slacks.identity() == Identity("T0ACME", "U0BOT", "B0BOT")


@pytest.mark.parametrize(
    "reply", [no("invalid_auth"), HTML, ok(team_id="T0ACME", user_id="U0ALICE"), ok(team_id=1)]
)
async def test_not_knowing_who_we_are_is_said(reply: Reply) -> None:
    async with FakeSlack(auth__test=reply) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError):
            await slacks.identity()


async def test_the_gateway_may_be_closed_twice_and_used_again() -> None:
    async with FakeSlack(auth__test=ME) as slack, gateway(slack) as slacks:
        await slacks.identity()
        await slacks.aclose()
        await slacks.aclose()
        await slacks.identity()


async def test_nothing_on_this_machine_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    async with FakeSlack(auth__test=ME, x=ok()) as slack, gateway(slack) as slacks:
        await slacks.identity()
        await slacks.whisper(
            channel=CHANNEL, user="U0BOB", text="no", response_url=f"http://127.0.0.1:{slack.port}/x"
        )
        assert [name for name, _ in slack.calls] == ["auth.test", "x"]


@pytest.mark.parametrize(
    "do",
    [
        lambda s: s.post(card(), seen_before=False),
        lambda s: s.post(card(), seen_before=True),
        lambda s: s.update(PLACED),
        lambda s: s.identity(),
    ],
)
@pytest.mark.parametrize("name", UNCERTAIN)
async def test_whatever_comes_back_is_one_of_our_errors(
    name: str, do: Callable[[SlackGateway], Awaitable[object]]
) -> None:
    reply = UNCERTAIN[name]
    script = dict.fromkeys(
        ("auth__test", "chat__postMessage", "chat__update", "conversations__history"), reply
    )
    async with FakeSlack(**script) as slack, gateway(slack) as slacks:
        outcome = (await asyncio.gather(do(slacks), return_exceptions=True))[0]
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, UncertainError | UnavailableError)
    else:
        assert reply.body["ok"] is True


# --- windows ---------------------------------------------------------------------------------------


async def test_a_window_is_opened_or_pushed_with_one_attempt() -> None:
    view = {"type": "modal", "blocks": []}
    async with FakeSlack(views__open=ok(view={}), views__push=ok(view={})) as slack, gateway(slack) as slacks:
        await slacks.open_view("7391.1", view)
        await slacks.open_view("7391.2", view, push=True)
        assert [c["trigger_id"] for c in slack.made("views.open")] == ["7391.1"]
        assert [c["trigger_id"] for c in slack.made("views.push")] == ["7391.2"]


@pytest.mark.parametrize("code", ["expired_trigger_id", "exchanged_trigger_id", "invalid_arguments"])
async def test_a_window_slack_refuses_is_final(code: str) -> None:
    async with FakeSlack(views__open=no(code)) as slack, gateway(slack) as slacks:
        with pytest.raises(RejectedError) as e:
            await slacks.open_view("7391.1", {})
        assert e.value.code == code
        assert len(slack.calls) == 1


@pytest.mark.parametrize("reply", [DROPPED, SILENT, HTML, no("fatal_error")])
async def test_a_window_nobody_knows_of_is_not_tried_again(reply: Reply) -> None:
    async with FakeSlack(views__open=reply) as slack, gateway(slack) as slacks:
        with pytest.raises(UnavailableError):
            await slacks.open_view("7391.1", {})
        assert len(slack.calls) == 1
