"""Posting once: every answer Slack can give, and every lack of one, through the real client."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from gateway_kit import CHANNEL, PLACED, TS, UNCERTAIN, gateway
from structlog.testing import capture_logs
from support.slack_cards import ID, LINK, NOW, card
from support.slack_server import POSTED, FakeSlack, Reply, no

from orchestrator.domain.consent import Terms
from orchestrator.domain.values import replace
from orchestrator.errors import (
    RejectedError,
    UnavailableError,
    UncertainError,
    UnfamiliarError,
    UnreachedError,
)

pytestmark = pytest.mark.asyncio


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
