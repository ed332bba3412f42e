"""What these tests share is in tests/support."""

from collections.abc import Iterator

import pytest
from support.deaths import disarm


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """What one test armed breaks no other."""
    disarm()
    yield
    disarm()
