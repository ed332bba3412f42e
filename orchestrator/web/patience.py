"""How long whoever asks is kept waiting: the database may stand still, and refuse nothing.

Only the waiting ends. What was begun is finished, so that asking again with the same key, or delivering again
with the same id, comes to the same.
"""

import asyncio
from typing import Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.errors import UncertainError
from orchestrator.web import problems
from orchestrator.web.failures import Failures
from orchestrator.web.stall_timeouts import StallTimeouts

ANSWER_SECONDS: Final = 20.0
"""Until an answer of the API begins; callers and proxies give up after 30 to 60."""
DELIVERIES: Final = StallTimeouts(10.0)
"""With a delivery that is to be stored: senders wait 15 s and more (Standard Webhooks specification)."""
_HTTP: Final[str] = "http"
_LATE: Final = (
    "no answer came about in time; what was asked for may have been done: ask again, with the same key"
)


def in_time(app: ASGIApp, failures: Failures) -> ASGIApp:
    """The same app, which answers 503 where no answer has begun in time; one that has goes on as it likes."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != _HTTP:
            await app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as waiting:

                async def begun(message: Message) -> None:
                    waiting.reschedule(None)
                    await send(message)

                await app(scope, receive, begun)
        except TimeoutError:
            if not waiting.expired():
                raise
            await problems.send_problem(scope, send, UncertainError(_LATE), failures, "")

    return handler
