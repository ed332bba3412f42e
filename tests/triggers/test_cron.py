"""Times: clocks that change, and instants that passed while nobody worked."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.triggers import LOOK_BACK, MOST_COUNTED, Missed, Owed, owed
from orchestrator.errors import ConfigError
from orchestrator.triggers.cron import Cron


def times(expression: str, since: datetime, many: int, zone: str = "Europe/Berlin") -> list[str]:
    """The next instants, in UTC."""
    cron, found = Cron(expression, zone), [since]
    for _ in range(many):
        found.append(cron.after(found[-1]))
    assert found == sorted(set(found))
    return [f"{t:%d %H:%M}" for t in found[1:]]


SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)  # the night after, 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)  # the night after, 03:00 becomes 02:00


@pytest.mark.parametrize(
    ("expression", "since", "expected"),
    [
        ("30 2 * * *", SPRING, ["29 01:00", "30 00:30"]),  # skipped: at the end of the gap, once
        ("15,30 2 * * *", SPRING, ["29 01:00", "30 00:15", "30 00:30"]),  # two that meet there are one
        ("30 2 * * *", AUTUMN, ["25 00:30", "26 01:30"]),  # comes twice: the first time, once
        ("10,50 2 * * *", AUTUMN, ["25 00:10", "25 00:50", "26 01:10", "26 01:50"]),
        (
            "0 * * * *",
            SPRING + timedelta(hours=11),
            ["29 00:00", "29 01:00", "29 02:00"],
        ),  # every hour is one
        ("0 * * * *", AUTUMN + timedelta(hours=11), ["25 00:00", "25 01:00", "25 02:00"]),
        ("0 22 * * mon-fri", datetime(2026, 11, 20, 12, tzinfo=UTC), ["20 21:00", "23 21:00"]),
    ],
)
def test_when_clocks_change(expression: str, since: datetime, expected: list[str]) -> None:
    assert times(expression, since, len(expected)) == expected


def test_from_within_the_hour_that_comes_twice() -> None:
    """The second 02:20: what was done in the first is not done again."""
    second = datetime(2026, 10, 25, 1, 20, tzinfo=UTC)
    assert times("45 2 * * *", second, 2) == ["26 01:45", "27 01:45"]


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "0 22 * * mon-fry", "0 0 31 2 *", "* * * * * *", "@daily"]
)
def test_what_is_no_time(expression: str) -> None:
    with pytest.raises(ConfigError):
        Cron(expression, "UTC")


# ------------------------------------------------------------------ three days down

HOURLY = Cron("0 * * * *", "UTC")
SINCE = datetime(2026, 11, 18, 10, tzinfo=UTC)
BACK = SINCE + timedelta(days=3, minutes=30)  # 73 instants: 10:00 to 10:00, none of them on time


@pytest.mark.parametrize(
    ("missed", "most", "ran", "passed"),
    [
        (Missed.RUN_ONCE, 24, 1, 72),
        (Missed.SKIP, 24, 0, 73),
        (Missed.RUN_ALL, 24, 24, 49),
        (Missed.RUN_ALL, 500, 73, 0),
    ],
)
def test_missed_times(missed: Missed, most: int, ran: int, passed: int) -> None:
    found = owed(HOURLY, SINCE, BACK, missed, most)
    newest = SINCE + timedelta(days=3)
    assert found.run == tuple(newest - timedelta(hours=n) for n in reversed(range(ran)))
    assert (found.passed, found.newest_passed) == (passed, newest if missed is Missed.SKIP else None)


def test_one_that_is_on_time_runs_whatever_was_missed() -> None:
    now = SINCE + timedelta(days=3, minutes=2)
    for missed in (Missed.RUN_ONCE, Missed.SKIP):
        found = owed(HOURLY, SINCE, now, missed, 24)
        assert (found.run, found.passed) == ((SINCE + timedelta(days=3),), 72)
    assert len(owed(HOURLY, SINCE, now, Missed.RUN_ALL, 24).run) == 25


def test_a_busy_worker_is_not_a_missing_one() -> None:
    every = Cron("* * * * *", "UTC")
    found = owed(every, SINCE, SINCE + timedelta(minutes=3), Missed.SKIP, 24)
    assert found == Owed(tuple(SINCE + timedelta(minutes=n) for n in range(4)))


def test_years_down_are_looked_back_at_for_a_month_only() -> None:
    found = owed(HOURLY, SINCE, SINCE + timedelta(days=3000, minutes=30), Missed.RUN_ALL, 500)
    assert (len(found.run), found.passed) == (500, 31 * 24 - 500)


class Counting:
    """Counts how often it is asked for the next instant."""

    def __init__(self, expression: str) -> None:
        self._cron, self.asked = Cron(expression, "Europe/Berlin"), 0

    def after(self, moment: datetime) -> datetime:
        self.asked += 1
        return self._cron.after(moment)

    def all(self, since: datetime, until: datetime) -> list[datetime]:
        """Every one after the one and up to the other, one by one."""
        found = [self._cron.after(since)]
        while found[-1] <= until:
            found.append(self._cron.after(found[-1]))
        return found[:-1]


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 9 1 * *", "* * 1-9 * *", "* 3 * * sun", "0,1 */5 * * *"],
)
@pytest.mark.parametrize("missed", list(Missed))
def test_a_month_away_is_looked_at_in_bounds_and_comes_to_the_same(expression: str, missed: Missed) -> None:
    """Over the night in which the clocks are put back; counted in questions to the schedule."""
    schedule = Counting(expression)
    now = datetime(2026, 11, 10, 7, 33, 20, tzinfo=UTC)
    found = owed(schedule, now - timedelta(days=40), now, missed, 500)
    assert schedule.asked <= 3 * MOST_COUNTED
    month = schedule.all(now - LOOK_BACK, now)
    on_time = [t for t in month if now - t <= timedelta(minutes=5)]
    late = month[: len(month) - len(on_time)]
    made_up = {Missed.RUN_ALL: late[-500:], Missed.RUN_ONCE: [] if on_time else late[-1:], Missed.SKIP: []}
    assert list(found.run) == [*made_up[missed], *on_time]
    counted = min(len(late), MOST_COUNTED)
    assert (found.passed, found.more) == (counted - len(made_up[missed]), len(late) > MOST_COUNTED)
