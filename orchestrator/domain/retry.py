"""When to try again: full jitter under a doubling bound, and never before we are told to."""

from datetime import timedelta

BASE_SECONDS = 1.0
MOST_SECONDS = 60.0


def backoff(attempt: int, roll: float, retry_after: float | None = None) -> timedelta:
    """How long to wait after failed attempt number `attempt`, counted from 1.

    Args:
        roll: A dice roll in [0, 1), so that many do not come back at once.
        retry_after: Seconds the other side asked for; obeyed, with the jitter on top.
    """
    bound = min(MOST_SECONDS, BASE_SECONDS * 2 ** min(attempt - 1, 10))
    return timedelta(seconds=(retry_after or 0.0) + bound * roll)
