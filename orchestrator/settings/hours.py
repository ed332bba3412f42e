"""When people work, and when they are left alone: hours as a team writes them down."""

import re
from datetime import date, time
from typing import Annotated, Final, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.domain.calendar import EVERY_DAY, Calendar
from orchestrator.domain.daily import Daily
from orchestrator.settings.fields import UNIQUE, Items, Section

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)
NONE: Final = "none"
_HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)
_MINUTE: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # unknown, no such name, a folder of the tables
        raise ValueError("is no time zone this machine knows; write it as Europe/Berlin") from None
    return text


def _span(text: str) -> str:
    span(text)
    return text


def _day(text: str) -> str:
    if not _MONTH.fullmatch(text):
        raise ValueError("must be a date such as 2026-12-25")
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("is no day of the calendar") from None
    return text


def span(text: str) -> tuple[time, time]:
    """`09:00-17:30` as local times; 24:00 is midnight. Raises `ValueError`."""
    found = _HOURS.fullmatch(text)
    if found is None or (found[3] == "24" and found[4] != "00"):
        raise ValueError("must be hours such as 09:00-17:30; 22:00-07:00 ends the day after")
    return time(int(found[1]), int(found[2])), time(int(found[3]) % 24, int(found[4]))


def _quiet(text: str) -> str:
    """Hours, and behind them a time zone where it is not the calendar's."""
    hours, _, zone = text.partition(" ")
    begin, end = span(hours)
    if begin == end:
        raise ValueError("would never end")
    if zone:
        _zone(zone)
    return text


def quiet(text: str, unzoned: str = "") -> Calendar:
    """Quiet hours as the domain takes them; without a time zone of their own, in `unzoned`."""
    hours, _, zone = text.partition(" ")
    return Calendar(zone or unzoned, *span(hours), days=EVERY_DAY)


TimeZone = Annotated[str, AfterValidator(_zone)]
Hours = Annotated[str, AfterValidator(_span)]
Holiday = Annotated[str, AfterValidator(_day)]
QuietHours = Annotated[str, AfterValidator(_quiet)]


class WorkingCalendar(Section):
    """The hours in which people can be expected to answer."""

    timezone: TimeZone = Field(description="IANA name of the time zone, such as `Europe/Berlin`.")
    days: Annotated[Items[Weekday], UNIQUE] = Field(
        default=WEEKDAYS[:5], min_length=1, description="Working days."
    )
    hours: Hours = Field(
        default="09:00-17:00",
        description="Local time; `22:00-06:00` ends the day after.",
    )
    holidays: Annotated[Items[Holiday], UNIQUE] = Field(
        default=(), max_length=400, description="Dates on which nobody works, such as `2026-12-25`."
    )

    @property
    def value(self) -> Calendar:
        """As the domain takes it."""
        opens, closes = span(self.hours)
        return Calendar(
            self.timezone,
            opens,
            closes,
            tuple(sorted(WEEKDAYS.index(day) for day in self.days)),
            tuple(sorted(map(date.fromisoformat, self.holidays))),
        )


NO_CALENDAR: Final = WorkingCalendar.model_construct()
"""What an override says with the word `none`."""


def _none(value: object) -> object:
    return NO_CALENDAR if value == NONE else value


def _none_or_quiet(text: str) -> str:
    return text if text == NONE else _quiet(text)


CalendarOrNone = Annotated[WorkingCalendar, BeforeValidator(_none)]
QuietOrNone = Annotated[str, AfterValidator(_none_or_quiet)]


def _minute(text: str) -> str:
    if not _MINUTE.fullmatch(text):
        raise ValueError("must be a time of day such as 07:30, in quotes")
    return text


class DigestHour(Section):
    """When people are shown, all at once, what unattended runs have asked since."""

    at: Annotated[str, AfterValidator(_minute)] = Field(description="Local time, such as `07:30`.")
    timezone: TimeZone = Field(default="UTC", description="IANA name of the time zone.")
    days: Annotated[Items[Weekday], UNIQUE] = Field(
        default=WEEKDAYS, min_length=1, description="On which days."
    )

    @property
    def value(self) -> Daily:
        """As the domain takes it."""
        days = tuple(sorted(WEEKDAYS.index(day) for day in self.days))
        return Daily(time.fromisoformat(self.at), self.timezone, days)
