"""Frozen values with other fields."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

_Shape = tuple[Callable[[Any], tuple[Any, ...]], Mapping[str, int]]


def _replaced(value: T, /, **changes: Any) -> T:
    """What `dataclasses.replace` gives, in a third of the time: one decision asks for some ten of them.

    Raises:
        TypeError: There is no such field.
    """
    kind: Callable[..., T] = type(value)
    shape = _shape(kind)
    if shape is None:
        other: T = dataclasses.replace(value, **changes)  # type: ignore[type-var]
        return other
    read, places = shape
    fields = [*read(value)]
    try:
        for name, new in changes.items():
            fields[places[name]] = new
    except KeyError as e:
        raise TypeError(f"{type(value).__name__} has no field {e}") from None
    return kind(*fields)


@cache
def _shape(kind: Any) -> _Shape | None:
    """How to read all fields at once, and where each stands; None where they are not given in that order."""
    fields = dataclasses.fields(kind)
    if len(fields) < 2 or not all(f.init and not f.kw_only for f in fields):
        return None
    return attrgetter(*(f.name for f in fields)), {f.name: place for place, f in enumerate(fields)}


if TYPE_CHECKING:
    from dataclasses import replace as replace  # so that mypy knows what may be changed, and to what
else:
    replace = _replaced
