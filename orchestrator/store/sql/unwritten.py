"""Whether the database refuses writes though it answers, as with a full disk: then the next is, too."""

import sqlite3
from collections.abc import Mapping
from typing import Final

_SQLITE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it may only be read",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
}
_POSTGRESQL: Final[Mapping[str, str]] = {
    "53100": "the disk is full",
    "25006": "it may only be read",
    "58030": "the disk fails",
    "42501": "our role has no right to",
}


class Unwritten:
    """Of one `Database`; for one event loop.

    Attributes:
        times: How often a write was refused so, since the process began.
        why: What was wrong the last time, in words that anybody may read; empty until then.
    """

    def __init__(self) -> None:
        self.times, self.why = 0, ""

    def heard(self, error: Exception) -> None:
        """A write ended with that."""
        if why := refusal(error):
            self.times, self.why = self.times + 1, why


def refusal(error: BaseException) -> str:
    """Why nothing is written, in words that anybody may read; empty where the error is another one."""
    told = getattr(error, "orig", None) or error
    if isinstance(told, sqlite3.Error):
        return _SQLITE.get(getattr(told, "sqlite_errorcode", 0) & 0xFF, "")  # the rest says where it happened
    return _POSTGRESQL.get(getattr(told, "sqlstate", None) or "", "")
