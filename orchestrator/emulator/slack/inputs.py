"""What people put into elements: found by id, put into Slack's shapes, checked as its client does."""

from typing import Any

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
        elif amiss := wrong_length(element, value):
            said[block["block_id"]] = amiss
    return said


def wrong_length(element: dict[str, Any], value: Any) -> str:
    """What Slack's client says about a text that is too long or too short; empty when it is neither."""
    if isinstance(value, str) and len(value) > element.get("max_length", 3000):
        return f"Please use at most {element.get('max_length', 3000)} characters."
    if isinstance(value, str) and len(value) < element.get("min_length", 0):
        return f"Please use at least {element['min_length']} characters."
    return ""


def type_into(message: Message, user: str, values: dict[str, dict[str, Any]]) -> None:
    """Put something into a message's input blocks, as one person, without pressing anything.

    Args:
        values: By block id and action id: the text, an option's value, an id, or a list of these.

    Raises:
        CannotClick: No such input, not an option it offers, or a text of a wrong length.
    """
    for block_id, row in values.items():
        for action_id, given in row.items():
            block, element = find_element(message.blocks, action_id, block_id)
            if not sent_along(block):
                raise CannotClick(f"{block_id} is not an input that goes along with a press")
            value = chosen_value(element, given)
            if amiss := wrong_length(element, value):
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
    if key.endswith("s"):
        return list(given) if isinstance(given, list) else [given] if given else []
    return given or None  # an empty field is null


def _option(element: dict[str, Any], value: Any) -> dict[str, Any]:
    groups = element.get("option_groups") or []
    offered = [*element.get("options", []), *(option for group in groups for option in group["options"])]
    for option in offered:
        if option["value"] == value:
            return dict(option)
    raise CannotClick(f"{element.get('action_id')} has no option {value!r}")
