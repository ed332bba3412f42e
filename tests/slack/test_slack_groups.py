"""Who is in a user group, as Slack tells it; and nobody where Slack does not."""

from datetime import timedelta

import pytest
from support.clock import SettableClock
from support.slack_cards import NOW
from support.slack_server import DROPPED, PATIENCE_SECONDS, SILENT, FakeSlack, Reply, no, ok

from orchestrator.errors import UnavailableError
from orchestrator.slack.groups import AGE, Groups
from orchestrator.slack.web_api import WebApi

pytestmark = pytest.mark.asyncio


def asking(slack: FakeSlack, clock: SettableClock) -> tuple[WebApi, Groups]:
    times = {"timeout_seconds": PATIENCE_SECONDS, "blip_seconds": 0.001}
    api = WebApi("xoxb-test", clock=clock, base_url=slack.base_url, **times)
    return api, Groups(api, clock)


async def test_members_are_believed_for_a_while_and_asked_anew_then() -> None:
    clock = SettableClock(NOW)
    async with FakeSlack(usergroups__users__list=[ok(users=["U1"]), ok(users=["U2"])]) as slack:
        api, groups = asking(slack, clock)
        assert await groups.of("U1", ["S1", "U1", "api:ci"]) == ("S1",)
        clock.now += AGE - timedelta(seconds=1)
        assert await groups.of("U1", ["S1"]) == ("S1",)
        assert len(slack.calls) == 1
        clock.now += timedelta(seconds=1)
        assert await groups.of("U1", ["S1"]) == ()
        assert await groups.of("U2", ["S1"]) == ("S1",)
        await api.aclose()


async def test_where_no_group_is_named_slack_is_not_asked() -> None:
    async with FakeSlack() as slack:
        api, groups = asking(slack, SettableClock(NOW))
        assert await groups.of("U1", ["U1", "api:SERVICE", "api:ci"]) == ()
        assert slack.calls == []
        await api.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        no("no_such_subteam"),
        no("plan_upgrade_required"),
        no("missing_scope"),
        DROPPED,
        SILENT,
        ok(),
        Reply(b"<"),
    ],
)
async def test_a_group_that_cannot_be_read_lets_nobody_decide(answer: Reply) -> None:
    async with FakeSlack(usergroups__users__list=answer) as slack:
        api, groups = asking(slack, SettableClock(NOW))
        assert await groups.of("U1", ["S1"]) == ()
        await api.aclose()


@pytest.mark.parametrize("answer", [no("missing_scope"), DROPPED, SILENT, ok(), Reply(b"<")])
async def test_a_group_that_may_never_decide_and_cannot_be_read_lets_nobody_by(answer: Reply) -> None:
    async with FakeSlack(usergroups__users__list=answer) as slack:
        api, groups = asking(slack, SettableClock(NOW))
        with pytest.raises(UnavailableError, match="who may never decide"):
            await groups.of("U1", ["U1", "S1"], ["S1"])
        assert await groups.of("api:ops", ["S1"], ["S1"]) == ()  # is in no group, whatever Slack says
        await api.aclose()
