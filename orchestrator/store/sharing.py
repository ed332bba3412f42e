"""Steps that wait at the same moment share one COMMIT (PostgreSQL), as `writer` has it on SQLite.

A COMMIT, the audit's lock and the use of a connection cost as much for one step as for many. Nobody waits for
company: what has gathered while others are under way goes together.

Whoever holds the rows of several runs could wait in a circle with another who does. So those who share wait
for a lock only shortly, less than the server lets a circle stand; if that does not do, or one of them fails,
all is taken back and each has a transaction of its own.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from orchestrator.store.prepared import hold
from orchestrator.store.races import StaleRowError, lost_race, retried
from orchestrator.store.threads import Result, Threads, answer
from orchestrator.store.transactions import Transactions

Job = Callable[[Session], Any]
_Asked = tuple[Job, "asyncio.Future[Any]"]

AT_ONCE: Final = 3
"""Transactions under way. With fewer this process waits for the server, with more each of them is smaller."""
MOST: Final = 16
"""Steps in one transaction: together they hold their rows for some ten milliseconds."""
WAIT_MILLISECONDS: Final = 400
"""For a lock: as long as any may, see `standstill`. PostgreSQL looks for a circle after a second."""
APART_SECONDS: Final = 1.0
"""So long after some were taken back each goes alone: failures come in swarms."""
_SEVERAL: Final = "several"


class Sharing:
    """Those of one `Database`.

    Args:
        threads: They run in these, beside others.
        ending: Called within each transaction, when its jobs are done.
    """

    def __init__(
        self, transactions: Transactions, threads: Threads, ending: Callable[[Session], None]
    ) -> None:
        self._transactions = transactions
        self._threads = threads
        self._ending = ending
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._under_way = 0
        self._apart_until = 0.0

    async def write(self, job: Job) -> Any:
        """Returns after the COMMIT; see `Database.step`."""
        asked = job, asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append(asked)
            begins = self._under_way < AT_ONCE
            if begins:
                self._under_way += 1
        if begins and not self._threads.go(self._next):
            raise RuntimeError("the database is closed")
        return await asked[1]

    def _next(self) -> None:
        """What waits now; for what waits then a thread is asked for anew: others' calls wait for one too."""
        with self._lock:
            these, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            if not these:
                self._under_way -= 1
                return
        self._commit([asked for asked in these if not asked[1].cancelled()])
        if not self._threads.go(self._next):
            self._next()  # they are ending, and finish what was asked for before

    def _commit(self, these: Sequence[_Asked]) -> None:
        if time.monotonic() < self._apart_until:
            self._each_alone(these)
        elif these:
            self._together(these)

    def _together(self, these: Sequence[_Asked]) -> None:
        whole = _Whole([job for job, _ in these])
        try:
            values = self._transactions.write(self._ending, whole)
        except BaseException as e:  # noqa: BLE001  each of them is told
            self._not_together(these, e, anew=whole.taken_back(e))
        else:
            answer([(done, value, None) for (_, done), value in zip(these, values, strict=True)])

    def _not_together(self, these: Sequence[_Asked], error: BaseException, *, anew: bool) -> None:
        several = len(these) > 1
        if several:
            self._apart_until = time.monotonic() + APART_SECONDS
        if lost_race(error) or (several and anew):
            self._each_alone(these)
        else:
            answer([(done, None, error) for _, done in these])

    def _each_alone(self, these: Sequence[_Asked]) -> None:
        for asked in these:
            alone = partial(self._alone, *asked)
            if not self._threads.go(alone):
                alone()

    def _alone(self, job: Job, done: "asyncio.Future[Any]") -> None:
        result: Result
        try:
            result = done, retried(lambda: self._transactions.write(self._ending, job)), None
        except BaseException as e:  # noqa: BLE001  its caller is told
            result = done, None, e
        answer([result])


class _Whole:
    """Several jobs as one."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._through = False

    def __call__(self, s: Session) -> list[Any]:
        s.info[_SEVERAL] = len(self._jobs) > 1
        hold(s).say(f"SET LOCAL lock_timeout = {WAIT_MILLISECONDS}")
        values = [job(s) for job in self._jobs]
        self._through = True
        return values

    def taken_back(self, error: BaseException) -> bool:
        """Whether that error means for sure that nothing was committed.

        A server that was lost over the COMMIT has not said.
        """
        return not self._through or not isinstance(error, OperationalError | InterfaceError)


def leave_company(s: Session) -> None:
    """What is to be done next may only be done in a transaction of its own: if this is none, it is done anew.

    Raises:
        StaleRowError: Others share this transaction.
    """
    if s.info.get(_SEVERAL):
        raise StaleRowError("it has to go alone")
