"""What a transaction needs of a connection that sends several statements at a time; see `pipeline`."""

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

    What goes wrong is raised as SQLAlchemy does, without the values.
    """

    dialect: sa.Dialect
    """In which its statements are spelled."""
    foreign: bool
    """Whether this transaction sent a statement that is no `Prepared`: it may have changed anything."""
    loose: bool
    """Set for one that only reads: without a lock to hold, what is sent together is a transaction by itself,
    which sees no less than it would in a longer one where each statement sees what is committed by then."""

    committing: bool
    """Whether the COMMIT was sent: what comes of a connection that is lost then is not known."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        ...

    def later(self, sql: str, values: Sequence[Any], check: Check | None = None) -> None:
        """Send it with what follows, the COMMIT even. With a check it has no `RETURNING`."""
        ...

    def learn(self, sql: str, values: Sequence[Any], hear: Hear, *, last: bool = False) -> None:
        """Send it with what follows, and tell what it found; if `last`, that may be the COMMIT."""
        ...

    def ask(self, sql: str, values: Sequence[Any]) -> Answer:
        """Send it, and all before it; returns what it came to."""
        ...

    def ask_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> Sequence[Answer]:
        """Send it for each of those in one go; returns what each came to."""
        ...

    def flush(self) -> Sequence[Answer]:
        """Send what waits. Raises what the first that failed came to, or what its check does."""
        ...

    def commit(self) -> None:
        """Send what waits, and end the transaction."""
        ...

    def rollback(self) -> None:
        """Take the transaction back; of a connection that is gone the server does it."""
        ...
