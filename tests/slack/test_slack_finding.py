"""Finding what was posted: every answer of a history, and every lack of one, through the real client."""

from typing import Any

import pytest
from gateway_kit import CHANNEL, HTML, TS, gateway, message
from support.slack_cards import ID, card
from support.slack_server import DROPPED, ME, POSTED, FakeSlack, Reply, no, ok

from orchestrator.errors import (
    UnavailableError,
)

pytestmark = pytest.mark.asyncio


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
