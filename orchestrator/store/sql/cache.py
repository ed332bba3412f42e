"""What was read and written, as its only writer holds it (SQLite). PostgreSQL has `run_cache`."""

from typing import Any, Final

MOST_SEEN: Final = 640
"""How much is known from one transaction to the next: runs and turns, which may be large, whose is what."""


class Cache:
    """What the only writer of a SQLite file knows from one transaction to the next.

    It holds as long as nobody else has written: another connection shows in `data_version`, whoever borrows
    the writer's own between two transactions in its count of changes.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self._mark: tuple[Any, ...] = ()
        self._version = 0

    def begin(self, connection: Any) -> None:
        """A transaction has begun on the driver's connection, and nobody else can write until it ends."""
        (self._version,) = connection.execute("PRAGMA data_version").fetchone()
        if self._mark != self._now(connection):
            self.seen.clear()
        elif len(self.seen) > MOST_SEEN:
            for key in list(self.seen)[: -MOST_SEEN // 2]:  # what has not changed for longest
                del self.seen[key]

    def end(self, connection: Any) -> None:
        """It was committed. Somebody else may have written since: what shows that is not asked for anew."""
        self._mark = self._now(connection)

    def unsettle(self, *_statement: Any) -> None:
        """A statement goes out that is none of ours (`Prepared`): it may change anything."""
        self.seen.clear()

    def forget(self) -> None:
        """It was not; or nothing needs to be known any more."""
        self.seen.clear()
        self._mark = ()

    def _now(self, connection: Any) -> tuple[Any, ...]:
        return connection, connection.total_changes, self._version
