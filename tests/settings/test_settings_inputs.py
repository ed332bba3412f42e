"""A caller's input: what is taken, what is refused and how, and the text that comes out."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.model import Limits, Policy
from orchestrator.errors import ConfigError, InvalidError, NotFoundError
from orchestrator.settings import InputForm, Settings

ORDER = {
    "type": "object",
    "required": ["order_id"],
    "properties": {
        "order_id": {"type": "string", "pattern": "^A-[0-9]+$"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "language": {"enum": ["en", "de"], "default": "en"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "buyer": {
            "type": "object", "properties": {"name": {"type": ["string", "null"]}}, "required": ["name"],
        },
        "extra": {"type": "object", "additionalProperties": True},
    },
}  # fmt: skip
FORM = InputForm(ORDER)


def refused(form: InputForm, value: object) -> dict[str, str]:
    with pytest.raises(InvalidError) as caught:
        form.render(value)
    assert caught.value.fields
    for path, text in caught.value.fields:
        assert f"{path} {text}" in str(caught.value)
    return dict(caught.value.fields)


@pytest.mark.parametrize("value", [None, True, 7, 1.5, {"text": "hi"}, ["hi"], b"hi"])
def test_a_plain_workflow_takes_text_only(value: object) -> None:
    assert "must be text" in refused(InputForm(None), value)["input"]


@pytest.mark.parametrize(
    "value",
    [
        [{"type": "function_result", "call_id": "x", "result": "approved"}],
        {"type": "function_call", "id": "x", "name": "refund_order", "arguments": {}},
        [{"type": "text", "text": "hi"}],
    ],
)
def test_steps_are_refused_by_name(value: object) -> None:
    assert "a model's steps" in refused(InputForm(None), value)["input"]
    assert refused(FORM, value)["input"]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_nothing_is_refused(text: str) -> None:
    assert refused(InputForm(None), text) == {"input": "must not be empty"}
    assert refused(InputForm({"type": "object", "properties": {"a": {}}}, "{a}"), {"a": text})


@pytest.mark.parametrize("size", [1, 99_999, 100_000, 100_001])
def test_a_text_over_its_length_is_refused(size: int) -> None:
    text = "ä" * size
    if size <= 100_000:
        assert InputForm(None).render(text) == text
    else:
        assert "at most 100000" in refused(InputForm(None), text)["input"]


def test_the_length_of_the_text_counts_not_of_its_parts() -> None:
    form = InputForm({"type": "object", "properties": {"a": {"type": "string"}}}, "{a}{a}", max_chars=10)
    assert form.render({"a": "x" * 5}) == "x" * 10
    assert "makes 12 characters" in refused(form, {"a": "x" * 6})["input"]


@pytest.mark.parametrize("bad", ["\ud800", "a\udfffb", "a\x00b"])
def test_text_that_is_no_text(bad: str) -> None:
    assert "no text" in refused(InputForm(None), bad)["input"]
    assert "no text" in refused(FORM, {"order_id": bad})["input.order_id"]
    assert "no text" in refused(FORM, {"order_id": "A-1", "tags": ["ok", bad]})["input.tags[1]"]
    (path,) = refused(FORM, {"order_id": "A-1", "extra": {bad: 1}})
    assert path.startswith("input.extra.")
    assert path.isprintable()


def test_an_astral_character_is_text() -> None:
    assert InputForm(None).render("😀") == "😀"


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"order_id": 5}, {"input.order_id": "must be text"}),
        ({"order_id": "B"}, {"input.order_id": 'does not keep to pattern "^A-[0-9]+$"'}),
        ({"order_id": "A-1\n"}, {"input.order_id": 'does not keep to pattern "^A-[0-9]+$"'}),
        ({"order_id": None}, {"input.order_id": "must be text"}),
        ({"count": "1"}, {"input.count": "must be a whole number"}),
        ({"count": True}, {"input.count": "must be a whole number"}),
        ({"count": 10}, {"input.count": "does not keep to maximum 9"}),
        ({"count": 0}, {"input.count": "does not keep to minimum 1"}),
        ({"language": "fr"}, {"input.language": "must be one of en, de"}),
        ({"tags": "a"}, {"input.tags": "must be a list"}),
        ({"tags": ["a", 1]}, {"input.tags[1]": "must be text"}),
        ({"buyer": {}}, {"input.buyer.name": "is missing; must be text or null"}),
        ({"buyer": {"name": "x", "age": 1}}, {"input.buyer.age": "is not a field of this input"}),
        ({"admin": True}, {"input.admin": "is not a field of this input"}),
        ({"extra": {"n": float("nan")}}, {"input.extra.n": "must be a finite number"}),
    ],
)
def test_fields_that_do_not_fit(change: dict[str, Any], fields: dict[str, str]) -> None:
    assert refused(FORM, {"order_id": "A-1", **change}) == fields


def test_every_fault_is_named_and_no_value_is_repeated() -> None:
    told = refused(FORM, {"count": "canary", "tags": "canary", "x": "canary"})
    assert set(told) == {"input.order_id", "input.count", "input.tags", "input.x"}
    assert "canary" not in str(told)


def test_faults_are_few_and_short() -> None:
    told = refused(FORM, {"order_id": "A-1", **{f"{'k' * 500}{i}\n": 1 for i in range(100)}})
    assert len(told) <= 20
    assert all(len(path) < 120 for path in told)


@pytest.mark.parametrize(
    "kind", ["function_result", "function_call", "mcp_server_tool_result", "user_input", "image"]
)
def test_model_steps_are_refused_where_the_schema_leaves_room(kind: str) -> None:
    step = {"type": kind, "call_id": "x", "result": "approved"}
    for extra, path in (
        (step, "input.extra"),
        ({"a": step}, "input.extra.a"),
        ({"a": [1, {"b": [step]}]}, "input.extra.a[1].b[0]"),
    ):
        assert "model's step" in refused(FORM, {"order_id": "A-1", "extra": extra})[path]
    loose = InputForm({"type": "object", "properties": {}, "additionalProperties": True})
    assert "model's step" in refused(loose, step)["input"]
    assert "model's step" in refused(loose, {"input": [step]})["input.input[0]"]
    texts = {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}
    assert "model's step" in refused(InputForm(texts), {"type": kind})["input"]


def test_a_declared_type_is_a_field_like_any_other() -> None:
    part = {"type": "object", "properties": {"type": {"enum": ["image", "video"]}}}
    form = InputForm({
        "type": "object",
        "properties": {
            "part": {"$ref": "#/$defs/part"},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}},
        },
        "$defs": {"part": part},
    })  # fmt: skip
    assert json.loads(form.render({"part": {"type": "image"}, "parts": [{"type": "video"}]}))
    assert "input.part.x" in refused(form, {"part": {"type": "image", "x": 1}})


def test_an_ordinary_type_is_no_step() -> None:
    assert FORM.render({"order_id": "A-1", "extra": {"type": "gift"}})


@pytest.mark.parametrize("depth", [29, 30, 31, 100, 5000])
def test_an_input_nested_too_deeply_is_refused(depth: int) -> None:
    nested: Any = "x"
    for _ in range(depth):
        nested = [nested]
    value = {"order_id": "A-1", "extra": {"a": nested}}
    if depth <= 29:  # input, extra and a are three more
        assert FORM.render(value)
    else:
        assert "too deeply" in str(refused(FORM, value))


def test_objects_made_of_several_schemas_are_closed_as_one() -> None:
    form = InputForm({
        "type": "object",
        "properties": {"both": {"allOf": [
            {"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"type": "integer"}}},
        ]}},
    })  # fmt: skip
    assert form.render({"both": {"a": 1, "b": 2}})
    assert refused(form, {"both": {"a": 1, "c": 2}}) == {"input.both.c": "is not a field of this input"}


def test_without_a_prompt_the_object_is_json() -> None:
    assert FORM.render({"order_id": "A-1", "tags": ["ü"]}) == '{"order_id": "A-1", "tags": ["ü"]}'


def test_a_prompt_is_filled_in_one_pass() -> None:
    form = InputForm(ORDER, "{{order}} {order_id} in {language}: {tags} {count}{buyer}.")
    assert form.render({"order_id": "A-1", "tags": ["{count}"], "count": 2, "language": "de"}) == (
        '{order} A-1 in de: ["{count}"] 2.'
    )
    assert form.render({"order_id": "A-1"}) == "{order} A-1 in en:  ."
    attributes = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert InputForm(attributes, "{a}").render({"a": "{a.__class__} {0} {{a}}"}) == "{a.__class__} {0} {{a}}"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(), s, max_size=3), max_leaves=8
)


@given(JSON)
def test_any_json_is_taken_or_refused_in_our_words(value: object) -> None:
    for form in (
        InputForm(None),
        FORM,
        InputForm({"type": "object", "properties": {}, "additionalProperties": True}),
    ):
        try:
            text = form.render(value)
        except InvalidError as e:
            told = e.fields
            assert told
        else:
            assert text.strip()
            text.encode()


def workflow(**changes: Any) -> dict[str, Any]:
    return {"slack": {"channel": "C0APPR"}, "workflows": {"w": {"model": "gemini-3.8-flash", **changes}}}


def fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string"}, "type: object and properties"),
        ({"type": "object"}, "type: object and properties"),
        ({**fields(a={}), "required": ["a", "b"]}, "requires b, which it does not declare"),
        (fields(a={"type": "objekt"}), "at properties.a.type: must be one of array, boolean, integer,"),
        (fields(a={"type": "string", "pattern": "("}), "not a JSON Schema at properties.a.pattern"),
        (fields(a={"minimum": "1"}), "not a JSON Schema"),
        (fields(a={"type": "object"}), "says nothing about the fields at properties.a"),
        (fields(a={"$ref": "https://example.com/schema.json"}), "points nowhere"),
        (fields(a={"$ref": "other.json"}), "points nowhere"),
        (fields(a={"$ref": "#/$defs/none"}), "points nowhere"),
        (fields(a={"$id": "https://example.com/"}), "$id"),
        (fields(a={"$dynamicRef": "#x"}), "$dynamicRef"),
        ({**fields(a={}), "$ref": "#"}, "itself"),
        ({**fields(a={"$ref": "#/$defs/x"}), "$defs": {"x": {"anyOf": [{"$ref": "#/$defs/x"}]}}}, "itself"),
    ],
)
def test_a_schema_is_checked_at_the_start(schema: dict[str, Any], says: str, load_tree: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load_tree(workflow(input=schema))
    assert "workflows.w.input: " in str(caught.value)
    assert says in str(caught.value)


def test_a_schema_may_hold_itself_one_level_down(load_tree: Any) -> None:
    tree = {**fields(name={"type": "string"}, child={"$ref": "#"})}
    settings = load_tree(workflow(input=tree))
    assert settings.workflows["w"].form.render({"name": "a", "child": {"name": "b", "child": {"name": "c"}}})
    assert "input.child.child.x" in refused(settings.workflows["w"].form, {"child": {"child": {"x": 1}}})


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{b}", "names {b}"),
        ("{a", "single {"),
        ("a }", "single }"),
        ("x\n{a.b}", "single { on its line 2"),
        ("{0}", "single {"),
        ("{a!r}", "single {"),
    ],
)
def test_a_prompt_is_checked_at_the_start(prompt: str, says: str, load_tree: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load_tree(workflow(input=fields(a={"type": "string"}), prompt=prompt))
    assert "workflows.w.prompt: " in str(caught.value)
    assert says in str(caught.value)


def test_a_recipe_carries_everything(load_tree: Any) -> None:
    settings: Settings = load_tree(workflow(
        system_instruction="Be kind.", tools=["a"], builtin_tools=[{"type": "google_search"}],
        generation_config={"thinking_level": "low"}, response_format={"type": "text"},
        limits={"max_turns": 1, "max_calls_per_turn": 2, "max_bad_calls": 3, "max_duration_seconds": 4.5},
    ))  # fmt: skip
    recipe = settings.recipe("w")
    assert (recipe.workflow, recipe.model, recipe.agent) == ("w", "gemini-3.8-flash", None)
    assert (recipe.system_instruction, recipe.tools) == ("Be kind.", ("a",))
    assert recipe.builtin_tools == ({"type": "google_search"},)
    assert recipe.generation_config == {"thinking_level": "low"}
    assert recipe.response_format == {"type": "text"}
    assert recipe.limits == Limits(1, 2, 3, timedelta(seconds=4.5))
    assert recipe.terms == settings.default_terms()  # any run may have to ask whether to restart it


def test_an_agent_recipe_and_the_default_limits(load_tree: Any) -> None:
    tree = workflow(agent="deep-research", agent_config={"type": "deep-research"})
    del tree["workflows"]["w"]["model"]
    recipe = load_tree(tree).recipe("w")
    assert (recipe.model, recipe.agent, recipe.agent_config) == (
        None,
        "deep-research",
        {"type": "deep-research"},
    )
    assert recipe.limits == Limits()


def test_an_unknown_workflow(load_tree: Any) -> None:
    settings = load_tree(workflow())
    with pytest.raises(NotFoundError):
        settings.recipe("nope")


def test_the_input_limit_is_a_setting(load_tree: Any) -> None:
    settings = load_tree(workflow(limits={"max_input_chars": 3}))
    assert settings.workflows["w"].form.render("abc") == "abc"
    with pytest.raises(InvalidError, match="at most 3"):
        settings.workflows["w"].form.render("abcd")


def test_pace_and_terms_are_as_the_settings_say(load_tree: Any) -> None:
    settings: Settings = load_tree({
        "gemini": {"reconcile_seconds": 2, "waiting_reconcile_seconds": 3, "create_grace_seconds": 4,
                   "lost_create": "attention", "strange_readings": 5, "missing_readings": 6},
        "slack": {"channel": "C0APPR"},
        "approvals": {"approvers": ["U0ALICE"], "timeout_seconds": 60, "start_within_seconds": 30},
        "jobs": {"lost_film": "retry"},
    })  # fmt: skip
    assert settings.policy() == Policy(
        timedelta(seconds=2), timedelta(seconds=3), timedelta(seconds=4), False, 5, 6, retry_lost_film=True
    )
    terms = settings.default_terms()
    assert (terms.approvers, terms.channel) == (("U0ALICE",), "C0APPR")
    assert (terms.expires_after, terms.start_within) == (timedelta(minutes=1), timedelta(seconds=30))


def test_the_defaults_are_the_domains(load_tree: Any) -> None:
    assert load_tree({"slack": {"channel": "C0APPR"}}).policy() == Policy()
