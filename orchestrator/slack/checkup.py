"""Whether Slack is set up for what we ask of it: token, scopes, channels, groups, the socket, a test card.

Every look is taken, whatever the one before it came to. Nothing is changed but by the test card, which asks
nothing of anybody and says so.

Sources: Slack, `auth.test` (header `x-oauth-scopes`), `conversations.info`, `usergroups.users.list`,
`apps.connections.open`, `chat.postMessage`, `chat.update`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from orchestrator.errors import OrchestratorError
from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.sending import QUIET
from orchestrator.slack.sockets import Socket
from orchestrator.slack.text import escape
from orchestrator.slack.web_api import WebApi

TESTING: Final = "Test by `orchestrator slack check`"
TESTED: Final = "Test passed"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the settings want of Slack.

    Args:
        scopes: Each with what it is for.
        channels: Ids, each with what is posted there.
        groups: Ids of user groups that may decide.
        teams: Workspaces that count; empty for the token's own.
        post_to: Channel id for a test card; None for none.
    """

    scopes: Mapping[str, str]
    channels: Mapping[str, str]
    groups: Sequence[str] = ()
    teams: Collection[str] = ()
    post_to: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found; `bad` keeps the service from doing its job."""

    state: Literal["ok", "warn", "bad"]
    what: str
    text: str


async def check(
    api: WebApi, plan: Plan, *, socket: Socket | None, clock: Callable[[], datetime]
) -> list[Checked]:
    """Every look, in order. Never raises for what Slack says."""
    found = [look async for look in _identity(api, plan)]
    if found[0].state == "bad":
        return found  # nobody is at home, or the token is none: each other look would only say so again
    found += [await _channel(api, channel, use) for channel, use in plan.channels.items()]
    found += [await _group(api, group) for group in plan.groups]
    if socket is not None:
        found.append(await _socket(socket))
    if plan.post_to is not None:
        found.append(await _card(api, plan.post_to, clock))
    return found


async def _identity(api: WebApi, plan: Plan) -> AsyncIterator[Checked]:
    try:
        me = await api.safely("auth_test")
    except OrchestratorError as e:
        yield Checked("bad", "token", str(e))
        return
    team, bot = (str(me.get(key) or "") for key in ("team_id", "bot_id"))
    if not bot:
        yield Checked("bad", "token", "it is no bot token (xoxb-…): auth.test names no bot")
        return
    yield Checked("ok", "token", f"workspace {team}, bot user {me.get('user_id')}")
    if plan.teams and team not in plan.teams:
        yield Checked("bad", "slack.team_ids", f"does not name {team}, the token's own: no click would count")
    yield _scopes(api.scopes, plan.scopes)


def _scopes(granted: Collection[str] | None, needed: Mapping[str, str]) -> Checked:
    if granted is None:
        return Checked("warn", "scopes", "Slack did not say which scopes the token has")
    missing = {scope: use for scope, use in needed.items() if scope not in granted}
    if missing:
        words = "; ".join(f"{scope} ({use})" for scope, use in missing.items())
        return Checked("bad", "scopes", f"missing: {words}. Add them to the app and install it anew")
    spare = sorted(set(granted) - set(needed))
    return Checked("ok", "scopes", "all there" + (f"; not needed: {', '.join(spare)}" if spare else ""))


async def _channel(api: WebApi, channel: str, use: str) -> Checked:
    what = f"channel {channel}"
    try:
        told = await api.safely("conversations_info", channel=channel)
    except OrchestratorError as e:
        return Checked("bad", what, f"{use}: {e}")
    info = told.get("channel")
    info = info if isinstance(info, dict) else {}
    if info.get("is_archived"):
        return Checked("bad", what, f"{use}: it is archived; name another one")
    if info.get("is_member") is False and not info.get("is_im"):
        return Checked("bad", what, f"{use}: the app is not in it; type /invite @<the app> there")
    kind = "a direct message" if info.get("is_im") else "private" if info.get("is_private") else "public"
    return Checked("ok", what, f"{use}; {kind}, and the app is in it")


async def _group(api: WebApi, group: str) -> Checked:
    what = f"user group {group}"
    try:
        told = await api.safely("usergroups_users_list", usergroup=group)
    except OrchestratorError as e:
        return Checked("bad", what, f"cannot be read, so nobody may decide through it: {e}")
    users = told.get("users")
    count = len(users) if isinstance(users, list) else 0
    if not count:
        return Checked("bad", what, "has no members: nobody may decide through it")
    return Checked("ok", what, "one member" if count == 1 else f"{count} members")


async def _socket(socket: Socket) -> Checked:
    try:
        await socket.address()
    except OrchestratorError as e:
        return Checked("bad", "Socket Mode", str(e))
    return Checked("ok", "Socket Mode", "the app token is taken")


async def _card(api: WebApi, channel: str, clock: Callable[[], datetime]) -> Checked:
    """Posted and redrawn, as every card is; it stays, with what it was for."""
    what = f"test card in {channel}"
    try:
        sent = await api.call("chat_postMessage", channel=channel, **_drawn(TESTING, clock()), **QUIET)
    except OrchestratorError as e:
        return Checked("bad", what, f"could not be posted: {e}")
    where = {"channel": str(sent.get("channel")), "ts": str(sent.get("ts"))}
    try:
        await api.safely("chat_update", **where, **_drawn(TESTED, clock()), parse="none", link_names=False)
    except OrchestratorError as e:
        return Checked("bad", what, f"was posted, but could not be redrawn: {e}")
    return Checked("ok", what, f"posted and redrawn, message {where['ts']}")


def _drawn(title: str, at: datetime) -> dict[str, Any]:
    """A card without a button: there is nothing to decide about."""
    plain = title.replace("`", "")
    about = "Requests for approval will look like this one, with buttons. Nothing is asked here."
    blocks: list[Block] = [
        {"type": "header", "text": kit.plain(plain, 150)},
        {"type": "section", "text": kit.plain(about, 300)},
        {"type": "context", "elements": [kit.mrkdwn(kit.date(at))]},
    ]
    return {"text": escape(plain), "blocks": blocks}
