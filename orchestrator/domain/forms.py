"""Forms that people fill in: what their schema may say, and what is amiss with an answer.

A form's schema is a small subset of JSON Schema, one level of fields that every door can show; what is not
of it is refused, never ignored.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from orchestrator.domain.plain import MAX_SAFE_INTEGER

MOST_CHOICES: Final = 20
CHOICE_CHARS: Final = 75
MOST_FIELDS: Final = 20
FIELD_CHARS: Final = 64
TYPED_CHARS: Final = 3_000
"""No field of Slack's holds more: a text that has to be longer could not be given there."""
SCHEMA_CHARS: Final = 8_000
"""Of a form's schema, as JSON."""
ANSWER_CHARS: Final = 20_000
"""Of an answer, as JSON."""
Fault = tuple[str, str]
"""Where, by its path, and what is expected there."""
_ABOUT: Final = frozenset({"type", "title", "description"})
_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "string": _ABOUT | {"enum", "minLength", "maxLength", "format"},
    "integer": _ABOUT | {"minimum", "maximum"},
    "number": _ABOUT | {"minimum", "maximum"},
    "boolean": _ABOUT,
    "array": _ABOUT | {"items"},
}
"""What a form's field may say of itself, by its type."""


def faults(schema: object) -> Iterator[Fault]:
    """What is wrong with a form's schema; nothing if people can be shown it."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        yield "schema", "is needed for kind form: a JSON Schema of type object with properties"
    elif len(json.dumps(schema)) > SCHEMA_CHARS:
        yield "schema", f"is longer than {SCHEMA_CHARS} characters"
    else:
        yield from _about_fields(schema)


def _about_fields(schema: Mapping[str, Any]) -> Iterator[Fault]:
    fields, required = schema.get("properties"), schema.get("required", [])
    if strange := sorted(set(schema) - _ABOUT - {"properties", "required"}):
        yield "schema", f"may not say {', '.join(strange)[:100]}"
    yield from _texts("schema", schema)
    if not isinstance(fields, Mapping) or not 1 <= len(fields) <= MOST_FIELDS:
        yield "schema.properties", f"should be 1 to {MOST_FIELDS} fields"
        return
    if not isinstance(required, list) or not all(isinstance(n, str) and n in fields for n in required):
        yield "schema.required", "should be a list of names of its properties"
    for name, field in fields.items():
        if not short(name, FIELD_CHARS):
            yield "schema.properties", f"should have names of one line and at most {FIELD_CHARS} characters"
        else:
            yield from _about_field(f"schema.properties.{name}", field)


def _about_field(path: str, field: object) -> Iterator[Fault]:
    kind = field.get("type") if isinstance(field, Mapping) else None
    if not isinstance(field, Mapping) or not isinstance(kind, str) or kind not in _WORDS:
        yield path, f"should be an object with a type: {', '.join(_WORDS)}"
        return
    if strange := sorted(set(field) - _WORDS[kind]):
        yield path, f"may not say {', '.join(strange)[:100]} of a {kind}; known are {listed(_WORDS[kind])}"
    yield from _texts(path, field)
    yield from _bounds(path, field)
    if "enum" in field and not _enum(field["enum"]):
        yield f"{path}.enum", f"should be 1 to {MOST_CHOICES} different short texts"
    if "format" in field and (field["format"] != "date" or "enum" in field):
        yield f"{path}.format", "should be date, without an enum"
    items = field.get("items")
    if kind == "array" and not (
        isinstance(items, Mapping) and set(items) == {"type", "enum"} and _texts_of(items)
    ):
        yield f"{path}.items", "should be {type: string, enum: […]}, what is to be chosen from"


def _texts_of(items: Mapping[str, Any]) -> bool:
    return items["type"] == "string" and _enum(items["enum"])


def _texts(path: str, about: Mapping[str, Any]) -> Iterator[Fault]:
    for word in ("title", "description"):
        if word in about and not isinstance(about[word], str):
            yield f"{path}.{word}", "should be text"


def _bounds(path: str, field: Mapping[str, Any]) -> Iterator[Fault]:
    for low, high, whole in (("minLength", "maxLength", True), ("minimum", "maximum", False)):
        found = [field[word] for word in (low, high) if word in field]
        if not all(is_number(n) and (not whole or (isinstance(n, int) and n >= 0)) for n in found):
            yield path, f"{low} and {high} should be {'whole numbers from 0' if whole else 'numbers'}"
        elif len(found) == 2 and found[0] > found[1]:
            yield path, f"{low} should not be above {high}"
        elif whole and field.get(low, 0) > TYPED_CHARS:
            yield path, f"{low} should be at most {TYPED_CHARS}"


def _enum(values: object) -> bool:
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_CHOICES:
        return False
    return all(short(v, CHOICE_CHARS) for v in values) and differ(values)


# --- as it was filled in ---------------------------------------------------------------------------------


def amiss(schema: Mapping[str, Any], answer: Any) -> Iterator[Fault]:
    """What is wrong with a form as it was filled in; nothing if it fits."""
    if not isinstance(answer, dict):
        yield "answer", "should be an object"
        return
    fields: Mapping[str, Any] = schema.get("properties") or {}
    yield from ((f"answer.{name}", "is not a field of this form") for name in answer if name not in fields)
    yield from (
        (f"answer.{name}", "is required") for name in schema.get("required", ()) if name not in answer
    )
    for name, field in fields.items():
        if name in answer:
            yield from _VALUES[field["type"]](f"answer.{name}", field, answer[name])


def _string(path: str, field: Mapping[str, Any], value: Any) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield path, "should be text"
    elif "enum" in field:
        if value not in field["enum"]:
            yield path, f"should be one of {listed(field['enum'])}"
    elif len(value) < field.get("minLength", 0):
        yield path, f"should have at least {field['minLength']} characters"
    elif len(value) > field.get("maxLength", ANSWER_CHARS):
        yield path, f"should have at most {field['maxLength']} characters"
    elif field.get("format") == "date" and not _date(value):
        yield path, "should be a date, for example 2026-11-21"


def _integer(path: str, field: Mapping[str, Any], value: Any) -> Iterator[Fault]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield path, "should be a whole number"
    else:
        yield from _within(path, field, value)


def _numeric(path: str, field: Mapping[str, Any], value: Any) -> Iterator[Fault]:
    if not is_number(value):
        yield path, "should be a number"
    else:
        yield from _within(path, field, value)


def _within(path: str, field: Mapping[str, Any], value: float) -> Iterator[Fault]:
    if value < field.get("minimum", -math.inf):
        yield path, f"should be at least {field['minimum']}"
    if value > field.get("maximum", math.inf):
        yield path, f"should be at most {field['maximum']}"


def _boolean(path: str, field: Mapping[str, Any], value: Any) -> Iterator[Fault]:
    if not isinstance(value, bool):
        yield path, "should be true or false"


def _array(path: str, field: Mapping[str, Any], value: Any) -> Iterator[Fault]:
    yield from chosen(path, value, field["items"]["enum"])


_VALUES: Final[Mapping[str, Callable[[str, Mapping[str, Any], Any], Iterator[Fault]]]] = {
    "string": _string,
    "integer": _integer,
    "number": _numeric,
    "boolean": _boolean,
    "array": _array,
}


# --- what questions without a form are made of, too -------------------------------------------------------


def differ(texts: Sequence[str]) -> bool:
    """Whether people can tell each from the others; é looks the same in one character and in two."""
    return len({unicodedata.normalize("NFC", text).strip().casefold() for text in texts}) == len(texts)


def short(text: object, most: int) -> bool:
    """One line with something to see in it."""
    return isinstance(text, str) and bool(text.strip()) and len(text) <= most and text.isprintable()


def chosen(path: str, answer: Any, choices: Sequence[str]) -> Iterator[Fault]:
    """Whether some of the choices are named, each once."""
    texts = isinstance(answer, list) and all(isinstance(one, str) for one in answer)
    if not texts or len(set(answer)) < len(answer) or set(answer) - set(choices):
        yield path, f"should be a list of different ones of {listed(choices)}"


def is_number(value: object) -> bool:
    """A number that JSON brings everywhere as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_SAFE_INTEGER if isinstance(value, int) else math.isfinite(value)


def _date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def listed(texts: Sequence[str] | frozenset[str]) -> str:
    """For a sentence; cut where there are many."""
    return ", ".join(sorted(texts) if isinstance(texts, frozenset) else texts)[:300]
