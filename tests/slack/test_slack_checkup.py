"""The look at a Slack workspace, against the local one; and the manifest of the app it wants."""

from collections.abc import Callable
from typing import Any

import pytest
from support.slack_cards import NOW

from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SCOPES, SlackChannel, SlackEmulatorSettings, SlackUserGroup
from orchestrator.slack.checkup import TESTED, Plan, check
from orchestrator.slack.manifest import manifest, scopes
from orchestrator.slack.sockets import Socket
from orchestrator.slack.web_api import WebApi

PLAN = Plan(
    scopes=scopes(groups=True, direct=True),
    channels={"C0APPR": "approvals", "C0GENERAL": "approvals of refund"},
    groups=("S0APPROVERS", "S0NOBODY"),
    post_to="C0APPR",
)
LOCAL, APP = SlackEmulatorSettings().bot_token, SlackEmulatorSettings().app_token
Found = dict[str, tuple[str, str]]


async def looked(
    prepare: Callable[[LocalSlack], None], plan: Plan = PLAN, *, token: str = LOCAL, app_token: str = APP
) -> tuple[Found, LocalSlack]:
    """What was found, by what was looked at."""
    app = build(SlackEmulatorSettings())
    slack: LocalSlack = app.state.slack
    async with running(app) as base:
        prepare(slack)
        where: dict[str, Any] = {"clock": lambda: NOW, "base_url": f"{base}/api/", "timeout_seconds": 5}
        api, socket = WebApi(token, blip_seconds=0.001, **where), Socket(app_token, **where)
        try:
            found = await check(api, plan, socket=socket, clock=lambda: NOW)
        finally:
            await api.aclose()
            await socket.aclose()
    return {look.what: (look.state, look.text) for look in found}, slack


def amiss(slack: LocalSlack) -> None:
    slack.switches.scopes = tuple(s for s in SCOPES if s not in ("usergroups:read", "groups:read"))


def well(slack: LocalSlack) -> None:
    slack.add_channel(SlackChannel("C0GENERAL", "general"))
    slack.set_group(SlackUserGroup("S0NOBODY", "nobody", ("U0ALICE",)))


def archived(slack: LocalSlack) -> None:
    well(slack)
    slack.add_channel(SlackChannel("C0APPR", "approvals", is_archived=True))
    slack.set_group(SlackUserGroup("S0NOBODY", "nobody", ()))


@pytest.mark.asyncio
async def test_a_workspace_that_is_set_up() -> None:
    found, slack = await looked(well)
    assert {state for state, _ in found.values()} == {"ok"}
    [card] = slack.workspace.listed("C0APPR")
    assert (card.text, len(card.past)) == (TESTED, 1)  # posted as a test, then redrawn
    assert not [b for b in card.blocks if b["type"] == "actions"]


@pytest.mark.asyncio
async def test_what_is_missing_is_told_one_by_one() -> None:
    plan = replace(PLAN, teams=("T0OTHER",), post_to="C0GENERAL")
    found, _ = await looked(amiss, plan, app_token=LOCAL)
    bad = {what: text for what, (state, text) in found.items() if state == "bad"}
    assert set(bad) == {
        *("slack.team_ids", "scopes", "channel C0GENERAL", "user group S0APPROVERS", "user group S0NOBODY"),
        *("test card in C0GENERAL", "Socket Mode"),
    }
    assert "app token (not_allowed_token_type)" in bad["Socket Mode"]
    assert "usergroups:read (who is in the user groups that may decide)" in bad["scopes"]
    assert "/invite" in bad["channel C0GENERAL"]


@pytest.mark.asyncio
async def test_archived_empty_and_no_token_at_all() -> None:
    found, _ = await looked(archived)
    bad = {what for what, (state, _) in found.items() if state == "bad"}
    assert bad == {"channel C0APPR", "user group S0NOBODY", "test card in C0APPR"}
    none, slack = await looked(well, token="xoxb-of-somebody-else")
    assert [(what, state) for what, (state, _) in none.items()] == [("token", "bad")]
    assert "xoxb" not in str(none)
    assert [c.method for c in slack.calls] == ["auth.test"]


def test_a_manifest_names_what_is_used_and_where_we_are() -> None:
    needed = scopes(groups=False, direct=False, channels=("C0APPR", "D0ALICE"))
    posted = manifest("https://hitl.example.com/", socket_mode=False, bot_scopes=needed)
    settings = posted["settings"]
    assert settings["interactivity"]["request_url"] == "https://hitl.example.com/slack/interactivity"
    assert settings["event_subscriptions"]["request_url"] == "https://hitl.example.com/slack/events"
    assert posted["features"]["slash_commands"][0]["url"] == "https://hitl.example.com/slack/commands"
    assert "usergroups:read" not in posted["oauth_config"]["scopes"]["bot"]
    assert "im:history" in posted["oauth_config"]["scopes"]["bot"]
    over = manifest(None, socket_mode=True, bot_scopes=needed)
    assert over["settings"]["socket_mode_enabled"] is True
    assert "url" not in str(over)


def test_a_manifest_needs_to_know_where_slack_sends() -> None:
    with pytest.raises(ValueError, match="Socket Mode"):
        manifest(None, socket_mode=False, bot_scopes=())
