"""Named points at which a test may break the process; nothing in service ever arms them.

`GEMINI_ORCHESTRATOR_FAILPOINTS="before_tool=kill,after_create=raise@3"`: at the first hit (or the
n-th, after `@`) the process kills itself or the point raises. Read once, at import.
"""

import os
import signal
from typing import Final

VARIABLE: Final = "GEMINI_ORCHESTRATOR_FAILPOINTS"

NAMES: Final = (
    "after_run_stored",
    "after_delivery_stored",
    "after_delivery_taken",
    "after_claim",
    "before_create",
    "after_create",
    "after_fetch",
    "after_observe",
    "before_job",
    "after_job",
    "before_harvest",
    "after_harvest",
    "before_preview",
    "after_preview",
    "before_tool",
    "after_tool",
    "after_tool_stored",
    "before_post",
    "after_post",
    "before_update",
    "after_update",
    "after_callback",
    "after_decision",
    "after_cancel_stored",
    "after_look",
    "after_occurrence",
)
"""Every point, at both sides of each commit and of each act on the world."""


class FailpointError(BaseException):
    """Raised by an armed point; not an `Exception`, so that no handler of ours swallows it."""


def _armed(text: str) -> dict[str, tuple[str, int]]:
    points: dict[str, tuple[str, int]] = {}
    for entry in filter(None, text.split(",")):
        name, _, rest = entry.strip().partition("=")
        action, _, nth = rest.partition("@")
        if name not in NAMES or action not in ("kill", "raise"):
            raise ValueError(f"{VARIABLE}: {entry!r} is not <point>=<kill|raise>[@n]")
        points[name] = (action, int(nth or 1))
    return points


_points = _armed(os.environ.get(VARIABLE, ""))
_hits: dict[str, int] = {}


def hit(name: str) -> None:
    """Pass the point, or break there if it is armed."""
    if name not in _points:
        return
    action, nth = _points[name]
    _hits[name] = _hits.get(name, 0) + 1
    if _hits[name] != nth:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise FailpointError(name)
