"""What a refused sender still has to say, let go by.

A connection that is closed over bytes nobody read is reset by the system, and the answer is lost with it:
the sender would see a broken connection where it was told 413.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

DRAIN_BYTES: Final = 16 * 1024 * 1024
DRAIN_SECONDS: Final = 10.0


async def drain(receive: Any) -> None:
    """Read the rest of a body and keep nothing; so many bytes, and for so long, at most."""
    left = DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
