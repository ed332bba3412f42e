"""A time of day that comes round: when a digest message is due. Read like the hours of `calendar`."""

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from orchestrator.domain.calendar import EVERY_DAY
from orchestrator.domain.values import Value

_DAY: Final = timedelta(days=1)


class Daily(Value):
    """The same local time on some days of the week.

    A time that a clock change leaves out counts by the offset before it, one that comes twice is the first.

    Args:
        at: Local time, to the minute.
        timezone: An IANA name, such as `Europe/Berlin`.
        days: Of the week, Monday is 0; at least one.
    """

    at: time
    timezone: str = "UTC"
    days: tuple[int, ...] = EVERY_DAY

    def following(self, after: datetime) -> datetime:
        """The first such moment later than `after` (aware), in UTC."""
        zone = ZoneInfo(self.timezone)
        day = after.astimezone(zone).date() - _DAY
        while True:
            moment = datetime.combine(day, self.at, zone).astimezone(UTC)
            if day.weekday() in self.days and moment > after:
                return moment
            day += _DAY
