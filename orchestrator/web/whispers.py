"""A word to one person in Slack, said after the click was answered. Decides nothing, so it may get lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

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
        if len(self._tasks) >= MOST:
            log.warning("whisper_dropped", user=user, reason="too many under way")
            return
        task = asyncio.create_task(self._say(channel, user, text, response_url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, channel: str, user: str, text: str, response_url: str) -> None:
        try:
            await self._whisper(channel=channel, user=user, text=text, response_url=response_url)
        except Exception as e:  # noqa: BLE001  a task's error would surface nowhere
            log.error("whisper_failed", user=user, error=type(e).__name__)

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
