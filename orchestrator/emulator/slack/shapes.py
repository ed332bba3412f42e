"""Small checks that combine into a schema, each fault with a JSON pointer to what is wrong.

A check takes a value and its pointer and yields faults; a schema is checks inside checks. No I/O here.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any, str], Iterator["Fault"]]


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a payload. `pointer` looks like `/blocks/3/elements/0/value`."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} [json-pointer:{self.pointer}]"


def string(most: int | None = None, *, least: int = 1) -> Check:
    """A string of `least` to `most` characters."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield Fault(at, "must be a string")
        elif len(value) < least:
            yield Fault(at, f"must be more than {least - 1} characters")
        elif most is not None and len(value) > most:
            yield Fault(at, f"must be less than {most + 1} characters")

    return check


def url() -> Check:
    """An absolute http, https or mailto address of at most 3000 characters."""
    length = string(3000)

    def check(value: Any, at: str) -> Iterator[Fault]:
        faults = list(length(value, at))
        yield from faults
        if not faults and not value.startswith(("http://", "https://", "mailto:")):
            yield Fault(at, "must be a valid URL")

    return check


def matching(pattern: re.Pattern[str], called: str) -> Check:
    """A string that is wholly of a form, which `called` names in words."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            yield Fault(at, f"must be of the form {called}")

    return check


def whole(low: int, high: int) -> Check:
    """A whole number from `low` to `high`; true and false are not numbers."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield Fault(at, "must be an integer")
        elif not low <= value <= high:
            yield Fault(at, f"must be between {low} and {high}")

    return check


def boolean(value: Any, at: str) -> Iterator[Fault]:
    """True or false."""
    if not isinstance(value, bool):
        yield Fault(at, "must be a boolean")


def number(value: Any, at: str) -> Iterator[Fault]:
    """Any number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        yield Fault(at, "must be a number")


def one_of(*allowed: str) -> Check:
    """One of the given words."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if value not in allowed:
            yield Fault(at, f"must be one of: {', '.join(allowed)}")

    return check


def listing(item: Check, *, least: int = 1, most: int | None = None) -> Check:
    """An array whose every item passes `item`."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if not isinstance(value, list):
            yield Fault(at, "must be an array")
            return
        if len(value) < least:
            yield Fault(at, f"no fewer than {least} items allowed")
        if most is not None and len(value) > most:
            yield Fault(at, f"no more than {most} items allowed")
        for index, entry in enumerate(value):
            yield from item(entry, f"{at}/{index}")

    return check


def record(
    required: Mapping[str, Check], optional: Mapping[str, Check] | None = None, *rules: Check
) -> Check:
    """An object with all `required` and any `optional` keys and no others; `rules` look at the whole."""
    known = {**required, **(optional or {})}

    def check(value: Any, at: str) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield Fault(at, "must provide an object")
            return
        yield from (Fault(at, f"missing required field: {key}") for key in required if value.get(key) is None)
        for key, entry in value.items():
            if key not in known:
                yield Fault(at, f"invalid additional property: {key}")
            elif entry is not None:
                yield from known[key](entry, f"{at}/{key}")
        for rule in rules:
            yield from rule(value, at)

    return check


def tagged(variants: Mapping[str, Check], allowed: Collection[str] | None = None) -> Check:
    """An object whose `type` names its variant; `allowed` narrows the variants for one place."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield Fault(at, "must provide an object")
            return
        kind = value.get("type")
        if kind is None:
            yield Fault(at, "missing required field: type")
        elif (
            not isinstance(kind, str) or kind not in variants or (allowed is not None and kind not in allowed)
        ):
            yield Fault(f"{at}/type", f"unsupported type: {kind}")
        else:
            yield from variants[kind](value, at)

    return check


def exactly_one(*keys: str) -> Check:
    """Exactly one of `keys` is present."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if sum(value.get(key) is not None for key in keys) != 1:
            yield Fault(at, f"must define exactly one of: {', '.join(keys)}")

    return check


def at_least_one(*keys: str) -> Check:
    """One or more of `keys` is present."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        if all(value.get(key) is None for key in keys):
            yield Fault(at, f"must define at least one of: {', '.join(keys)}")

    return check
