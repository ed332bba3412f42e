"""Where the audit's chain ends, said where who may write to the database cannot take it back.

Somebody who cuts the chain, or makes it anew from some entry on, leaves one that holds in itself. Only a head
that was seen before, and kept elsewhere, tells: in the log of this process, and in a Slack channel.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.consent import TENANT
from orchestrator.engine.ports import Clock
from orchestrator.errors import OrchestratorError
from orchestrator.failure_streak import FailureStreak
from orchestrator.store import audit, budget
from orchestrator.store.chain import Head
from orchestrator.store.database import Database

BUDGET: Final = "audit_head"
LOOK_SECONDS: Final = 600.0
"""Between two looks whether it is time; of all processes, one says it."""
STOP_SECONDS: Final = 5.0
"""The longest a stop is kept by it."""

Say = Callable[[str], Awaitable[None]]

log = structlog.get_logger(__name__)


class AuditHeads:
    """Publishes the head now and then.

    Args:
        say: Posts a line to people, where that is wanted.
        every: Between two times, over all processes and restarts.
    """

    def __init__(self, database: Database, say: Say | None, *, every: timedelta, clock: Clock) -> None:
        self._db, self._say, self._every, self._clock = database, say, every, clock
        self._last: Head | None = None
        self._streak = FailureStreak("audit_head")

    async def run(self) -> None:
        """Until cancelled. Whatever goes wrong is said and tried again."""
        while True:
            await self.look()
            await asyncio.sleep(min(LOOK_SECONDS, self._every.total_seconds()))

    async def look(self) -> None:
        """Publish it if it is time. Raises nothing but cancellation."""
        with self._streak.attempt():
            head = await self._db.write(_due, self._clock(), self._every)
            if head is not None:
                await self._publish(head)

    async def stop(self) -> None:
        """At a clean stop: what was added since it was said last is covered too."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                head = await self._db.read(audit.head)
                if head != self._last and head.seq:
                    await self._publish(head)
        except Exception as e:  # noqa: BLE001  told by the streak
            self._streak.failed(e)

    async def _publish(self, head: Head) -> None:
        log.info("audit_head", tenant=TENANT, seq=head.seq, hash=head.hash)
        self._last = head
        if self._say is None:
            return
        try:
            await self._say(f"Audit {TENANT}: the chain ends at {head}")
        except OrchestratorError as e:
            log.warning("audit_head_not_posted", seq=head.seq, why=str(e))


def _due(s: Session, now: datetime, every: timedelta) -> Head | None:
    """The head, if it is time to publish it and this process is the one that does."""
    head = audit.head(s)
    if not head.seq or budget.spent_until(s, BUDGET, now) > now:
        return None
    budget.spend(s, BUDGET, now + every)
    return head
