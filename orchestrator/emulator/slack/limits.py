"""Slack's published call rates, for those who want to meet them. No I/O here.

Source: Slack, "Rate limits": tiers 1 to 4 are 1, 20, 50 and 100 calls a minute; posting is 1 a second in a
channel and some hundreds a minute in a workspace; reading history is once a minute for apps sold or shared
outside the marketplace. Slack counts loosely; this counts exactly.
"""

import math
from typing import Any, Final

PER_MINUTE: Final[dict[str, int]] = {
    "apps.connections.open": 1,
    "usergroups.list": 20,
    "usergroups.users.list": 20,
    "chat.update": 50,
    "chat.delete": 50,
    "conversations.info": 50,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.open": 50,
    "users.lookupByEmail": 50,
    "chat.postEphemeral": 100,
    "users.info": 100,
    "files.getUploadURLExternal": 100,
    "files.completeUploadExternal": 100,
    "views.open": 100,
    "views.push": 100,
    "views.update": 100,
    "views.publish": 100,
}
POSTS_PER_MINUTE: Final = 300
"""In the whole workspace; Slack says "several hundred"."""
HISTORY: Final = frozenset({"conversations.history", "conversations.replies"})


class RateLimits:
    """Remembers calls for a minute and says how long the next must wait."""

    def __init__(self) -> None:
        self._calls: dict[str, list[float]] = {}

    def wait(self, method: str, args: dict[str, Any], now: float, *, history_limited: bool = False) -> int:
        """Whole seconds until this call would be taken; 0 takes and counts it."""
        rules = _rules(method, args, history_limited)
        waits = [self._until(key, span, most, now) for key, span, most in rules]
        if any(waits):
            return max(waits)
        for key, _, _ in rules:
            self._calls[key].append(now)
        return 0

    def _until(self, key: str, span: float, most: int, now: float) -> int:
        recent = [at for at in self._calls.get(key, []) if now - at < span]
        self._calls[key] = recent
        return 0 if len(recent) < most else max(1, math.ceil(span - (now - recent[0])))


def _rules(method: str, args: dict[str, Any], history_limited: bool) -> list[tuple[str, float, int]]:
    """What a call counts under: a name, over how many seconds, how many."""
    if method == "chat.postMessage":
        channel = (f"{method} {args.get('channel')}", 1.0, 1)
        return [channel, (method, 60.0, POSTS_PER_MINUTE)]
    if history_limited and method in HISTORY:
        return [(method, 60.0, 1)]
    return [(method, 60.0, PER_MINUTE[method])] if method in PER_MINUTE else []
