"""How much may wait for the database, which may stand still: what comes then is told so at once."""

from typing import Final

from sqlalchemy.exc import OperationalError

MOST_WAITING: Final = 2000
"""Transactions that wait for a turn in this process: seconds' worth, where it is only busy."""


class CrowdedError(OperationalError):
    """Nothing was begun; it may be asked again."""

    def __init__(self) -> None:
        super().__init__(None, None, OSError("too much waits for it already"))


def admit(waiting: int) -> None:
    """Raises `CrowdedError` where so many wait already."""
    if waiting >= MOST_WAITING:
        raise CrowdedError
