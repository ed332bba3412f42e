"""SQLite's log is moved into the file beside the commits."""

import threading

import sqlalchemy as sa

from orchestrator.failure_streak import FailureStreak

TIDY_SECONDS = 2.0
"""Between two checkpoints, as long as there is something to move."""


class Checkpoints:
    """One thread, and a connection now and then.

    Args:
        engine: SQLite's, for reading.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.due = threading.Event()
        """Set it when something was committed."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="db-checkpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave what is not moved yet to SQLite."""
        self._closing.set()
        self.due.set()
        self._thread.join()

    def _work(self) -> None:
        """Move what is committed from the log into the file.

        Left to SQLite, every so-manieth commit would do it, and all that wait for that one with it.
        """
        streak = FailureStreak("checkpoint")
        while self.due.wait() and not self._closing.wait(TIDY_SECONDS):
            self.due.clear()
            with streak.attempt():  # where it fails, SQLite still does it, at LONGEST_LOG
                self._move()

    def _move(self) -> None:
        connection = self._engine.raw_connection()
        try:
            connection.driver_connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # type: ignore[union-attr]
        finally:
            connection.close()
