"""Runs as this process last committed or read them (PostgreSQL).

Another process may have changed one since: whoever takes a run locks its row and compares the version,
which every change of a run raises, and reads the run only where that is another.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from orchestrator.domain.model import Run
from orchestrator.store.prepared import hold

_RECALLS: Final = "recalls"
MOST: Final = 256
"""Runs, which may be large: the ones used last."""


class Recollection:
    """Shared by the threads of one `Database`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def offer(self, s: Session) -> None:
        """Have this transaction use it."""
        s.info[_RECALLS] = self

    def keep(self, seen: Mapping[str, Any]) -> None:
        """What a transaction had seen or written, when it was committed."""
        for run in seen.values():
            if isinstance(run, Run):
                self._keep(run)

    def _keep(self, run: Run) -> None:
        with self._lock:
            # Also one of a lower version: a server that takes over may have lost what was committed last.
            self._runs[run.id] = run
            self._runs.move_to_end(run.id)
            if len(self._runs) > MOST:
                self._runs.popitem(last=False)

    def clear(self) -> None:
        """Something else may have changed any of them."""
        with self._lock:
            self._runs.clear()

    def get(self, run_id: str) -> Run | None:
        """As it was, by now perhaps another."""
        return self._runs.get(run_id)


def recalled(s: Session, run_id: str) -> Run | None:
    """A run as this process knew it, None where nothing is known."""
    known: Recollection | None = s.info.get(_RECALLS)
    wire = hold(s).wire
    return known.get(run_id) if known is not None and wire is not None and not wire.foreign else None
