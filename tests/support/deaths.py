"""Deaths of this process as tests order them: a failpoint raises, and the world takes that for the end."""

from orchestrator import failpoints

BY_NO_RUN = ("after_cancel_stored", "after_callback", "after_look", "after_occurrence")
"""Points that no run passes by itself: they have stories of their own, and tests/crash."""


def arm(name: str, nth: int = 1) -> None:
    """Die when the point is passed for the `nth` time from now on."""
    failpoints._hits.pop(name, None)
    failpoints._points[name] = ("raise", nth)


def disarm() -> None:
    """No point breaks any more."""
    failpoints._points.clear()
    failpoints._hits.clear()
