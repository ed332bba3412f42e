"""A tool's arguments as a form, and a filled-in form as arguments again. No I/O.

An unchanged form gives exactly the arguments it was made from. A value that a field of its own could not
bring back as it was, or whose letters an eye could miss, is JSON instead, invisible characters spelled out:

    string             plain_text_input, of several lines when it is long or has them
    integer, number    number_input, read digit by digit
    boolean, enum      static_select
    date               datepicker
    list of an enum    multi_static_select
    everything else    plain_text_input that holds JSON, read strictly

Source: Slack, "Block elements" (limits of the inputs), "view_submission payload" (`view.state.values`).
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.text import line, visible, weight
from orchestrator.strictjson import StrictReader

MOST_FIELDS: Final = 20
"""With more of them, all arguments are one field of JSON."""
MOST_TYPED: Final = 3_000
"""Characters an input of Slack's holds."""
MOST_BYTES: Final = 150_000  # of all fields; a view may have 250 kB
MOST_SEEN: Final = 10
"""Options of radio buttons and checkboxes."""
_SPREAD: Final = {"static_select": "radio_buttons", "multi_static_select": "checkboxes"}
ENTERED: Final = "v"
"""Action id of every field."""
_LONG: Final = 80  # characters from which on a text gets several lines
_MOST_OPTIONS: Final = 99  # one more is for "left out"
_LABEL: Final = 75
_OUT: Final = "out"
_LEFT_OUT: Final = "(left out)"
_KEPT: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?", re.ASCII)  # Slack keeps four places
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})", re.ASCII)
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,17})?", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SAFE_INTEGER: Final = 2**53 - 1
_READER: Final = StrictReader(depth=32, zero=False)

Read = Callable[[Mapping[str, Any]], Any]


class _Missing:
    """The argument is not there; what counts for it then is the tool's to say."""


MISSING: Final = _Missing()


class _BadEntryError(ValueError):
    """What was entered will not do; the text is for the person."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: where it stands, how it looks, and how its entry is read.

    Args:
        argument: Its name; empty for the field that holds all of them.
        read: From the element's state to the value, or `MISSING`; raises for what will not do.
    """

    argument: str
    block: Block
    read: Read

    @property
    def block_id(self) -> str:
        return str(self.block["block_id"])


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as it was sent: `arguments`, or `errors` by block id."""

    arguments: dict[str, Any] | None
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one tool's arguments."""

    fields: Sequence[Field]

    @property
    def blocks(self) -> list[Block]:
        return [field.block for field in self.fields]

    def sent(self, values: Mapping[str, Any]) -> bool:
        """Whether every field stood in the window: Slack sends the empty ones too.

        One that did not is not empty: who sent the window off has never seen it.
        """
        return all(field.block_id in values for field in self.fields)

    def filled(self, values: Mapping[str, Any]) -> Filled:
        """Read what was sent.

        Args:
            values: `view.state.values`; what is not of this form's blocks is ignored, a field that is not
                there or not of its shape is an error of that field.
        """
        arguments: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for field in self.fields:
            try:
                value = field.read(_entry(values, field.block_id))
            except _BadEntryError as e:
                errors[field.block_id] = str(e)
                continue
            if not field.argument:
                arguments = value
            elif value is not MISSING:
                arguments[field.argument] = value
        return Filled(None if errors else arguments, errors)

    def placed(self, problems: Sequence[tuple[str, str]], otherwise: str) -> dict[str, str]:
        """What is wrong with the arguments, at the fields it is about.

        Args:
            problems: (path, text) pairs as `InvalidError.fields` has them.
            otherwise: Said when there are none.
        """
        said: dict[str, list[str]] = {}
        for path, text in problems or [("", otherwise)]:
            field = self._about(path)
            inner = path if not field.argument else path.removeprefix(field.argument).lstrip(".")
            said.setdefault(field.block_id, []).append(f"{inner}: {text}" if inner else text)
        return {block_id: line("; ".join(texts), 500) for block_id, texts in said.items()}

    def _about(self, path: str) -> Field:
        named = [f for f in self.fields if f.argument and (path + ".").startswith(f.argument + ".")]
        return max(named, key=lambda f: len(f.argument), default=self.fields[0])


def spread(form: Form) -> Form:
    """The same with every choice to be seen at once: for at most `MOST_SEEN` of them."""
    return Form([replace(field, block=_spread(field.block)) for field in form.fields])


def _spread(block: Block) -> Block:
    element = block["element"]
    kind = _SPREAD.get(element["type"])
    return block if kind is None else block | {"element": element | {"type": kind}}


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two objects are the same JSON, types and all: 1 is neither 1.0 nor true."""
    return _compact(dict(one)) == _compact(dict(other))


def form(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Form | None:
    """The form for one call, filled in with its arguments; None where Slack's fields cannot hold them.

    Args:
        schema: JSON Schema of the arguments object, as the tool declares it to Gemini.
        arguments: As they are stored: plain JSON that fits the schema.
    """
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    if not known or len(known) > MOST_FIELDS or set(arguments) - set(known):
        fields = [_all(arguments)]
    else:
        required = schema.get("required") or ()
        fields = [
            _field(index, name, about, arguments.get(name, MISSING), required=name in required)
            for index, (name, about) in enumerate(known.items())
        ]
    whole = [field for field in fields if field is not None]
    if len(whole) < len(fields) or len(json.dumps([f.block for f in whole])) > MOST_BYTES:
        return None
    return Form(whole)


def _all(arguments: Mapping[str, Any]) -> Field | None:
    """Every argument in one field."""

    def read(entry: Mapping[str, Any]) -> Any:
        value = _from_json(_text(entry))
        if not isinstance(value, dict):
            raise _BadEntryError("must be a JSON object, in braces")
        return value

    element = _json_element(dict(arguments))
    return None if element is None else Field("", _input("f:all", "Arguments (JSON)", "", element), read)


def _field(index: int, name: str, schema: Any, value: Any, *, required: bool) -> Field | None:
    about = schema if isinstance(schema, Mapping) else {}
    made = next((m for kind in _KINDS if (m := kind(about, value, required)) is not None), None)
    made = made or _json(value, required)
    if made is None:
        return None
    element, read, optional = made
    # A form that was opened before the tool changed must not fit by accident.
    print_ = hashlib.sha256(f"{name}\0{element['type']}".encode("utf-8", "replace")).hexdigest()[:8]
    label = f"{name} (JSON)" if read is _read_json or read is _read_json_or_nothing else name
    block = _input(f"f:{index}:{print_}", label, str(about.get("description") or ""), element)
    return Field(name, block | ({"optional": True} if optional else {}), read)


# --- one kind of field each: None where it cannot hold the value unchanged -----------------------------

_Made = tuple[Block, Read, bool]


def _empty(value: Any) -> Any:
    """What an empty field stands for: null where it was null, else nothing at all."""
    return None if value is None else MISSING


def _strange(value: Any, kind: type) -> bool:
    """Whether the tool has come to take something else since the call was asked about."""
    return value is not None and value is not MISSING and not isinstance(value, kind)


def _string(about: Mapping[str, Any], value: Any, required: bool) -> _Made | None:
    if about.get("type") != "string" or "enum" in about or about.get("format") == "date":
        return None
    if (value is None and required) or _strange(value, str):
        return None
    if isinstance(value, str) and (not value or not _plain(value)):
        return None
    given = value if isinstance(value, str) else ""
    element: Block = {"type": "plain_text_input", "action_id": ENTERED, "max_length": MOST_TYPED}
    if "\n" in given or len(given) > _LONG or _roomy(about):
        element["multiline"] = True
    if given:
        element["initial_value"] = given

    def read(entry: Mapping[str, Any]) -> Any:
        text = _text(entry)
        return text or _nothing(value, required)

    return element, read, not required


def _plain(value: str) -> bool:
    """Whether an input gives it back as it was, and shows all of it."""
    edges = value != value.strip() or any(row != row.rstrip() for row in value.split("\n"))
    return not edges and "\t" not in value and not visible(value)[1] and weight(value) <= MOST_TYPED


def _roomy(about: Mapping[str, Any]) -> bool:
    most = about.get("maxLength")
    return about.get("format") == "text" or (isinstance(most, int) and most > 2 * _LONG)


def _numeric(about: Mapping[str, Any], value: Any, required: bool) -> _Made | None:
    kind = about.get("type")
    if kind not in ("integer", "number") or "enum" in about or (value is None and required):
        return None
    given = "" if value is None or value is MISSING else json.dumps(value)
    kept = _KEPT if kind == "number" else _WHOLE
    if given and (isinstance(value, bool) or not kept.fullmatch(given)):
        return None
    element: Block = {
        "type": "number_input",
        "action_id": ENTERED,
        "is_decimal_allowed": kind == "number",
    }
    if given:
        element["initial_value"] = given

    def read(entry: Mapping[str, Any]) -> Any:
        text = _text(entry).strip()
        if not text:
            return _nothing(value, required)
        if given and _NUMBER.fullmatch(text) and Decimal(text) == Decimal(given):
            return value  # 120 and 120.0 are the same number, and this one is the tool's own spelling
        return _exact(text) if kind == "number" else _whole(text)

    return element, read, not required


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text) or abs(int(text)) > _SAFE_INTEGER:
        raise _BadEntryError(f"must be a whole number, in digits, within ±{_SAFE_INTEGER}")
    return int(text)


def _exact(text: str) -> int | float:
    """The number, if JSON brings it to the tool exactly as it was typed."""
    if not _NUMBER.fullmatch(text):
        raise _BadEntryError("must be a number in digits, for example 12.5")
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return _whole(str(int(exact)))
    number = float(text)
    if Decimal(repr(number)) != exact:
        raise _BadEntryError("has more digits than a number can hold exactly")
    return number


def _choice(about: Mapping[str, Any], value: Any, required: bool) -> _Made | None:
    boolean = about.get("type") == "boolean" and "enum" not in about
    choices: Any = [True, False] if boolean else about.get("enum")
    options = _options(choices)
    if options is None or (value is None and required):
        return None
    texts = [_compact(choice) for choice in choices]
    if value is not None and value is not MISSING and _compact(value) not in texts:
        return None
    if not required:
        options = [*options, _option(_LEFT_OUT, _OUT)]
    element: Block = {"type": "static_select", "action_id": ENTERED, "options": options}
    if value is not MISSING and value is not None:
        element["initial_option"] = options[texts.index(_compact(value))]

    def read(entry: Mapping[str, Any]) -> Any:
        chosen = entry.get("selected_option")
        if chosen is None or _value(chosen) == _OUT:
            return _nothing(value, required)
        return _picked(choices, chosen)

    return element, read, not required


def _dates(about: Mapping[str, Any], value: Any, required: bool) -> _Made | None:
    if about.get("type") != "string" or about.get("format") != "date" or "enum" in about:
        return None
    if (value is None and required) or _strange(value, str):
        return None
    given = value if isinstance(value, str) else ""
    if given and not _is_date(given):
        return None
    element: Block = {"type": "datepicker", "action_id": ENTERED}
    if given:
        element["initial_date"] = given

    def read(entry: Mapping[str, Any]) -> Any:
        chosen = entry.get("selected_date")
        if chosen is None:
            return _nothing(value, required)
        if not isinstance(chosen, str) or not _is_date(chosen):
            raise _BadEntryError("must be a date, for example 2026-11-21")
        return chosen

    return element, read, not required


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _several(about: Mapping[str, Any], value: Any, required: bool) -> _Made | None:
    items = about.get("items")
    if about.get("type") != "array" or not isinstance(items, Mapping) or "prefixItems" in about:
        return None
    choices = items.get("enum")
    options = _options(choices)
    if options is None or not isinstance(choices, list) or (value is None and required):
        return None
    if _strange(value, list):
        return None
    texts = [_compact(choice) for choice in choices]
    given = [_compact(v) for v in value] if isinstance(value, list) else []
    if len(set(given)) != len(given) or set(given) - set(texts):
        return None
    element: Block = {"type": "multi_static_select", "action_id": ENTERED, "options": options}
    if given:
        element["initial_options"] = [options[texts.index(one)] for one in given]

    def read(entry: Mapping[str, Any]) -> Any:
        chosen = entry.get("selected_options") or []
        if not isinstance(chosen, list):
            raise _BadEntryError("must be a choice of what is offered")
        picked = [_picked(choices, one) for one in chosen]
        found = {_compact(one) for one in picked}
        if found == set(given) and (value is not MISSING or not required):
            return value  # Slack does not promise to keep the order
        return [choice for choice, text in zip(choices, texts, strict=True) if text in found]

    return element, read, True  # nothing chosen is a list too


_KINDS: Final = (_choice, _several, _dates, _string, _numeric)


def _json(value: Any, required: bool) -> _Made | None:
    element = _json_element(value)
    if element is None:
        return None
    return element, _read_json if required else _read_json_or_nothing, not required


def _json_element(value: Any) -> Block | None:
    element: Block = {"type": "plain_text_input", "action_id": ENTERED, "multiline": True}
    element["max_length"] = MOST_TYPED
    if value is MISSING:
        return element
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if visible(text)[1]:
        text = json.dumps(value, ensure_ascii=True, indent=2)
    return element | {"initial_value": text} if weight(text) <= MOST_TYPED else None


def _read_json(entry: Mapping[str, Any]) -> Any:
    return _from_json(_text(entry))


def _read_json_or_nothing(entry: Mapping[str, Any]) -> Any:
    text = _text(entry)
    return _from_json(text) if text.strip() else MISSING


def _from_json(text: str) -> Any:
    if not text.strip():
        raise _BadEntryError("is required")
    try:
        return _READER.read(text.strip().encode("utf-8"))
    except json.JSONDecodeError as e:
        raise _BadEntryError(f"is not JSON: {e.msg}, line {e.lineno}, column {e.colno}") from e
    except UnicodeError as e:
        raise _BadEntryError("holds half a character") from e
    except ValueError as e:
        raise _BadEntryError(str(e)) from e


# --- entries and options ---------------------------------------------------------------------------------


def _entry(values: Mapping[str, Any], block_id: str) -> Mapping[str, Any]:
    row = values.get(block_id)
    entry = row.get(ENTERED) if isinstance(row, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def _text(entry: Mapping[str, Any]) -> str:
    value = entry.get("value")
    if value is None:
        return ""
    if not isinstance(value, str) or weight(value) > MOST_TYPED:
        raise _BadEntryError(f"must be text of at most {MOST_TYPED} characters")
    if any("\ud800" <= ch <= "\udfff" for ch in value) or "\0" in value:
        raise _BadEntryError("holds half a character")
    return value


def _nothing(value: Any, required: bool) -> Any:
    if required:
        raise _BadEntryError("is required")
    return _empty(value)


def _compact(value: Any) -> str:
    """Type and value in one text: 1, 1.0, true and "1" all differ."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True)


def _options(choices: Any) -> list[Block] | None:
    """What is offered, by position; None where it cannot be told apart, or is too much."""
    if not isinstance(choices, list) or not 1 <= len(choices) <= _MOST_OPTIONS:
        return None
    labels = [line(c if isinstance(c, str) else json.dumps(c), _LABEL) for c in choices]
    if len({*labels, _LEFT_OUT}) != len(choices) + 1:
        return None
    return [_option(label, str(index)) for index, label in enumerate(labels)]


def _option(label: str, value: str) -> Block:
    return {"text": kit.plain(label, _LABEL), "value": value}


def _value(option: Any) -> str:
    value = option.get("value") if isinstance(option, Mapping) else None
    return value if isinstance(value, str) else ""


def _picked(choices: Sequence[Any], option: Any) -> Any:
    value = _value(option)
    index = int(value) if value.isascii() and value.isdigit() and len(value) < 4 else -1
    if not 0 <= index < len(choices):
        raise _BadEntryError("must be one of what is offered")
    return choices[index]


def _input(block_id: str, label: str, hint: str, element: Block) -> Block:
    block = {"type": "input", "block_id": block_id, "label": kit.plain(label, _LABEL), "element": element}
    return block | ({"hint": kit.plain(hint, 300)} if hint.strip() else {})
