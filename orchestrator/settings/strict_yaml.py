"""YAML without surprises: what is written is what is read.

Built on the parser's events, so nothing is ever constructed from a tag, and a bad document is
refused before it is expanded. Plain words follow YAML 1.2, and of those only the unambiguous ones:
`true`, `false`, `null`, `~`, decimal numbers. `yes`, `010`, `0x1f`, `12:30:45`, dates stay text.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from orchestrator.settings.fields import Path, dotted

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 32
PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}
INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
UNSAFE: Final = re.compile(r"[\ud800-\udfff\x00]")
DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")


class YamlError(Exception):
    """The document stops making sense here. `line` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: its tree, the line of every key and item, and keys given twice (line, text)."""

    tree: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)


def is_text(text: str) -> bool:
    """False for lone surrogates and U+0000, which neither JSON's users nor PostgreSQL can take."""
    return not UNSAFE.search(text)


def scalar(text: str) -> Any:
    """A plain word's value: null, bool, int, float, or the text itself."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if DECIMAL.fullmatch(text) and any(c in text for c in ".eE") and math.isfinite(number := float(text)):
        return number
    return text


def parse(raw: bytes) -> Document:
    """Read one document of at most `MAX_BYTES` and `MAX_DEPTH`.

    Raises:
        YamlError: Not UTF-8, not YAML, too large or deep, with anchors, aliases, tags or a second document.
    """
    if len(raw) > MAX_BYTES:
        raise YamlError(1, f"is larger than {MAX_BYTES // 1024} KB")
    try:
        return _Builder(raw.decode("utf-8-sig")).document()
    except UnicodeDecodeError as e:
        raise YamlError(raw[: e.start].count(b"\n") + 1, "is not UTF-8 text") from None
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise YamlError(line, f"is not YAML: {e.problem or e.context}{_tab(e, raw)}") from None
    except yaml.YAMLError:  # the reader's own kind has no mark and would quote the text
        raise YamlError(1, "is not YAML: it holds control characters") from None


def _tab(error: yaml.MarkedYAMLError, raw: bytes) -> str:
    """The commonest character that is none there, and cannot be seen."""
    mark = error.problem_mark
    rows = raw.decode("utf-8-sig").split("\n")
    at = rows[mark.line][mark.column : mark.column + 1] if mark and mark.line < len(rows) else ""
    return " (a tab; lines are indented by blanks)" if at == "\t" else ""


class _Builder:
    """Turns events into plain values, noting lines on the way."""

    def __init__(self, text: str) -> None:
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=PARSER))
        self.result = Document()

    def document(self) -> Document:
        next(self.events)  # stream start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return self.result
        tree = self._node(self._next(), (), 1)
        next(self.events)  # document end
        if not isinstance(after := self._next(), yaml.StreamEndEvent):
            raise YamlError(after.start_mark.line + 1, "a second document begins here")
        return Document(tree, self.result.lines, self.result.faults)

    def _next(self) -> Any:
        """The next event, unless it is one of the things a settings file has no use for."""
        event = next(self.events)
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise YamlError(line, "anchors (&) and aliases (*) are not allowed")
        if getattr(event, "tag", None):
            raise YamlError(line, "tags (!) are not allowed")
        return event

    def _node(self, event: Any, path: Path, depth: int) -> Any:
        self.result.lines.setdefault(path, event.start_mark.line + 1)
        if depth > MAX_DEPTH:
            raise YamlError(event.start_mark.line + 1, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        if not is_text(event.value):
            said = "holds a character that is no text (a surrogate or U+0000)"
            raise YamlError(event.start_mark.line + 1, f"{dotted(path)}: {said}")
        plain = event.implicit[0]
        return scalar(event.value) if plain else event.value

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                raise YamlError(line, "a key must be a plain word")
            here = (*path, event.value)
            if event.value in entries:
                self._twice(here, line)
            else:
                self.result.lines[here] = line
            entries[event.value] = self._node(self._next(), here, depth + 1)
        return entries

    def _twice(self, path: Path, line: int) -> None:
        first = self.result.lines[path]
        self.result.faults.append((line, f"{dotted(path)}: is given twice, first on line {first}"))
