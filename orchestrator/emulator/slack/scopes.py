"""Which token and which scope a Web API method needs. No I/O here.

Source: Slack, Web API reference, one page per method.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from orchestrator.emulator.slack.settings import SlackChannel
from orchestrator.emulator.slack.tickets import Refused

APP_TOKEN_METHODS: Final = frozenset({"apps.connections.open"})
NEEDED: Final[Mapping[str, str]] = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.delete": "chat:write",
    "users.info": "users:read",
    "users.lookupByEmail": "users:read.email",
    "usergroups.list": "usergroups:read",
    "usergroups.users.list": "usergroups:read",
    "conversations.open": "im:write",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}
BY_CHANNEL: Final[Mapping[str, str]] = {
    "conversations.info": "read",
    "conversations.history": "history",
    "conversations.replies": "history",
}


def check_token(method: str, token: str | None, *, bot: str, app: str) -> None:
    """Refuse a token this method does not take.

    Raises:
        Refused: `not_authed`, `not_allowed_token_type`, `invalid_auth`.
    """
    if not token:
        raise Refused("not_authed")
    wanted, other = (app, bot) if method in APP_TOKEN_METHODS else (bot, app)
    if token == other:
        raise Refused("not_allowed_token_type")
    if token != wanted:
        raise Refused("invalid_auth")


def check_scope(method: str, channel: SlackChannel | None, granted: Collection[str]) -> None:
    """Refuse a call the app was not granted the scope for.

    Raises:
        Refused: `missing_scope`, with `needed` and `provided`.
    """
    needed = NEEDED.get(method) or _by_channel(method, channel)
    if needed is not None and needed not in granted:
        raise Refused("missing_scope", needed=needed, provided=",".join(granted))


def _by_channel(method: str, channel: SlackChannel | None) -> str | None:
    if method not in BY_CHANNEL or channel is None:
        return None
    kind = "im" if channel.id.startswith("D") else "groups" if channel.is_private else "channels"
    return f"{kind}:{BY_CHANNEL[method]}"


def channel_of(args: Mapping[str, Any]) -> str:
    """The channel a call is about, as given."""
    return str(args.get("channel", ""))
