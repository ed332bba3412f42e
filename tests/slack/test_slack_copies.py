"""A request among people's direct messages, on the local Slack: once each, redrawn, and who takes none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.slack_cards import NOW, card, states
from support.slack_messages import actions
from support.slack_people import Person
from support.slack_server import POSTED, FakeSlack, no, ok

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Place
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.faults import Kind
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.engine.ports import SlackPort
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.slack.gateway import SlackGateway

pytestmark = pytest.mark.asyncio

ALICE = "U0ALICE"


@asynccontextmanager
async def local() -> AsyncIterator[tuple[LocalSlack, SlackGateway]]:
    app = build(clock=NOW.timestamp)
    async with running(app) as address:
        gateway = SlackGateway(
            "xoxb-local", clock=lambda: NOW, base_url=f"{address}/api/", blip_seconds=0.001
        )
        try:
            yield app.state.slack, gateway
        finally:
            await gateway.aclose()


def at(shown: Card, place: Place) -> Card:
    return replace(shown, approval=replace(shown.approval, channel=place.channel, ts=place.ts))


async def test_a_copy_looks_and_works_like_the_message_in_the_channel() -> None:
    async with local() as (slack, gateway):
        port: SlackPort = gateway
        channel, ts = await port.post(card(), seen_before=False)
        place = await port.copy(card(thread="17.1"), ALICE, seen_before=False)
        (copy,) = Person(slack, ALICE).direct()
        assert (place.channel, place.ts, place.person) == (copy.channel, copy.ts, ALICE)
        assert [n.reason for n in Person(slack, ALICE).notified() if n.channel == copy.channel] == ["direct"]
        original = slack.workspace.find(channel, ts)
        assert original is not None
        assert (copy.text, copy.metadata) == (original.text, original.metadata)
        assert actions(copy) == actions(original) != []
        await port.update(at(states()["approved"], place))
        assert "approve" not in actions(copy)
        assert "approve" in actions(original)


@pytest.mark.parametrize(("fault", "before"), [("accept_then_reset", 1), ("reset", 0)])
async def test_a_copy_whose_answer_got_lost_is_there_once(fault: Kind, before: int) -> None:
    async with local() as (slack, gateway):
        slack.fault("chat.postMessage", fault)
        with pytest.raises(UncertainError):
            await gateway.copy(card(), ALICE, seen_before=False)
        assert len(Person(slack, ALICE).direct()) == before
        found = await gateway.find_copy(card(), ALICE)
        assert (found is not None) == bool(before)
        again = [await gateway.copy(card(), ALICE, seen_before=True) for _ in range(2)]
        (copy,) = Person(slack, ALICE).direct()
        assert {place.ts for place in again} == {copy.ts}


async def test_who_takes_no_direct_messages_is_a_final_no() -> None:
    async with local() as (slack, gateway):
        with pytest.raises(RejectedError, match="user_not_found"):
            await gateway.copy(card(), "U0NOBODY", seen_before=False)
        slack.workspace.switches.messages_tab = False
        with pytest.raises(RejectedError, match="messages_tab_disabled"):
            await gateway.copy(card(), ALICE, seen_before=False)


async def test_slack_that_does_not_open_the_channel_is_tried_again_later() -> None:
    for answer in (no("missing_scope", needed="im:write"), no("internal_error"), ok(), ok(channel={})):
        async with FakeSlack(conversations__open=answer, chat__postMessage=POSTED) as slack:
            gateway = SlackGateway("xoxb", clock=lambda: NOW, base_url=slack.base_url, blip_seconds=0.001)
            with pytest.raises(UnavailableError):
                await gateway.copy(card(), ALICE, seen_before=False)
            await gateway.aclose()
            assert slack.made("chat.postMessage") == []


async def test_the_members_of_groups_as_far_as_slack_tells() -> None:
    answers = [ok(users=["U2", "U1"]), no("no_such_subteam")]
    async with FakeSlack(usergroups__users__list=answers) as slack:
        gateway = SlackGateway("xoxb", clock=lambda: NOW, base_url=slack.base_url)
        assert await gateway.members(["S1", "S2"]) in (
            {"S1": ("U1", "U2"), "S2": ()},
            {"S1": (), "S2": ("U1", "U2")},
        )
        assert await gateway.members([]) == {}
        await gateway.aclose()
