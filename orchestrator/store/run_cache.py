"""Runs as this process last committed or read them (PostgreSQL).

Another process may have changed one since: whoever takes a run locks its row and compares the version,
which every change of a run raises, and reads the run only where that is another. The moment of the change is
compared too: where a backup was restored, or a standby took over, a version may come about once more.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy.orm import Session

from orchestrator.domain.model import Run
from orchestrator.store.sql.held import hold

_RECALLS: Final = "recalls"
_AT: Final = "written "
MOST: Final = 256
"""Runs, which may be large: the ones used last."""


class Known(NamedTuple):
    """A run, and when that version of it was written."""

    run: Run
    at: datetime

    @property
    def mark(self) -> tuple[int, datetime]:
        """What tells it from every other."""
        return self.run.version, self.at


class RunCache:
    """Shared by the threads of one `Database`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, Known] = OrderedDict()

    def offer(self, s: Session) -> None:
        """Have this transaction use it."""
        s.info[_RECALLS] = self

    def keep(self, seen: Mapping[str, Any]) -> None:
        """What a transaction had seen or written, when it was committed."""
        for known in seen.values():
            if isinstance(known, Known) and seen.get(known.run.id) is known.run:
                self._keep(known)

    def _keep(self, new: Known) -> None:
        run_id = new.run.id
        with self._lock:
            # Also one of a lower version: a server that takes over may have lost what was committed last.
            known = self._runs.get(run_id)
            if known is None or known.mark != new.mark:
                self._runs[run_id] = new
            self._runs.move_to_end(run_id)
            if len(self._runs) > MOST:
                self._runs.popitem(last=False)

    def clear(self) -> None:
        """Something else may have changed any of them."""
        with self._lock:
            self._runs.clear()

    def get(self, run_id: str) -> Known | None:
        """As it was, by now perhaps another."""
        return self._runs.get(run_id)


def note(s: Session, run: Run, at: datetime) -> None:
    """This transaction holds that run, as it was written then."""
    held = hold(s)
    held.seen.pop(run.id, None)  # the newest stand last
    held.seen[run.id] = run
    if _RECALLS in s.info:
        held.seen[_AT + run.id] = Known(run, at)


def recalled(s: Session, run_id: str) -> Known | None:
    """A run as this process knew it, None where nothing is known."""
    known: RunCache | None = s.info.get(_RECALLS)
    return None if known is None or hold(s).wire.foreign else known.get(run_id)
