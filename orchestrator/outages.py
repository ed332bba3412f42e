"""What a database says of itself while it is away, locked or full: the mistake is not the program's."""

from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

AWAY: Final = (OperationalError, InterfaceError)
"""What a database that is away comes to."""


def reason(error: Exception) -> str:
    """What a database says is wrong, in a line, without the contents of any row."""
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    primary = getattr(getattr(told, "diag", None), "message_primary", None)
    return " ".join(str(primary or told).split())


def outage(error: Exception) -> str:
    """Its reason, where the database is away; empty where the error is another one."""
    return reason(error) if isinstance(error, AWAY) else ""
