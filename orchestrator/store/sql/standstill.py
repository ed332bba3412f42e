"""A process that stands still (stopped, or paused with its machine) must not keep rows on PostgreSQL.

Its sessions go on without it, as far as what it had sent by then. What holds a row meanwhile:

says nothing in its transaction   the server ends the session, by `idle_in_transaction_session_timeout`.
waits for a lock                  the server gives the wait up, by `lock_timeout`. Else all of that process
                                  that wait for one row would come to have it one after the other, each for
                                  as long as the first clock allows, and others only behind them.
waits for its client otherwise    half a batch was sent, or an answer is too long to be sent unread. To the
                                  server that is "active", and no clock of every release ends it:
                                  `transaction_timeout`, since 17, ends the first and not the second. So
                                  another process does, by `end`.

With `s` seconds from `allowed`, the first two are over 1.8 `s` after it stood still, all three 2.4 `s`; its
leases run out 2 to 3 `s` after (a short lease below 3 s aside).
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

LONGEST_SECONDS: Final = 5.0
SHORTEST_SECONDS: Final = 1.0
"""A busy machine keeps a healthy process waiting too."""
PER_LEASE: Final = 3
"""A lease is renewed so often; a third of it may pass between any two words of a healthy process."""
LOCK_SHARE: Final = 0.4
"""Of the seconds allowed. A row is waited for in two steps, queue and holder, each with this clock."""
LOOK_SHARE: Final = 0.6
"""Of the seconds allowed, between two looks for what the server has no clock for."""
TRANSACTION_SECONDS: Final = 15.0
"""None of ours takes a second; from release 17 on, one that lasts so long is ended whatever it does."""
APPLICATION: Final = "orchestrator"
"""The sessions' name, unless the database's address gives one: who has the same name looks after them."""

_KEPT_WAITING: Final = "55P03"  # PostgreSQL: lock not available
_END: Final = sa.text("""
    SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
      AND application_name = current_setting('application_name')
      AND xact_start IS NOT NULL AND state <> 'idle' AND wait_event_type = 'Client'
      AND greatest(query_start, state_change) < clock_timestamp() - make_interval(secs => :seconds)
""")


def allowed(lease_seconds: float) -> float:
    """How many seconds a transaction may wait for its client, where work is leased for so many."""
    return max(SHORTEST_SECONDS, min(LONGEST_SECONDS, lease_seconds / PER_LEASE))


def patience(seconds: float) -> float:
    """How many seconds a lock is waited for, of those that are allowed."""
    return seconds * LOCK_SHARE


def clocks(seconds: float, release: int) -> dict[str, str]:
    """The server's, for a session of ours, by the names they have in that release, as libpq numbers them."""
    most = {"idle_in_transaction_session_timeout": seconds, "lock_timeout": patience(seconds)}
    if release >= 170000:
        most["transaction_timeout"] = TRANSACTION_SECONDS
    return {name: f"{round(of * 1000)}ms" for name, of in most.items()}


def unhurried(connection: sa.Connection, *, session: bool = False) -> None:
    """Let this transaction take its time: a migration, a copy, nothing another process waits for.

    Args:
        session: All that follows on this connection, not just the transaction.
    """
    if connection.dialect.name != "postgresql":
        return
    driver: Any = connection.connection.dbapi_connection  # also of one that has left the pool
    driver.hurried = False
    scope = "SESSION" if session else "LOCAL"
    names = ["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"]
    if (connection.dialect.server_version_info or ()) >= (17,):
        names.append("transaction_timeout")
    for name in names:
        connection.exec_driver_sql(f"SET {scope} {name} = 0")
    connection.exec_driver_sql(f"SET {scope} application_name = '{APPLICATION} in no hurry'")


def end(s: Session, seconds: float) -> int:
    """End the sessions named like this one that wait for their client within a transaction for so long.

    Returns how many that were. Needs no privilege: a role may end what is its own.
    """
    return len(s.connection().execute(_END, {"seconds": seconds}).all())


def kept_waiting(error: BaseException | None) -> bool:
    """Whether a lock was not to be had in the time allowed."""
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) == _KEPT_WAITING
