"""A form made from a schema: unchanged it gives the same arguments, changed it gives what was entered."""

import json
import random
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.emulator.slack.inputs import chosen_value
from orchestrator.emulator.slack.validation import validate_blocks
from orchestrator.emulator.slack.workspace import initial_state, state_entry
from orchestrator.slack.forms import MOST_FIELDS, Form, alike, form

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "description": "The shop's order number."},
        "amount": {"type": "string", "description": "A decimal number as text."},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "urgent": {"type": "boolean"},
        "way": {"enum": ["card", "cash", 3, None]},
        "day": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b", "c"]}},
        "lines": {"type": "array", "items": {"type": "object"}},
        "note": {"type": "string"},
    },
    "required": ["order", "count"],
}


def made(arguments: dict[str, Any], schema: dict[str, Any] = SCHEMA) -> Form:
    found = form(schema, arguments)
    assert found is not None
    assert validate_blocks(found.blocks, "modal") == ()
    return found


def block_of(shown: Form, name: str) -> dict[str, Any]:
    return next(f.block for f in shown.fields if f.argument == name)


def sent(shown: Form, **entered: Any) -> dict[str, Any]:
    """`view.state.values`, by the emulator's own idea of what Slack sends."""
    values = initial_state(shown.blocks)
    for name, given_ in entered.items():
        block = block_of(shown, name)
        element = block["element"]
        values[block["block_id"]]["v"] = state_entry(element, chosen_value(element, given_))
    return values


STRINGS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40) | st.text(
    alphabet=' \n\t"\\ab{}\u200b\u202eé', max_size=12
)
VALUES = st.fixed_dictionaries(
    {"order": STRINGS, "count": st.integers(-(2**53) + 1, 2**53 - 1)},
    optional={
        "amount": STRINGS | st.none(),
        "share": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-99, 99) | st.none(),
        "urgent": st.booleans() | st.none(),
        "way": st.sampled_from(["card", "cash", 3, None]),
        "day": st.dates().map(str) | st.none(),
        "tags": st.lists(st.sampled_from("abc"), max_size=4) | st.none(),
        "lines": st.lists(st.dictionaries(STRINGS, STRINGS | st.floats(-9, 9), max_size=2), max_size=2),
        "note": STRINGS,
    },
)


@settings(max_examples=120)
@given(VALUES)
def test_an_unchanged_form_gives_the_same_arguments(arguments: dict[str, Any]) -> None:
    shown = made(arguments)
    filled = shown.filled(sent(shown))
    assert filled.errors == {}
    assert filled.arguments is not None
    assert alike(filled.arguments, arguments)


def test_each_kind_of_value_has_its_field() -> None:
    shown = made(
        {
            "order": "A-1",
            "amount": "12.50",
            "count": 3,
            "share": 0.25,
            "urgent": True,
            "way": "cash",
            "day": "2026-11-21",
            "tags": ["c", "a"],
            "lines": [],
            "note": "two\nlines",
        }
    )
    kinds = {f.argument: f.block["element"]["type"] for f in shown.fields}
    assert kinds == {
        "order": "plain_text_input",
        "amount": "plain_text_input",
        "count": "number_input",
        "share": "number_input",
        "urgent": "static_select",
        "way": "static_select",
        "day": "datepicker",
        "tags": "multi_static_select",
        "lines": "plain_text_input",
        "note": "plain_text_input",
    }
    assert "multiline" not in block_of(shown, "order")["element"]
    assert block_of(shown, "note")["element"]["multiline"]
    assert block_of(shown, "lines")["label"]["text"] == "lines (JSON)"
    assert "optional" not in block_of(shown, "order")
    assert block_of(shown, "order")["hint"]["text"] == "The shop's order number."


def test_what_is_entered_is_what_comes_out() -> None:
    shown = made({"order": "A-1", "count": 3, "note": "old"})
    values = sent(
        shown,
        order="B-2",
        count="9007199254740991",
        share="0.1",
        urgent="1",
        way="2",
        day="2026-02-28",
        tags=["2", "0"],
        lines='[{"sku": "x"}]',
        note="",
    )
    filled = shown.filled(values)
    assert filled.errors == {}
    assert filled.arguments == {
        "order": "B-2",
        "count": 2**53 - 1,
        "share": 0.1,
        "urgent": False,
        "way": 3,
        "day": "2026-02-28",
        "tags": ["a", "c"],
        "lines": [{"sku": "x"}],
    }
    assert type(filled.arguments["way"]) is int


@pytest.mark.parametrize(
    ("name", "entered", "why"),
    [
        ("count", "3.5", "whole number"),
        ("count", "1e3", "whole number"),
        ("count", "9007199254740992", "whole number"),
        ("count", "١٢", "whole number"),
        ("count", "", "is required"),
        ("order", "", "is required"),
        ("share", "NaN", "in digits"),
        ("share", "Infinity", "in digits"),
        ("share", "0.10000000000000001", "more digits"),
        ("lines", '[{"a": 1, "a": 2}]', "the key 'a' is repeated"),
        ("lines", "[NaN]", "NaN is not JSON"),
        ("lines", "[1,", "is not JSON"),
        ("lines", "[" * 40 + "]" * 40, "nested too deeply"),
        ("lines", '"\\ud800"', "half a character"),
        ("lines", "1" * 50, "too long"),
    ],
)
def test_what_will_not_do_is_said_at_its_field(name: str, entered: str, why: str) -> None:
    shown = made({"order": "A-1", "count": 3})
    filled = shown.filled(sent(shown, **{name: entered}))
    assert filled.arguments is None
    assert list(filled.errors) == [block_of(shown, name)["block_id"]]
    assert why in filled.errors[block_of(shown, name)["block_id"]]


@pytest.mark.parametrize(
    "entry",
    [
        {"selected_option": {"value": "7"}},
        {"selected_option": {"value": "-1"}},
        {"selected_option": {"value": "x"}},
        {"selected_option": {}},
        {"selected_option": "0"},
    ],
)
def test_an_option_nobody_offered_is_refused(entry: dict[str, Any]) -> None:
    shown = made({"order": "A-1", "count": 3, "way": "card"})
    place = block_of(shown, "way")["block_id"]
    assert shown.filled(sent(shown) | {place: {"v": entry}}).arguments is None


@pytest.mark.parametrize("values", [{}, {"f:0": 1}, {"f:0": {"v": None}}, {"f:0": {"v": {"value": 3}}}])
def test_a_form_of_another_shape_gives_no_arguments(values: dict[str, Any]) -> None:
    assert made({"order": "A-1", "count": 3}).filled(values).arguments is None


def test_a_text_that_hides_something_is_shown_as_json_with_it_spelled_out() -> None:
    for odd in ("a\u200bb", "pay\u202e", " a", "a ", "a\tb", "a \nb", "\r", ""):
        element = block_of(made({"order": odd, "count": 1}), "order")["element"]
        shown = element["initial_value"]
        assert json.loads(shown) == odd
        assert "\u200b" not in shown
        assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("name", "entered", "spelled"),
    [
        ("order", "DE89\u200b3704", "DE89\\u{200B}3704"),
        ("order", "\u202e4711", "\\u{202E}4711"),
        ("note", "to\u00a0me\n", "to\\u{A0}me"),
        ("lines", '["\u2066x"]', '["\\u{2066}x"]'),
        ("lines", '["\\u2066x"]', ""),
        ("note", "Merci ❤️ 👩\u200d🚒", ""),
        ("note", "zwei\nZeilen é e\u0301", ""),
    ],
)
def test_what_nobody_sees_is_not_taken_from_who_would_approve_it(
    name: str, entered: str, spelled: str
) -> None:
    """A text may come from anywhere by copy and paste; the one who pastes it says yes to what they see."""
    shown = made({"order": "A-1", "count": 3, "lines": ["\u200b"]})
    assert shown.unseen(sent(shown)) == {}
    told = shown.unseen(sent(shown, **{name: entered}))
    assert list(told) == ([block_of(shown, name)["block_id"]] if spelled else [])
    assert all(spelled in text for text in told.values())


def test_problems_of_the_validator_stand_at_their_fields() -> None:
    shown = made({"order": "A-1", "count": 3, "lines": []})
    placed = shown.placed([("lines.0.sku", "is required"), ("count", "too small"), ("", "odd")], "x")
    assert placed == {
        block_of(shown, "lines")["block_id"]: "0.sku: is required",
        block_of(shown, "count")["block_id"]: "too small",
        block_of(shown, "order")["block_id"]: "odd",
    }
    assert shown.placed([], "Nothing.") == {block_of(shown, "order")["block_id"]: "Nothing."}


def test_many_fields_are_one_field_of_json() -> None:
    names = [f"k{n}" for n in range(MOST_FIELDS + 1)]
    schema = {"type": "object", "properties": {n: {"type": "integer"} for n in names}}
    arguments = dict.fromkeys(names, 1)
    shown = made(arguments, schema)
    assert [f.argument for f in shown.fields] == [""]
    assert shown.filled(sent(shown)).arguments == arguments
    whole = shown.filled({"f:all": {"v": {"value": "[1]"}}})
    assert "must be a JSON object" in whole.errors["f:all"]
    assert form({}, {"a": 1}) is not None


def test_what_no_field_holds_has_no_form() -> None:
    assert form(SCHEMA, {"order": "x" * 3_001, "count": 1}) is None
    assert form(SCHEMA, {"order": "x" * 3_000, "count": 1}) is not None
    assert form(SCHEMA, {"order": "🦊" * 1_501, "count": 1}) is None
    assert form({}, {"k": "x" * 3_000}) is None


def test_a_form_from_before_the_tool_changed_does_not_fit_by_accident() -> None:
    rng = random.Random(4)
    word = "".join(rng.choices(string.ascii_lowercase, k=6))
    before = made({"a": "1"}, {"properties": {"a": {"type": "string"}}, "required": ["a"]})
    after = made({word: "1"}, {"properties": {word: {"type": "string"}}, "required": [word]})
    assert after.filled(sent(before)).arguments is None


def test_what_was_typed_as_text_is_never_read_as_json() -> None:
    """The same argument has a field of another kind once it holds what an eye could miss, and is no text."""
    schema = {"properties": {"a": {"type": "string"}}, "required": ["a"]}
    as_text, as_json = made({"a": "1"}, schema), made({"a": "1\u200b"}, schema)
    assert not as_json.sent(sent(as_text))
    assert not as_text.sent(sent(as_json))


@pytest.mark.parametrize(
    "about",
    [
        {"type": "string"},
        {"type": "string", "format": "date"},
        {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
        {"type": "boolean"},
        {"type": "number"},
    ],
)
def test_a_value_from_before_the_tool_changed_is_not_an_empty_field(about: dict[str, Any]) -> None:
    arguments = {"odd": {"of": "another kind"}}
    shown = made(arguments, {"properties": {"odd": about}})
    assert shown.filled(sent(shown)).arguments == arguments
