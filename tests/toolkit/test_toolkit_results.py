"""What a tool gives back, and what of it Gemini takes."""

import dataclasses
import enum
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
import structlog

from orchestrator import ContentBlocks, tool
from orchestrator.domain.model import OutcomeKind
from orchestrator.toolkit.results import encode

pytestmark = pytest.mark.asyncio
SHORT = 0.05  # seconds; long enough to be scheduled, short enough not to be noticed
LONG = 30.0  # seconds; a bound on waiting for a condition, never slept through


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    amount: Decimal
    inner: list["Model"] = []
    alias: str = pydantic.Field("a", alias="theirAlias")


@dataclasses.dataclass
class Point:
    x: int
    when: datetime


class Spot(msgspec.Struct):
    x: int
    at: tuple[Decimal, ...] = ()


class Unreadable:
    pass


UID = uuid.UUID("12345678-1234-5678-1234-567812345678")
BLOCK = {"type": "text", "text": "hi"}


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("text", "text"),
        ("", ""),
        ("a\0\ud800", "a\ufffd\ufffd"),
        ({"a": Decimal("1.50"), 1: {UID}}, {"a": "1.50", "1": [str(UID)]}),
        ({}, {}),
        (Spot(1, (Decimal("1.50"),)), {"x": 1, "at": ["1.50"]}),
        (
            Model(amount=Decimal("2"), inner=[Model(amount=Decimal("1e2"))]),
            {"amount": "2", "inner": [{"amount": "100", "inner": [], "theirAlias": "a"}], "theirAlias": "a"},
        ),
        (Point(1, datetime(2026, 1, 2, tzinfo=UTC)), {"x": 1, "when": "2026-01-02T00:00:00+00:00"}),
        (
            {Colour.RED: Colour.RED, "d": date(2026, 1, 2), "t": timedelta(hours=1)},
            {"red": "red", "d": "2026-01-02", "t": "PT1H"},
        ),
        (1, {"result": 1}),
        (2**60, {"result": str(2**60)}),
        (1.5, {"result": 1.5}),
        (True, {"result": True}),
        (None, {"result": None}),
        ([1, "a"], {"result": [1, "a"]}),
        ((1, 2), {"result": [1, 2]}),
        ({3, 1, 2}, {"result": [1, 2, 3]}),
        ([BLOCK], {"result": [BLOCK]}),
        (Decimal("1.10"), {"result": "1.10"}),
        (Colour.RED, {"result": "red"}),
        (ContentBlocks(BLOCK), [BLOCK]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_results_become_what_gemini_takes(bench: Any, value: Any, result: Any) -> None:
    @tool
    def give() -> Any:
        """Give it."""
        return value

    outcome = await bench(give).run()
    assert (outcome.kind, outcome.result) == (OutcomeKind.SUCCEEDED, result)


def loop() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        {"a": b"x"},
        float("nan"),
        [float("inf")],
        Decimal("NaN"),
        Unreadable(),
        {"a": Unreadable},
        {(1, 2): 1},
        {1: 1, "1": 2},
        loop(),
    ],
    ids=lambda v: type(v).__name__,
)
async def test_a_result_that_is_no_json_is_a_failure_with_its_reason_in_the_log(
    bench: Any, value: Any
) -> None:
    @tool
    def give() -> Any:
        """Give it."""
        return value

    with structlog.testing.capture_logs() as lines:
        outcome = await bench(give).run()
    assert (outcome.kind, outcome.result) == (
        OutcomeKind.FAILED,
        "The tool ran, but its result could not be read.",
    )
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["tool_result_not_json"]


@pytest.mark.parametrize(("extra", "kind"), [(-1, "succeeded"), (0, "succeeded"), (1, "failed")])
async def test_a_result_has_at_most_256_kib(bench: Any, extra: int, kind: str) -> None:
    @tool
    def much() -> str:
        """Say much."""
        return "a" * (256 * 1024 - 2 + extra)

    outcome = await bench(much).run()
    assert outcome.kind == kind
    assert (kind == "succeeded") or "too large" in outcome.result


async def test_content_blocks_are_checked_where_they_are_made() -> None:
    for blocks in ((), ({"type": "function_call"},), ({"text": "x"},)):
        with pytest.raises(ValueError, match="block"):
            ContentBlocks(*blocks)
    image = {"type": "image", "mime_type": "image/png", "data": "aGk="}
    assert encode(ContentBlocks(BLOCK, image)) == [BLOCK, image]
