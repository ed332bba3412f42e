"""Slack's published call rates, for those who want to meet them. No I/O here.

Source: Slack, "Rate limits": tiers 1 to 4 are 1, 20, 50 and 100 calls a minute; posting is 1 a second in a
channel. Slack counts loosely; this counts exactly.
"""

import math
from typing import Any, Final

PER_MINUTE: Final[dict[str, int]] = {
    "chat.update": 50,
    "chat.delete": 50,
    "chat.postEphemeral": 100,
    "conversations.info": 50,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.open": 50,
    "users.info": 100,
    "views.open": 100,
    "views.update": 100,
    "views.publish": 100,
    "usergroups.users.list": 20,
}


class RateLimits:
    """Remembers calls for a minute and says how long the next must wait."""

    def __init__(self) -> None:
        self._calls: dict[str, list[float]] = {}

    def wait(self, method: str, args: dict[str, Any], now: float) -> int:
        """Whole seconds until this call would be taken; 0 takes and counts it."""
        posting = method == "chat.postMessage"
        key = f"{method} {args.get('channel')}" if posting else method
        span, most = (1.0, 1) if posting else (60.0, PER_MINUTE.get(method, 10_000))
        recent = [at for at in self._calls.get(key, []) if now - at < span]
        if len(recent) >= most:
            self._calls[key] = recent
            return max(1, math.ceil(span - (now - recent[0])))
        self._calls[key] = [*recent, now]
        return 0
