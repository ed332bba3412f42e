"""Hours that come round, over weekends, holidays, midnight and changes of the clock."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.calendar import EVERY_DAY, LONGEST, Calendar

BERLIN = Calendar("Europe/Berlin", time(9), time(17, 30))
NEW_YORK = Calendar("America/New_York", time(9), time(17))
NIGHT = Calendar("Europe/Berlin", time(22), time(7), EVERY_DAY)
ALWAYS = Calendar("Europe/Berlin", time(0), time(0), EVERY_DAY)
XMAS = Calendar("Europe/Berlin", time(9), time(17, 30), holidays=(date(2026, 12, 25),))
HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("hours", "asked", "patience", "until"),
    [
        # the week of the issue: Friday 17:00, two hours, a day from 9:00 to 17:30
        (BERLIN, "2026-11-20T17:00+01:00", 2.0, "2026-11-23T10:30+01:00"),
        (BERLIN, "2026-11-20T17:00+01:00", 0.5, "2026-11-20T17:30+01:00"),
        (BERLIN, "2026-11-20T17:30+01:00", 1.0, "2026-11-23T10:00+01:00"),
        (BERLIN, "2026-11-21T12:00+01:00", 1.0, "2026-11-23T10:00+01:00"),
        (BERLIN, "2026-11-23T08:59+01:00", 8.5, "2026-11-23T17:30+01:00"),
        (BERLIN, "2026-11-23T09:00+01:00", 17.0, "2026-11-24T17:30+01:00"),
        # the same instants told in another zone
        (BERLIN, "2026-11-20T16:00+00:00", 2.0, "2026-11-23T09:30+00:00"),
        # a holiday, and the weekend behind it
        (XMAS, "2026-12-24T17:00+01:00", 1.0, "2026-12-28T09:30+01:00"),
        # clocks forward on Sunday 2026-03-29 and 2026-03-08, back on 2026-10-25 and 2026-11-01
        (BERLIN, "2026-03-27T17:00+01:00", 1.0, "2026-03-30T09:30+02:00"),
        (BERLIN, "2026-10-23T17:00+02:00", 1.0, "2026-10-26T09:30+01:00"),
        (NEW_YORK, "2026-03-06T16:30-05:00", 1.0, "2026-03-09T09:30-04:00"),
        (NEW_YORK, "2026-10-30T16:30-04:00", 1.0, "2026-11-02T09:30-05:00"),
        # hours over midnight: the night belongs to the evening it begins on, and a change makes it 8 or 10 h
        (NIGHT, "2026-11-20T23:00+01:00", 8.0, "2026-11-21T07:00+01:00"),
        (NIGHT, "2026-11-21T06:00+01:00", 2.0, "2026-11-21T23:00+01:00"),
        (NIGHT, "2026-03-28T22:00+01:00", 9.0, "2026-03-29T23:00+02:00"),
        (NIGHT, "2026-10-24T22:00+02:00", 10.0, "2026-10-25T07:00+01:00"),
        # whole days, one of 23 h
        (ALWAYS, "2026-03-28T12:00+01:00", 24.0, "2026-03-29T13:00+02:00"),
    ],
)
def test_patience_runs_in_these_hours_only(hours: Calendar, asked: str, patience: float, until: str) -> None:
    assert hours.after(utc(asked), HOUR * patience) == utc(until)
    assert hours.between(utc(asked), utc(until)) == HOUR * patience


def test_a_friday_night_is_over_on_saturday_and_a_holiday_has_none() -> None:
    night = Calendar("Europe/Berlin", time(22), time(6), holidays=(date(2026, 11, 19),))
    assert night.after(utc("2026-11-20T22:00+01:00"), HOUR * 9) == utc("2026-11-23T23:00+01:00")
    assert night.around(utc("2026-11-21T05:59:59+01:00")) is not None
    assert night.around(utc("2026-11-19T23:00+01:00")) is None


@pytest.mark.parametrize("closes", [time(2, 15), time(2, 45), time(3, 15)])
def test_hours_in_the_hour_that_is_left_out(closes: time) -> None:
    """Between 2 and 3 on 2026-03-29 there is nothing in Berlin."""
    hours = Calendar("Europe/Berlin", time(2, 30), closes, EVERY_DAY)
    shifts = hours.between(utc("2026-03-29T00:00+01:00"), utc("2026-03-30T00:00+02:00"))
    assert timedelta(0) <= shifts < HOUR * 24
    begins = utc("2026-03-29T03:30+02:00")
    assert hours.after(utc("2026-03-29T00:00+01:00"), shifts) <= utc("2026-03-30T00:00+02:00")
    assert (hours.around(begins) is None) == (closes == time(3, 15))


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("2026-11-20T21:59:59+01:00", None),
        ("2026-11-20T22:00+01:00", ("2026-11-20T22:00+01:00", "2026-11-21T07:00+01:00")),
        ("2026-11-21T06:59:59+01:00", ("2026-11-20T22:00+01:00", "2026-11-21T07:00+01:00")),
        ("2026-11-21T07:00+01:00", None),
    ],
)
def test_the_hours_an_instant_is_in(at: str, found: tuple[str, str] | None) -> None:
    assert NIGHT.around(utc(at)) == (found and (utc(found[0]), utc(found[1])))


def test_hours_that_never_come() -> None:
    never = Calendar("UTC", time(9), time(10), days=())
    at = utc("2026-11-20T12:00+00:00")
    assert (never.after(at, HOUR), never.before(at, HOUR)) == (at + LONGEST, at - LONGEST)
    assert never.between(at, at + LONGEST) == timedelta(0)


MINUTES = st.integers(0, 24 * 60 - 1).map(lambda n: time(n // 60, n % 60))


@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    opens=MINUTES,
    closes=MINUTES,
    days=st.sets(st.integers(0, 6), min_size=1),
    asked=st.integers(0, 365 * 86_400).map(lambda n: utc("2026-01-01T00:00+00:00") + timedelta(seconds=n)),
    seconds=st.integers(1, 200_000),
)
def test_what_lies_between_is_the_patience(
    zone: str, opens: time, closes: time, days: set[int], asked: datetime, seconds: int
) -> None:
    hours, patience = Calendar(zone, opens, closes, tuple(days)), timedelta(seconds=seconds)
    until = hours.after(asked, patience)
    if until - asked < LONGEST:
        assert hours.between(asked, until) == patience
        since = hours.before(until, patience)
        assert asked <= since <= until
        assert hours.between(since, until) == patience
        assert hours.between(asked, until - timedelta(seconds=1)) < patience
