"""Keep and let go: what has ended and is older than the settings keep it is removed, a little at a time.

    runs     mark and delete the rows ─┐
    files    mark them as gone ────────┴─ COMMIT ── delete the bytes ── COMMIT: nothing is left to do
    logs     delete the rows

The worker calls `run` once in a while, where it prunes webhooks too. Of several processes one does the work
of a round; would two, they pass each other by. A round that breaks off is gone on with in the next one.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog
from sqlalchemy.orm import Session

from orchestrator.engine.ports import Clock
from orchestrator.errors import RejectedError, UnavailableError
from orchestrator.store import budget, retention
from orchestrator.store.database import Database
from orchestrator.store.retention import Due

EVERY: Final = timedelta(minutes=50)
"""Between two rounds, of whichever processes; below the hour after which each asks again."""
RUNS: Final = 20
"""In one transaction; each may have some thousand rows."""
LOOKED_AT: Final = 1000
"""Runs that are looked for at once among what all live runs name."""
ROWS: Final = 500
"""Of a log, in one transaction."""
_NAME: Final = "retention"

Forget = Callable[[Session, datetime, int], int]

log = structlog.get_logger(__name__)


class FilesPort(Protocol):
    """Where files are."""

    async def clear(self, folder: str) -> None:
        """Delete all that is in a folder, and the folder; nothing where there is none.

        Raises:
            UnavailableError: Not now.
            RejectedError: Something is in the way that is not ours.
        """
        ...


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what has ended is kept; None is for ever, of files as long as their run."""

    runs: timedelta | None = None
    files: timedelta | None = None
    callbacks: timedelta = timedelta(days=30)
    digests: timedelta = timedelta(days=30)


class Retention:
    """Lets go of what is older.

    Args:
        at_once: Runs in one transaction.
        rows: Rows of a log in one transaction.
    """

    def __init__(
        self,
        database: Database,
        files: FilesPort,
        keep: Keep,
        clock: Clock,
        *,
        at_once: int = RUNS,
        rows: int = ROWS,
    ) -> None:
        self._db, self._files, self._keep, self._clock = database, files, keep, clock
        self._at_once, self._rows = at_once, rows

    async def run(self) -> None:
        """One round, if none was of late; whatever goes wrong waits for the next one."""
        try:
            if await self._db.write(_ours, self._clock()):
                await self.round()
        except Exception:
            log.exception("retention_failed")

    async def round(self) -> Counter[str]:
        """All that is due now; returns how much of what went."""
        now, keep, gone = self._clock(), self._keep, Counter[str]()
        if keep.runs is not None:
            gone["runs"] = await self._let_go(now - keep.runs, only_files=False)
        if keep.files is not None:
            gone["files_of_runs"] = await self._let_go(now - keep.files, only_files=True)
        gone["callbacks"] = await self._forget(retention.prune_callbacks, now - keep.callbacks)
        gone["digests"] = await self._forget(retention.prune_digests, now - keep.digests)
        gone["folders"] = await self._clear()
        gone = +gone
        if gone:
            log.info("retention_done", **gone)
        return gone

    async def _let_go(self, before: datetime, *, only_files: bool) -> int:
        """From the oldest on. What a live run needs, and what somebody holds, is left for another round."""
        do = retention.let_files_go if only_files else retention.let_runs_go
        after: Due | None = None
        count = 0
        while found := await self._db.read(retention.due, before, LOOKED_AT, after, only_files=only_files):
            after, ids = found[-1], [due.id for due in found]
            needed = await self._db.read(retention.needed, ids)
            free = [run_id for run_id in ids if run_id not in needed]
            for n in range(0, len(free), self._at_once):
                count += await self._db.write(do, free[n : n + self._at_once], before, self._clock())
        return count

    async def _forget(self, forget: Forget, before: datetime) -> int:
        count = gone = await self._db.write(forget, before, self._rows)
        while gone >= self._rows:
            gone = await self._db.write(forget, before, self._rows)
            count += gone
        return count

    async def _clear(self) -> int:
        """Delete the bytes of what was let go, here or by one who died; what cannot be is tried next time."""
        last, count = "", 0
        while found := await self._db.read(retention.leaving, self._at_once, last):
            for last in found:
                try:
                    await self._files.clear(last)
                except (UnavailableError, RejectedError) as e:
                    log.warning("files_not_deleted", folder=last, why=str(e))
                    continue
                await self._db.write(retention.left, last)
                count += 1
        return count


def _ours(s: Session, now: datetime) -> bool:
    """Whether this round falls to us."""
    if budget.spent_until(s, _NAME, now) > now:
        return False
    budget.spend(s, _NAME, now + EVERY)
    return True
