"""The answers of a batch, line by line, and their account: what was asked is answered, failed or missing.

One JSON object a line: `{"key", "response"}` or `{"key", "error"}`; the key may stand in `metadata`. The
lines come in any order, and a batch that succeeded may hold failed ones: those with an error, and those whose
response holds no content, because the prompt was blocked or the answer kept back.

Source: Gemini API, "Batch API"; "GenerateContentResponse" (`promptFeedback.blockReason`, `finishReason`).
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from orchestrator.domain.plain import JsonObject
from orchestrator.errors import RejectedError
from orchestrator.gemini import wire

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
MOST_KEYS: Final = 10_000
"""Of those that failed, and of those that are missing: who resubmits them needs all."""
MOST_REASONS: Final = 20
"""Different ones by name; the others are counted together."""
SHOWN_CHARS: Final = 1_000
"""Of a line that is no object, as much is kept."""
_BOM: Final = b"\xef\xbb\xbf"
_USAGE: Final = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")


class Lines:
    """Bytes that come in pieces, as whole lines without blanks around them; empty ones are left out.

    A byte order mark before the first is no part of it.
    """

    def __init__(self, most: int) -> None:
        self._most, self._rest, self._first = most, bytearray(), True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now. Raises `RejectedError`, code `too_large`: one has no end."""
        return [line for piece in self.feed_raw(chunk) if (line := piece.strip())]

    def end(self) -> list[bytes]:
        """The last one, where no line break follows it."""
        line = self.end_raw().strip()
        return [line] if line else []

    def feed_raw(self, chunk: bytes) -> list[bytes]:
        """As `feed`, each as it stands, its line break included, empty ones, too."""
        first, *others = chunk.split(b"\n")
        self._rest += first
        if len(self._rest) > self._most:
            raise RejectedError(f"a line is longer than {self._most} bytes", code="too_large")
        if not others:
            return []
        found = [self._marked(bytes(self._rest)), *others[:-1]]
        self._rest = bytearray(others[-1])
        return [line + b"\n" for line in found]

    def end_raw(self) -> bytes:
        """As `end`, as it stands; empty where there is none."""
        line = self._marked(bytes(self._rest))
        self._rest.clear()
        return line

    def _marked(self, line: bytes) -> bytes:
        first, self._first = self._first, False
        return line.removeprefix(_BOM) if first else line


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
        self._reasons: dict[str, int] = {}
        self._readable = False
        self._succeeded = self._unreadable = self._unasked = self._repeated = 0
        self._usage = dict.fromkeys(_USAGE, 0)

    def feed(self, chunk: bytes) -> bytes:
        """More of the file; what of it is kept: its whole lines, as JSON Lines. Raises as `Lines.feed`.

        Lines stay as they stand, but for empty ones, which are left out, and those that are no JSON object:
        these are kept as the one field `unreadable` of an object. So all of the file can be read.
        """
        return b"".join(map(self._line, self._lines.feed_raw(chunk)))

    def rest(self) -> bytes:
        """As `feed`, for the end of the file.

        Raises:
            RejectedError: Code `wrong_type`: there are lines, and none of them is an answer.
        """
        kept = self._line(self._lines.end_raw())
        if self._unreadable and not self._readable:
            why = f"none of the {self._unreadable} lines of the file can be read as an answer"
            raise RejectedError(why, code="wrong_type")
        return kept

    def end(self) -> JsonObject:
        """The account. Lists hold 10 000 keys at most; the numbers beside them count all.

        Of `failed`, `without_content` counts by their reason those that have a response with nothing in it.
        """
        self._line(self._lines.end_raw())
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
        if self._reasons:
            facts["without_content"] = dict(self._reasons)
        if any(self._usage.values()):
            facts["usage"] = dict(self._usage)
        return facts

    def _line(self, raw: bytes) -> bytes:
        """Count it; what of it is kept."""
        line = raw.strip()
        if not line:
            return b""
        value = _decoded(line)
        key = key_of(value)
        if key is None:
            self._unreadable += 1
            self._readable |= isinstance(value, Mapping) and "response" in value
        else:
            self._readable = True
            self._count(key, value)
        return raw.lstrip() if isinstance(value, Mapping) and _is_text(line) else _wrapped(line)

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
        self._add(response.get("usageMetadata"))
        if not (reason := empty_because(response)):
            self._succeeded += 1
            return
        self._failed.append(key)
        name = reason if reason in self._reasons or len(self._reasons) < MOST_REASONS else "other"
        self._reasons[name] = self._reasons.get(name, 0) + 1

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


def empty_because(response: Mapping[str, Any]) -> str:
    """Why nothing is in a response, in Gemini's own word where it has one; empty for one with content."""
    listed = response.get("candidates")
    candidates = [c for c in listed if isinstance(c, Mapping)] if isinstance(listed, list) else []
    if any(_has_content(candidate) for candidate in candidates):
        return ""
    feedback = response.get("promptFeedback")
    blocked = feedback.get("blockReason") if isinstance(feedback, Mapping) else None
    words = [blocked, *(c.get("finishReason") for c in candidates)]
    return next((word[:64] for word in words if isinstance(word, str) and word), "no candidates")


def _has_content(candidate: Mapping[str, Any]) -> bool:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, Mapping) else None
    return isinstance(parts, list) and bool(parts)


async def tallied(chunks: AsyncIterator[bytes], tally: Tally) -> AsyncGenerator[bytes, None]:
    """What is kept of them, counted on its way. Raises as `Tally.feed` and `Tally.rest`.

    In a thread: one line may be all there is, and a small piece may be very many of them.
    """
    async for chunk in chunks:
        if kept := await asyncio.to_thread(tally.feed, chunk):
            yield kept
    if kept := await asyncio.to_thread(tally.rest):
        yield kept


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


async def keys_in(chunks: AsyncIterator[bytes]) -> list[str]:
    """The keys of a request that is a file of lines, each once. Raises as `Lines.feed`."""
    lines, found = Lines(MAX_LINE_BYTES), dict[str, None]()
    async for chunk in chunks:
        found.update(_keys(lines.feed(chunk)))
    found.update(_keys(lines.end()))
    return list(found)


async def lines_of(chunks: AsyncIterator[bytes], keys: Collection[str]) -> bytes:
    """Those lines of a file as they stand in it. Raises as `Lines.feed`."""
    lines, found = Lines(MAX_LINE_BYTES), list[bytes]()
    async for chunk in chunks:
        found += [line for line in lines.feed(chunk) if key_of(_decoded(line)) in keys]
    found += [line for line in lines.end() if key_of(_decoded(line)) in keys]
    return b"".join(line + b"\n" for line in found)


def _keys(lines: Iterable[bytes]) -> dict[str, None]:
    return {key: None for line in lines if (key := key_of(_decoded(line))) is not None}


def _is_text(line: bytes) -> bool:
    """Whether it may stand in a file of text."""
    try:
        return b"\0" not in line and bool(line.decode())
    except UnicodeDecodeError:
        return False


def _wrapped(line: bytes) -> bytes:
    text = line[:SHOWN_CHARS].decode("utf-8", "replace")
    return json.dumps({"unreadable": text}, ensure_ascii=False).encode() + b"\n"


def _decoded(line: bytes) -> Any:
    try:
        return wire.decode(line)
    except ValueError:
        return None
