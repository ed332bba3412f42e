"""What this process has done since it began, for monitors. A registry of its own; nothing global.

Names and units follow Prometheus' naming rules: base units, `_total` on what only grows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from orchestrator.errors import InvalidError, SignatureError

PACKAGE: Final = "gemini-orchestrator"
CALL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TOOL_SECONDS: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)

REFUSALS: Final = ("signature", "body", "request", "ours")
"""What is wrong: who signed it, what it says, how it was sent; or that we cannot take it now."""


class Counters:
    """Counts what goes out and what comes in. Labels are words of the program or names of registered tools,
    never of a caller's choosing, so that their number is bounded.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        known: Any = {"registry": self.registry, "namespace": "orchestrator"}
        self._deliveries = Counter(
            "deliveries",
            "Signed requests from outside: taken, refused (4xx), or failed (5xx).",
            ("door", "outcome"),
            **known,
        )
        self._calls = Counter(
            "calls",
            "Calls of a neighbour by outcome; spared ones were not sent, its breaker was open.",
            ("neighbour", "operation", "outcome"),
            **known,
        )
        self._call_seconds = Histogram(
            "call_seconds",
            "How long calls that were sent took, repeats of safe ones included.",
            ("neighbour", "operation"),
            buckets=CALL_SECONDS,
            **known,
        )
        self._tools = Counter(
            "tool_executions", "Executions of a tool by outcome.", ("tool", "outcome"), **known
        )
        self._tool_seconds = Histogram(
            "tool_execution_seconds", "How long they took.", ("tool",), buckets=TOOL_SECONDS, **known
        )
        repeats = Counter(
            "webhooks_repeated",
            "Webhooks whose id had come before: with the same body, or another one, which was not kept.",
            ("body",),
            **known,
        )
        self._same, self._other = repeats.labels("same"), repeats.labels("other")
        self._refused = Counter(
            "webhooks_refused", "Webhooks that were not taken, by what was wrong.", ("reason",), **known
        )
        for reason in REFUSALS:
            self._refused.labels(reason)
        self._unkept = Counter(
            "webhooks_refused_unkept",
            "Those of them that are not in the ledger: too many at once, or the database did not take them.",
            **known,
        )
        self._untold = Counter(
            "answers_refused_untold",
            "Answers to a question that were refused as often before, and are in no record any more.",
            **known,
        )
        build = Gauge("build_info", "Always 1; the label says what runs.", ("version",), **known)
        build.labels(program_version()).set(1)

    def called(self, neighbour: str, operation: str, outcome: str, seconds: float | None) -> None:
        """As `Meters` says."""
        self._calls.labels(neighbour, operation, outcome).inc()
        if seconds is not None:
            self._call_seconds.labels(neighbour, operation).observe(seconds)

    def ran(self, tool: str, outcome: str, seconds: float) -> None:
        """As `Meters` says."""
        self._tools.labels(tool, outcome).inc()
        self._tool_seconds.labels(tool).observe(seconds)

    def repeated(self, again: int, other: int) -> None:
        """So many webhooks had come before, so many of those with another body; from any thread."""
        self._same.inc(again - other)
        self._other.inc(other)

    def refused(self, error: Exception) -> None:
        """A webhook was not taken."""
        match error:
            case SignatureError():
                reason = "signature"
            case InvalidError():
                reason = "body"
            case HTTPException() if error.status_code < 500:
                reason = "request"
            case _:
                reason = "ours"
        self._refused.labels(reason).inc()

    def unkept(self, many: int) -> None:
        """So many webhooks that were not taken are not in the ledger either."""
        self._unkept.inc(many)

    def untold(self, many: int) -> None:
        """So many answers were turned away and are not written down."""
        self._untold.inc(many)

    def outcomes(self, door: str) -> "Outcomes":
        """Of a door's answers; all three numbers are there from the start."""
        return Outcomes(*(self._deliveries.labels(door, o) for o in ("taken", "refused", "failed")))

    def at(self, door: str) -> Callable[[ASGIApp], ASGIApp]:
        """ASGI middleware that counts the answers of a door."""
        outcomes = self.outcomes(door)

        def middleware(app: ASGIApp) -> ASGIApp:
            @wraps(app)
            async def counted(scope: Scope, receive: Receive, send: Send) -> None:
                await app(scope, receive, outcomes.heard(send))

            return counted

        return middleware


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The numbers of one door."""

    taken: Counter
    refused: Counter
    failed: Counter

    def heard(self, send: Send) -> Send:
        """The same, counting answers by their status."""

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                (self.taken if status < 400 else self.refused if status < 500 else self.failed).inc()
            await send(message)

        return heard


def program_version() -> str:
    """Of the installed package; `unknown` where it runs without having been installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "unknown"
