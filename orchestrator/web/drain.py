"""What a refused sender still has to say, let go by.

A connection that is closed over bytes nobody read is reset by the system, and the answer is lost with it:
the sender would see a broken connection where it was told 413.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

DRAIN_BYTES: Final = 16 * 1024 * 1024
DRAIN_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.5
"""Who sends nothing for so long waits for the answer, and is given it."""


async def drain(scope: Any, receive: Any) -> None:
    """Read the rest of a body and keep nothing; so many bytes, and for so long, at most.

    Who asked first (`Expect: 100-continue`) has sent nothing, and is not told to.
    """
    if any(name == b"expect" for name, _ in scope["headers"]):
        return
    left = DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await asyncio.wait_for(receive(), PAUSE_SECONDS)
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
