"""The connection that holds a session's transaction, and what is known of what that holds."""

from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.sql.direct import Direct
from orchestrator.store.sql.wire import Wire

_HELD: Final = "held"


@dataclass(slots=True)
class Held:
    """It, for as long as the session is in that transaction."""

    connection: Any
    """The driver's own."""
    wire: Wire
    seen: dict[str, Any] = field(default_factory=dict)
    """What this transaction has read or written and holds alone, by key; of SQLite's only writer also what
    those before it had, as long as nobody else writes (see `cache`)."""
    over: bool = False
    """Whether the session began or ended a transaction since, perhaps within this one."""


def attach(
    s: Session, connection: sa.Connection, *, seen: dict[str, Any] | None = None, wire: Wire | None = None
) -> None:
    """Tell a session that has not begun which connection holds its transaction already, over which wire its
    statements go, if not directly, and what is known.
    """
    driver = connection.connection.driver_connection
    wire = wire or Direct(driver, connection.dialect)
    s.info[_HELD] = Held(driver, wire, {} if seen is None else seen)


def hold(s: Session) -> Held:
    """What is held for the session's transaction; asked for anew where that is another."""
    known: Held | None = s.info.get(_HELD)
    return known if known is not None and not known.over else _held_anew(s, known)


def _held_anew(s: Session, known: Held | None) -> Held:
    connection = s.connection()  # sends the SAVEPOINT of a nested one
    if known is None:
        attach(s, connection)
    else:
        known.seen.clear()  # what was seen in a SAVEPOINT may have been taken back with it
        # `Database`'s own wire is that of the connection the session was made with.
        own = None if isinstance(known.wire, Direct) else known.wire
        attach(s, connection, seen=known.seen, wire=own)
    held: Held = s.info[_HELD]
    return held


def _moved_on(s: Session, _transaction: object) -> None:
    known: Held | None = s.info.get(_HELD)
    if known is not None:
        known.over = True


# Of every session there is: to listen to each by itself costs more than a transaction of it.
sa.event.listen(Session, "after_transaction_create", _moved_on)
sa.event.listen(Session, "after_transaction_end", _moved_on)


def flush(s: Session) -> None:
    """Send what waits to be sent: for who goes on with the driver's own connection."""
    hold(s).wire.flush()


def on_sqlite(s: Session) -> bool:
    """Whether the session's database is SQLite, for which every statement is a call and no round trip."""
    return bool(hold(s).wire.dialect.name == "sqlite")


def forget(s: Session) -> None:
    """What the transaction had seen may not be so any more: part of it was rolled back, or rows are gone."""
    hold(s).seen.clear()
