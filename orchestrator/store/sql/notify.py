"""Other processes hear which runs' records grew, by NOTIFY, soon after the COMMIT (PostgreSQL).

Not in it: a transaction that notifies holds a lock of the whole server's from before its COMMIT until that is
on the disk (`PreCommit_Notify` in PostgreSQL's async.c), so no two of them would share a write to the disk.
What is told is a hint (see `changes`): one that is lost, as this process dies, is made up for by a look.
"""

import threading
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import sqlalchemy as sa
import structlog

log = structlog.get_logger(__name__)

CHANNEL: Final = "orchestrator_run"
"""The payload is the id of a run whose record grew."""
PAUSE_SECONDS: Final = 0.1
"""Between two transactions that tell; what grows meanwhile gathers for the next."""
MOST: Final = 1000
"""Runs in one of them; NOTIFY's queue on the server is bounded."""

_TELL: Final = f"SELECT pg_notify('{CHANNEL}', id) FROM unnest($1::text[]) AS id"  # noqa: S608  constants


class Notifier:
    """One thread, which begins with the first that is told, and its own transactions.

    Args:
        engine: PostgreSQL's.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._changed = threading.Condition()
        self._grown: dict[str, None] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, run_ids: Collection[str]) -> None:
        """Those grew. Returns at once."""
        with self._changed:
            self._grown.update(dict.fromkeys(run_ids))
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="db-tell", daemon=True)
                thread.start()  # where none can begin, the next that is told tries again
                self._thread = thread
            self._changed.notify()

    def close(self) -> None:
        """Tell what is left, and end."""
        self._closed.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while grown := self._next():
            try:
                self._tell(grown)
            except Exception as e:  # noqa: BLE001  whatever it is, the next are told all the same
                with suppress(Exception):  # the log itself may be what fails
                    log.warning("changes_not_told", error=type(e).__name__, runs=len(grown))
            self._closed.wait(PAUSE_SECONDS)

    def _next(self) -> list[str]:
        """Some of what grew, once there is any; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._grown or self._closed.is_set())
            some = list(self._grown)[:MOST]
            for run_id in some:
                del self._grown[run_id]
            return some

    def _tell(self, run_ids: list[str]) -> None:
        from orchestrator.store.sql import pipeline  # needs the driver

        with self._engine.begin() as connection:
            wire = pipeline.begin(connection)
            # A hint need not outlast the server: nobody waits for the disk, holding that lock.
            wire.later("SET LOCAL synchronous_commit = off", ())
            wire.later(_TELL, (run_ids,))
            wire.commit()
