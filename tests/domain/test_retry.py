"""When to try again."""

from datetime import timedelta

import pytest

from orchestrator.domain.retry import MOST_SECONDS, MOST_TOLD_SECONDS, backoff

ALMOST = 0.999999


@pytest.mark.parametrize(
    ("attempt", "bound"), [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 45), (500, 45), (10**9, 45)]
)
def test_the_bound_doubles_up_to_its_most(attempt: int, bound: float) -> None:
    assert backoff(attempt, 0.0) == timedelta(0)
    assert backoff(attempt, 0.5) == timedelta(seconds=bound / 2)
    assert backoff(attempt, ALMOST) < timedelta(seconds=MOST_SECONDS)


@pytest.mark.parametrize("roll", [0.0, 0.3, ALMOST])
@pytest.mark.parametrize("attempt", [1, 4, 7, 500])
@pytest.mark.parametrize("told", [0.5, 17.0, 44.0, 45.0, 46.0, 3600.0, MOST_TOLD_SECONDS])
def test_never_sooner_than_we_were_told_and_not_much_later(roll: float, attempt: int, told: float) -> None:
    wait = backoff(attempt, roll, retry_after=told).total_seconds()
    assert told <= wait < max(MOST_SECONDS, told + MOST_SECONDS / 2)


def test_those_who_were_told_the_same_do_not_come_back_at_once() -> None:
    early, late = (backoff(1, roll, retry_after=60).total_seconds() for roll in (0.0, ALMOST))
    assert late - early > 0.4


@pytest.mark.parametrize(
    ("told", "least"), [(1e12, MOST_TOLD_SECONDS), (float("inf"), MOST_TOLD_SECONDS), (-5.0, 0.0)]
)
def test_what_nobody_can_mean_is_bounded(told: float, least: float) -> None:
    assert backoff(1, 0.0, retry_after=told) == timedelta(seconds=least)
