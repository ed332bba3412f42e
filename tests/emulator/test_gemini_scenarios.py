"""Scripts in YAML: what they can say, and what is refused."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from gemini_kit import MODEL, answer, calls, stage, turns

from orchestrator.emulator.gemini.scenarios import ScenarioError, Scenarios, fill, parse
from orchestrator.emulator.gemini.story import Result, Story

FILE = """
scenarios:
  - name: late order
    match: {model: gemini-3.8-flash, input_contains: late, metadata: {run_id: run-1}}
    turns:
      - think: 3
        calls: [{name: lookup_order, arguments: {order_id: "${reference}", on: 2026-11-21}}]
      - text: "Order ${results.lookup_order.order_id} of ${metadata.run_id} is late."
        text_refused: I may not look.
  - name: once
    times: 1
    turns: [{text: Only once.}]
"""


@pytest.mark.asyncio
async def test_a_file_is_played_turn_by_turn(tmp_path: Path) -> None:
    (tmp_path / "scenarios.yaml").write_text(FILE)
    metadata = {"user_metadata": {"run_id": "run-1"}}
    async with stage(scenarios=tmp_path / "scenarios.yaml") as s:
        made = await s.start("A-17 is Late?", webhook_config=metadata)
        assert (await s.after(made, 2)).status == "in_progress"
        first = await s.after(made, 1)
        assert calls(first)[0].arguments == {"order_id": "A-17", "on": "2026-11-21"}
        done = await s.after(
            await s.resume(first, [answer(calls(first)[0], {"order_id": "B-2"})], webhook_config=metadata)
        )
        assert done.output_text == "Order B-2 of run-1 is late."
        texts = [(await s.after(await s.start("Hello."))).output_text for _ in range(2)]
        assert texts == ["Only once.", "There was nothing to do for: Hello."]
        scripts = [i["script"] for i in s.emulator.stats()["interactions"]]
        assert scripts == ["late order", "late order", "once", "default"]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", ["incomplete", "budget_exceeded", "requires_continuation", "sleepwalking"])
async def test_any_status_can_be_reached(status: str) -> None:
    async with stage(scenarios=turns({"status": status, "text": "So far."})) as s:
        done = await s.after(await s.start())
        assert (done.status, done.output_text) == (status, "So far.")
        assert s.emulator.stats()["deliveries"] == []


@pytest.mark.asyncio
async def test_failure_has_errors() -> None:
    errors = [{"code": "malformed_function_call", "message": "No such function."}]
    async with stage(scenarios=turns({"status": "failed", "errors": errors})) as s:
        failed = await s.after(await s.start())
        assert failed.status == "failed"
        assert [(e.code, e.message) for e in failed.errors] == [
            ("malformed_function_call", "No such function.")
        ]


@pytest.mark.asyncio
async def test_queued_first_and_an_odd_status_that_moves_on() -> None:
    script = turns(
        {"queued": 5, "think": 5, "status": "sleepwalking", "then": {"think": 5, "text": "Awake."}}
    )
    async with stage(scenarios=script) as s:
        made = await s.start()
        seen = [made.status] + [(await s.after(made, 5)).status for _ in range(3)]
        assert seen == ["queued", "in_progress", "sleepwalking", "completed"]
        assert (await s.interactions.get(id=made.id)).output_text == "Awake."


@pytest.mark.asyncio
async def test_calls_may_be_junk() -> None:
    junk = [
        {"name": "a", "arguments": "order=1", "id": "same"},
        {"name": "a", "id": "same"},
        {"arguments": {"x": 1}, "id": "nameless"},
        {"name": "a", "arguments": [1], "id": None},
    ]
    script = turns(
        {"calls": junk, "steps": [{"type": "function_call"}, {"type": "riddle", "x": 1}]}, {"text": "Ok."}
    )
    async with stage(scenarios=script) as s:
        first = await s.after(await s.start())
        got = await s.http("GET", f"/v1beta/interactions/{first.id}")
        made = [step for step in got.json()["steps"] if step["type"] == "function_call"]
        assert [step.get("arguments", "missing") for step in made[1:]] == [
            "order=1",
            "missing",
            {"x": 1},
            [1],
        ]
        results = [{"type": "function_result", "call_id": i, "result": "ok"} for i in ("same", "nameless")]
        assert (await s.after(await s.resume(first, results))).status == "completed"


@pytest.mark.asyncio
async def test_a_script_can_go_round_for_ever() -> None:
    script = turns({"calls": [{"name": "again", "arguments": {}}]}, repeat=True)
    async with stage(scenarios=script) as s:
        now = await s.after(await s.start())
        for _ in range(4):
            now = await s.after(await s.resume(now, [answer(calls(now)[0], "ok")]))
            assert now.status == "requires_action"


@pytest.mark.asyncio
async def test_past_its_last_turn_a_script_sums_up() -> None:
    async with stage(scenarios=turns({"calls": [{"name": "one", "arguments": {}}]})) as s:
        first = await s.after(await s.start())
        done = await s.after(await s.resume(first, [answer(calls(first)[0], "fine")]))
        assert done.output_text == "Done. one: fine"


@pytest.mark.asyncio
async def test_scenarios_can_be_added_and_replaced_over_http() -> None:
    async with stage(scenarios=turns({"text": "Old."})) as s:
        for replace in (False, True):
            text = f"New {replace}."
            body = {"scenarios": [{"name": "n", "turns": [{"text": text}], "times": 1}], "replace": replace}
            assert (await s.http("POST", "/_emulator/scenarios", json=body)).json() == {"added": ["n"]}
            assert (await s.after(await s.start())).output_text == text
            after = (await s.after(await s.start("Hi"))).output_text
            assert after == ("There was nothing to do for: Hi" if replace else "Old.")
        refused = await s.http("POST", "/_emulator/scenarios", json={"scenarios": [{"turns": []}]})
        assert refused.status_code == 400
        assert "at least one turn" in refused.json()["error"]["message"]


BAD: list[tuple[Any, str]] = [
    ({"scenario": []}, "expected the keys"),
    ({"scenarios": ["x"]}, r"scenarios\[0\]: expected a mapping"),
    (turns(), "at least one turn"),
    (turns({"txt": "x"}), r"test: turns\[0\]: unknown key 'txt'"),
    (turns({"calls": ["x"]}), "calls, errors, annotations must be mappings"),
    (turns({"calls": {}}), "calls: expected a list"),
    (turns({"think": "long"}), "think: expected seconds"),
    (turns({"then": {"txt": 1}}), "then: unknown key"),
    (turns({"text": "${result.x}"}), "unknown placeholder"),
    (turns({"text": "x"}, match={"modell": "x"}), "match: unknown key"),
    (turns({"text": "x"}, match={"metadata": "x"}), "match.metadata: expected dict"),
    (turns({"text": {1, 2j}}), "not expressible in JSON"),
]


@pytest.mark.parametrize(("source", "message"), BAD)
def test_bad_scenarios_are_refused_by_name(source: Any, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse(source)


def test_a_file_that_is_missing_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="nowhere"):
        parse(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ScenarioError, match=r"bad\.yaml"):
        parse(tmp_path / "bad.yaml")


def test_placeholders_keep_types_and_reach_into_results() -> None:
    results = (
        Result("c1", "look", '{"result": {"items": [{"n": 3}], "late": true}}'),
        Result("c2", "say", "hello"),
    )
    story = Story(("about A-1", "no, A-2"), {}, Random(1), results=results, metadata={"run": {"id": 7}})
    wanted = {
        "${results.look.items.0.n}": 3,
        "${results.look.late}": True,
        "${results.look.nothing.there}": None,
        "${results.unknown.x}": None,
        "${results.say}": "hello",
        "n=${results.look.items}, ${results.unknown}!": 'n=[{"n":3}], !',
        "${metadata.run.id}": 7,
        "${reference} ${input}": "A-2 no, A-2",
    }
    assert {place: fill(place, story) for place in wanted} == wanted
    assert fill({"a": ["${input}", 1]}, story) == {"a": ["no, A-2", 1]}


def test_matching_is_by_model_agent_input_and_metadata() -> None:
    source = {
        "scenarios": [
            {"name": "agent", "match": {"agent": "a"}, "turns": [{"text": "x"}]},
            {
                "name": "model",
                "match": {"model": MODEL, "input_contains": "Refund"},
                "turns": [{"text": "x"}],
            },
            {"name": "meta", "match": {"metadata": {"run_id": "r"}}, "turns": [{"text": "x"}]},
        ]
    }
    scenarios = Scenarios(source)

    def chosen(body: dict[str, Any], text: str, **metadata: Any) -> str:
        return scenarios.choose(body, Story((text,), {}, Random(1), metadata=metadata)).name

    assert chosen({"agent": "a"}, "x") == "agent"
    assert chosen({"model": MODEL}, "a refund") == "model"
    assert chosen({"model": "b"}, "a refund", run_id="r", other=1) == "meta"
    assert chosen({"model": "b"}, "a refund") == "default"
