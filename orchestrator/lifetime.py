"""What runs beside the requests, from start to stop: the worker, checks, and all that looks now and then."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Final

import structlog
from litestar import Litestar
from sqlalchemy.orm import Session

from orchestrator.breaker_states import BreakerStates
from orchestrator.engine.audit_heads import AuditHeads
from orchestrator.engine.ports import Clock
from orchestrator.engine.shared_clock import SharedClock
from orchestrator.engine.triggers import Triggers
from orchestrator.engine.worker import Worker
from orchestrator.errors import OrchestratorError, UnavailableError
from orchestrator.failure_streak import FailureStreak
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.outages import AWAY, reason
from orchestrator.readiness import State
from orchestrator.retry_after import RetryAfter
from orchestrator.slack.gateway import SlackGateway
from orchestrator.storage.files import STALE_SECONDS, Storage
from orchestrator.store import claims, sightings
from orchestrator.web.doors import DynamicDoor

AGREE_SECONDS: Final = 10.0
"""Between two looks at the database's time: so long after it was set, all go by it. See `SharedClock`."""
TELL_EVERY: Final = 6
"""Of those looks: a line a minute that the clocks differ."""
APART_SECONDS: Final = 5.0
"""What two machines' clocks may differ by before it is worth a word."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Who begins and ends with the process."""

    state: State
    gemini: GeminiGateway
    slack: SlackGateway | None
    dynamic: DynamicDoor | None
    audit_heads: AuditHeads | None
    breaker_states: BreakerStates | None
    retry_after: RetryAfter | None
    triggers: Triggers
    files: Storage
    clock: Clock
    time: SharedClock

    @asynccontextmanager
    async def lived(self, _: Litestar | None = None) -> AsyncIterator[None]:
        """Begun inside; at the end nothing is left running or open.

        Raises:
            UnavailableError: The database went away meanwhile, or takes no writes; nothing has begun.
        """
        try:
            await self._take_over()
        except AWAY as e:
            raise UnavailableError(f"the database failed during the start: {reason(e)}") from e
        if self.state.worker is not None:
            self.state.working = asyncio.create_task(_work(self.state.worker, self.gemini))
        beside = [asyncio.create_task(begun) for begun in self._beside()]
        try:
            yield
        finally:
            await self._end(beside)

    async def _take_over(self) -> None:
        database = self.state.database
        if database.sqlite:
            # The lock file says that no other process is there: whoever held a claim is gone.
            released = await database.write(claims.release_all, self.clock())
            log.info("started", taken_over=released)
        else:
            await self._agree()
        if self.retry_after is not None:
            await self.retry_after.recall()

    def _beside(self) -> Iterator[Coroutine[Any, Any, None]]:
        state = self.state
        if self.slack is not None:
            yield state.workspace.learn(self.slack)
        if self.dynamic is not None and state.settings.webhooks.mode == "dynamic":
            yield self.dynamic.verifier.warm()
        if state.care is not None:
            yield state.care.run()
        if self.audit_heads is not None:
            yield self.audit_heads.run()
        yield self.triggers.run()
        if state.worker is not None:
            yield sweep(self.files)
        if self.retry_after is not None and not state.database.sqlite:
            yield self.retry_after.run()
        if state.configs is not None:
            yield state.configs.run()
        if not state.database.sqlite:
            yield self._keep_agreeing()

    async def _agree(self, *, tell: bool = True) -> None:
        """Let the service's time be the database's, which is one for all. Raises what the database raises."""

        def look(s: Session) -> tuple[float, datetime]:
            return self.time.stopwatch(), sightings.moment(s)

        asked, moment = await self.state.database.read(look)
        self.time.agree(moment, asked)
        if abs(apart := (self.time.machine() - moment).total_seconds()) > APART_SECONDS and tell:
            log.warning("clock_differs", ahead_of_the_database_by=round(apart, 1))

    async def _keep_agreeing(self) -> None:
        streak = FailureStreak("time_agreeing")
        for look in count(1):
            await asyncio.sleep(AGREE_SECONDS)
            with streak.attempt():  # where it fails, time goes on evenly
                await self._agree(tell=look % TELL_EVERY == 0)

    async def _end(self, beside: Sequence[asyncio.Task[None]]) -> None:
        state = self.state
        for task in beside:
            task.cancel()
        if state.worker is not None and state.working is not None:
            await state.worker.stop(state.settings.server.graceful_seconds)
            await state.working
        await asyncio.gather(*beside, return_exceptions=True)
        if self.audit_heads is not None:
            await self.audit_heads.stop()
        if self.retry_after is not None:
            await self.retry_after.told()
        if self.breaker_states is not None:
            await self.breaker_states.leave()
        if state.worker is not None and state.refused is not None:
            await state.refused.leave()
        if state.configs is not None:
            await state.configs.leave()
        if self.dynamic is not None:
            await self.dynamic.verifier.aclose()
        await self.gemini.aclose()
        if self.slack is not None:
            await self.slack.aclose()


async def sweep(files: Storage, waits: Sequence[float] = (0.0, STALE_SECONDS)) -> None:
    """Away with what a process that died left half written: now, and when the last one's is old enough."""
    for wait in waits:
        await asyncio.sleep(wait)
        try:
            if swept := await files.sweep():
                log.info("partial_files_swept", files=swept)
        except OrchestratorError:
            log.warning("partial_files_not_swept", exc_info=True)  # the next start tries again


async def _work(worker: Worker, gemini: GeminiGateway) -> None:
    """The client library comes first: a create that is claimed and waits for it is in doubt after a crash."""
    try:
        await gemini.warm()
    except Exception:
        log.exception("gemini_not_prepared")  # every call tries again, and says what is wrong
    await worker.run()
