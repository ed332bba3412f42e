"""Through the local Slack: what we draw is taken, found again, redrawn, pressed, and the press is read."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from litestar import Litestar, Request, Response, post
from support.slack_cards import ID, NOW, card, own_states, plan_card, states

from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.engine.ports import SlackPort
from orchestrator.errors import UncertainError
from orchestrator.slack.action import Click, note_block
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.interactivity import parse
from orchestrator.slack.signature import verify

pytestmark = pytest.mark.asyncio

HUGE: dict[str, dict[str, Any]] = {
    "none": {},
    "9 KB": {"note": "x" * 9_000},
    "200 fields": {f"field_{i}": i for i in range(200)},
    "100 KB": {"note": "y" * 100_000},
    "hostile": {"<!channel>": "\u202e`*_~ :tada: <https://evil.example|x> \ud800 p\u0430ypal ש"},
    "deep": {"a": [[[[[[[[{"b": [""]}]]]]]]]]},
}


@asynccontextmanager
async def local(
    clock: Callable[[], float] = NOW.timestamp,
) -> AsyncIterator[tuple[LocalSlack, SlackGateway]]:
    app = build(clock=clock)
    async with running(app) as address:
        gateway = SlackGateway(
            "xoxb-local", clock=lambda: NOW, base_url=f"{address}/api/", response_hosts=("127.0.0.1",)
        )
        try:
            yield app.state.slack, gateway
        finally:
            await gateway.aclose()


def placed(base: Any, channel: str, ts: str) -> Any:
    return replace(base, approval=replace(base.approval, channel=channel, ts=ts))


async def test_every_state_and_any_arguments_are_taken_and_redrawn() -> None:
    async with local() as (slack, gateway):
        port: SlackPort = gateway
        for arguments in HUGE.values():
            channel, ts = await port.post(card(arguments), seen_before=False)
            for state in states().values():
                later = replace(state, call=replace(state.call, arguments=arguments))
                await port.update(placed(later, channel, ts))
        channel, ts = await port.post(plan_card(), seen_before=False)
        for own in own_states().values():
            await port.update(placed(own, channel, ts))
        assert len(slack.messages("C0APPR")) == len(HUGE) + 1


async def test_a_post_whose_answer_got_lost_is_one_message() -> None:
    async with local() as (slack, gateway):
        slack.fault("chat.postMessage", "accept_then_reset")
        with pytest.raises(UncertainError):
            await gateway.post(card(), seen_before=False)
        found = await gateway.post(card(), seen_before=True)
        assert [(m["channel"], m["ts"]) for m in slack.messages("C0APPR")] == [found]


async def test_a_post_that_never_arrived_is_made_on_the_second_try() -> None:
    async with local() as (slack, gateway):
        slack.fault("chat.postMessage", "reset")
        with pytest.raises(UncertainError):
            await gateway.post(card(), seen_before=False)
        await gateway.post(card(), seen_before=True)
        assert len(slack.messages("C0APPR")) == 1


def listening() -> tuple[Litestar, list[tuple[list[tuple[bytes, bytes]], bytes]]]:
    """A service that takes every press, and what it heard."""
    heard: list[tuple[list[tuple[bytes, bytes]], bytes]] = []

    @post("/slack", status_code=200)
    async def door(request: Request[Any, Any, Any]) -> Response[bytes]:
        heard.append((list(request.scope["headers"]), await request.body()))
        return Response(b"", media_type="text/plain")

    return Litestar([door], openapi_config=None, logging_config=None), heard


async def test_a_press_comes_back_signed_and_is_read() -> None:
    listener, heard = listening()
    async with local(time.time) as (slack, gateway), running(listener) as ours:
        slack.set_interactivity_url(f"{ours}/slack")
        channel, ts = await gateway.post(card(), seen_before=False)
        await slack.click(channel, ts, "approve", "U0ALICE")
        [(headers, body)] = heard
        verify(headers, body, secrets=[slack.settings.signing_secret], now=datetime.now(UTC))
        click = parse(body)
        assert isinstance(click, Click)
        assert (click.kind, click.approval, click.revision, click.user_id) == ("approve", ID, 1, "U0ALICE")
        assert (click.channel, click.ts, click.team_id) == (channel, ts, (await gateway.identity()).team_id)
        url = click.response_url
        await gateway.whisper(channel=channel, user="U0ALICE", text="Taken, <@U0ALICE>.", response_url=url)
        await gateway.whisper(channel=channel, user="U0ALICE", text="And again.")
        assert [m["text"] for m in slack.messages(channel)][1:] == ["Taken, U0ALICE.", "And again."]
        assert [c.method for c in slack.calls].count("chat.postEphemeral") == 1


async def test_a_note_typed_beside_the_buttons_comes_back_with_the_press() -> None:
    listener, heard = listening()
    async with local(time.time) as (slack, gateway), running(listener) as ours:
        slack.set_interactivity_url(f"{ours}/slack")
        channel, ts = await gateway.post(plan_card(), seen_before=False)
        values = {note_block(1): {"note": "Ask <@U0BOB> first.\nThen write."}}
        await slack.click(channel, ts, "refine", "U0ALICE", values=values)
        await slack.click(channel, ts, "refine", "U0BOB")
        headers, body = heard[0]
        verify(headers, body, secrets=[slack.settings.signing_secret], now=datetime.now(UTC))
        clicks = [parse(body) for _, body in heard]
        assert [(c.kind, c.note, c.user_id) for c in clicks if isinstance(c, Click)] == [
            ("refine", "Ask <@U0BOB> first.\nThen write.", "U0ALICE"),
            ("refine", "", "U0BOB"),  # what somebody else has typed is not theirs
        ]
        with pytest.raises(CannotClick, match="at most 1000 characters"):
            await slack.click(channel, ts, "refine", "U0ALICE", values={note_block(1): {"note": "n" * 1_001}})
