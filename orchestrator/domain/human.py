"""Questions of the agent's own, put by the built-in tool `ask_human`, and what people may answer.

    text           any words
    choice         one of `choices`
    multi_choice   some of them, or none
    form           an object that fits `schema`

Nothing runs by such a call: a person's answer is its result. What `choose_media` asks is a question too, with
answers of its own, see `choosing`. The schema of a form is a small subset of JSON
Schema, one level of fields that every door can show; what is not of it is refused, never ignored.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any, Final

from orchestrator.domain import choosing
from orchestrator.domain.asking import is_own
from orchestrator.domain.consent import Approval, Terms, Verdict, readable
from orchestrator.domain.model import ToolCall
from orchestrator.domain.plain import MAX_SAFE_INTEGER, JsonObject
from orchestrator.errors import InvalidError

ASK_HUMAN: Final = "ask_human"
"""The built-in tool by which the agent asks people; no tool of a user's may have that name."""
QUESTIONS: Final = frozenset({ASK_HUMAN, choosing.CHOOSE_MEDIA})
"""The tools that people answer."""

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
DEEPEST: Final = 32

NOT_RUN: Final = "The tool did not run."
DECLINED_TEXT: Final = "A person declined to answer."
UNANSWERED_TEXT: Final = "Nobody answered in time."

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


class Kind(StrEnum):
    """What kind of answer is asked for."""

    TEXT = "text"
    CHOICE = "choice"
    MULTI_CHOICE = "multi_choice"
    FORM = "form"


def is_question(call: ToolCall) -> bool:
    """Whether people are asked something; nothing runs by it."""
    return call.tool in QUESTIONS


# --- the question ----------------------------------------------------------------------------------------


def faults(arguments: JsonObject) -> list[Fault]:
    """What is wrong with a question, for the model that put it; nothing if people can be asked it."""
    if arguments.get("kind") not in tuple(Kind):
        return [("kind", f"should be one of {', '.join(Kind)}")]
    kind = Kind(arguments["kind"])
    return [
        *_about_question(arguments.get("question")),
        *_about_choices(kind, arguments.get("choices")),
        *_about_schema(kind, arguments.get("schema")),
    ]


def _about_question(question: object) -> Iterator[Fault]:
    if not isinstance(question, str) or not readable(question):
        yield "question", "should say what is asked"


def _about_choices(kind: Kind, choices: object) -> Iterator[Fault]:
    if kind not in (Kind.CHOICE, Kind.MULTI_CHOICE):
        if choices is not None:
            yield "choices", f"are not for kind {kind}; leave them out"
        return
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not 2 <= len(choices) <= MOST_CHOICES:
        yield "choices", f"are needed for kind {kind}: 2 to {MOST_CHOICES} short texts"
        return
    if not all(_short(choice, CHOICE_CHARS) for choice in choices):
        yield "choices", f"should each be one line of 1 to {CHOICE_CHARS} characters"
    elif not _differ(choices):
        yield "choices", "should all differ"


def _about_schema(kind: Kind, schema: object) -> Iterator[Fault]:
    if kind is not Kind.FORM:
        if schema is not None:
            yield "schema", f"is not for kind {kind}; leave it out"
        return
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
        if not _short(name, FIELD_CHARS):
            yield "schema.properties", f"should have names of one line and at most {FIELD_CHARS} characters"
        else:
            yield from _about_field(f"schema.properties.{name}", field)


def _about_field(path: str, field: object) -> Iterator[Fault]:
    kind = field.get("type") if isinstance(field, Mapping) else None
    if not isinstance(field, Mapping) or not isinstance(kind, str) or kind not in _WORDS:
        yield path, f"should be an object with a type: {', '.join(_WORDS)}"
        return
    if strange := sorted(set(field) - _WORDS[kind]):
        yield path, f"may not say {', '.join(strange)[:100]} of a {kind}; known are {_list(_WORDS[kind])}"
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
        if not all(_number(n) and (not whole or (isinstance(n, int) and n >= 0)) for n in found):
            yield path, f"{low} and {high} should be {'whole numbers from 0' if whole else 'numbers'}"
        elif len(found) == 2 and found[0] > found[1]:
            yield path, f"{low} should not be above {high}"
        elif whole and field.get(low, 0) > TYPED_CHARS:
            yield path, f"{low} should be at most {TYPED_CHARS}"


def _enum(values: object) -> bool:
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_CHOICES:
        return False
    return all(_short(v, CHOICE_CHARS) for v in values) and _differ(values)


def _differ(texts: Sequence[str]) -> bool:
    """Whether people can tell each from the others; é looks the same in one character and in two."""
    return len({unicodedata.normalize("NFC", text).strip().casefold() for text in texts}) == len(texts)


def _short(text: object, most: int) -> bool:
    """One line with something to see in it."""
    return isinstance(text, str) and bool(text.strip()) and len(text) <= most and text.isprintable()


# --- the answer ------------------------------------------------------------------------------------------


def check(call: ToolCall, answer: Any) -> None:
    """Whether that is an answer to this call.

    Args:
        answer: Plain JSON.

    Raises:
        InvalidError: It is none; `fields` say where, each path beginning with `answer`.
    """
    found = list(_unfit(answer)) or list(_unfitting(call, answer))
    if found:
        raise InvalidError("that is no answer to this question", tuple(found[:20]))


def _unfitting(call: ToolCall, answer: Any) -> Iterator[Fault]:
    if choosing.is_choosing(call):
        yield from choosing.amiss(call.arguments, answer)
    elif is_question(call):
        yield from _amiss(call.arguments, answer)


def _unfit(answer: Any) -> Iterator[Fault]:
    """What no answer may be, whatever was asked."""
    if answer is None:
        yield "answer", "is missing"
    elif not _plain(answer, DEEPEST):
        yield "answer", "should be JSON that everybody reads alike: exact numbers, whole characters"
    elif len(json.dumps(answer, ensure_ascii=False)) > ANSWER_CHARS:
        yield "answer", f"should be at most {ANSWER_CHARS} characters"


def _plain(value: Any, deep: int) -> bool:
    match value:
        case None | bool():
            return True
        case str():
            return not any("\ud800" <= ch <= "\udfff" or ch == "\0" for ch in value)
        case int() | float():
            return _number(value)
        case list():
            return deep > 0 and all(_plain(v, deep - 1) for v in value)
        case dict():
            return deep > 0 and all(
                isinstance(k, str) and _plain(k, 0) and _plain(v, deep - 1) for k, v in value.items()
            )
        case _:
            return False


def _amiss(arguments: JsonObject, answer: Any) -> Iterator[Fault]:
    choices = arguments.get("choices") or []
    match arguments.get("kind"):
        case Kind.TEXT:
            if not isinstance(answer, str) or not answer.strip():
                yield "answer", "should be text"
        case Kind.CHOICE:
            if answer not in choices or not isinstance(answer, str):
                yield "answer", f"should be one of the choices: {_list(choices)}"
        case Kind.MULTI_CHOICE:
            yield from _chosen("answer", answer, choices)
        case Kind.FORM:
            yield from _filled(arguments.get("schema") or {}, answer)
        case _:  # older than this kind of tool: it was somebody's own
            yield "answer", "cannot be given: the question is of no kind there is"


def _chosen(path: str, answer: Any, choices: Sequence[str]) -> Iterator[Fault]:
    texts = isinstance(answer, list) and all(isinstance(one, str) for one in answer)
    if not texts or len(set(answer)) < len(answer) or set(answer) - set(choices):
        yield path, f"should be a list of different ones of {_list(choices)}"


def _filled(schema: Mapping[str, Any], answer: Any) -> Iterator[Fault]:
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
            yield path, f"should be one of {_list(field['enum'])}"
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
    if not _number(value):
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
    yield from _chosen(path, value, field["items"]["enum"])


_VALUES: Final[Mapping[str, Callable[[str, Mapping[str, Any], Any], Iterator[Fault]]]] = {
    "string": _string,
    "integer": _integer,
    "number": _numeric,
    "boolean": _boolean,
    "array": _array,
}


def _number(value: object) -> bool:
    """A number that JSON brings everywhere as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_SAFE_INTEGER if isinstance(value, int) else math.isfinite(value)


def _date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _list(texts: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(sorted(texts) if isinstance(texts, frozenset) else texts)[:300]


# --- whether it may be given, and what the model is told ---------------------------------------------------


def not_sayable(
    call: ToolCall, approval: Approval, verdict: Verdict, current: Terms | None = None
) -> str | None:
    """Why this question takes no such word; None where it does.

    Args:
        current: The terms in force at this moment, where they are known; they must let it be answered too.
    """
    if verdict.stop and (verdict.approve or verdict.refine or verdict.answer is not None):
        return "only a rejection stops the run"
    if verdict.answer is None:
        waits = is_question(call) and (verdict.approve or verdict.refine)
        return "this question waits for an answer, not for a yes" if waits else None
    if verdict.approve or verdict.refine:
        return "an answer is no approval; the tool does not run"
    if is_own(call):
        return "this question takes a yes or a no"
    allowed = approval.terms.answers and (current is None or current.answers)
    if not allowed and not is_question(call):
        return "this call cannot be answered in the tool's place"
    if sum(step.quorum for step in approval.terms.steps) > 1:
        return "an answer is one person's, and several people have to decide here"
    return None


def result(call: ToolCall, answer: Any) -> JsonObject:
    """What the model is told of an answer: not who gave it."""
    if choosing.is_choosing(call):
        answer = choosing.complete(call.arguments, answer)
    if is_question(call):
        return {"answer": answer, "answered_by": "a person"}
    return {"answered_by_a_person": answer, "note": NOT_RUN}
