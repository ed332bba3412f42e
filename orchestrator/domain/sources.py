"""What a model's text goes back to."""

from collections.abc import Sequence
from typing import Final

from orchestrator.domain.values import Value

MOST: Final = 500
"""Pages a run keeps."""


class Source(Value):
    """A page the model's text cites, as it named it."""

    url: str
    title: str = ""


def joined(before: Sequence[Source], more: Sequence[Source]) -> tuple[Source, ...]:
    """All of them, each page once, as it was named first."""
    known: dict[str, Source] = {}
    for source in (*before, *more):
        known.setdefault(source.url, source)
    return tuple(known.values())[:MOST]
