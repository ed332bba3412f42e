"""Trouble on order: what the next calls of a method shall meet instead of Slack's answer."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["status", "ok_false", "accept_then_reset", "reset", "hang", "html"]


@dataclass
class ApiFault:
    """One kind of trouble for the next `count` calls of `method` (`*` is any).

    `stored` lets the call take effect before the trouble, so the caller cannot know; `accept_then_reset`
    always does. `status` goes with kinds `status` and `html`, `retry_after` (seconds) with a 429, `error`
    with `ok_false`, `seconds` with `hang`: after that long the answer comes as if nothing had been.
    """

    kind: Kind
    method: str = "*"
    status: int = 500
    error: str = "internal_error"
    retry_after: int = 1
    seconds: float = 1.0
    stored: bool = False
    count: int = 1


class Faults:
    """A queue of trouble; the first that fits a call is used up by it."""

    def __init__(self) -> None:
        self._queue: list[ApiFault] = []

    def add(self, fault: ApiFault) -> None:
        """Have it happen to the next calls that fit, after what is queued already."""
        self._queue.append(fault)

    def take(self, method: str) -> ApiFault | None:
        """The trouble this call meets, if any."""
        for fault in self._queue:
            if fault.method in (method, "*"):
                fault.count -= 1
                self._queue = [f for f in self._queue if f.count > 0]
                return fault
        return None

    def pending(self) -> list[ApiFault]:
        """What has not happened yet."""
        return list(self._queue)

    def clear(self) -> None:
        """Forget all trouble."""
        self._queue.clear()
