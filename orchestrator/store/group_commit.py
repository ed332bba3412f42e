"""Steps that wait at the same moment share one COMMIT (PostgreSQL), as `writer` has it on SQLite.

A COMMIT, the audit's lock and the use of a connection cost as much for one step as for many. Nobody waits for
company: what has gathered while others are under way goes together.

Whoever holds the rows of several runs could wait in a circle with another who does. So they are taken in one
order, and steps of one run are never under way in two transactions of a process. But not every step says its
run, and other things are locked too. So those who share wait for a lock only shortly, less than the server
lets a circle stand; if that does not do, or one of them fails, all is taken back and each has a transaction
of its own.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from orchestrator.store.sql.crowded import admit
from orchestrator.store.sql.held import hold
from orchestrator.store.sql.races import StaleRowError, lost_race, retried
from orchestrator.store.sql.threads import Result, Threads, answer
from orchestrator.store.transactions import Transactions

Job = Callable[[Session], Any]

AT_ONCE: Final = 5
"""Transactions under way. With fewer this process waits for the server, with more each of them is smaller."""
MOST: Final = 12
"""Steps in one transaction: together they hold their rows for some ten milliseconds."""
WAIT_MILLISECONDS: Final = 100
"""For a lock: ten times what others who share need. PostgreSQL looks for a circle after a second only."""
APART_SECONDS: Final = 1.0
"""So long after some were taken back each goes alone: failures come in swarms."""
_SEVERAL: Final = "several"


class _Asked(NamedTuple):
    job: Job
    of: str
    done: "asyncio.Future[Any]"


class GroupCommit:
    """Those of one `Database`.

    Args:
        threads: They run in these, beside others.
        ending: Called within each transaction, when its jobs are done.
        patience: Milliseconds; how long a lock is waited for by who has all that others may wait for.
    """

    def __init__(
        self, transactions: Transactions, threads: Threads, ending: Callable[[Session], None], patience: int
    ) -> None:
        self._transactions = transactions
        self._threads = threads
        self._ending = ending
        self._patience = patience
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._under_way = 0
        self._held: set[str] = set()
        """Runs whose steps are under way together."""
        self._alone_now: Counter[str] = Counter()
        """Runs whose steps go alone, by how many: whoever holds their row may hold it for long."""
        self._apart_until = 0.0

    async def write(self, job: Job, of: str = "") -> Any:
        """Returns after the COMMIT; see `Database.step`. Raises `CrowdedError`."""
        admit(len(self._waiting))
        asked = _Asked(job, of, asyncio.get_running_loop().create_future())
        with self._lock:
            if self._under_way < AT_ONCE:
                if not self._threads.go(self._next):
                    raise RuntimeError("the database is closed")
                self._under_way += 1
            self._waiting.append(asked)
        return await asked.done

    def _next(self) -> None:
        """What waits now; for what waits then a thread is asked for anew: others' calls wait for one too."""
        while these := self._chosen():
            self._commit([asked for asked in these if not asked.done.cancelled()])
            with self._lock:
                self._held.difference_update(asked.of for asked in these)
            if self._threads.go(self._next):
                return
            # They are ending, and finish what was asked for before.

    def _chosen(self) -> list[_Asked]:
        """Those who go together now, by their runs: who takes those in any order waits in a circle.

        Whose run others have under way comes with the next.
        """
        these: list[_Asked] = []
        left: list[_Asked] = []
        with self._lock:
            for asked in self._waiting:
                (these if len(these) < MOST and asked.of not in self._held else left).append(asked)
            self._waiting = left
            self._held.update(asked.of for asked in these if asked.of)
            if not these:
                self._under_way -= 1
        return sorted(these, key=attrgetter("of"))

    def _commit(self, these: Sequence[_Asked]) -> None:
        apart = time.monotonic() < self._apart_until
        alone = [asked for asked in these if apart or asked.of in self._alone_now]
        self._each_alone(alone)
        if together := [asked for asked in these if asked not in alone]:
            self._together(together)

    def _together(self, these: Sequence[_Asked]) -> None:
        whole = _Whole([asked.job for asked in these], self._patience)
        try:
            values = self._transactions.write(self._ending, whole)
        except BaseException as e:  # noqa: BLE001  each of them is told
            self._not_together(these, e, anew=whole.taken_back(e))
        else:
            answer([(asked.done, value, None) for asked, value in zip(these, values, strict=True)])

    def _not_together(self, these: Sequence[_Asked], error: BaseException, *, anew: bool) -> None:
        several = len(these) > 1
        if several:
            self._apart_until = time.monotonic() + APART_SECONDS
        if lost_race(error) or (several and anew):
            self._each_alone(these)
        else:
            answer([(asked.done, None, error) for asked in these])

    def _each_alone(self, these: Sequence[_Asked]) -> None:
        for asked in these:
            if asked.of:
                with self._lock:
                    self._alone_now[asked.of] += 1
            alone = partial(self._alone, asked)
            if not self._threads.go(alone):
                alone()

    def _alone(self, asked: _Asked) -> None:
        result: Result
        try:
            value = retried(lambda: self._transactions.write(self._ending, asked.job))
            result = asked.done, value, None
        except BaseException as e:  # noqa: BLE001  its caller is told
            result = asked.done, None, e
        with self._lock:
            self._alone_now -= Counter([asked.of])  # keeps none that has come to nothing
        answer([result])


class _Whole:
    """Several jobs as one."""

    def __init__(self, jobs: Sequence[Job], patience: int) -> None:
        self._jobs = jobs
        self._patience = patience
        self._through = False

    def __call__(self, s: Session) -> list[Any]:
        s.info[_SEVERAL] = len(self._jobs) > 1
        hold(s).wire.later(f"SET LOCAL lock_timeout = {WAIT_MILLISECONDS}", ())
        values = [job(s) for job in self._jobs]
        # What is left to be locked, of jobs and the audit, has an order: there everybody waits his turn. Who
        # shares would only lengthen that line by giving it up.
        hold(s).wire.later(f"SET LOCAL lock_timeout = {self._patience}", ())
        self._through = True
        return values

    def taken_back(self, error: BaseException) -> bool:
        """Whether that error means for sure that nothing was committed.

        A server that was lost over the COMMIT has not said; one that refuses a statement, and goes on, has.
        """
        if not self._through or not isinstance(error, DBAPIError):
            return True
        said = getattr(error.orig, "diag", None)
        return said is not None and said.severity_nonlocalized == "ERROR"


def leave_group(s: Session) -> None:
    """What is to be done next may only be done in a transaction of its own: if this is none, it is done anew.

    Raises:
        StaleRowError: Others share this transaction.
    """
    if s.info.get(_SEVERAL):
        raise StaleRowError("it has to go alone")
