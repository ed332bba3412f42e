"""Work over a lot that strangers wrote holds nobody up, and over little it costs no thread."""

import threading
from typing import Any

import pytest

from orchestrator.beside import SLIGHT, unless_slight


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("written", "here"),
    [
        ({}, True),
        ([{"amount": 12.5, "to": ["U1", None]}], True),
        ("a" * (SLIGHT - 2), True),
        ("a" * SLIGHT, False),
        ([0] * SLIGHT, False),
        ({"a" * SLIGHT: 1}, False),
        ({"a": [[[]] * 100] * 100}, False),
        ([{"a": 1}] * SLIGHT, False),
    ],
)
async def test_a_lot_is_gone_through_in_a_thread(written: Any, here: bool) -> None:
    worked = await unless_slight(written, threading.current_thread)
    assert (worked is threading.main_thread()) == here


@pytest.mark.asyncio
@pytest.mark.parametrize("written", [{}, [0] * SLIGHT])
async def test_what_it_raises_is_raised(written: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        await unless_slight(written, lambda: 1 // 0)
