"""What is counted on the way out: the engine says what happened and how long it took, `web` keeps it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from orchestrator.domain.assessment import CallContext, Finding
from orchestrator.domain.consent import Preview, Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.jobs import Waiting
from orchestrator.domain.model import Outcome, Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.engine.ports import ToolkitPort
from orchestrator.errors import RejectedError, UnavailableError, UncertainError

Stopwatch = Callable[[], float]
"""Seconds that only ever grow; the difference of two readings is a duration."""


class Meters(Protocol):
    """Where numbers go. Nothing here may raise or wait."""

    def called(self, neighbour: str, operation: str, outcome: str, seconds: float | None) -> None:
        """A neighbour was called; `seconds` is None where nothing went out."""
        ...

    def ran(self, tool: str, outcome: str, seconds: float) -> None:
        """A tool was executed."""
        ...


class Unmetered:
    """`Meters` for whoever does not count."""

    def called(self, neighbour: str, operation: str, outcome: str, seconds: float | None) -> None:
        """Not kept."""

    def ran(self, tool: str, outcome: str, seconds: float) -> None:
        """Not kept."""


def outcome_of(error: BaseException) -> str:
    """One word for how a call failed: `unavailable`, `uncertain`, `rejected`, `stopped` or `broken`."""
    match error:
        case UnavailableError():
            return "unavailable"
        case UncertainError():
            return "uncertain"
        case RejectedError():
            return "rejected"
        case asyncio.CancelledError():
            return "stopped"
        case _:
            return "broken"


class MeteredToolkit:
    """A toolkit (`ToolkitPort`) whose executions are counted by tool and outcome."""

    def __init__(self, toolkit: ToolkitPort, meters: Meters, stopwatch: Stopwatch = time.monotonic) -> None:
        self._toolkit = toolkit
        self._meters = meters
        self._stopwatch = stopwatch

    def declarations(self, names: Sequence[str]) -> tuple[JsonObject, ...]:
        return self._toolkit.declarations(names)

    def find(self, recipe: Recipe, call: FunctionCall) -> Finding:
        return self._toolkit.find(recipe, call)

    def terms(self, recipe: Recipe, tool: str) -> Terms | None:
        return self._toolkit.terms(recipe, tool)

    def describe(self, tool: str) -> str:
        return self._toolkit.describe(tool)

    async def preview(self, tool: str, arguments: JsonObject, context: CallContext) -> Preview:
        return await self._toolkit.preview(tool, arguments, context)

    async def execute(
        self, tool: str, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome | Waiting:
        begun = self._stopwatch()
        try:
            outcome = await self._toolkit.execute(tool, arguments, context, cancelled)
        except BaseException as e:
            self._meters.ran(tool, outcome_of(e), self._stopwatch() - begun)
            raise
        said = "waits" if isinstance(outcome, Waiting) else outcome.kind.value
        self._meters.ran(tool, said, self._stopwatch() - begun)
        return outcome
