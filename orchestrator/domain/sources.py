"""What a model's text goes back to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 500
"""Pages a run keeps."""


@dataclass(frozen=True, slots=True)
class Source:
    """A page the model's text cites, as it named it."""

    url: str
    title: str = ""


def joined(before: Sequence[Source], more: Sequence[Source]) -> tuple[Source, ...]:
    """All of them, each page once, as it was named first."""
    known: dict[str, Source] = {}
    for source in (*before, *more):
        known.setdefault(source.url, source)
    return tuple(known.values())[:MOST]
