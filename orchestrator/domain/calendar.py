"""Hours that come round: when people work, and when they are not to be disturbed.

Where a time zone puts an hour is read by `zoneinfo`, from the tables of the machine or of the package
`tzdata`. That is data of the standard library, as `unicodedata` is: the same question has the same answer,
nothing is asked of the world, and a zone is read once per process. The other way, intervals of UTC worked
out ahead and frozen with every request, would be hundreds of rows for a question that lives two months, and
wrong where a country changes its rules meanwhile. What must not move is frozen all the same: when a
question lapses is worked out once, as it is asked, and is an instant of UTC from then on.

A local time that a clock change leaves out counts by the offset before it, one that comes twice is the first
(RFC 5545, section 3.3.5). A shift that ends at or before the time it begins ends the day after, and belongs
to the day it begins on, holidays included.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from orchestrator.domain.values import Value

LONGEST: Final = timedelta(days=400)
"""How far ahead or back anything is looked for."""
WEEKDAYS: Final = (0, 1, 2, 3, 4)
EVERY_DAY: Final = (0, 1, 2, 3, 4, 5, 6)
_DAY: Final = timedelta(days=1)
_NO_TIME: Final = timedelta(0)

Span = tuple[datetime, datetime]
"""From the one instant until, and not at, the other."""


class Calendar(Value):
    """The same hours on some days of the week, in one time zone.

    Args:
        timezone: An IANA name, such as `Europe/Berlin`.
        opens: Local time.
        closes: Local time; where it is not after `opens`, of the day after.
        days: Of the week, Monday is 0.
        holidays: Local dates on which no hours begin.
    """

    timezone: str
    opens: time
    closes: time
    days: tuple[int, ...] = WEEKDAYS
    holidays: tuple[date, ...] = ()

    def after(self, start: datetime, span: timedelta) -> datetime:
        """When so much of these hours has passed since `start`; `LONGEST` later if it never does."""
        if span <= _NO_TIME:
            return start
        at, left = start, span
        for opens, closes in self._ahead(start):
            at = max(at, opens)
            if at < closes and closes - at >= left:
                return at + left
            left -= max(closes - at, _NO_TIME)
            at = max(at, closes)
        return start + LONGEST

    def before(self, end: datetime, span: timedelta) -> datetime:
        """The latest instant since which so much of these hours has passed at `end`."""
        at, left = end, span
        for opens, closes in self._back(end):
            at = min(at, closes)
            if at > opens and at - opens >= left:
                return at - left
            left -= max(at - opens, _NO_TIME)
            at = min(at, opens)
        return end - LONGEST

    def between(self, start: datetime, end: datetime) -> timedelta:
        """How much of these hours lies between two instants."""
        at, total = start, _NO_TIME
        for opens, closes in self._ahead(start):
            if opens >= end:
                break
            at = max(at, opens)
            total += max(min(closes, end) - at, _NO_TIME)
            at = max(at, closes)
        return total

    def around(self, at: datetime) -> Span | None:
        """The hours that instant is in, those that follow without a gap joined to them; None outside."""
        found: Span | None = None
        for opens, closes in self._ahead(at, within=_DAY * 8):
            if found is None and opens <= at < closes:
                found = opens, closes
            elif found is not None and opens <= found[1]:
                found = found[0], max(found[1], closes)
        return found

    def _ahead(self, at: datetime, within: timedelta = LONGEST) -> Iterator[Span]:
        """The shifts in order, from the last that may have begun before."""
        day = self._date(at) - 2 * _DAY
        for _ in range(within.days + 3):
            if (shift := self._shift(day)) is not None:
                yield shift
            day += _DAY

    def _back(self, at: datetime) -> Iterator[Span]:
        day = self._date(at) + _DAY
        for _ in range(LONGEST.days + 3):
            if (shift := self._shift(day)) is not None:
                yield shift
            day -= _DAY

    def _shift(self, day: date) -> Span | None:
        """The hours that begin on a date, in UTC."""
        if day.weekday() not in self.days or day in self.holidays:
            return None
        ends = day if self.closes > self.opens else day + _DAY
        begins = self._instant(day, self.opens)
        return begins, max(begins, self._instant(ends, self.closes))

    def _date(self, at: datetime) -> date:
        return at.astimezone(ZoneInfo(self.timezone)).date()

    def _instant(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, ZoneInfo(self.timezone)).astimezone(UTC)
