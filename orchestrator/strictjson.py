"""JSON from outside, read one way only: what two programs could read differently is refused.

Refused are repeated keys, NaN and infinities, numbers too long to come back as they were, deep nesting,
and texts with half a surrogate pair. Source: RFC 8259 leaves all of them to the reader; RFC 7493
(I-JSON) says why they should not be sent.
"""

import json
import math
from collections import Counter
from typing import Any, Final

MAX_DIGITS: Final = 40
"""Of one number."""
_INT64: Final = 2**63


class StrictReader:
    """Reads JSON strictly.

    Args:
        depth: Most objects and lists inside each other.
        whole_bits: 64 refuses whole numbers that a signed 64-bit column or another program would
            not take; 0 takes up to 40 digits.
        zero: Whether a text may hold U+0000, which PostgreSQL cannot keep.
    """

    def __init__(self, *, depth: int, whole_bits: int = 0, zero: bool = True) -> None:
        self._depth = depth
        self._zero = zero
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_once,
            parse_constant=_refuse,
            parse_int=_whole_64 if whole_bits == 64 else _whole,
            parse_float=_number,
        )

    def read(self, body: bytes) -> Any:
        """The value in `body`.

        Raises:
            ValueError: With the reason in words; `json.JSONDecodeError` with the place where it is not
                JSON at all, `UnicodeError` for what is no text.
        """
        try:
            value = self._decoder.decode(body.decode("utf-8"))
        except RecursionError as e:
            raise ValueError("it is nested too deeply") from e
        # Without an escape there is no odd character, and no depth without as many brackets.
        if b"\\u" in body or body.count(b"{") + body.count(b"[") > self._depth:
            self._walk(value)
        return value

    def _walk(self, value: object) -> None:
        """Depth and text, level by level, so that deep input costs no stack."""
        level, depth = [value], 0
        while level:
            inner: list[object] = []
            for item in level:
                if isinstance(item, str):
                    self._text(item)
                elif isinstance(item, dict):
                    inner += [*item.keys(), *item.values()]
                elif isinstance(item, list):
                    inner += item
            depth += any(isinstance(item, dict | list) for item in level)
            if depth > self._depth:
                raise ValueError("it is nested too deeply")
            level = inner

    def _text(self, item: str) -> None:
        item.encode("utf-8")  # UnicodeEncodeError where half a surrogate pair is inside
        if not self._zero and "\0" in item:
            raise ValueError("it holds U+0000, which PostgreSQL cannot keep")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        again, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {again[:40]!a} is repeated")
    return found


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number is too long")
    return int(text)


def _whole_64(text: str) -> int:
    number = int(text) if len(text) <= MAX_DIGITS else _INT64
    if not -_INT64 <= number < _INT64:
        raise ValueError("a whole number has more than 64 bits; send it as text")
    return number


def _number(text: str) -> float:
    number = float(text)
    if len(text) > MAX_DIGITS or not math.isfinite(number):
        raise ValueError("a number is too long or too large")
    return number
