"""Frozen values, and the same with other fields.

They are made in C: a decision makes some thirty of them, and a frozen dataclass takes twenty times as long
to make and to replace. No module of the domain but this one knows the library.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Final, dataclass_transform

import msgspec
from msgspec import field as field

sorted_json: Final = msgspec.json.Encoder(order="sorted").encode
"""Compact JSON in UTF-8, names in order. Raises `UnicodeEncodeError` where half a character stands in it."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value(msgspec.Struct, frozen=True):
    """What never changes once it is made: equal where its kind and all its fields are."""


def _replaced(value: Any, /, **changes: Any) -> Any:
    """The same with other fields; of a dataclass, too, as the rooms above have them.

    Raises:
        TypeError: There is no such field.
    """
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)


if TYPE_CHECKING:
    from dataclasses import replace as replace  # so that mypy knows what may be changed, and to what
else:
    replace = _replaced
