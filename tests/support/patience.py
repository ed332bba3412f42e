"""Waiting for what happens elsewhere, which raises no event here: in a thread, a process, the database."""

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0
"""Seconds until what does not come true fails the test."""
LOOKS_EVERY = 0.005


async def until(condition: Callable[[], Any], what: str = "it", seconds: float = PATIENCE) -> None:
    """Returns once the condition is true."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"waited {seconds:g} s in vain for {what}"
        await asyncio.sleep(LOOKS_EVERY)
