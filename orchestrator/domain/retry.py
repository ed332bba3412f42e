"""When to try again: full jitter under a doubling bound, and never before we are told to.

Source: RFC 9110, 10.2.3 (`Retry-After`).
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

BASE_SECONDS = 1.0
MOST_SECONDS = 45.0
"""With a breaker's longest pause (15 s) below a minute: so soon is work taken up after an outage."""
MOST_TOLD_SECONDS = 86_400.0
"""The longest wait anybody may ask of us; a run's own time limit ends what waits for more."""


def backoff(
    attempt: int,
    roll: float,
    retry_after: float | None = None,
    *,
    base: float = BASE_SECONDS,
    most: float = MOST_SECONDS,
) -> timedelta:
    """How long to wait after failed attempt number `attempt`, counted from 1.

    Without `retry_after` anything up to the bound, which doubles from `base` (one second) to `most`
    (45 seconds). With it the wait begins there and ends at the bound, or half the bound later where that
    is already past.

    Args:
        roll: A dice roll in [0, 1), so that many do not come back at once.
        retry_after: Seconds the other side asked for; obeyed up to a day, whatever the bound.
    """
    bound = min(most, base * 2 ** min(max(attempt, 1) - 1, 10))
    told = min(max(retry_after or 0.0, 0.0), MOST_TOLD_SECONDS)
    return timedelta(seconds=told + max(bound - told, bound / 2) * roll)


def told_wait(value: str, now: datetime) -> float | None:
    """Seconds to wait, out of a `Retry-After` with seconds or an HTTP date; None where it is neither.

    A past date is 0; more than a day is a day.
    """
    text = value.strip()
    try:
        seconds = float(text) if text[:1].isdigit() else _until(text, now)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MOST_TOLD_SECONDS)


def _until(text: str, now: datetime) -> float:
    date = parsedate_to_datetime(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp()
