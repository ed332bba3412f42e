"""What a transaction wants done once it is committed, and never if it is not."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
from sqlalchemy.orm import Session

log = structlog.get_logger(__name__)

Grown = Callable[[set[str]], None]
"""Told whose records grew."""
_GREW = "grew"
_LATER = "later"


def grew(s: Session, run_id: str) -> None:
    """Say within a transaction that a run's record grows; who watches here hears of it after the COMMIT."""
    s.info.setdefault(_GREW, set()).add(run_id)


def after_commit(s: Session, call: Callable[[], None]) -> None:
    """Have something done once the transaction is committed, in its thread and before its caller hears of
    it; not if it never is. It must not raise.
    """
    s.info.setdefault(_LATER, []).append(call)


def wanted(s: Session) -> list[Callable[[], None]]:
    """What is to be done so far; what is taken out of it is not."""
    calls: list[Callable[[], None]] = s.info.setdefault(_LATER, [])
    return calls


def follow(s: Session, *heard_by: Grown | None) -> None:
    """Do it, and tell those whose records grew, where any did.

    It is committed: what fails here is no reason to tell its caller otherwise, or to do it again.
    """
    calls = list(s.info.get(_LATER, ()))
    grown = s.info.get(_GREW)
    if grown:
        calls.extend(partial(hear, grown) for hear in heard_by if hear is not None)
    for call in calls:
        try:
            call()
        except Exception:
            with suppress(Exception):  # the log itself may be what fails
                log.exception("commit_not_told")
