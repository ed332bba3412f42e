"""Ids of webhooks in paths. Their sender chooses them, and may choose what a path cannot hold.

Such an id stands there as `~` and its base64url form. No other id begins with `~` in a path.
"""

import base64
import binascii
import re
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_ANY: Final = re.compile(r"[!-~]{1,256}", re.ASCII)


def to_handle(webhook_id: str) -> str:
    """The id as a part of a path."""
    if _PLAIN.fullmatch(webhook_id):
        return webhook_id
    return "~" + base64.urlsafe_b64encode(webhook_id.encode()).decode().rstrip("=")


def from_handle(part: str) -> str | None:
    """Back again; None for what stands for no id."""
    if _PLAIN.fullmatch(part):
        return part
    try:
        coded = part.removeprefix("~") + "=" * (-(len(part) - 1) % 4)
        webhook_id = base64.b64decode(coded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return webhook_id if part == to_handle(webhook_id) and _ANY.fullmatch(webhook_id) else None
