"""Transactions that others are faster than: what shows that, and how often they are tried again."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from orchestrator.store.sql import standstill
from orchestrator.store.sql.wire import CutOffError, ForgottenError

T = TypeVar("T")

RACES = 10
"""How often a transaction is tried that others are faster than."""
LOCK_SECONDS = 60.0
"""How long a lock is waited for, by one short wait after the other; see `standstill`."""
_SERIALIZATION = ("40001", "40P01")  # PostgreSQL: serialization failure, deadlock detected


class StaleRowError(Exception):
    """A conditional update changed no row: somebody else was first. Read again, decide again."""


def lost_race(error: BaseException) -> bool:
    """Whether the transaction may simply be tried again."""
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    again = isinstance(error, StaleRowError | ForgottenError | CutOffError)
    return again or code in _SERIALIZATION or standstill.kept_waiting(error)


def retried(transaction: Callable[[], T]) -> T:
    """A transaction that lost a race is read and decided again from the start."""
    try:
        return transaction()  # nearly always that is all
    except Exception as e:
        if not lost_race(e):
            raise
        again = resumed(e, transaction)
    return Retrying(
        retry=retry_if_exception(lost_race),
        stop=_enough,
        wait=wait_random_exponential(0.005, max=0.5),
        reraise=True,
    )(again)


def resumed(error: Exception, call: Callable[[], T]) -> Callable[[], T]:
    """What tenacity tries where the first try was made without it, and came to that error.

    It raises the error first, so that tenacity waits as after its own. Tenacity from the start would cost
    every transaction something, and nearly all need one try.
    """
    first = [error]

    def attempt() -> T:
        if first:
            raise first.pop()
        return call()

    return attempt


def _enough(state: RetryCallState) -> bool:
    if state.outcome is not None and standstill.kept_waiting(state.outcome.exception()):
        return (state.seconds_since_start or 0.0) >= LOCK_SECONDS
    return state.attempt_number >= RACES
