"""Whispers, windows and who we are, through the real client; and what holds for every answer."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from gateway_kit import CHANNEL, HTML, PLACED, UNCERTAIN, gateway
from structlog.testing import capture_logs
from support.slack_cards import card
from support.slack_server import DROPPED, ME, SILENT, FakeSlack, Reply, no, ok

from orchestrator.emulator.serving import free_port
from orchestrator.errors import (
    RejectedError,
    UnavailableError,
    UncertainError,
)
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.history import Identity
from orchestrator.slack.web_api import answerable

pytestmark = pytest.mark.asyncio


# --- whispers and who we are ---------------------------------------------------------


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


# --- windows -------------------------------------------------------------------------


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
