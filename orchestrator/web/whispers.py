"""What is done for one person in Slack after the answer. Decides nothing, so it may get lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog

from orchestrator.web.doors import Whisper

log = structlog.get_logger(__name__)

MOST: Final = 100
"""Whispers under way at once; a storm of clicks beyond that is answered in silence."""
GRACE_SECONDS: Final = 3.0


class Whispers:
    """Owns the tasks: they hold nothing up, and none outlives the service."""

    def __init__(self, whisper: Whisper) -> None:
        self._whisper = whisper
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, *, channel: str, user: str, text: str, response_url: str) -> None:
        """Say it soon; returns at once."""
        words = partial(self._whisper, channel=channel, user=user, text=text, response_url=response_url)
        self.soon(words, "whisper", user)

    def soon(self, doing: Callable[[], Coroutine[Any, Any, None]], what: str, user: str) -> bool:
        """Do something else that may get lost, soon; whether it will be tried. `what` names it in the log."""
        if len(self._tasks) >= MOST:
            log.warning(f"{what}_dropped", user=user, reason="too many under way")
            return False
        task = asyncio.create_task(self._tried(doing, what, user))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _tried(self, doing: Callable[[], Coroutine[Any, Any, None]], what: str, user: str) -> None:
        try:
            await doing()
        except Exception as e:  # noqa: BLE001  a task's error would surface nowhere
            log.error(f"{what}_failed", user=user, error=type(e).__name__)

    @asynccontextmanager
    async def owned(self, _: object = None) -> AsyncIterator[None]:
        """While the service runs; at its end what is under way gets a few seconds."""
        try:
            yield
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
            for task in self._tasks:
                task.cancel()
