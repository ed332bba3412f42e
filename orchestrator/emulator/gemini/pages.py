"""Lists in pages, as the older resources have them: `pageSize`, `pageToken`, `nextPageToken`."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from orchestrator.emulator.gemini.errors import invalid

T = TypeVar("T")
PAGE_SIZE: Final = 50


def page(
    key: str, items: Sequence[T], show: Callable[[T], Any], size: str | None, token: str | None
) -> dict[str, Any]:
    """The items a token points at, shown under `key`; a token is a number we gave out.

    Raises:
        ApiError: 400 for a size or token that is no number.
    """
    wanted, start = size or str(PAGE_SIZE), token or "0"
    if not (wanted.isdecimal() and start.isdecimal() and int(wanted)):
        raise invalid("pageSize and pageToken must be numbers we gave out.")
    end = int(start) + int(wanted)
    shown: dict[str, Any] = {key: [show(item) for item in items[int(start) : end]]}
    return {**shown, "nextPageToken": str(end)} if end < len(items) else shown
