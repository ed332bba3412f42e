"""The app as Slack is told of it: a manifest with exactly what this service uses. No I/O.

Source: Slack, "App manifest reference"; scopes by the pages of the methods and events named here.
"""

from collections.abc import Collection
from typing import Any, Final

COMMAND: Final = "/approvals"
NAME: Final = "Approvals"
MOST_NAME: Final = 35
"""Characters of an app's name."""
EVENTS: Final = ("app_home_opened", "app_uninstalled", "tokens_revoked")

_SCOPES: Final = {
    "chat:write": "cards, their redrawing, replies in their threads, whispers",
    "commands": COMMAND,
    "channels:history": "finding a card whose post had no answer, before it is posted again",
    "groups:history": "the same in private channels",
    "channels:read": "`orchestrator slack check`: whether a channel is there, and the app in it",
    "groups:read": "the same for private channels",
}
_GROUPS: Final = {"usergroups:read": "who is in the user groups that may decide"}
_DIRECT: Final = {
    "im:write": "direct messages to those who may decide",
    "im:history": "finding such a message whose post had no answer",
}
SHORTCUTS: Final = (
    {
        "name": "My pending approvals",
        "type": "global",
        "callback_id": "my_pending",
        "description": "What waits for your decision",
    },
    {
        "name": "Show approval details",
        "type": "message",
        "callback_id": "show_request",
        "description": "All there is to know about the question of a message",
    },
)
"""What people find in Slack's own menus."""
_PICTURES: Final = {"files:write": "pictures of the files people choose among"}
_POSTED_DIRECTLY: Final = {"im:read": "the check, for a channel that is a direct message"}


def scopes(
    *, groups: bool, direct: bool, channels: Collection[str] = (), pictures: bool = False
) -> dict[str, str]:
    """What the bot token must be allowed to do, each with what for.

    Args:
        groups: Some approvers are named as user groups.
        direct: People may get a question as a direct message.
        channels: Ids of those that are posted to.
        pictures: People may be shown pictures of files.
    """
    named = any(channel.startswith("D") for channel in channels)
    found = {**_SCOPES, **(_GROUPS if groups else {}), **(_DIRECT if direct or named else {})}
    return {**found, **(_POSTED_DIRECTLY if named else {}), **(_PICTURES if pictures else {})}


def manifest(
    public_url: str | None, *, name: str = NAME, socket_mode: bool, bot_scopes: Collection[str]
) -> dict[str, Any]:
    """The manifest, as Slack takes it in JSON or YAML.

    Args:
        public_url: Our own address; of no use with `socket_mode`, and needed without it.

    Raises:
        ValueError: There is neither an address nor Socket Mode.
    """
    if public_url is None and not socket_mode:
        raise ValueError("Slack needs an address of ours, or Socket Mode")
    command = {
        "command": COMMAND,
        "description": "What waits for your decision",
        "usage_hint": "[mine | all | ID | help]",
        "should_escape": True,
    }
    return {
        "display_information": {"name": name, "description": "Decide about what agents want to do"},
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": True,
            },
            "bot_user": {"display_name": name, "always_online": True},
            "shortcuts": [dict(shortcut) for shortcut in SHORTCUTS],
            "slash_commands": [command | _at(public_url, socket_mode, "url", "/slack/commands")],
        },
        "oauth_config": {"scopes": {"bot": sorted(bot_scopes)}},
        "settings": {
            "event_subscriptions": {
                **_at(public_url, socket_mode, "request_url", "/slack/events"),
                "bot_events": list(EVENTS),
            },
            "interactivity": {
                "is_enabled": True,
                **_at(public_url, socket_mode, "request_url", "/slack/interactivity"),
            },
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }


def _at(public_url: str | None, socket_mode: bool, key: str, path: str) -> dict[str, str]:
    """With Socket Mode a manifest names no addresses."""
    return {} if socket_mode or public_url is None else {key: f"{public_url.rstrip('/')}{path}"}
