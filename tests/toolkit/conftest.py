"""Short ways to a toolkit, a call and a context."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestrator.domain.assessment import CallContext, Finding
from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import Outcome, Recipe
from orchestrator.toolkit import Executor, Toolkit

APPROVERS = Terms(approvers=("U1",), channel="C1")
CONTEXT = CallContext("call_1", "run_1", "shop", Actor("U9"), Actor("U1"))


class Bench:
    """A toolkit around the given functions, with every one of them in the recipe."""

    def __init__(self, *functions: Callable[..., Any], **options: Any) -> None:
        options.setdefault("defaults", APPROVERS)
        self.toolkit = Toolkit(functions, **options)
        self.names = tuple(tool.name for tool in self.toolkit.tools)
        self.cancelled: asyncio.Event = asyncio.Event()

    def find(self, arguments: Any, *, name: str = "", workflow: str = "shop") -> Finding:
        recipe = Recipe(workflow, model="m", tools=self.names)
        return self.toolkit.find(recipe, FunctionCall("c1", name or self.names[0], arguments))

    async def run(self, arguments: Any = None, *, name: str = "") -> Outcome:
        return await self.toolkit.execute(name or self.names[0], arguments or {}, CONTEXT, self.cancelled)


@pytest.fixture
def bench() -> type[Bench]:
    return Bench


@pytest.fixture
def waits() -> list[float]:
    """The pauses an `eager` executor was asked to make."""
    return []


@pytest.fixture
def eager(waits: list[float]) -> Executor:
    """Makes no pause between attempts, only notes it."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return Executor(2, sleep=sleep)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds sync tools until the test lets them go; always opened in the end."""
    event = threading.Event()
    yield event
    event.set()
