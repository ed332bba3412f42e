"""What a transaction needs of the connection it goes over; see `direct` and `pipeline`."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

Check = Callable[[int], None]
"""Told how many rows a statement changed that must change one, found by its key; raises where it is none."""
Hear = Callable[[Sequence[Any]], object]
"""Told the rows a statement found."""


class ForgottenError(Exception):
    """The server has forgotten the statements it knew on this connection; the transaction is to be redone."""


class CutOffError(sa.exc.OperationalError):
    """The connection was lost before the COMMIT was sent: nothing is committed, and it may be redone."""


class Answer(Protocol):
    """What a statement came to."""

    @property
    def rowcount(self) -> int:
        """Of rows changed, or found."""
        ...

    def fetchall(self) -> Sequence[Any]:
        """All rows."""
        ...

    def fetchone(self) -> Any:
        """The first row, None without one."""
        ...


class Wire(Protocol):
    """One connection of the driver's, between two of its own uses; a thread at a time.

    Values are as the driver takes them for the dialect. What goes wrong is raised as SQLAlchemy does, without
    the values.
    """

    dialect: sa.Dialect
    """In which its statements are spelled."""
    gathers: bool
    """Whether what is said later waits for company: who wants to hear of something makes it go out."""
    foreign: bool
    """Whether this transaction sent a statement that is no `Prepared`: it may have changed anything."""

    def later(self, sql: str, values: Sequence[Any], check: Check | None = None) -> None:
        """Send it, no later than the COMMIT. With a check it has no `RETURNING`."""
        ...

    def later_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """`later` for each of those, in their order."""
        ...

    def learn(self, sql: str, values: Sequence[Any], hear: Hear, *, last: bool = False) -> None:
        """`later`, and tell what it found; if `last`, that may be with the COMMIT."""
        ...

    def ask(self, sql: str, values: Sequence[Any]) -> Answer:
        """Send it, and all before it; returns what it came to."""
        ...

    def change_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Send it for each of those in one go; returns how many rows were changed by all together."""
        ...

    def flush(self) -> object:
        """Send what waits. Raises what the first that failed came to, or what its check does."""
        ...


class Conversation(Wire, Protocol):
    """A wire that begins and ends its transaction itself."""

    loose: bool
    """Set for one that only reads: without a lock to hold, what is sent together is a transaction by itself,
    which sees no less than it would in a longer one where each statement sees what is committed by then."""
    committing: bool
    """Whether the COMMIT was sent: what comes of a connection that is lost then is not known."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        ...

    def distrust(self) -> None:
        """No connection that there is by now is used again."""
        ...

    def commit(self) -> None:
        """Send what waits, and end the transaction."""
        ...

    def rollback(self) -> None:
        """Take the transaction back; of a connection that is gone the server does it."""
        ...
