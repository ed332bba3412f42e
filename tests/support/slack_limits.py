"""Block Kit's limits on the few blocks an approval is drawn with, apart from the code that draws them.

Source: Slack, "Block Kit" reference; the text budget is measured.
"""

from collections.abc import Iterator
from typing import Any

TEXT_BUDGET = 13_200
_LEAVES = {"rich_text_section", "rich_text_preformatted", "rich_text_quote"}


def faults(blocks: list[dict[str, Any]]) -> list[str]:
    """Everything Slack would refuse, in words; empty when it would take them."""
    found = [f for index, block in enumerate(blocks) for f in _block(block, f"block {index}")]
    ids = [block["block_id"] for block in blocks]
    if len(ids) != len(set(ids)):
        found.append("a block id twice")
    if len(blocks) > 50:
        found.append("more than 50 blocks")
    total = sum(len(text) for text in texts(blocks))
    return [*found, f"{total} characters of text"] if total > TEXT_BUDGET else found


def texts(value: Any) -> Iterator[str]:
    """Every string under a `text` key, however deep."""
    if isinstance(value, list):
        for entry in value:
            yield from texts(entry)
    elif isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for entry in value.values():
            yield from texts(entry)


def markup(value: Any) -> Iterator[str]:
    """Every string that Slack would read as mrkdwn."""
    if isinstance(value, list):
        for entry in value:
            yield from markup(entry)
    elif isinstance(value, dict):
        if value.get("type") in ("mrkdwn", "markdown"):
            yield value["text"]
        for entry in value.values():
            yield from markup(entry)


def _block(block: dict[str, Any], at: str) -> Iterator[str]:
    if not 1 <= len(block.get("block_id", "")) <= 255:
        yield f"{at}: block_id"
    match block:
        case {"type": "header", "text": {"type": "plain_text"} as text}:
            yield from _text(text, 150, at)
        case {"type": "section", "text": text}:
            yield from _text(text, 3000, at)
        case {"type": "section", "fields": list(fields)} if 1 <= len(fields) <= 10:
            yield from (f for field in fields for f in _text(field, 2000, at))
        case {"type": "context", "elements": list(elements)} if 1 <= len(elements) <= 10:
            yield from (f for element in elements for f in _text(element, 3000, at))
        case {"type": "actions", "elements": list(elements)} if 1 <= len(elements) <= 25:
            if len({e["action_id"] for e in elements}) != len(elements):
                yield f"{at}: an action_id twice"
            yield from (f for element in elements for f in _button(element, at))
        case {"type": "input", "label": label, "hint": hint, "element": element}:
            yield from (*_text(label, 2000, at), *_text(hint, 2000, at), *_field(element, at))
        case {"type": "rich_text", "elements": list(parts)} if parts:
            yield from (f for part in parts for f in _rich(part, at))
        case _:
            yield f"{at}: {block.get('type')} is not of the right shape"


def _units(text: str) -> int:
    """Slack does not say what it counts: UTF-16 units are never fewer than characters."""
    return len(text.encode("utf-16-le")) // 2


def _text(text: dict[str, Any], most: int, at: str) -> Iterator[str]:
    allowed = {"plain_text": {"type", "text", "emoji"}, "mrkdwn": {"type", "text", "verbatim"}}
    if set(text) - allowed.get(text["type"], set()):
        yield f"{at}: unknown fields {sorted(text)}"
    if not 1 <= _units(text["text"]) <= most:
        yield f"{at}: {_units(text['text'])} characters, allowed 1 to {most}"


def _button(button: dict[str, Any], at: str) -> Iterator[str]:
    if button.get("type") != "button":
        yield f"{at}: not a button"
    yield from _text(button["text"], 75, at)
    limits = {"value": 2000, "url": 3000, "accessibility_label": 75, "action_id": 255}
    yield from (
        f"{at}: {key}" for key, most in limits.items() if not 1 <= _units(button.get(key, "x")) <= most
    )
    if "confirm" in button:
        for key, most in {"title": 100, "text": 300, "confirm": 30, "deny": 30}.items():
            yield from _text(button["confirm"][key], most, f"{at} confirm")


def _field(field: dict[str, Any], at: str) -> Iterator[str]:
    if field.get("type") != "plain_text_input" or not 1 <= field.get("max_length", 3000) <= 3000:
        yield f"{at}: {field.get('type')}"
    yield from _text(field["placeholder"], 150, at)


def _rich(part: dict[str, Any], at: str) -> Iterator[str]:
    if part["type"] not in _LEAVES:
        yield f"{at}: {part['type']}"
    for element in part["elements"]:
        if element["type"] not in ("text", "link", "user"):
            yield f"{at}: {element['type']}"
        if not element.get("text", "x"):
            yield f"{at}: an empty text"
