"""What people put into elements: found by id, put into Slack's shapes, checked as its client does."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from orchestrator.emulator.slack.elements import DATE, DECIMAL, INTEGER, TIME
from orchestrator.emulator.slack.views import View
from orchestrator.emulator.slack.workspace import (
    Message,
    every_block,
    interactive,
    sent_along,
    state_entry,
    value_key,
)


class CannotClick(LookupError):  # noqa: N818  says what a person could not do
    """There is no such message, element, modal or address to click with."""


Values = Mapping[str, Any]
"""What is put into inputs: by block id, then by action id; or by block id alone where it has one element."""


def by_action(blocks: list[dict[str, Any]], values: Values) -> dict[str, dict[str, Any]]:
    """The same values, every one under its action id.

    Raises:
        CannotClick: A value stands under a block that is not there or has not exactly one element.
    """
    made: dict[str, dict[str, Any]] = {}
    for block_id, given in values.items():
        if isinstance(given, Mapping):
            made[block_id] = dict(given)
            continue
        elements = [e for b in every_block(blocks) if b["block_id"] == block_id for e in interactive(b)]
        if len(elements) != 1:
            raise CannotClick(f"{block_id!r} has {len(elements)} elements to fill in, not one")
        made[block_id] = {elements[0]["action_id"]: given}
    return made


def missing_inputs(view: View) -> dict[str, str]:
    """By block id, what Slack's client says about a form before it sends it; empty when it would."""
    said: dict[str, str] = {}
    for block in view.blocks:
        if block["type"] != "input":
            continue
        element = block["element"]
        value = view.state[block["block_id"]][element["action_id"]][value_key(element)]
        if not value and not block.get("optional"):
            said[block["block_id"]] = "Please complete this required field."
        elif amiss := wrong_value(element, value):
            said[block["block_id"]] = amiss
    return said


def wrong_value(element: Mapping[str, Any], value: Any) -> str:
    """What Slack's client says about a value it will not send; empty when it will."""
    if isinstance(value, list):
        most = element.get("max_selected_items")
        return f"Please choose at most {most}." if most is not None and len(value) > most else ""
    if not isinstance(value, str):
        return ""
    match element["type"]:
        case "plain_text_input":
            return _wrong_length(element, value)
        case "number_input":
            return _wrong_number(element, value)
        case kind if kind in _PATTERNS and not _PATTERNS[kind][0].fullmatch(value):
            return _PATTERNS[kind][1]
        case _:
            return ""


_PATTERNS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "datepicker": (DATE, "Please enter a date as YYYY-MM-DD."),
    "timepicker": (TIME, "Please enter a time as HH:MM."),
    "email_text_input": (re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"), "Please enter a valid email address."),
    "url_text_input": (re.compile(r"https?://\S+"), "Please enter a valid URL."),
}


def _wrong_length(element: Mapping[str, Any], value: str) -> str:
    if len(value) > element.get("max_length", 3000):
        return f"Please use at most {element.get('max_length', 3000)} characters."
    if len(value) < element.get("min_length", 0):
        return f"Please use at least {element['min_length']} characters."
    return ""


def _wrong_number(element: Mapping[str, Any], value: str) -> str:
    """Numbers are compared as decimals: a float would round what a person typed."""
    pattern = DECIMAL if element["is_decimal_allowed"] else INTEGER
    if not pattern.fullmatch(value):
        return f"Please enter a {'' if element['is_decimal_allowed'] else 'whole '}number."
    low, high = element.get("min_value"), element.get("max_value")
    if low is not None and Decimal(value) < Decimal(low):
        return f"Please enter a number of at least {low}."
    if high is not None and Decimal(value) > Decimal(high):
        return f"Please enter a number of at most {high}."
    return ""


def type_into(message: Message, user: str, values: Values) -> None:
    """Put something into a message's input blocks, as one person, without pressing anything.

    Args:
        values: By block id and action id: the text, an option's value, an id, or a list of these.

    Raises:
        CannotClick: No such input, not an option it offers, or a text of a wrong length.
    """
    for block_id, row in by_action(message.blocks, values).items():
        for action_id, given in row.items():
            block, element = find_element(message.blocks, action_id, block_id)
            if not sent_along(block):
                raise CannotClick(f"{block_id} is not an input that goes along with a press")
            value = chosen_value(element, given)
            if amiss := wrong_value(element, value):
                raise CannotClick(f"{block_id}: {amiss}")
            mine = message.typed.setdefault(user, {}).setdefault(block_id, {})
            mine[action_id] = state_entry(element, value)


def usable_errors(view: View, errors: Any) -> dict[str, str]:
    """Errors may only name input blocks of this view."""
    inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
    if not isinstance(errors, dict) or not errors or set(errors) - inputs:
        raise ValueError(f"errors must name input blocks, of which there are {sorted(inputs)}")
    return {block_id: str(said) for block_id, said in errors.items()}


def find_element(
    blocks: list[dict[str, Any]], action_id: str, block_id: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first element with this action id, and its block.

    Raises:
        CannotClick: There is none.
    """
    for block in every_block(blocks):
        for element in interactive(block):
            if element.get("action_id") == action_id and block_id in (None, block["block_id"]):
                return block, element
    raise CannotClick(f"nothing here has the action id {action_id!r}")


def chosen_value(element: dict[str, Any], given: Any) -> Any:
    """What stands in state and actions for what a person chose: an option object, an id, or a text.

    Raises:
        CannotClick: Not an option this element offers.
    """
    key = value_key(element) if element["type"] != "overflow" else "selected_option"
    if key == "selected_options":
        listed = given if isinstance(given, list) else [given] if given else []
        return [_option(element, one) for one in listed]
    if key == "selected_option":
        return _option(element, given) if given else None
    if key == "selected_date_time":
        return _unix_seconds(given)
    if key.endswith("s"):
        return list(given) if isinstance(given, list) else [given] if given else []
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return str(given)  # a number input sends what was typed
    return given or None  # an empty field is null


def _unix_seconds(given: Any) -> int | None:
    """A moment as Unix seconds, or as a browser's form spells it, in UTC."""
    try:
        if isinstance(given, str) and "T" in given:
            return int(datetime.fromisoformat(given).replace(tzinfo=UTC).timestamp())
        return int(given) if given else None
    except ValueError:
        raise CannotClick(f"{given!r} is no moment") from None


def _option(element: dict[str, Any], value: Any) -> dict[str, Any]:
    groups = element.get("option_groups") or []
    offered = [*element.get("options", []), *(option for group in groups for option in group["options"])]
    for option in offered:
        if option["value"] == value:
            return dict(option)
    raise CannotClick(f"{element.get('action_id')} has no option {value!r}")
