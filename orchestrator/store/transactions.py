"""PostgreSQL's transactions: each job has one of its own, whose words go out over the pipeline."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store import audit
from orchestrator.store.run_cache import RunCache
from orchestrator.store.sql.held import attach, hold
from orchestrator.store.sql.races import StaleRowError
from orchestrator.store.sql.unwritten import refusal
from orchestrator.store.sql.wire import Conversation, CutOffError

T = TypeVar("T")

_SINCE = "since"


def age(s: Session) -> timedelta:
    """How long ago this transaction began, at the most: what PostgreSQL calls `now()` is not longer ago."""
    return timedelta(seconds=time.monotonic() - s.info.get(_SINCE, time.monotonic()))


class Transactions:
    """Those of one `Database`, in as many threads as it has; what they read of runs is remembered here.

    Args:
        tell: Called after a COMMIT, in its thread; must not raise.
    """

    def __init__(self, engine: sa.Engine, tell: Callable[[Session], None]) -> None:
        self._engine = engine
        self._tell = tell
        self._runs = RunCache()
        # A new connection may lead to a server that took over, and lost what was committed last.
        sa.event.listen(engine, "connect", lambda *_: self._runs.clear())

    def write(
        self, ending: Callable[[Session], None], job: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> T:
        """Returns after COMMIT; `ending` is called within it, when the job is done.

        Raises:
            Exception: `races.lost_race` tells those after which the whole may be tried again.
        """
        try:
            with _spoken(self._engine) as (s, wire):
                self._runs.offer(s)
                value = job(s, *args, **kwargs)
                ending(s)
                seen = hold(s).seen
                _write_down(s, wire)
                foreign = wire.foreign  # the connection is another thread's at once
        except StaleRowError:
            self._runs.clear()  # a row that was changed by hand has no other version: read all of it anew
            raise
        if foreign:
            self._runs.clear()
        else:
            self._runs.keep(seen)
        self._tell(s)
        return value

    def read(self, job: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """A job that must not write."""
        with _spoken(self._engine) as (s, wire):
            self._runs.offer(s)
            wire.loose = True
            value = job(s, *args, **kwargs)
            _end(s, wire)
        return value


def _write_down(s: Session, wire: Conversation) -> None:
    """The audit's part of a transaction, its last, and the COMMIT; who finds the chain grown all the same
    begins anew.
    """
    wrote = audit.append(s)
    try:
        _end(s, wire)
    except sa.exc.IntegrityError as e:
        if not wrote or getattr(getattr(e.orig, "diag", None), "table_name", None) != audit.audit_t.name:
            raise  # of something the job had written
        # The server's own isolation showed an older head.
        raise StaleRowError("the audit is no longer what was read") from e


def _end(s: Session, wire: Conversation) -> None:
    if s.in_transaction():
        s.commit()  # sends what the ORM has left; the COMMIT is the wire's
    wire.commit()


@contextmanager
def _spoken(engine: sa.Engine) -> Iterator[tuple[Session, Conversation]]:
    """A session on PostgreSQL, whose transaction begins with its first statement; see `_end`."""
    from orchestrator.store.sql import pipeline  # needs the driver

    with engine.begin() as connection:
        s = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        wire = pipeline.begin(connection)
        attach(s, connection, wire=wire)
        s.info[_SINCE] = time.monotonic()
        try:
            yield s, wire
        except BaseException as e:
            wire.rollback()
            if pipeline.only_reads(e):
                wire.distrust()  # a new session may lead to another server
                connection.invalidate()
            elif wire.lost:
                connection.invalidate()  # or its rollback, which fails, would be what is told
                if isinstance(e, Exception) and not wire.committing:
                    raise CutOffError(None, None, e) from e
                if isinstance(e, sa.exc.DBAPIError):
                    e.connection_invalidated = True  # whoever tells of it knows: it may have been committed
            if isinstance(e, sa.exc.DBAPIError) and not isinstance(e, sa.exc.OperationalError) and refusal(e):
                raise _outage(e) from e
            raise


def _outage(error: sa.exc.DBAPIError) -> sa.exc.OperationalError:
    """A server that takes no writes, or none from us: no mistake in a statement, as its class would say."""
    told = sa.exc.OperationalError(error.statement, {}, error.orig or error, hide_parameters=True)
    told.connection_invalidated = error.connection_invalidated
    return told
