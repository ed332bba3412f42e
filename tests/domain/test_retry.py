"""When to try again."""

from datetime import timedelta

import pytest

from orchestrator.domain.retry import MOST_SECONDS, backoff


@pytest.mark.parametrize(("attempt", "bound"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (500, 60)])
def test_the_bound_doubles_up_to_its_most(attempt: int, bound: float) -> None:
    assert backoff(attempt, 0.0) == timedelta(0)
    assert backoff(attempt, 0.5) == timedelta(seconds=bound / 2)
    assert backoff(attempt, 0.999999) < timedelta(seconds=MOST_SECONDS)


@pytest.mark.parametrize("roll", [0.0, 0.3, 0.999])
def test_never_sooner_than_we_were_told(roll: float) -> None:
    assert backoff(1, roll, retry_after=17.0) >= timedelta(seconds=17)
