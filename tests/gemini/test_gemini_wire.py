"""Gemini's JSON and our values, both ways."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.exchange import Correlation, CreateRequest, FunctionCall, FunctionResult, Snapshot
from orchestrator.domain.model import Recipe
from orchestrator.domain.sources import Source
from orchestrator.errors import RejectedError, UncertainError
from orchestrator.gemini import wire

REFUND = {"type": "function", "name": "refund_order", "parameters": {"type": "object"}}
FIRST = CreateRequest(
    Recipe("support", model="gemini-3.8-flash", builtin_tools=({"type": "google_search"},)),
    Correlation("run_1", 1, 1),
    "Refund A-17.",
    functions=(REFUND,),
)
LATER = CreateRequest(
    Recipe("support", model="gemini-3.8-flash", system_instruction="Be kind."),
    Correlation("run_1", 2, 3),
    (
        FunctionResult("c1", "lookup_order", {"late": True}),
        FunctionResult("c2", "refund_order", "Rejected by alice.", is_error=True),
    ),
    functions=(REFUND,),
    previous_id="v1_a",
)


# ------------------------------------------------------------------ out


def test_a_first_turn_says_text_and_nothing_empty() -> None:
    assert wire.create_body(FIRST) == {
        "model": "gemini-3.8-flash",
        "background": True,
        "store": True,
        "input": "Refund A-17.",
        "tools": [REFUND, {"type": "google_search"}],
        "webhook_config": {"user_metadata": {"run": "run_1", "turn": 1, "attempt": 1}},
    }


def test_addresses_of_our_own_stand_beside_what_we_sent_along() -> None:
    uri = "https://hooks.example.com/webhooks/gemini/t0ken"
    for request, turn, attempt in ((FIRST, 1, 1), (LATER, 2, 3)):
        assert wire.create_body(request, webhook_uris=[uri])["webhook_config"] == {
            "uris": [uri],
            "user_metadata": {"run": "run_1", "turn": turn, "attempt": attempt},
        }


def test_a_later_turn_says_results_and_everything_else_again() -> None:
    assert wire.create_body(LATER) == {
        "model": "gemini-3.8-flash",
        "background": True,
        "store": True,
        "previous_interaction_id": "v1_a",
        "input": [
            {"type": "function_result", "call_id": "c1", "name": "lookup_order", "result": {"late": True}},
            {
                "type": "function_result",
                "call_id": "c2",
                "name": "refund_order",
                "is_error": True,
                "result": "Rejected by alice.",
            },
        ],
        "system_instruction": "Be kind.",
        "tools": [REFUND],
        "webhook_config": {"user_metadata": {"run": "run_1", "turn": 2, "attempt": 3}},
    }


def test_tools_can_be_kept_out_of_later_turns_only() -> None:
    assert "tools" in wire.create_body(FIRST, resend_tools=False)
    assert "tools" not in wire.create_body(LATER, resend_tools=False)


def test_an_agent_with_everything() -> None:
    recipe = Recipe(
        "research",
        agent="deep-research",
        agent_config={"type": "deep-research"},
        response_format={"type": "text"},
        generation_config={"seed": 1},
    )
    body = wire.create_body(CreateRequest(recipe, Correlation("run_1", 1, 1), "X"))
    assert body["agent"] == "deep-research"
    assert "model" not in body
    assert "tools" not in body
    assert body["agent_config"] == {"type": "deep-research"}
    assert body["response_format"] == {"type": "text"}
    assert body["generation_config"] == {"seed": 1}


def test_each_turn_says_whether_it_plans_and_where_it_works() -> None:
    recipe = Recipe(
        "research",
        agent="a",
        agent_config={"type": "deep-research", "collaborative_planning": True},
        environment={"type": "remote", "x": 1},
    )
    first = CreateRequest(recipe, Correlation("run_1", 1, 1), "find out", planning=True)
    body = wire.create_body(first)
    assert body["agent_config"] == {"type": "deep-research", "collaborative_planning": True}
    assert body["environment"] == {"type": "remote", "x": 1}
    later = CreateRequest(
        recipe, Correlation("run_1", 2, 1), "Carry out the plan.", planning=False, environment="env_7"
    )
    body = wire.create_body(later)
    assert body["agent_config"]["collaborative_planning"] is False
    assert (body["environment"], body["input"]) == ("env_7", "Carry out the plan.")


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"environment": "env_7"}, "env_7"),
        ({"environment": {"id": "env_7"}}, "env_7"),
        ({"environment_id": "env_7", "environment": "remote"}, "env_7"),
        ({"environment": "remote"}, None),
        ({"environment": 7}, None),
        ({}, None),
    ],
)
def test_the_sandbox_is_read_in_whichever_form(told: dict[str, Any], read: str | None) -> None:
    assert wire.snapshot({"id": "v1_a", "status": "completed", **told}).environment == read


def test_a_continuation_may_leave_the_input_out() -> None:
    recipe, sent = Recipe("w", model="m"), Correlation("run_1", 2, 1)
    body = wire.create_body(CreateRequest(recipe, sent, "", previous_id="v1_a", continuation="t0ken"))
    assert body["continuation_token"] == "t0ken"
    assert "input" not in body
    body = wire.create_body(CreateRequest(recipe, sent, "again", continuation="t0ken"))
    assert body["input"] == "again"


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        ("text", "text"),
        ({"a": 1}, {"a": 1}),
        ([{"type": "text", "text": "x"}], [{"type": "text", "text": "x"}]),
        ([{"a": 1}], {"result": [{"a": 1}]}),
        (["a"], {"result": ["a"]}),
        ([], {"result": []}),
        (12, {"result": 12}),
        (None, {"result": None}),
    ],
)
def test_a_result_takes_a_form_gemini_accepts(result: Any, sent: Any) -> None:
    request = CreateRequest(
        Recipe("w", model="m"), Correlation("r", 2, 1), (FunctionResult("c", "f", result),)
    )
    assert wire.create_body(request)["input"][0]["result"] == sent


def test_bodies_become_bytes_whatever_text_they_hold() -> None:
    assert (
        wire.encode({"a": "ü\ud800", "n": 10**30})
        == '{"a":"ü?","n":1000000000000000000000000000000}'.encode()
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_json_has_no_form_for_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(RejectedError) as refused:
        wire.encode({"a": value})
    assert refused.value.code == "unencodable"


# ------------------------------------------------------------------ in


WAITING = {
    "id": "v1_Chd",
    "object": "interaction",
    "status": "requires_action",
    "previous_interaction_id": "v1_before",
    "steps": [
        {"type": "user_input", "content": [{"type": "text", "text": "Refund A-17."}]},
        {"type": "thought", "signature": "c2ln"},
        {"type": "function_call", "id": "a", "name": "lookup_order", "arguments": {"order_id": "A-17"}},
        {"type": "function_call", "id": "b", "name": "refund_order", "arguments": {"amount": 12.5}},
        {"type": "function_result", "call_id": "a", "result": "late"},
        {"type": "model_output", "content": [{"type": "text", "text": "One moment."}]},
    ],
    "usage": {"total_tokens": 82, "total_input_tokens": 40, "input_tokens_by_modality": [{"tokens": 40}]},
    "webhook_config": {"user_metadata": {"run": "run_1", "turn": 1, "attempt": 2}},
}


def test_ids_are_an_interactions_own() -> None:
    """What an interaction was sent stands first in it, and answers calls of the one before."""
    sent = {"type": "function_result", "call_id": "call_1", "result": "late"}
    again = {"type": "function_call", "id": "call_1", "name": "refund_order", "arguments": {}}
    read = wire.snapshot({"id": "v1_b", "status": "requires_action", "steps": [sent, again]})
    assert read.calls == (FunctionCall("call_1", "refund_order", {}),)


def test_an_interaction_that_waits() -> None:
    assert wire.snapshot(WAITING) == Snapshot(
        "v1_Chd",
        "requires_action",
        calls=(FunctionCall("b", "refund_order", {"amount": 12.5}),),
        output="One moment.",
        usage={"total_tokens": 82, "total_input_tokens": 40},
        previous_id="v1_before",
        correlation=Correlation("run_1", 1, 2),
    )


@pytest.mark.parametrize(("told", "kept"), [(19, 19), (20, 20), (21, 20)])
def test_of_many_errors_the_first_are_read(told: int, kept: int) -> None:
    errors = [{"code": f"e{n}"} for n in range(told)]
    assert len(wire.snapshot({"id": "v1_a", "status": "failed", "errors": errors}).errors) == kept


def test_an_interaction_that_failed() -> None:
    snapshot = wire.snapshot(
        {
            "id": "v1_a",
            "status": "failed",
            "errors": [{"code": "safety", "message": "blocked"}, {"code": "spii"}, {"message": "m"}, None, 7],
            "error": {"code": 13, "message": "boom"},
            "steps": [{"type": "model_output", "error": {"code": 3, "status": "INVALID_ARGUMENT"}}],
        }
    )
    assert snapshot.errors == ("safety: blocked", "spii", "m", "13: boom", "invalid_argument")
    well = {"type": "model_output", "error": {"code": 0, "message": "", "details": []}}
    assert wire.snapshot({"id": "v1_a", "status": "completed", "steps": [well]}).errors == ()


def test_the_output_reads_as_one_text_with_paragraphs_where_tools_ran() -> None:
    def says(*texts: str) -> dict[str, Any]:
        return {"type": "model_output", "content": [{"type": "text", "text": text} for text in texts]}

    steps = [
        says("Let me ", "look."),
        {"type": "google_search_call"},
        says("Fo"),
        {"type": "thought"},
        says("und."),
    ]
    assert (
        wire.snapshot({"id": "a", "status": "completed", "steps": steps}).output == "Let me look.\n\nFound."
    )


def test_a_text_in_thousands_of_pieces_is_put_together_once() -> None:
    """Added piece by piece it was copied each time, and everybody waited for seconds."""
    piece = {"type": "model_output", "content": [{"type": "text", "text": "y" * 2_999 + "\u00fc"}]}
    began = time.process_time()
    output = wire.snapshot({"id": "v1_a", "status": "completed", "steps": [piece] * 6_000}).output
    assert len(output) == 18_000_000
    assert time.process_time() - began < 2


def test_a_cut_answer_gives_its_token() -> None:
    raw = {"id": "a", "status": "requires_continuation", "continuation_token": "t"}
    assert wire.snapshot(raw).continuation == "t"


def _call(**fields: Any) -> tuple[FunctionCall, ...]:
    step = {"type": "function_call", "id": "c", "name": "f", **fields}
    return wire.snapshot({"id": "a", "status": "requires_action", "steps": [step]}).calls


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ({"a": 1}, {"a": 1}),
        (None, {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": "\\u0000"}', {"a": "\ufffd"}),
        ("[1]", None),
        ("", None),
        ("{", None),
        ("null", None),
        ("[" * 100_000, None),
        ([], None),
        (7, None),
        (True, None),
    ],
)
def test_arguments_are_an_object_or_invalid(arguments: Any, read: Any) -> None:
    assert _call(arguments=arguments) == (FunctionCall("c", "f", read),)


def test_missing_arguments_are_none_given() -> None:
    assert _call() == (FunctionCall("c", "f", {}),)


@pytest.mark.parametrize("name", [None, 7, ["f"]])
def test_a_call_without_a_name_is_still_answered(name: Any) -> None:
    assert _call(name=name, arguments={}) == (FunctionCall("c", "", {}),)


@pytest.mark.parametrize("call_id", [None, "", 7, ["c"]])
def test_a_call_without_an_id_is_told_of(call_id: Any) -> None:
    """No result can name it: that ends the run, and is not for the wire to hide."""
    assert _call(id=call_id) == (FunctionCall("", "f", {}),)


def test_two_calls_with_one_id_are_both_told_of() -> None:
    steps = [{"type": "function_call", "id": "c", "name": name} for name in ("f", "g")]
    calls = wire.snapshot({"id": "a", "status": "requires_action", "steps": steps}).calls
    assert [c.name for c in calls] == ["f", "g"]


@pytest.mark.parametrize(
    ("number", "read"),
    [(2, 2), (2.0, 2), ("2", 2), (0, 0), (2.5, None), ("x", None), ("-1", None), (-1, None), (True, None)],
)
def test_correlation_survives_the_ways_numbers_travel(number: Any, read: int | None) -> None:
    expected = None if read is None else Correlation("run_1", read, 1)
    assert wire.correlation({"run": "run_1", "turn": number, "attempt": 1}) == expected
    other = wire.correlation({"run": "run_1", "turn": 1, "attempt": number})
    assert (None if other is None else other.attempt) == read


@pytest.mark.parametrize("run", [None, "", 7, "x" * 129])
def test_correlation_needs_a_run(run: Any) -> None:
    assert wire.correlation({"run": run, "turn": 1, "attempt": 1}) is None


@pytest.mark.parametrize("count", [-1, 1.0, "-3", "3.0", "9" * 19, "\u0663", "", True, 2**63, None])
def test_usage_counts_are_whole_and_not_negative(count: Any) -> None:
    raw = {"id": "a", "status": "completed", "usage": {"total_cached_tokens": count, "total_tokens": 1}}
    assert wire.snapshot(raw).usage == {"total_tokens": 1}


def test_all_tokens_are_counted_where_only_their_parts_are_told() -> None:
    """A run's token limit goes by that number, and Gemini need not tell it."""
    parts = {"total_input_tokens": 40, "total_output_tokens": "12", "total_thought_tokens": 30}
    cached = {"total_cached_tokens": 7, "total_tool_use_tokens": None}

    def total(usage: dict[str, Any]) -> int | None:
        return wire.snapshot({"id": "v1_a", "status": "completed", "usage": usage}).usage.get("total_tokens")

    assert total({**parts, **cached}) == 82
    assert total({**parts, "total_tokens": 90}) == 90
    assert total({**parts, "total_tokens": -1}) == 82
    assert total({"total_input_tokens": wire.MAX_COUNT, "total_output_tokens": 1}) == wire.MAX_COUNT
    assert total(cached) is None


def test_usage_counts_as_text_count() -> None:
    """64-bit numbers travel as text; a token limit must not overlook them."""
    raw = {"id": "a", "status": "completed", "usage": {"total_tokens": "9223372036854775807"}}
    assert wire.snapshot(raw).usage == {"total_tokens": 2**63 - 1}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "text",
        7,
        {},
        {"id": "v1_a"},
        {"status": "completed"},
        {"id": "", "status": "completed"},
        {"id": "a/b", "status": "completed"},
        {"id": "..", "status": "completed"},
        {"id": "a\n", "status": "completed"},
        {"id": "x" * 513, "status": "completed"},
        {"id": 7, "status": "completed"},
        {"id": "v1_a", "status": ""},
        {"id": "v1_a", "status": None},
        {"id": "v1_a", "status": "a b"},
    ],
)
def test_what_is_no_interaction_is_refused(raw: Any) -> None:
    with pytest.raises(UncertainError):
        wire.snapshot(raw)


def test_an_unknown_status_is_kept_as_it_is() -> None:
    assert wire.snapshot({"id": "v1_a", "status": "dreaming"}).status == "dreaming"


def test_what_no_database_takes_is_made_visible() -> None:
    assert wire.decode(b'{"a": "x\\u0000\\ud800y", "b\\uDC00": ["\\ud83d\\ude00", 1.5]}') == {
        "a": "x\ufffd\ufffdy",
        "b\ufffd": ["\U0001f600", 1.5],
    }


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b'{"a":', b"\xff", b"[" * 100_000, b'["\\u0000", NaN]', b'["\\u0000", 1e999]', b"NaN"],
)
def test_broken_json_is_one_kind_of_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wire.decode(content)


_WORDS = st.sampled_from(
    [
        "type",
        "id",
        "call_id",
        "name",
        "arguments",
        "steps",
        "content",
        "text",
        "function_call",
        "function_result",
        "model_output",
        "usage",
        "total_tokens",
        "errors",
        "error",
        "code",
        "message",
        "status",
        "webhook_config",
        "user_metadata",
        "run",
        "turn",
        "attempt",
        "previous_interaction_id",
        "continuation_token",
        "v1_a",
        "{}",
    ]
)
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(_WORDS | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=40,
)
_STEP = st.fixed_dictionaries(
    {"type": st.sampled_from(["function_call", "function_result", "model_output", "thought", "dream"])},
    optional=dict.fromkeys(("id", "call_id", "name", "arguments", "content", "error"), _JUNK),
)


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "steps": st.lists(_STEP | _JUNK, max_size=6) | _JUNK,
            "usage": _JUNK,
            "errors": _JUNK,
            "error": _JUNK,
            "webhook_config": st.fixed_dictionaries({"user_metadata": _JUNK}) | _JUNK,
            "previous_interaction_id": _JUNK,
            "continuation_token": _JUNK,
        },
    )
)
def test_nothing_inside_an_interaction_makes_its_reading_fail(inside: dict[str, Any]) -> None:
    snapshot = wire.snapshot({"id": "v1_a", "status": "requires_action", **inside})
    assert isinstance(snapshot.output, str)
    for call in snapshot.calls:
        assert isinstance(call.id, str)
        assert isinstance(call.name, str)
        assert call.arguments is None or isinstance(call.arguments, dict)
    assert all(type(count) is int and count >= 0 for count in snapshot.usage.values())
    assert all(isinstance(error, str) and error for error in snapshot.errors)


@settings(max_examples=150)
@given(st.binary(max_size=200) | _JUNK.map(lambda junk: json.dumps(junk).encode()))
def test_any_bytes_are_a_reading_or_one_of_two_errors(content: bytes) -> None:
    try:
        wire.snapshot(wire.decode(content))
    except (ValueError, UncertainError):
        return


def test_the_pages_a_text_cites_are_kept_each_once() -> None:
    notes = [
        {"type": "url_citation", "url": "https://a.example/1", "title": "One", "start_index": 0},
        {"type": "url_citation", "url": "https://a.example/1", "title": "Again"},
        {"type": "url_citation", "url": "javascript:alert(1)", "title": "No page"},
        {"type": "file_citation", "url": "https://a.example/2"},
        {"type": "url_citation", "url": "https://a.example/" + "x" * 3000},
        {"type": "url_citation", "url": 7, "title": []},
        "odd",
    ]
    content = [{"type": "text", "text": "Found.", "annotations": notes}]
    raw = {"id": "v1_a", "status": "completed", "steps": [{"type": "model_output", "content": content}]}
    assert wire.snapshot(raw).sources == (Source("https://a.example/1", "One"),)
    many = [{"type": "url_citation", "url": f"https://a.example/{n}"} for n in range(wire.MAX_SOURCES + 1)]
    content[0]["annotations"] = many
    assert len(wire.snapshot(raw).sources) == wire.MAX_SOURCES
