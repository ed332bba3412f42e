"""The answers of a batch, line by line, and their account: what was asked is answered, failed or missing.

One JSON object a line: `{"key", "response"}` or `{"key", "error"}`; the key may stand in `metadata`. The
lines come in any order, and a batch that succeeded may hold failed ones.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from orchestrator.domain.plain import JsonObject
from orchestrator.errors import RejectedError
from orchestrator.gemini import wire

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
MOST_KEYS: Final = 10_000
"""Of those that failed, and of those that are missing: who resubmits them needs all."""
_USAGE: Final = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")


class Lines:
    """Bytes that come in pieces, as whole lines without blanks around them; empty ones are left out."""

    def __init__(self, most: int) -> None:
        self._most, self._rest = most, bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now. Raises `RejectedError`, code `too_large`: one has no end."""
        first, *others = chunk.split(b"\n")
        self._rest += first
        if len(self._rest) > self._most:
            raise RejectedError(f"a line is longer than {self._most} bytes", code="too_large")
        if not others:
            return []
        found = [bytes(self._rest), *others[:-1]]
        self._rest = bytearray(others[-1])
        return [line for piece in found if (line := piece.strip())]

    def end(self) -> list[bytes]:
        """The last one, where no line break follows it."""
        line = bytes(self._rest).strip()
        self._rest.clear()
        return [line] if line else []


class Tally:
    """Counts what is fed to it.

    Args:
        asked: The keys of the batch, in their order; None where they are not known, so that none is missing.
    """

    def __init__(self, asked: Collection[str] | None, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._open = None if asked is None else dict.fromkeys(asked)
        self._asked = frozenset(asked or ())
        self._lines = Lines(max_line_bytes)
        self._seen: set[str] = set()
        self._failed: list[str] = []
        self._succeeded = self._unreadable = self._unasked = self._repeated = 0
        self._usage = dict.fromkeys(_USAGE, 0)

    def feed(self, chunk: bytes) -> None:
        """More of the file. Raises as `Lines.feed`."""
        for line in self._lines.feed(chunk):
            self._line(line)

    def end(self) -> JsonObject:
        """The account. Lists hold 10 000 keys at most; the numbers beside them count all."""
        for line in self._lines.end():
            self._line(line)
        missing = list(self._open or ())
        facts: dict[str, Any] = {
            "succeeded": self._succeeded,
            "failed": len(self._failed),
            "missing": len(missing),
            "failed_keys": self._failed[:MOST_KEYS],
            "missing_keys": missing[:MOST_KEYS],
        }
        odd = {"unreadable": self._unreadable, "unasked": self._unasked, "repeated": self._repeated}
        facts.update({name: count for name, count in odd.items() if count})
        if any(self._usage.values()):
            facts["usage"] = dict(self._usage)
        return facts

    def _line(self, line: bytes) -> None:
        value = _decoded(line)
        key = key_of(value)
        if key is None:
            self._unreadable += 1
        else:
            self._count(key, value)

    def _count(self, key: str, value: Mapping[str, Any]) -> None:
        """The first answer to a key is its answer."""
        if key in self._seen:
            self._repeated += 1
            return
        if self._open is not None and key not in self._asked:
            self._unasked += 1
            return
        self._seen.add(key)
        if self._open is not None:
            self._open.pop(key, None)
        response = value.get("response")
        if not isinstance(response, Mapping):
            self._failed.append(key)
            return
        self._succeeded += 1
        self._add(response.get("usageMetadata"))

    def _add(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            for name in _USAGE:
                count = usage.get(name)
                if type(count) is int and 0 <= count < 10**12:
                    self._usage[name] += count


def key_of(value: object) -> str | None:
    """Which line of the request an answer, or a line, is about."""
    if not isinstance(value, Mapping):
        return None
    metadata = value.get("metadata")
    for key in (value.get("key"), metadata.get("key") if isinstance(metadata, Mapping) else None):
        if isinstance(key, str) and key:
            return key
    return None


async def tallied(chunks: AsyncIterator[bytes], tally: Tally) -> AsyncGenerator[bytes, None]:
    """The same chunks, counted on their way."""
    async for chunk in chunks:
        tally.feed(chunk)
        yield chunk


async def written(answers: Sequence[Any], keys: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """Answers that came inside the batch, as lines of a file.

    Args:
        keys: Of the request, in order: an answer without a key is the answer to the line at its place.
    """
    for position, answer in enumerate(answers):
        value = dict(answer) if isinstance(answer, Mapping) else {"error": {"message": "no answer"}}
        key = key_of(value) or (keys[position] if position < len(keys) else f"#{position + 1}")
        line = {"key": key, **{k: v for k, v in value.items() if k not in ("key", "metadata")}}
        yield json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


async def keys_in(chunks: AsyncIterator[bytes], *, max_line_bytes: int = MAX_LINE_BYTES) -> list[str]:
    """The keys of a request that is a file of lines, each once. Raises as `Lines.feed`."""
    lines, found = Lines(max_line_bytes), dict[str, None]()
    async for chunk in chunks:
        found.update(_keys(lines.feed(chunk)))
    found.update(_keys(lines.end()))
    return list(found)


async def lines_of(
    chunks: AsyncIterator[bytes], keys: Collection[str], *, max_line_bytes: int = MAX_LINE_BYTES
) -> bytes:
    """Those lines of a file as they stand in it. Raises as `Lines.feed`."""
    lines, found = Lines(max_line_bytes), list[bytes]()
    async for chunk in chunks:
        found += [line for line in lines.feed(chunk) if key_of(_decoded(line)) in keys]
    found += [line for line in lines.end() if key_of(_decoded(line)) in keys]
    return b"".join(line + b"\n" for line in found)


def _keys(lines: Iterable[bytes]) -> dict[str, None]:
    return {key: None for line in lines if (key := key_of(_decoded(line))) is not None}


def _decoded(line: bytes) -> Any:
    try:
        return wire.decode(line)
    except ValueError:
        return None
