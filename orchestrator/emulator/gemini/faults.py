"""Things that go wrong on purpose: a queue of faults per operation, each used a set number of times.

On a request, by kind:

    status                answered with `status` before anything happens
    reset                 connection broken before anything happens
    hang                  no answer for `seconds`, and nothing happens; then 504
    not_found             404 before anything happens
    accept_then_status    done, then answered with `status`
    accept_then_reset     done, then the connection is broken
    slow                  done, answered after `seconds`
    html, null, broken_json   done, answered 200 with that body
    stale                 (get) the view before the last change
    early                 (create) the turn ends and its webhooks go out before the answer

On a delivery (operation `deliver`), applied when it is first to be sent:

    lose, duplicate (`copies`), delay (`seconds`), hold, bad_signature, old_timestamp (`seconds`)
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

REQUEST_KINDS: Final = (
    "status",
    "reset",
    "hang",
    "not_found",
    "accept_then_status",
    "accept_then_reset",
    "slow",
    "html",
    "null",
    "broken_json",
)
DELIVERY_KINDS: Final = ("lose", "duplicate", "delay", "hold", "bad_signature", "old_timestamp")
OPERATIONS: Final = (
    "create",
    "get",
    "cancel",
    "delete",
    "webhooks.create",
    "webhooks.list",
    "webhooks.get",
    "webhooks.update",
    "webhooks.ping",
    "webhooks.rotate",
    "webhooks.delete",
    "jwks",
    "deliver",
)
HANG_SECONDS: Final = 3600.0
OLD_SECONDS: Final = 600.0  # twice what receivers are told to allow
KINDS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(OPERATIONS, REQUEST_KINDS),
    "create": (*REQUEST_KINDS, "early"),
    "get": (*REQUEST_KINDS, "stale"),
    "deliver": DELIVERY_KINDS,
}


@dataclass
class Fault:
    """One entry of the queue.

    Args:
        operation: One of `OPERATIONS`.
        kind: What goes wrong; the module's docstring has the list.
        times: How often, before the entry is used up.
        skip: How many operations pass untouched first.
        subject: Only for this interaction or webhook id (for `create`: the previous one's).
        status: HTTP status of `status` and `accept_then_status`.
        code: String code of that answer; the usual one of the status by default.
        message: Its message.
        retry_after: Its `Retry-After` header, as it is to be sent.
        shape: `new`, `classic` (a number and a `status`) or `list` (classic in a one-element list).
        seconds: Of `hang`, `slow` (3600 by default), `delay` and `old_timestamp` (600 by default).
        copies: How many more times `duplicate` sends.
    """

    operation: str
    kind: str
    times: int = 1
    skip: int = 0
    subject: str | None = None
    status: int = 503
    code: str | None = None
    message: str = "Fault injected."
    retry_after: str | None = None
    shape: str = "new"
    seconds: float | None = None
    copies: int = 1

    def __post_init__(self) -> None:
        if self.operation not in KINDS:
            raise ValueError(f"unknown operation '{self.operation}'; known: {', '.join(OPERATIONS)}")
        if self.kind not in KINDS[self.operation]:
            known = ", ".join(KINDS[self.operation])
            raise ValueError(f"'{self.kind}' is no fault of '{self.operation}'; known: {known}")
        if self.shape not in ("new", "classic", "list"):
            raise ValueError(f"unknown shape '{self.shape}'; known: new, classic, list")


class Faults:
    """The queue. The first entry that fits an operation is used."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, operation: str, kind: str, **options: Any) -> Fault:
        """Queue a fault; `options` are the fields of `Fault`.

        Raises:
            ValueError: Unknown operation, kind or option.
        """
        unknown = set(options) - {f.name for f in fields(Fault)}
        if unknown:
            raise ValueError(f"unknown option '{sorted(unknown)[0]}'")
        fault = Fault(operation, kind, **options)
        self._queue.append(fault)
        return fault

    def take(self, operation: str, subject: str | None = None) -> Fault | None:
        """The fault for this operation, if one is due, counted as used."""
        for fault in self._queue:
            if fault.operation != operation or fault.subject not in (None, subject):
                continue
            if fault.skip:
                fault.skip -= 1
                return None
            fault.times -= 1
            if fault.times <= 0:
                self._queue.remove(fault)
            return fault
        return None

    def clear(self) -> None:
        """Forget every fault."""
        self._queue.clear()

    def view(self) -> list[dict[str, Any]]:
        """What is still queued."""
        return [asdict(fault) for fault in self._queue]
