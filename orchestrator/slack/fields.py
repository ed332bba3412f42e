"""One kind of field for each kind of argument, filled in with its value. No I/O.

Each gives back exactly what it was made from, or is none: where it could not hold the value unchanged.

    string             plain_text_input, of several lines when it is long or has them
    integer, number    number_input, read digit by digit
    boolean, enum      static_select
    date               datepicker
    list of an enum    multi_static_select
    everything else    plain_text_input that holds JSON, read strictly

Source: Slack, "Block elements" (limits of the inputs).
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from orchestrator.domain.plain import MAX_SAFE_INTEGER
from orchestrator.slack.entries import (
    ENTERED,
    LEFT_OUT,
    MISSING,
    MOST_TYPED,
    OUT,
    BadEntryError,
    compact,
    from_json,
    nothing,
    option,
    options_of,
    picked,
    typed_in,
    value_of,
)
from orchestrator.slack.kit import Block
from orchestrator.slack.text import visible, weight

_LONG: Final = 80  # characters from which on a text gets several lines
_KEPT: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?", re.ASCII)  # Slack keeps four places
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})", re.ASCII)
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,17})?", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

Read = Callable[[Mapping[str, Any]], Any]
Made = tuple[Block, Read, bool]


def made(about: Mapping[str, Any], value: Any, *, required: bool) -> Made | None:
    """The element for one argument, how it is read, and whether it may stay empty."""
    found = next((m for kind in _KINDS if (m := kind(about, value, required)) is not None), None)
    return found or _json(value, required)


def is_json(read: Read) -> bool:
    """Whether people write JSON into it."""
    return read is _read_json or read is _read_json_or_nothing


def _strange(value: Any, kind: type) -> bool:
    """Whether the tool has come to take something else since the call was asked about."""
    return value is not None and value is not MISSING and not isinstance(value, kind)


def _string(about: Mapping[str, Any], value: Any, required: bool) -> Made | None:
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
        text = typed_in(entry)
        return text or nothing(value, required)

    return element, read, not required


def _plain(value: str) -> bool:
    """Whether an input gives it back as it was, and shows all of it."""
    edges = value != value.strip() or any(row != row.rstrip() for row in value.split("\n"))
    return not edges and "\t" not in value and not visible(value)[1] and weight(value) <= MOST_TYPED


def _roomy(about: Mapping[str, Any]) -> bool:
    most = about.get("maxLength")
    return about.get("format") == "text" or (isinstance(most, int) and most > 2 * _LONG)


def _numeric(about: Mapping[str, Any], value: Any, required: bool) -> Made | None:
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
        text = typed_in(entry).strip()
        if not text:
            return nothing(value, required)
        if given and _NUMBER.fullmatch(text) and Decimal(text) == Decimal(given):
            return value  # 120 and 120.0 are the same number, and this one is the tool's own spelling
        return _exact(text) if kind == "number" else _whole(text)

    return element, read, not required


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text) or abs(int(text)) > MAX_SAFE_INTEGER:
        raise BadEntryError(f"must be a whole number, in digits, within ±{MAX_SAFE_INTEGER}")
    return int(text)


def _exact(text: str) -> int | float:
    """The number, if JSON brings it to the tool exactly as it was typed."""
    if not _NUMBER.fullmatch(text):
        raise BadEntryError("must be a number in digits, for example 12.5")
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return _whole(str(int(exact)))
    number = float(text)
    if Decimal(repr(number)) != exact:
        raise BadEntryError("has more digits than a number can hold exactly")
    return number


def _choice(about: Mapping[str, Any], value: Any, required: bool) -> Made | None:
    boolean = about.get("type") == "boolean" and "enum" not in about
    choices: Any = [True, False] if boolean else about.get("enum")
    options = options_of(choices)
    if options is None or (value is None and required):
        return None
    texts = [compact(choice) for choice in choices]
    if value is not None and value is not MISSING and compact(value) not in texts:
        return None
    if not required:
        options = [*options, option(LEFT_OUT, OUT)]
    element: Block = {"type": "static_select", "action_id": ENTERED, "options": options}
    if value is not MISSING and value is not None:
        element["initial_option"] = options[texts.index(compact(value))]

    def read(entry: Mapping[str, Any]) -> Any:
        chosen = entry.get("selected_option")
        if chosen is None or value_of(chosen) == OUT:
            return nothing(value, required)
        return picked(choices, chosen)

    return element, read, not required


def _dates(about: Mapping[str, Any], value: Any, required: bool) -> Made | None:
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
            return nothing(value, required)
        if not isinstance(chosen, str) or not _is_date(chosen):
            raise BadEntryError("must be a date, for example 2026-11-21")
        return chosen

    return element, read, not required


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _several(about: Mapping[str, Any], value: Any, required: bool) -> Made | None:
    items = about.get("items")
    if about.get("type") != "array" or not isinstance(items, Mapping) or "prefixItems" in about:
        return None
    choices = items.get("enum")
    options = options_of(choices)
    if options is None or not isinstance(choices, list) or (value is None and required):
        return None
    if _strange(value, list):
        return None
    texts = [compact(choice) for choice in choices]
    given = [compact(v) for v in value] if isinstance(value, list) else []
    if len(set(given)) != len(given) or set(given) - set(texts):
        return None
    element: Block = {"type": "multi_static_select", "action_id": ENTERED, "options": options}
    if given:
        element["initial_options"] = [options[texts.index(one)] for one in given]

    def read(entry: Mapping[str, Any]) -> Any:
        chosen = entry.get("selected_options") or []
        if not isinstance(chosen, list):
            raise BadEntryError("must be a choice of what is offered")
        found = {compact(picked(choices, one)) for one in chosen}
        if found == set(given) and (value is not MISSING or not required):
            return value  # Slack does not promise to keep the order
        return [choice for choice, text in zip(choices, texts, strict=True) if text in found]

    return element, read, True  # nothing chosen is a list too


_KINDS: Final = (_choice, _several, _dates, _string, _numeric)


def _json(value: Any, required: bool) -> Made | None:
    element = json_element(value)
    if element is None:
        return None
    return element, _read_json if required else _read_json_or_nothing, not required


def json_element(value: Any) -> Block | None:
    element: Block = {"type": "plain_text_input", "action_id": ENTERED, "multiline": True}
    element["max_length"] = MOST_TYPED
    if value is MISSING:
        return element
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if visible(text)[1]:
        text = json.dumps(value, ensure_ascii=True, indent=2)
    return element | {"initial_value": text} if weight(text) <= MOST_TYPED else None


def _read_json(entry: Mapping[str, Any]) -> Any:
    return from_json(typed_in(entry))


def _read_json_or_nothing(entry: Mapping[str, Any]) -> Any:
    text = typed_in(entry)
    return from_json(text) if text.strip() else MISSING
