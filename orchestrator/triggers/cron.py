"""Cron expressions in a time zone, by `cronsim`, which does as Debian's cron does.

When clocks change, an expression of fixed hours and minutes has one occurrence each: a time that is skipped
happens at the end of the gap (02:30 at 03:00), one that comes twice happens the first time. An expression
whose minutes or hours begin with `*` goes by real time: every hour is every sixty minutes, so the hour that
comes twice counts twice, each an instant of its own. Two times that meet at the end of a gap are one.

Source: cron(8) of Debian, "local changes ... due to the start or end of Daylight Saving Time".
"""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from orchestrator.errors import ConfigError

FIELDS: Final = 5


class Cron:
    """A schedule.

    Args:
        expression: Minute, hour, day of the month, month, day of the week.
        zone: IANA name of the time zone it is meant in.

    Raises:
        ConfigError: It is no such expression, or never happens.
    """

    def __init__(self, expression: str, zone: str) -> None:
        if len(expression.split()) != FIELDS:
            raise ConfigError("must have five fields: minute, hour, day, month, day of the week")
        self.expression, self.zone = expression, ZoneInfo(zone)
        try:
            self.after(datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as e:
            raise ConfigError(f"is no cron expression: {e}") from None
        except StopIteration:
            raise ConfigError("never happens") from None

    def after(self, moment: datetime) -> datetime:
        """The first instant later than that one, in UTC."""
        for local in CronSim(self.expression, moment.astimezone(self.zone)):
            found = local.astimezone(UTC)
            if found > moment:  # in the hour that comes twice the library begins with the first one
                return found
        raise StopIteration  # no such day within fifty years

    def local(self, moment: datetime) -> datetime:
        """The same instant by the clocks of its zone."""
        return moment.astimezone(self.zone)
