"""SQLite's one writer: a thread that owns the only writing connection and commits many jobs at once."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store import audit
from orchestrator.store.sql import after_commit, engines
from orchestrator.store.sql.cache import Cache
from orchestrator.store.sql.held import forget, hold
from orchestrator.store.sql.sessions import session
from orchestrator.store.sql.threads import Result, answer

Job = Callable[[Session], Any]
Queue = queue.SimpleQueue[tuple[Job, "asyncio.Future[Any]"] | None]
"""Jobs, each with whoever waits for it; None ends the writer once it has done what came before."""
_Asked = tuple[Job, "asyncio.Future[Any]"]
_Attempt = Callable[[Session, Job, "asyncio.Future[Any]"], Result]

KEPT_SECONDS = 0.02
"""How long the writer keeps its connection after a commit; getting one takes longer than a small step."""
KEPT_AT_MOST = 1.0
"""So long at a stretch, in seconds: others of this process write seldom, and must get their turn."""
GUARDED_SECONDS = 30.0
"""So long after a job failed each has its SAVEPOINT from the start: failures come in swarms, and a job done
twice also spends twice what is no row."""


class TakenBackError(sa.exc.InvalidRequestError):
    """SQLite rolled back more than the statement that failed; what was said since may have been done."""


class Writer:
    """The thread, from now until `close`.

    Args:
        engine: SQLite's, for writing.
        asked: What is asked of it.
        most: Jobs in one commit.
        grown: Called where SQLite's log may have grown.
        tell: Called after a COMMIT with its session, before anybody hears of it. Neither may raise.
    """

    def __init__(
        self,
        engine: sa.Engine,
        asked: Queue,
        *,
        most: int,
        grown: Callable[[], None],
        tell: Callable[[Session], None],
    ) -> None:
        self._engine = engine
        self._most = most
        self._grown = grown
        self._tell = tell
        self._queue = asked
        self._kept: sa.Connection | None = None
        self._kept_since = 0.0
        self._guarded_until = 0.0
        self._cache = Cache()
        sa.event.listen(engine, "before_cursor_execute", self._cache.unsettle)
        self._thread = threading.Thread(target=self._work, name="db-write", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what is queued, and end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        stop = False
        while not stop:
            try:
                batch = [self._queue.get(timeout=KEPT_SECONDS if self._kept else None)]
            except queue.Empty:
                self._lay_down()
                self._cache.forget()  # at rest it holds nothing
                continue
            if self._kept is not None and time.monotonic() - self._kept_since > KEPT_AT_MOST:
                self._lay_down()  # somebody else may wait for it
            while len(batch) < self._most:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            stop = None in batch
            jobs = [b for b in batch if b is not None and not b[1].cancelled()]
            if jobs:
                self._commit(jobs)
                self._grown()
        self._lay_down()

    def _lay_down(self) -> None:
        """The writer's connection back into its pool, for whoever else writes in this process."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _commit(self, jobs: list[_Asked]) -> None:
        """Several jobs, one COMMIT; nobody hears of success before it.

        First as if none could fail: where one does, all is taken back and each done in its own SAVEPOINT, and
        so are those that come soon after.
        """
        guarded = len(jobs) > 1 and time.monotonic() < self._guarded_until
        try:
            try:
                s, results = self._committed(jobs, _attempt if guarded else _unguarded)
            except BaseException as e:
                if guarded or len(jobs) == 1 or isinstance(e, TakenBackError):
                    raise
                s, results = self._committed(jobs, _attempt)
        except BaseException as e:  # noqa: BLE001  alone, or the COMMIT failed: every caller is told
            s, results = None, [(done, None, engines.raised(e)) for _, done in jobs]
        if any(error is not None for _, _, error in results):
            self._guarded_until = time.monotonic() + GUARDED_SECONDS
        if s is not None:
            self._tell(s)
            if self._kept is not None and self._kept.in_transaction():
                self._lay_down()  # who was told has begun another there, which comes to nothing
        answer(results)

    def _committed(self, jobs: list[_Asked], attempt: _Attempt) -> tuple[Session, list[Result]]:
        if self._kept is None:
            self._kept, self._kept_since = self._engine.connect(), time.monotonic()
        try:
            with session(self._kept, self._cache) as s:
                results = [attempt(s, job, done) for job, done in jobs]
        except BaseException:
            self._cache.forget()
            self._lay_down()  # rolled back, whatever state it is in
            raise
        return s, results


def _unguarded(s: Session, job: Job, done: "asyncio.Future[Any]") -> Result:
    value = job(s)
    audit.append(s)
    _still_begun(hold(s).connection)  # or its neighbours' statements would be transactions of their own
    return done, value, None


def _attempt(s: Session, job: Job, done: "asyncio.Future[Any]") -> Result:
    """One job of several: when it fails, its neighbours are kept."""
    sqlite, wanted = hold(s).connection, after_commit.wanted(s)
    before = len(wanted)
    sqlite.execute("SAVEPOINT job")
    try:
        value = job(s)
        audit.append(s)
    except BaseException as e:  # noqa: BLE001  its caller is told
        _undo(sqlite)
        forget(s)
        audit.unnote(s)
        del wanted[before:]
        return done, None, e
    sqlite.execute("RELEASE job")
    return done, value, None


def _undo(sqlite: Any) -> None:
    """Take back what the job did, and nothing else.

    SQLite may answer a full disk or an I/O error by rolling back everything, not just the statement.

    Then nothing of the batch is left to commit, and nobody may hear otherwise.
    """
    _still_begun(sqlite)
    sqlite.execute("ROLLBACK TO job")
    sqlite.execute("RELEASE job")


def _still_begun(sqlite: Any) -> None:
    if not sqlite.in_transaction:
        raise TakenBackError("the database rolled the whole transaction back")
