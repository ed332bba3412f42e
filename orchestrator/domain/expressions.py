"""What an expression of ours may cost, whatever strangers wrote into what it is asked over.

The `when` of rules and the mappings of triggers are CEL. Its runtime stops after so many steps of macros
and bounds nothing else: in each, all that is seen may be searched, compared or copied, a `map` copies for
every item what it has, and nothing else of the process goes on meanwhile. So it is reckoned beforehand.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import ConfigError

STEPS: Final = 10_000
"""Of all macros of an expression together; the runtime's own bound."""
MOST_WORK: Final = 4_000_000
"""Steps times the items and characters each may go through: a tenth to a third of a second."""

_APART: Final = re.compile(
    r"""[rRbB]{0,2}(\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"(\\.|[^"\\])*"|'(\\.|[^'\\])*')|//[^\n]*"""
)
_MACRO: Final = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,", re.ASCII)
_MATCHES: Final = re.compile(r"\bmatches\s*\(", re.ASCII)
_OURS: Final = re.compile(r"\.\s*matches\s*\(\s*\"\"\s*\)", re.ASCII)


def bare(text: str) -> str:
    """An expression with its texts emptied and without its comments, so that words in it are names."""
    return _APART.sub(lambda found: "" if found[0].startswith("//") else '""', text)


@dataclass(frozen=True, slots=True)
class Effort:
    """How an expression goes about its work.

    Args:
        depth: Macros within each other.
        again: A step may look at more than its own item.
        builds: A list is made, item by item.
    """

    depth: int = 0
    again: bool = False
    builds: bool = False

    def bears(self, seen: Mapping[str, object]) -> bool:
        """Whether what is seen is little enough to be asked over."""
        if not (self.again or self.builds):
            return True
        longest, items, characters = _extent(seen)
        each = items + characters if self.again else longest
        steps: int = min(longest**self.depth, STEPS)
        return steps * each <= MOST_WORK


def effort(text: str, names: Collection[str]) -> Effort:
    """What an expression will do, as it is written.

    Args:
        names: Those it sees what strangers wrote under.

    Raises:
        ConfigError: It takes a pattern from what it sees; making one ready has no bound.
    """
    plain = bare(text)
    if len(_MATCHES.findall(plain)) != len(_OURS.findall(plain)):
        raise ConfigError(f'`{text}` takes a pattern from elsewhere; write it there: .matches("…")')
    macros = list(_macros(plain))
    again = deepest = 0
    for start, _, _, body in macros:
        around = [variable for begin, end, variable, _ in macros if begin < start < end]
        deepest = max(deepest, len(around) + 1)
        again |= any(re.search(rf"\b{name}\b", body) is not None for name in (*names, *around))
    return Effort(
        deepest, bool(again), any(found[1] in ("map", "filter") for found in _MACRO.finditer(plain))
    )


def _macros(plain: str) -> Iterator[tuple[int, int, str, str]]:
    """Of each: where it begins and ends, its variable, and what is done for each item."""
    for found in _MACRO.finditer(plain):
        depth, end = 1, found.end()
        while depth and end < len(plain):
            depth += {"(": 1, ")": -1}.get(plain[end], 0)
            end += 1
        yield found.start(), end, found[2], plain[found.end() : end]


def _extent(seen: Mapping[str, object]) -> tuple[int, int, int]:
    """The length of the longest list or object, the items of all, and the characters of the longest text."""
    longest = items = characters = 0
    level: list[object] = [seen]
    while level:
        item = level.pop()
        if isinstance(item, str):
            characters = max(characters, len(item))
        elif isinstance(item, Mapping | list | tuple):
            longest, items = max(longest, len(item)), items + len(item)
            level += item
            level += item.values() if isinstance(item, Mapping) else ()
    return longest, items, characters
