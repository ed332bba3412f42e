"""Things that go wrong on purpose: a queue of faults per operation, each by name, count and probability.

`REQUEST`, `INTERACTION`, ... say what each kind does; `KINDS` says which kinds an operation has. A fault
with a probability draws from a source of its own, seeded by its place in the queue, so that the n-th
request meets the same fate in every run, whatever the other operations do in between.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_type_hints

import msgspec

from orchestrator.emulator.gemini import jobkinds

REQUEST: Final[dict[str, str]] = {
    "status": "refused with `status` (and `retry_after`) before anything happens",
    "not_found": "404 before anything happens; for good with times=forever, for a while with for_seconds",
    "reset": "connection broken before anything happens",
    "hang": "no answer for `seconds`, nothing happens; then 504",
    "accept_then_status": "done, but answered with `status`",
    "accept_then_reset": "done, but the connection is broken",
    "accept_then_silence": "done, but nothing is said for `seconds`; then the connection is broken",
    "truncated": "done, but the answer ends half-way",
    "slow": "done, answered after `seconds`",
    "slow_bytes": "done, the answer comes in drops over `seconds`",
    "html": "done, answered 200 with a page",
    "null": "done, answered 200 with null",
    "text": "done, answered 200 with a bare string",
    "list": "done, answered 200 with a list",
    "empty_body": "done, answered 200 with no bytes",
    "broken_json": "done, answered 200 with JSON cut short",
}
INTERACTION: Final[dict[str, str]] = {
    "wrong_types": "done, every field of the answer has another type",
    "unknown_status": "done, the answer's status is one that nobody knows",
    "unknown_steps": "done, the answer has steps that nobody knows, and junk between them",
    "missing_id": "done, the answer has no id",
}
CALLS: Final[dict[str, str]] = {
    "string_arguments": "arguments of the calls come as a JSON string",
    "missing_arguments": "calls come without arguments",
    "duplicate_call_ids": "two calls have one id",
}
CREATE: Final[dict[str, str]] = {
    "early": "the turn ends and its webhooks go out before the answer",
    "resume_refused": "400 to a create that continues, though its results are right",
    "resume_unimplemented": "501 to a create that continues",
}
GET: Final[dict[str, str]] = {"stale": "the view before the last change"}
CANCEL: Final[dict[str, str]] = {"ignored": "answered 200, and the interaction runs on"}
KEY_SET: Final[dict[str, str]] = {
    "no_keys": "the key set is empty",
    "foreign_keys": "the key set has keys that sign nothing",
    "rotate_keys": "the keys are replaced first",
}
DELIVERY: Final[dict[str, str]] = {
    "lose": "never sent",
    "delay": "sent `seconds` later",
    "hold": "kept until released",
    "reorder": "sent after the next one (or alone, after `seconds`)",
    "duplicate": "`copies` more, with the same id",
    "duplicate_new_id": "`copies` more, each with an id of its own",
    "burst": "`copies` (20) more at the same moment, with the same id",
    "bad_signature": "well formed, but over other bytes",
    "foreign_signature": "over the right bytes, with somebody else's key",
    "other_scheme": "v1a where v1 is due, and the other way round",
    "altered_body": "changed after it was signed",
    "old_timestamp": "signed with a timestamp `seconds` back",
    "future_timestamp": "signed with a timestamp `seconds` ahead",
    "unknown_type": "preceded by an event of a type that nobody knows",
    "unknown_id": "preceded by an event about an interaction that nobody knows",
    "rotate_signing_keys": "the published keys are replaced before it is signed",
}
INTERACTION_OPERATIONS: Final = ("create", "get", "cancel")
OPERATIONS: Final = (
    *INTERACTION_OPERATIONS,
    "delete",
    "webhooks.create",
    "webhooks.list",
    "webhooks.get",
    "webhooks.update",
    "webhooks.ping",
    "webhooks.rotate",
    "webhooks.delete",
    "batches.create",
    "batches.get",
    "batches.list",
    "batches.cancel",
    "batches.delete",
    "files.download",
    *jobkinds.OPERATIONS,
    "jwks",
    "deliver",
)
KINDS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(OPERATIONS, tuple(REQUEST)),
    **{operation: (*REQUEST, *kinds) for operation, kinds in jobkinds.KINDS.items()},
    "create": (*REQUEST, *INTERACTION, *CREATE),
    "get": (*REQUEST, *INTERACTION, *CALLS, *GET),
    "cancel": (*REQUEST, *INTERACTION, *CANCEL),
    "jwks": (*REQUEST, *KEY_SET),
    "deliver": tuple(DELIVERY),
}
CLASSIC: Final = ("batches.", "files.", "videos.")  # these answer errors in the older shape
JOB_OPERATIONS: Final = (*jobkinds.STARTS, *jobkinds.POLLS, "files.download")
SHAPES: Final = ("new", "classic", "list")
HANG_SECONDS: Final = 3600.0
DRIP_SECONDS: Final = 1.0
OFF_SECONDS: Final = 600.0  # of a timestamp; twice what receivers are told to allow
BURST_COPIES: Final = 20
FOREVER: Final = "forever"


@dataclass
class Fault:
    """One entry of the queue.

    Args:
        operation: One of `OPERATIONS`.
        kind: What goes wrong; `KINDS` has the list.
        times: How often, before the entry is used up; None (or `forever`) for good.
        skip: How many operations pass untouched first.
        probability: Of striking when it could, from 0 to 1.
        for_seconds: In force for so long on the emulator's clock, instead of `times`.
        subject: Only for this interaction, webhook, batch, operation or file id (for `create`: the previous
            one's; for a job's start: the `job` of its metadata).
        event: Only for deliveries of this event type.
        status: HTTP status of `status` and `accept_then_status`.
        code: String code of that answer; the usual one of the status by default.
        message: Its message.
        retry_after: Its `Retry-After` header, as it is to be sent.
        shape: `new`, `classic` (a number and a `status`) or `list` (classic in a one-element list); by
            default the operation's own.
        seconds: How long, for the kinds that name it: 3600 for waiting, 1 for drops, 600 for timestamps.
        copies: How many more are sent, for the kinds that name it.
    """

    operation: str
    kind: str
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    for_seconds: float | None = None
    subject: str | None = None
    event: str | None = None
    status: int = 503
    code: str | None = None
    message: str = "Fault injected."
    retry_after: str | None = None
    shape: str | None = None
    seconds: float | None = None
    copies: int | None = None
    ends: datetime | None = field(default=None, init=False, repr=False)
    dice: random.Random = field(default_factory=random.Random, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.operation not in KINDS:
            raise ValueError(f"unknown operation '{self.operation}'; known: {', '.join(OPERATIONS)}")
        if self.kind not in KINDS[self.operation]:
            known = ", ".join(KINDS[self.operation])
            raise ValueError(f"'{self.kind}' is no fault of '{self.operation}'; known: {known}")
        if self.shape not in (None, *SHAPES):
            raise ValueError(f"unknown shape '{self.shape}'; known: {', '.join(SHAPES)}")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability {self.probability} is not between 0 and 1")
        if self.for_seconds is not None:
            self.times = None
        if self.shape is None:
            self.shape = "classic" if self.operation.startswith(CLASSIC) else "new"

    def view(self) -> dict[str, Any]:
        """The entry as JSON, with what is left of it."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def waits(self, default: float) -> float:
        """Its `seconds`, or the default of its kind."""
        return default if self.seconds is None else self.seconds

    def further(self, default: int = 1) -> int:
        """Its `copies`, or the default of its kind."""
        return default if self.copies is None else self.copies


_OPTIONS: Final = get_type_hints(Fault)


class Faults:
    """The queue. The first entry that fits an operation, and strikes, is used.

    Args:
        seed: Of the probabilities.
        now: The clock that `for_seconds` is measured on.
        standing: Faults there are from the start and after a reset, as mappings of `Fault`'s fields.
    """

    def __init__(
        self,
        seed: int = 0,
        now: Callable[[], datetime] | None = None,
        standing: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._seed, self._now, self._standing = seed, now or _utc, list(standing)
        self._queue: list[Fault] = []
        self.reset()

    def add(self, operation: str, kind: str, **options: Any) -> Fault:
        """Queue a fault; `options` are the fields of `Fault`.

        Raises:
            ValueError: Unknown operation, kind or option.
        """
        unknown = set(options) - {f.name for f in fields(Fault) if f.init}
        if unknown:
            raise ValueError(f"unknown option '{sorted(unknown)[0]}'")
        fault = Fault(operation, kind, **{name: _option(name, value) for name, value in options.items()})
        fault.dice = random.Random(f"{self._seed}:{self._added}")  # noqa: S311 - to be repeatable
        self._added += 1
        if fault.for_seconds is not None:
            fault.ends = self._now() + timedelta(seconds=fault.for_seconds)
        self._queue.append(fault)
        return fault

    def take(
        self, operation: str, subject: str | None = None, fits: Callable[[Fault], bool] | None = None
    ) -> Fault | None:
        """The fault for this operation, if one is due, counted as used.

        Args:
            subject: The id that the operation is about.
            fits: Whether a fault can do anything here; one that cannot waits for its chance.
        """
        now = self._now()
        self._queue = [f for f in self._queue if f.ends is None or f.ends > now]
        for fault in self._queue:
            if fault.operation != operation or fault.subject not in (None, subject):
                continue
            if fits is not None and not fits(fault):
                continue
            if fault.skip:
                fault.skip -= 1
                return None
            if fault.probability < 1.0 and fault.dice.random() >= fault.probability:
                continue
            self._use(fault)
            return fault
        return None

    def clear(self) -> None:
        """Forget every fault."""
        self._queue = []

    def reset(self) -> None:
        """Back to the standing faults, with the draws from the beginning."""
        self.clear()
        self._added = 0
        self.used: Counter[str] = Counter()
        for options in self._standing:
            self.add(**options)

    def view(self) -> list[dict[str, Any]]:
        """What is still queued."""
        return [fault.view() for fault in self._queue]

    def _use(self, fault: Fault) -> None:
        self.used[f"{fault.operation}:{fault.kind}"] += 1
        if fault.times is None:
            return
        fault.times -= 1
        if fault.times <= 0:
            self._queue.remove(fault)


def parse(text: str) -> dict[str, Any]:
    """A fault on one line, such as `create:status,status=429,retry_after=5,probability=0.2`.

    Raises:
        ValueError: It is none; the message says where.
    """
    head, *options = [part.strip() for part in text.split(",")]
    operation, colon, kind = head.partition(":")
    if not colon:
        raise ValueError(f"'{text}': expected operation:kind and options, such as create:reset,times=2")
    parsed: dict[str, Any] = {"operation": operation, "kind": kind}
    for option in options:
        name, _, value = option.partition("=")
        parsed[name] = _number(name, value)
    Faults().add(**parsed)  # a mistake shows here, not in the middle of a run
    return parsed


def storm(refused: float = 0.3, lost: float = 0.05, astray: float = 0.3) -> list[dict[str, Any]]:
    """Everything at once and for good, as standing faults.

    Args:
        refused: Share of the creates, gets, cancels and downloads that are answered 429, 500 or 503 with
            nothing done.
        lost: Share of the rest that is done, but whose answer nobody can read.
        astray: Share of the deliveries that something befalls, a different thing each time.
    """
    statuses: list[dict[str, Any]] = [
        {"kind": "status", "status": 429, "retry_after": "1"},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 503},
    ]
    unread: list[dict[str, Any]] = [
        {"kind": k} for k in ("accept_then_reset", "accept_then_status", "truncated", "html", "null")
    ]
    unread.append({"kind": "accept_then_silence", "seconds": 2.0})
    odd = [{"kind": kind} for kind in ("stale", "wrong_types", "unknown_status", "unknown_steps")]
    events: list[dict[str, Any]] = [
        {"kind": kind} for kind in DELIVERY if kind not in ("hold", "delay", "rotate_signing_keys")
    ]
    return [
        *(f for name in INTERACTION_OPERATIONS for f in _shared(name, refused, statuses)),
        *(f for name in INTERACTION_OPERATIONS for f in _shared(name, lost, unread)),
        *_shared("get", lost, odd),
        *_shared("create", lost, [{"kind": "early"}]),
        *_shared("deliver", astray, [*events, {"kind": "delay", "seconds": 2.0}]),
        *_shared("jwks", refused, [{"kind": "status", "status": 503}, {"kind": "no_keys"}]),
        # Last, so that what was drawn for the rest before there were jobs is still drawn.
        *(f for name in JOB_OPERATIONS for f in _shared(name, refused, statuses)),
        *(f for name in JOB_OPERATIONS for f in _shared(name, lost, unread)),
        *_shared("files.download", lost, [{"kind": kind} for kind in ("short", "wrong_type")]),
    ]


def _shared(operation: str, share: float, kinds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Faults that take `share` of an operation together, in equal parts: each sees what the others left."""
    part = share / len(kinds)
    return [
        {"operation": operation, "times": None, "probability": part / (1 - n * part), **kind}
        for n, kind in enumerate(kinds)
    ]


def _number(name: str, value: str) -> Any:
    declared = {f.name: f.type for f in fields(Fault) if f.init and f.default is not MISSING}
    kind = str(declared.get(name, ""))
    if name == "times" and value == FOREVER:
        return None
    try:
        return float(value) if "float" in kind else int(value) if "int" in kind else value
    except ValueError as error:
        raise ValueError(f"{name}: '{value}' is not a number") from error


def _option(name: str, value: Any) -> Any:
    if name == "times" and value == FOREVER:
        return None
    try:
        return msgspec.convert(value, _OPTIONS[name])
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from error


def _utc() -> datetime:
    return datetime.now(UTC)
