"""Work over what strangers wrote, which takes its time by how much that is: a lot of it in a thread."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

SLIGHT: Final = 2_000
"""Values and characters that are gone through sooner than a thread is asked and heard."""


async def unless_slight(written: Any, work: Callable[[], T]) -> T:
    """What the work comes to: done at once over little, otherwise in a thread, while others go on.

    Args:
        written: JSON that it goes through.
    """
    return work() if slight(written) else await asyncio.to_thread(work)


def slight(written: Any) -> bool:
    """Whether some JSON holds but little. It is looked at no further than that."""
    room, level = SLIGHT, [written]
    while level and room > 0:
        item = level.pop()
        room -= 1
        if isinstance(item, str | list | tuple | Mapping):
            room -= len(item)
        if room > 0 and isinstance(item, Mapping):
            level += [*item, *item.values()]
        elif room > 0 and isinstance(item, list | tuple):
            level += item
    return room > 0
