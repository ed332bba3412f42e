"""Would Slack take these blocks? All faults at once, each with a pointer. No I/O here.

Blocks the stand-in cannot draw (`file`, `video`, `card`, `carousel`, charts) are refused as unsupported on
every surface, although Slack takes some of them: better a loud no here than a picture that is not shown.

Source: Slack, "Block Kit" reference and "Views"; the total text budget is measured, not documented.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from orchestrator.emulator.slack.elements import (
    ELEMENTS,
    ID,
    IMAGE_SOURCE,
    IN_ACTIONS,
    IN_CONTEXT_ACTIONS,
    IN_INPUT,
    IN_SECTION,
    RICH_TEXT_PARTS,
    TYPE,
    plain,
    text,
)
from orchestrator.emulator.slack.shapes import (
    Check,
    Fault,
    at_least_one,
    boolean,
    exactly_one,
    listing,
    number,
    one_of,
    record,
    string,
    tagged,
    url,
)

Surface = Literal["message", "modal", "home"]

TEXT_BUDGET: Final = 13_200
"""Characters of text in all blocks of one message together."""
MARKDOWN_BUDGET: Final = 12_000
VIEW_BYTES: Final = 250_000
MOST_BLOCKS: Final[Mapping[Surface, int]] = {"message": 50, "modal": 100, "home": 100}


def block(required: dict[str, Check], optional: dict[str, Check] | None = None, *rules: Check) -> Check:
    """A block: any may carry a block id."""
    return record({**TYPE, **required}, {"block_id": ID, **(optional or {})}, *rules)


def _within(block_type: str) -> Check:
    """A nested block of one type; looked up late because blocks may hold blocks."""

    def check(value: Any, at: str) -> Iterator[Fault]:
        yield from tagged(BLOCKS, (block_type,))(value, at)

    return check


def _child(value: Any, at: str) -> Iterator[Fault]:
    yield from tagged(BLOCKS, IN_CONTAINER)(value, at)


_CONTEXT: Final = tagged({"image": ELEMENTS["image"], **dict.fromkeys(("plain_text", "mrkdwn"), text(3000))})
_CELL: Final = tagged(
    {
        "raw_text": record({**TYPE, "text": string()}),
        "raw_number": record({**TYPE, "value": number}, {"text": string()}),
        "rich_text": record({**TYPE, "elements": RICH_TEXT_PARTS}),
    }
)
_COLUMN: Final = record({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean})
_SOURCE: Final = record({**TYPE, "url": url(), "text": string()})
_TASK: Final = {"task_id": string(), "title": string()}

BLOCKS: Final[dict[str, Check]] = {
    "header": block({"text": plain(150)}),
    "section": block(
        {},
        {
            "text": text(3000),
            "fields": listing(text(2000), most=10),
            "accessory": tagged(ELEMENTS, IN_SECTION),
            "expand": boolean,
        },
        at_least_one("text", "fields"),
    ),
    "divider": block({}),
    "image": block(
        {"alt_text": string(2000)},
        {**IMAGE_SOURCE, "title": plain(2000)},
        exactly_one("image_url", "slack_file"),
    ),
    "actions": block({"elements": listing(tagged(ELEMENTS, IN_ACTIONS), most=25)}),
    "context": block({"elements": listing(_CONTEXT, most=10)}),
    "context_actions": block({"elements": listing(tagged(ELEMENTS, IN_CONTEXT_ACTIONS), most=5)}),
    "input": block(
        {"label": plain(2000), "element": tagged(ELEMENTS, IN_INPUT)},
        {"hint": plain(2000), "optional": boolean, "dispatch_action": boolean},
    ),
    "rich_text": block({"elements": RICH_TEXT_PARTS}),
    "markdown": block({"text": string(MARKDOWN_BUDGET)}),
    "alert": block({"text": text(3000)}, {"level": one_of("default", "info", "warning", "error", "success")}),
    "table": block(
        {"rows": listing(listing(_CELL, most=20), most=100)}, {"column_settings": listing(_COLUMN, most=20)}
    ),
    "task_card": block(
        {**_TASK, "status": one_of("pending", "in_progress", "complete", "error")},
        {"details": _within("rich_text"), "output": _within("rich_text"), "sources": listing(_SOURCE)},
    ),
    "plan": block({"title": string()}, {"tasks": listing(_within("task_card"))}),
    "container": block(
        {"child_blocks": listing(_child, most=10)},
        {
            "title": plain(150),
            "rich_text_title": _within("rich_text"),
            "subtitle": text(150),
            "width": one_of("narrow", "standard", "wide", "full"),
            "icon": tagged(ELEMENTS, ("image",)),
            "is_collapsible": boolean,
            "default_collapsed": boolean,
            "has_header_divider": boolean,
        },
        at_least_one("title", "rich_text_title"),
    ),
}
IN_CONTAINER: Final = frozenset({"section", "divider", "image", "actions", "context", "rich_text", "table"})
_EVERYWHERE: Final = frozenset(
    {"header", "section", "divider", "image", "actions", "context", "input", "rich_text"}
)
SURFACES: Final[Mapping[Surface, frozenset[str]]] = {
    "message": _EVERYWHERE | {"context_actions", "markdown", "table", "task_card", "plan", "container"},
    "modal": _EVERYWHERE | {"alert"},
    "home": _EVERYWHERE,
}


def validate_blocks(blocks: Any, surface: Surface = "message", at: str = "/blocks") -> tuple[Fault, ...]:
    """Everything wrong with `blocks` on `surface`; empty when Slack would take them.

    The total text budget is not among these: see `text_length`.
    """
    shape = listing(tagged(BLOCKS, SURFACES[surface]), least=0, most=MOST_BLOCKS[surface])
    return (*shape(blocks, at), *_across(blocks if isinstance(blocks, list) else [], surface, at))


def _across(blocks: list[Any], surface: Surface, at: str) -> Iterator[Fault]:
    """Rules no single block can break."""
    yield from _unique_ids(blocks, at)
    if surface != "message":
        yield from (Fault(f, "only one element may have focus_on_load") for f in _focused(blocks, at)[1:])
    rows = [(i, b) for i, b in enumerate(blocks) if isinstance(b, dict)]
    tables = [i for i, b in rows if b.get("type") == "table"]
    yield from (Fault(f"{at}/{i}", "only one table allowed per message") for i in tables[1:])
    written = sum(
        len(b["text"]) for _, b in rows if b.get("type") == "markdown" and isinstance(b.get("text"), str)
    )
    if written > MARKDOWN_BUDGET:
        yield Fault(at, f"markdown blocks must be less than {MARKDOWN_BUDGET + 1} characters together")
    cards = [(i, b) for i, b in rows if b.get("type") == "task_card"]
    if surface == "message" and len(cards) == 1 and cards[0][1].get("status") == "pending":
        yield Fault(f"{at}/{cards[0][0]}/status", "a single task card may not be pending")


def _unique_ids(blocks: list[Any], at: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, entry in enumerate(blocks):
        if not isinstance(entry, dict):
            continue
        block_id = entry.get("block_id")
        if isinstance(block_id, str) and block_id in seen:
            yield Fault(f"{at}/{index}/block_id", f"`block_id` `{block_id}` is used more than once")
        if isinstance(block_id, str):
            seen.add(block_id)
        yield from _unique_actions(entry, f"{at}/{index}")


def _unique_actions(entry: dict[str, Any], at: str) -> Iterator[Fault]:
    elements = entry.get("elements")
    if entry.get("type") not in ("actions", "context_actions") or not isinstance(elements, list):
        return
    seen: set[str] = set()
    for index, one in enumerate(elements):
        action_id = one.get("action_id") if isinstance(one, dict) else None
        if isinstance(action_id, str) and action_id in seen:
            yield Fault(
                f"{at}/elements/{index}/action_id", f"`action_id` `{action_id}` is used more than once"
            )
        if isinstance(action_id, str):
            seen.add(action_id)


def _focused(value: Any, at: str) -> list[str]:
    """Where something takes the focus."""
    if isinstance(value, list):
        return [found for i, entry in enumerate(value) for found in _focused(entry, f"{at}/{i}")]
    if not isinstance(value, dict):
        return []
    own = [f"{at}/focus_on_load"] if value.get("focus_on_load") is True else []
    return [*own, *(found for key, entry in value.items() for found in _focused(entry, f"{at}/{key}"))]


def text_length(value: Any) -> int:
    """Characters under every `text` key of some blocks, which is what the budget counts."""
    if isinstance(value, list):
        return sum(text_length(entry) for entry in value)
    if not isinstance(value, dict):
        return 0
    own = len(value["text"]) if isinstance(value.get("text"), str) else 0
    return own + sum(text_length(entry) for entry in value.values())


_VIEW: Final = {
    "private_metadata": string(3000, least=0),
    "callback_id": string(255, least=0),
    "external_id": string(255, least=0),
}


def _blocks_of(surface: Surface) -> Check:
    return lambda value, at: iter(validate_blocks(value, surface, at))


def _submit_needed(view: Any, at: str) -> Iterator[Fault]:
    blocks = view["blocks"] if isinstance(view.get("blocks"), list) else []
    inputs = any(isinstance(b, dict) and b.get("type") == "input" for b in blocks)
    if inputs and view.get("submit") is None:
        yield Fault(at, "missing required field: submit")


_VIEWS: Final = {
    "modal": record(
        {**TYPE, "title": plain(24), "blocks": _blocks_of("modal")},
        {
            **_VIEW,
            "submit": plain(24),
            "close": plain(24),
            "clear_on_close": boolean,
            "notify_on_close": boolean,
            "submit_disabled": boolean,
        },
        _submit_needed,
    ),
    "home": record({**TYPE, "blocks": _blocks_of("home")}, _VIEW),
}


def validate_view(view: Any, at: str = "/view", *, kinds: tuple[str, ...] = ("modal",)) -> tuple[Fault, ...]:
    """Everything wrong with a view: a modal, or a Home tab where `kinds` says so."""
    return tuple(tagged(_VIEWS, kinds)(view, at))


def view_bytes(view: Any) -> int:
    """How long a view is as JSON, in UTF-8 bytes."""
    return len(json.dumps(view, ensure_ascii=False).encode("utf-8", "surrogatepass"))
