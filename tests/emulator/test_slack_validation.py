"""Blocks Slack would refuse are refused here, with the right pointer, and blocks at their limits are not."""

# ruff: noqa: E501  a table reads better with one row a line

import copy
from typing import Any

import pytest

from orchestrator.emulator.slack.validation import (
    SURFACES,
    Surface,
    text_length,
    validate_blocks,
    validate_view,
    view_bytes,
)

Blocks = list[dict[str, Any]]


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def button(**more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "a", "text": plain("Go"), **more}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def section(text: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": mrkdwn(text), **more}


def option(value: str = "v", text: str = "t") -> dict[str, Any]:
    return {"text": plain(text), "value": value}


def select(kind: str = "static_select", **more: Any) -> dict[str, Any]:
    return {"type": kind, "action_id": "s", "options": [option()], **more}


def field(element: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "input", "block_id": "i", "label": plain("Why"), "element": element, **more}


def rich(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": list(parts)}


def rich_section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def confirm(**more: Any) -> dict[str, Any]:
    dialog = {
        "title": plain("Sure?"),
        "text": plain("It runs."),
        "confirm": plain("Yes"),
        "deny": plain("No"),
    }
    return {**dialog, **more}


def modal(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "modal", "title": plain("T"), "submit": plain("Go"), "blocks": list(blocks), **more}


def pointers(blocks: Any, surface: Surface = "message") -> list[str]:
    return [fault.pointer for fault in validate_blocks(blocks, surface)]


DANA = {"type": "mrkdwn", "verbatim": True, "text": "*For*\n<@U0DANA>"}
RISK = {"type": "mrkdwn", "verbatim": True, "text": "*Risk*\nHigh: moves money"}
RUN = {"type": "mrkdwn", "verbatim": True, "text": "*Run*\n<https://hitl.example.com/runs/run_9|run_9>"}
NOTE = '{\n  "note": "<!channel> <https://evil.example|Approve here>"\n}'
EXAMPLE: Blocks = [
    {"type": "header", "block_id": "h:1", "text": {**plain("Approval needed: refund_order"), "emoji": False}},
    {"type": "section", "block_id": "m:1", "fields": [mrkdwn("*Agent*\nsupport-bot"), DANA, RISK, RUN]},
    {
        "type": "rich_text",
        "block_id": "a:1",
        "elements": [
            rich_section(said("Arguments", style={"bold": True})),
            {"type": "rich_text_preformatted", "elements": [said(NOTE)]},
            {"type": "rich_text_quote", "elements": [said("Customer was charged twice.")]},
        ],
    },
    {
        "type": "context",
        "block_id": "c:1",
        "elements": [
            mrkdwn("1 of <!subteam^S0APPROVERS> · expires <!date^1795291800^{time}|15:30 UTC> · `req_01`")
        ],
    },
    {
        "type": "actions",
        "block_id": "decide:1",
        "elements": [
            {
                **button(action_id="approve", style="primary", value="req_01|1|q8Zt", confirm=confirm()),
                "accessibility_label": "Approve refund_order, request req_01",
            },
            button(action_id="edit", value="req_01|1|q8Zt"),
            button(action_id="reject", style="danger", value="req_01|1|q8Zt"),
            button(action_id="details", value="req_01|1|q8Zt"),
        ],
    },
]


def test_an_approval_message_passes() -> None:
    assert validate_blocks(EXAMPLE) == ()


# fmt: off
BROKEN: list[tuple[str, Any, str]] = [
    ("not an array", {"type": "divider"}, "/blocks"),
    ("not an object", ["divider"], "/blocks/0"),
    ("no type", [{"text": plain("x")}], "/blocks/0"),
    ("unknown type", [{"type": "banner"}], "/blocks/0/type"),
    ("file block", [{"type": "file", "external_id": "x", "source": "remote"}], "/blocks/0/type"),
    ("alert in a message", [{"type": "alert", "text": plain("x")}], "/blocks/0/type"),
    ("unknown property", [{"type": "divider", "colour": "red"}], "/blocks/0"),
    ("header in mrkdwn", [{"type": "header", "text": mrkdwn("x")}], "/blocks/0/text/type"),
    ("header without text", [{"type": "header"}], "/blocks/0"),
    ("header empty", [{"type": "header", "text": plain("")}], "/blocks/0/text/text"),
    ("section without anything", [{"type": "section"}], "/blocks/0"),
    ("section, empty text", [section("")], "/blocks/0/text/text"),
    ("section, text a string", [{"type": "section", "text": "x"}], "/blocks/0/text"),
    ("text not a string", [{"type": "section", "text": {"type": "mrkdwn", "text": 7}}], "/blocks/0/text/text"),
    ("verbatim on plain_text", [section(accessory=button(text={**plain("x"), "verbatim": True}))], "/blocks/0/accessory/text"),
    ("no fields", [{"type": "section", "fields": []}], "/blocks/0/fields"),
    ("second field empty", [{"type": "section", "fields": [plain("x"), plain("")]}], "/blocks/0/fields/1/text"),
    ("input as accessory", [section(accessory={"type": "plain_text_input"})], "/blocks/0/accessory/type"),
    ("context without elements", [{"type": "context", "elements": []}], "/blocks/0/elements"),
    ("button in context", [{"type": "context", "elements": [button()]}], "/blocks/0/elements/0/type"),
    ("actions without elements", [actions()], "/blocks/0/elements"),
    ("text input in actions", [actions({"type": "plain_text_input"})], "/blocks/0/elements/0/type"),
    ("button without text", [actions({"type": "button"})], "/blocks/0/elements/0"),
    ("button in mrkdwn", [actions(button(text=mrkdwn("x")))], "/blocks/0/elements/0/text/type"),
    ("button style", [actions(button(style="success"))], "/blocks/0/elements/0/style"),
    ("button address", [actions(button(url="javascript:alert(1)"))], "/blocks/0/elements/0/url"),
    ("button empty value", [actions(button(value=""))], "/blocks/0/elements/0/value"),
    ("value not a string", [actions(button(value={"a": 1}))], "/blocks/0/elements/0/value"),
    ("same action id", [actions(button(), button())], "/blocks/0/elements/1/action_id"),
    ("same block id", [{"type": "divider", "block_id": "b"}, section(block_id="b")], "/blocks/1/block_id"),
    ("confirm without title", [actions(button(confirm={**confirm(), "title": None}))], "/blocks/0/elements/0/confirm"),
    ("confirm title mrkdwn", [actions(button(confirm=confirm(title=mrkdwn("x"))))], "/blocks/0/elements/0/confirm/title/type"),
    ("confirm style", [actions(button(confirm=confirm(style="x")))], "/blocks/0/elements/0/confirm/style"),
    ("select without options", [actions({"type": "static_select"})], "/blocks/0/elements/0"),
    ("select, options twice", [actions(select(option_groups=[{"label": plain("g"), "options": [option()]}]))], "/blocks/0/elements/0"),
    ("select, empty options", [actions(select(options=[]))], "/blocks/0/elements/0/options"),
    ("option in mrkdwn", [actions(select(options=[{"text": mrkdwn("x"), "value": "v"}]))], "/blocks/0/elements/0/options/0/text/type"),
    ("initial not offered", [actions(select(initial_option=option("other")))], "/blocks/0/elements/0/initial_option"),
    ("image, two sources", [{"type": "image", "alt_text": "x", "image_url": "https://a/b", "slack_file": {"id": "F1"}}], "/blocks/0"),
    ("image without words", [{"type": "image", "image_url": "https://a/b"}], "/blocks/0"),
    ("rich text without parts", [rich()], "/blocks/0/elements"),
    ("rich text, bare text", [rich(said("x"))], "/blocks/0/elements/0/type"),
    ("rich text, empty text", [rich(rich_section(said("")))], "/blocks/0/elements/0/elements/0/text"),
    ("rich text, style", [rich(rich_section(said("x", style={"huge": True})))], "/blocks/0/elements/0/elements/0/style"),
    ("rich text, style value", [rich(rich_section(said("x", style={"bold": 1})))], "/blocks/0/elements/0/elements/0/style/bold"),
    ("rich text, nested section", [rich(rich_section(rich_section()))], "/blocks/0/elements/0/elements/0/type"),
    ("rich list without style", [rich({"type": "rich_text_list", "elements": [rich_section()]})], "/blocks/0/elements/0"),
    ("rich list of texts", [rich({"type": "rich_text_list", "style": "bullet", "elements": [said("x")]})], "/blocks/0/elements/0/elements/0/type"),
    ("rich link", [rich(rich_section({"type": "link", "url": "javascript:x"}))], "/blocks/0/elements/0/elements/0/url"),
    ("rich broadcast", [rich(rich_section({"type": "broadcast", "range": "all"}))], "/blocks/0/elements/0/elements/0/range"),
    ("table row", [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}], []]}], "/blocks/0/rows/1"),
    ("two tables", [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}]]}] * 2, "/blocks/1"),
    ("one pending task", [{"type": "task_card", "task_id": "t", "title": "T", "status": "pending"}], "/blocks/0/status"),
    ("container without title", [{"type": "container", "child_blocks": [{"type": "divider"}]}], "/blocks/0"),
    ("header in container", [{"type": "container", "title": plain("t"), "child_blocks": [{"type": "header", "text": plain("x")}]}], "/blocks/0/child_blocks/0/type"),
    ("input without label", [{"type": "input", "element": {"type": "plain_text_input"}}], "/blocks/0"),
    ("button as input", [field(button())], "/blocks/0/element/type"),
    ("confirm on text input", [field({"type": "plain_text_input", "confirm": confirm()})], "/blocks/0/element"),
]

# fmt: on


@pytest.mark.parametrize(("blocks", "pointer"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_block_is_refused_where_it_is_broken(blocks: Any, pointer: str) -> None:
    assert pointers(blocks) == [pointer]


def at_limits() -> list[tuple[str, Any, Any, str]]:
    """Name, blocks at the limit, blocks one over, and where the second is wrong."""
    # fmt: off
    many: list[tuple[str, Any, int, str]] = [
        ("section text", lambda n: [section("x" * n)], 3000, "/blocks/0/text/text"),
        ("field text", lambda n: [{"type": "section", "fields": [plain("x" * n)]}], 2000, "/blocks/0/fields/0/text"),
        ("fields", lambda n: [{"type": "section", "fields": [plain("x")] * n}], 10, "/blocks/0/fields"),
        ("header", lambda n: [{"type": "header", "text": plain("x" * n)}], 150, "/blocks/0/text/text"),
        ("context elements", lambda n: [{"type": "context", "elements": [plain("x")] * n}], 10, "/blocks/0/elements"),
        ("actions", lambda n: [actions(*(button(action_id=f"a{i}") for i in range(n)))], 25, "/blocks/0/elements"),
        ("button text", lambda n: [actions(button(text=plain("x" * n)))], 75, "/blocks/0/elements/0/text/text"),
        ("accessibility", lambda n: [actions(button(accessibility_label="x" * n))], 75, "/blocks/0/elements/0/accessibility_label"),
        ("button value", lambda n: [actions(button(value="x" * n))], 2000, "/blocks/0/elements/0/value"),
        ("button url", lambda n: [actions(button(url="https://e.example/" + "x" * (n - 18)))], 3000, "/blocks/0/elements/0/url"),
        ("confirm title", lambda n: [actions(button(confirm=confirm(title=plain("x" * n))))], 100, "/blocks/0/elements/0/confirm/title/text"),
        ("confirm text", lambda n: [actions(button(confirm=confirm(text=plain("x" * n))))], 300, "/blocks/0/elements/0/confirm/text/text"),
        ("confirm button", lambda n: [actions(button(confirm=confirm(deny=plain("x" * n))))], 30, "/blocks/0/elements/0/confirm/deny/text"),
        ("action_id", lambda n: [actions(button(action_id="x" * n))], 255, "/blocks/0/elements/0/action_id"),
        ("block_id", lambda n: [{"type": "divider", "block_id": "x" * n}], 255, "/blocks/0/block_id"),
        ("option text", lambda n: [actions(select(options=[option(text="x" * n)]))], 75, "/blocks/0/elements/0/options/0/text/text"),
        ("option value", lambda n: [actions(select(options=[option("x" * n)]))], 150, "/blocks/0/elements/0/options/0/value"),
        ("options", lambda n: [actions(select(options=[option(str(i)) for i in range(n)]))], 100, "/blocks/0/elements/0/options"),
        ("radio options", lambda n: [actions(select("radio_buttons", options=[option(str(i)) for i in range(n)]))], 10, "/blocks/0/elements/0/options"),
        ("overflow options", lambda n: [actions(select("overflow", options=[option(str(i)) for i in range(n)]))], 5, "/blocks/0/elements/0/options"),
        ("placeholder", lambda n: [actions(select(placeholder=plain("x" * n)))], 150, "/blocks/0/elements/0/placeholder/text"),
        ("markdown", lambda n: [{"type": "markdown", "text": "x" * 6000}, {"type": "markdown", "text": "x" * (n - 6000)}], 12000, "/blocks"),
        ("table rows", lambda n: [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}]] * n}], 100, "/blocks/0/rows"),
        ("table columns", lambda n: [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * n]}], 20, "/blocks/0/rows/0"),
        ("blocks", lambda n: [{"type": "divider"}] * n, 50, "/blocks"),
        ("input label", lambda n: [field({"type": "plain_text_input"}, label=plain("x" * n))], 2000, "/blocks/0/label/text"),
        ("input hint", lambda n: [field({"type": "plain_text_input"}, hint=plain("x" * n))], 2000, "/blocks/0/hint/text"),
        ("max_length", lambda n: [field({"type": "plain_text_input", "max_length": n})], 3000, "/blocks/0/element/max_length"),
        ("initial_value", lambda n: [field({"type": "plain_text_input", "initial_value": "x" * n})], 3000, "/blocks/0/element/initial_value"),
        ("feedback", lambda n: [{"type": "context_actions", "elements": [{"type": "icon_button", "action_id": str(i), "icon": "trash", "text": plain("x")} for i in range(n)]}], 5, "/blocks/0/elements"),
    ]
    # fmt: on
    return [(name, make(limit), make(limit + 1), pointer) for name, make, limit, pointer in many]


@pytest.mark.parametrize(
    ("fits", "over", "pointer"), [r[1:] for r in at_limits()], ids=[r[0] for r in at_limits()]
)
def test_a_limit_is_met_and_not_passed(fits: Any, over: Any, pointer: str) -> None:
    assert pointers(fits) == []
    assert pointers(over) == [pointer]


VIEW_LIMITS: list[tuple[str, Any, int, str]] = [
    ("title", lambda n: modal(section(), title=plain("x" * n)), 24, "/view/title/text"),
    ("submit", lambda n: modal(section(), submit=plain("x" * n)), 24, "/view/submit/text"),
    ("close", lambda n: modal(section(), close=plain("x" * n)), 24, "/view/close/text"),
    (
        "private_metadata",
        lambda n: modal(section(), private_metadata="x" * n),
        3000,
        "/view/private_metadata",
    ),
    ("callback_id", lambda n: modal(section(), callback_id="x" * n), 255, "/view/callback_id"),
    ("blocks", lambda n: modal(*[{"type": "divider"}] * n), 100, "/view/blocks"),
]


@pytest.mark.parametrize(
    ("make", "limit", "pointer"), [v[1:] for v in VIEW_LIMITS], ids=[v[0] for v in VIEW_LIMITS]
)
def test_a_view_limit_is_met_and_not_passed(make: Any, limit: int, pointer: str) -> None:
    assert validate_view(make(limit)) == ()
    assert [fault.pointer for fault in validate_view(make(limit + 1))] == [pointer]


# fmt: off
VIEWS: list[tuple[str, Any, str]] = [
    ("not an object", None, "/view"),
    ("unknown type", {"type": "workflow_step"}, "/view/type"),
    ("no title", {"type": "modal", "blocks": []}, "/view"),
    ("title in mrkdwn", modal(title=mrkdwn("x")), "/view/title/type"),
    ("input without submit", modal(field({"type": "plain_text_input"}), submit=None), "/view"),
    ("table in a modal", modal({"type": "table", "rows": [[{"type": "raw_text", "text": "x"}]]}), "/view/blocks/0/type"),
    ("home where a modal belongs", {"type": "home", "blocks": []}, "/view/type"),
    ("broken block inside", modal(section("")), "/view/blocks/0/text/text"),
]

# fmt: on


@pytest.mark.parametrize(("view", "pointer"), [v[1:] for v in VIEWS], ids=[v[0] for v in VIEWS])
def test_a_broken_view_is_refused_where_it_is_broken(view: Any, pointer: str) -> None:
    assert [fault.pointer for fault in validate_view(view)] == [pointer]


def test_all_faults_are_told_at_once_and_in_words() -> None:
    faults = validate_blocks([section(""), {"type": "nope"}])

    assert [str(fault) for fault in faults] == [
        "must be more than 0 characters [json-pointer:/blocks/0/text/text]",
        "unsupported type: nope [json-pointer:/blocks/1/type]",
    ]


def test_a_surface_has_its_own_block_types() -> None:
    assert "table" in SURFACES["message"]
    assert pointers([{"type": "alert", "text": plain("x")}], "modal") == []
    assert pointers([{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}]]}], "home") == [
        "/blocks/0/type"
    ]
    assert pointers([{"type": "divider"}] * 51, "home") == []


def test_text_is_counted_wherever_it_stands() -> None:
    blocks = copy.deepcopy(EXAMPLE)
    before = text_length(blocks)
    blocks[2]["elements"][1]["elements"][0]["text"] += "abc"
    blocks[4]["elements"][0]["confirm"]["title"]["text"] += "de"

    assert text_length(blocks) == before + 5
    assert text_length([section("abc"), {"type": "markdown", "text": "de"}]) == 5


def test_a_view_is_measured_in_bytes() -> None:
    assert view_bytes({"a": "é"}) - view_bytes({"a": "e"}) == 1
