"""Whom a new message makes a sound for, and why. No I/O here.

Source: Slack, "Formatting text for app surfaces" (mentions); help pages on notifications of threads. Where a
message has blocks, mentions count in these; its `text` is then only what the notification says.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Reason = Literal["direct", "mention", "group", "everyone", "thread"]

_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_MARK = re.compile(r"<(@|!subteam\^|!)([A-Za-z0-9]+)(?:\|[^<>]*)?>")
_KINDS: Final[Mapping[str, str]] = {"@": "user", "!subteam^": "group", "!": "range"}
_RANGES: Final = frozenset({"here", "channel", "everyone"})


@dataclass(frozen=True)
class Notification:
    """One person told of one message. `text` is what the lock screen says; `at` is Unix seconds."""

    user: str
    channel: str
    ts: str
    reason: Reason
    text: str
    at: float


@dataclass(frozen=True)
class Mentions:
    """Whom a message names: people and groups by id, and whether everybody in the channel."""

    users: frozenset[str]
    groups: frozenset[str]
    everyone: bool


def mentions(text: str, blocks: list[dict[str, Any]]) -> Mentions:
    """Whom a message with this text and these blocks names."""
    found = set(_in_blocks(blocks)) if blocks else set(_in_markup(text))
    named = {kind: frozenset(i for k, i in found if k == kind) for kind in _KINDS.values()}
    return Mentions(named["user"], named["group"], bool(named["range"] & _RANGES))


def _in_markup(text: str) -> Iterator[tuple[str, str]]:
    for mark in _MARK.finditer(_CODE.sub("", text)):
        yield _KINDS[mark[1]], mark[2]


def _in_blocks(part: Any) -> Iterator[tuple[str, str]]:
    if isinstance(part, list):
        for entry in part:
            yield from _in_blocks(entry)
        return
    if not isinstance(part, dict):
        return
    match part.get("type"):
        case "mrkdwn":
            yield from _in_markup(part["text"])
        case "user":
            yield "user", str(part["user_id"])
        case "usergroup":
            yield "group", str(part["usergroup_id"])
        case "broadcast":
            yield "range", str(part["range"])
        case _:
            for entry in part.values():
                yield from _in_blocks(entry)
