"""A clock that stands until somebody moves it, and an event loop whose time goes by at once."""

import asyncio
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class SettableClock:
    """Wall-clock time as the engine takes it: a callable that gives an aware UTC instant."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta | None = None, *, seconds: float = 0.0) -> None:
        self.now += by or timedelta(seconds=seconds)

    def reach(self, instant: datetime) -> None:
        """Move on to that instant; never back."""
        self.now = max(self.now, instant)


class Seconds:
    """A stopwatch that is turned by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def pass_by(seconds: float) -> None:
    """The running loop's time goes on by so much at once, and whoever waited for that is woken."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
