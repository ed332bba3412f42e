"""Conversations with the real client: create, get, resume, cancel, delete, and every refusal."""

import base64
import re
from typing import Any

import pytest
from gemini_kit import LOOKUP, MODEL, REFUND, Stage, answer, calls, stage, turns
from google.genai import _interactions as sdk

ASK = turns(
    {
        "calls": [
            {"name": "lookup_order", "arguments": {"order_id": "A-17"}},
            {"name": "other", "arguments": {}},
        ]
    },
    {"text": "All done.", "text_refused": "Then not."},
)


@pytest.mark.asyncio
async def test_a_background_run_from_start_to_end() -> None:
    async with stage(scenarios=turns({"text": "Hello to you."}), think_seconds=2) as s:
        made = await s.start("Hello.", webhook_config={"user_metadata": {"run_id": "run-1", "attempt": 1}})
        assert (made.status, made.steps, made.model) == ("in_progress", None, MODEL)
        assert made.webhook_config.user_metadata == {"run_id": "run-1", "attempt": 1}
        early = await s.after(made, 1)
        assert (early.status, [step.type for step in early.steps]) == ("in_progress", ["user_input"])
        done = await s.after(made, 1)
        assert [step.type for step in done.steps] == ["user_input", "thought", "model_output"]
        assert (done.status, done.output_text) == ("completed", "Hello to you.")
        assert done.updated > done.created
        usage = done.usage
        assert usage.total_tokens == (
            usage.total_input_tokens + usage.total_output_tokens + usage.total_thought_tokens
        )
        assert s.emulator.stats()["counts"] == {"create": 1, "get": 2}


@pytest.mark.asyncio
async def test_ids_look_like_the_real_ones_and_share_their_root() -> None:
    async with stage(scenarios=ASK) as s:
        first = await s.after(await s.start())
        second = await s.resume(first, [answer(c, "ok") for c in calls(first)])
        packed = [base64.urlsafe_b64decode(i.id[3:] + "==") for i in (first, second)]
        assert all(re.fullmatch(r"v1_Chd[A-Za-z0-9_-]+", i.id) for i in (first, second))
        assert packed[0][:25] == packed[1][:25]
        assert packed[0] != packed[1]


@pytest.mark.asyncio
async def test_calls_and_results_make_a_chain_of_new_interactions() -> None:
    async with stage(scenarios=ASK) as s:
        first = await s.after(await s.start("Look at A-17.", tools=[LOOKUP]))
        one, two = calls(first)
        assert first.status == "requires_action"
        assert (one.name, one.arguments, two.name) == ("lookup_order", {"order_id": "A-17"}, "other")
        assert one.id != two.id
        assert one.signature
        second = await s.resume(
            first, [answer(two, {"late": True}), answer(one, [{"type": "text", "text": "x"}])]
        )
        done = await s.after(second)
        assert done.id != first.id
        assert done.previous_interaction_id == first.id
        assert [step.type for step in done.steps] == ["function_result"] * 2 + ["thought", "model_output"]
        assert done.output_text == "All done."
        again = await s.interactions.get(id=first.id)
        assert again.status == "requires_action"
        assert s.emulator.stats()["forks"] == {}


@pytest.mark.asyncio
async def test_a_refusal_is_a_result_and_changes_the_text() -> None:
    async with stage(scenarios=ASK) as s:
        first = await s.after(await s.start())
        one, two = calls(first)
        results = [answer(one, "Rejected by alice.", is_error=True), answer(two, "fine")]
        done = await s.after(await s.resume(first, results))
        assert done.output_text == "Then not."


@pytest.mark.asyncio
async def test_a_second_resume_forks_and_is_counted() -> None:
    async with stage(scenarios=ASK) as s:
        first = await s.after(await s.start())
        results = [answer(c, "ok") for c in calls(first)]
        made = [await s.resume(first, results) for _ in range(3)]
        assert len({i.id for i in made}) == 3
        assert s.emulator.stats()["forks"] == {first.id: 2}


def _bad_results(one: Any, two: Any) -> dict[str, Any]:
    return {
        "too few": [answer(one, "ok")],
        "unknown id": [answer(one, "ok"), {**answer(two, "ok"), "call_id": "zzz"}],
        "twice": [answer(one, "ok"), answer(one, "ok")],
        "one too many": [answer(one, "ok"), answer(two, "ok"), {**answer(two, "ok"), "call_id": "zzz"}],
        "wrong name": [answer(one, "ok"), {**answer(two, "ok"), "name": "lookup_order"}],
        "text only": "Just go on.",
        "no call_id": [answer(one, "ok"), {"type": "function_result", "result": "ok"}],
        "a number": [answer(one, "ok"), {**answer(two, "ok"), "result": 7}],
        "null": [answer(one, "ok"), {**answer(two, "ok"), "result": None}],
        "list of strings": [answer(one, "ok"), {**answer(two, "ok"), "result": ["a"]}],
        "odd field": [answer(one, "ok"), {**answer(two, "ok"), "callId": "x"}],
        "an object, no list": answer(one, "ok"),
        "mixed with content": [answer(one, "ok"), answer(two, "ok"), {"type": "text", "text": "x"}],
    }


@pytest.mark.asyncio
async def test_results_that_do_not_answer_every_call_once_are_refused() -> None:
    async with stage(scenarios=ASK) as s:
        first = await s.after(await s.start())
        for name, items in _bad_results(*calls(first)).items():
            body = {"model": MODEL, "background": True, "previous_interaction_id": first.id, "input": items}
            refused = await s.http("POST", "/v1beta/interactions", json=body)
            assert (refused.status_code, name) == (400, name)
            assert refused.json()["error"]["code"] in ("invalid_request", "parameter_unknown")
        assert s.emulator.stats()["created"] == 1
        with pytest.raises(sdk.BadRequestError):
            await s.resume(first, [answer(calls(first)[0], "ok")])


BAD_CREATES: dict[str, dict[str, Any]] = {
    "both": {"agent": "deep-research-preview-04-2026"},
    "neither": {"model": None},
    "no input": {"input": None},
    "empty input": {"input": ""},
    "junk input": {"input": [{"type": "riddle"}]},
    "text without text": {"input": [{"type": "text"}]},
    "unknown parameter": {"temperatur": 1},
    "labels": {"labels": {"run": "a"}},
    "safety": {"safety_settings": []},
    "mime": {"response_mime_type": "text/plain"},
    "deferred": {"service_tier": "deferred"},
    "background not stored": {"store": False},
    "webhook without background": {"background": False, "webhook_config": {}},
    "webhook to nowhere": {"webhook_config": {"uris": ["ftp://x"]}},
    "webhook in plain http": {"webhook_config": {"uris": ["http://example.com/x"]}},
    "webhook field": {"webhook_config": {"uri": "https://example.com"}},
    "background as text": {"background": "true"},
    "config of agents": {"agent_config": {}},
    "tokens": {"generation_config": {"max_output_tokens": 0}},
    "seed": {"generation_config": {"seed": "x"}},
    "config field": {"generation_config": {"maxTokens": 1}},
    "tool type": {"tools": [{"type": "telepathy"}]},
    "function name": {"tools": [{**LOOKUP, "name": "no spaces"}]},
    "function twice": {"tools": [LOOKUP, LOOKUP]},
    "function field": {"tools": [{**LOOKUP, "strict": True}]},
    "parameters no object": {"tools": [{**LOOKUP, "parameters": {"type": "string"}}]},
    "parameters no schema": {"tools": [{**LOOKUP, "parameters": {"type": "object", "properties": 3}}]},
    "empty required": {"tools": [{**LOOKUP, "parameters": {"type": "object", "required": []}}]},
    "empty required inside": {
        "tools": [
            {
                **LOOKUP,
                "parameters": {"type": "object", "properties": {"a": {"type": "object", "required": []}}},
            }
        ]
    },
    "tool_choice": {"generation_config": {"tool_choice": "maybe"}},
    "tool_choice unknown": {"generation_config": {"tool_choice": {"allowed_tools": {"tools": ["x"]}}}},
    "results out of nowhere": {"input": [{"type": "function_result", "call_id": "a", "result": "b"}]},
    "veo": {"model": "veo-3.1-generate-preview"},
}


@pytest.mark.asyncio
async def test_bad_creates_are_refused_and_start_nothing() -> None:
    async with stage() as s:
        for name, change in BAD_CREATES.items():
            body = {"model": MODEL, "background": True, "input": "Hi", **change}
            body = {key: value for key, value in body.items() if value is not None}
            refused = await s.http("POST", "/v1/interactions", json=body)
            assert (refused.status_code, name) == (400, name)
            assert refused.json()["error"]["message"]
        assert s.emulator.stats()["created"] == 0


@pytest.mark.asyncio
async def test_codes_of_refusals() -> None:
    async with stage(known_models=[MODEL]) as s:
        unknown = await s.http("POST", "/v1/interactions", json={"model": MODEL, "input": "x", "foo": 1})
        assert unknown.json()["error"]["code"] == "parameter_unknown"
        model = await s.http("POST", "/v1/interactions", json={"model": "gemini-0", "input": "x"})
        assert (model.status_code, model.json()["error"]["code"]) == (404, "model_not_found")
        junk = await s.http("POST", "/v1/interactions", content=b'{"model": ')
        assert (junk.status_code, junk.json()["error"]["code"]) == (400, "invalid_request")
        stream = await s.http("POST", "/v1/interactions", json={"model": MODEL, "input": "x", "stream": True})
        assert (stream.status_code, stream.json()["error"]["code"]) == (501, "unimplemented")
        lost = await s.http("POST", "/v1/riddles")
        assert (lost.status_code, lost.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.asyncio
async def test_what_cannot_be_continued() -> None:
    async with stage(scenarios=turns({"status": "failed"})) as s:
        with pytest.raises(sdk.NotFoundError):
            await s.start(previous_interaction_id="v1_unknown")
        made = await s.start()
        with pytest.raises(sdk.BadRequestError) as running:
            await s.start(previous_interaction_id=made.id)
        assert running.value.body["error"]["code"] == "failed_precondition"
        await s.emulator.advance(1)
        with pytest.raises(sdk.BadRequestError):
            await s.start(previous_interaction_id=made.id)


@pytest.mark.asyncio
async def test_a_completed_conversation_goes_on() -> None:
    async with stage(scenarios=turns({"text": "One."}, {"text": "Two: ${input}"})) as s:
        first = await s.after(await s.start("First."))
        second = await s.after(await s.start("Second.", previous_interaction_id=first.id))
        assert second.output_text == "Two: Second."


@pytest.mark.asyncio
async def test_foreground_answers_with_what_the_model_made() -> None:
    async with stage(clock=None, scenarios=turns({"text": "Hi.", "immediate": True})) as s:
        kept = await s.interactions.create(model=MODEL, input="Hello.")
        assert (kept.status, kept.output_text) == ("completed", "Hi.")
        assert [step.type for step in kept.steps] == ["thought", "model_output"]
        assert (await s.interactions.get(id=kept.id)).steps[0].type == "user_input"
        unkept = await s.interactions.create(model=MODEL, input="Hello.", store=False)
        with pytest.raises(sdk.NotFoundError):
            await s.interactions.get(id=unkept.id)


@pytest.mark.asyncio
async def test_a_fast_run_is_at_rest_in_the_create_answer() -> None:
    async with stage(scenarios=turns({"immediate": True, "calls": [{"name": "a", "arguments": {}}]})) as s:
        made = await s.start()
        assert (made.status, calls(made)[0].name) == ("requires_action", "a")


@pytest.mark.asyncio
async def test_cancel_stops_only_what_runs() -> None:
    async with stage(scenarios=ASK) as s:
        made = await s.start()
        assert (await s.interactions.cancel(id=made.id)).status == "cancelled"
        assert (await s.after(made, 60)).status == "cancelled"
        with pytest.raises(sdk.BadRequestError) as twice:
            await s.interactions.cancel(id=made.id)
        assert twice.value.body["error"]["code"] == "failed_precondition"
        waiting = await s.after(await s.start())
        with pytest.raises(sdk.BadRequestError):
            await s.interactions.cancel(id=waiting.id)
        with pytest.raises(sdk.NotFoundError):
            await s.interactions.cancel(id="v1_unknown")


@pytest.mark.asyncio
async def test_delete_and_retention() -> None:
    async with stage(scenarios=ASK, retention_seconds=3600) as s:
        first = await s.after(await s.start())
        results = [answer(c, "ok") for c in calls(first)]
        second = await s.after(await s.resume(first, results))
        await s.interactions.delete(id=first.id)
        with pytest.raises(sdk.NotFoundError):
            await s.interactions.get(id=first.id)
        with pytest.raises(sdk.NotFoundError):
            await s.resume(first, results)
        with pytest.raises(sdk.NotFoundError):  # the root of its chain is gone
            await s.start(previous_interaction_id=second.id)
        assert (await s.after(second)).status == "completed"
        await s.emulator.advance(3600)
        with pytest.raises(sdk.NotFoundError):
            await s.interactions.get(id=second.id)


@pytest.mark.asyncio
async def test_keys_are_checked_and_are_projects() -> None:
    async with stage(accepted_keys=["k", "other"]) as s:
        made = await s.start()
        for key, status in (("other", 404), ("stranger", 401), ("", 401)):
            got = await s.http("GET", f"/v1/interactions/{made.id}", headers={"x-goog-api-key": key})
            assert got.status_code == status
        assert got.json()["error"]["code"] == "authentication"
        assert all("x-goog-api-key" not in r["headers"] for r in s.emulator.stats()["requests"])


@pytest.mark.asyncio
async def test_a_key_nobody_knows_is_an_authentication_error() -> None:
    async with stage(accepted_keys=["other"], key="k") as s:
        with pytest.raises(sdk.AuthenticationError):
            await s.start()


@pytest.mark.asyncio
async def test_agents_have_rules_of_their_own() -> None:
    agent = "deep-research-preview-04-2026"
    async with stage() as s:
        made = await s.interactions.create(agent=agent, background=True, input="Research X")
        assert (made.agent, (await s.after(made)).status) == (agent, "completed")
        with pytest.raises(sdk.BadRequestError):
            await s.interactions.create(agent=agent, input="Research X")
        with pytest.raises(sdk.BadRequestError):
            await s.interactions.create(agent=agent, background=True, input="Research X", tools=[LOOKUP])


@pytest.mark.asyncio
async def test_long_integers_travel_as_strings() -> None:
    async with stage() as s:
        agent = {"type": "antigravity", "max_total_tokens": 200000}
        await s.interactions.create(
            agent="antigravity-preview-09-2026", background=True, input="Go", agent_config=agent
        )
        sent = s.emulator.stats()["requests"][0]["body"]
        assert sent["agent_config"]["max_total_tokens"] == "200000"


@pytest.mark.asyncio
async def test_settings_that_change_what_is_taken() -> None:
    builtin = {"type": "google_search"}
    async with stage(accept_labels=True, refuse_mixed_tools=True) as s:
        await s.start(labels={"team": "a"}, tools=[builtin])
        with pytest.raises(sdk.BadRequestError):
            await s.start(tools=[builtin, LOOKUP])
        with pytest.raises(sdk.BadRequestError):
            await s.start(labels={"Team": "a"})


async def _refund(
    s: Stage, text: str, total: Any, *, refuse: bool = False, tools: Any = (LOOKUP, REFUND)
) -> Any:
    first = await s.after(await s.start(text, tools=list(tools)))
    (lookup,) = calls(first)
    found = answer(lookup, {"order_id": "A-1042", **total})
    second = await s.after(await s.resume(first, [found], tools=list(tools)))
    (refund,) = calls(second)
    given = answer(refund, "Rejected by alice." if refuse else {"refunded": True}, is_error=refuse)
    return lookup, refund, await s.after(await s.resume(second, [given], tools=list(tools)))


@pytest.mark.asyncio
async def test_refund_story() -> None:
    async with stage() as s:
        lookup, refund, done = await _refund(s, "Please refund order A-1042.", {"total": 40.0})
        assert (lookup.name, lookup.arguments) == ("lookup_order", {"order_id": "A-1042"})
        assert (refund.name, refund.arguments) == ("refund_order", {"order_id": "A-1042", "amount": 40.0})
        assert done.status == "completed"
        assert "has been refunded" in done.output_text
        _, refund, refused = await _refund(s, "A refund for A-1042!", {}, refuse=True)
        assert refund.arguments["amount"] == 12.5
        assert "could not refund order A-1042: Rejected by alice." in refused.output_text


@pytest.mark.asyncio
async def test_refund_story_speaks_the_tools_own_names_and_units() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "order_number": {"type": "string"},
            "amount_cents": {"type": "integer"},
            "reason": {"type": "string"},
        },
        "required": ["order_number", "amount_cents", "reason"],
    }
    tools = (LOOKUP, {**REFUND, "parameters": parameters})
    async with stage() as s:
        _, refund, _ = await _refund(s, "Refund A-1042.", {"total": "39.90"}, tools=tools)
        assert refund.arguments == {
            "order_number": "A-1042",
            "amount_cents": 3990,
            "reason": "Refund A-1042.",
        }


@pytest.mark.asyncio
async def test_refund_story_ends_when_the_lookup_is_refused() -> None:
    async with stage() as s:
        first = await s.after(await s.start("Refund A-17", tools=[LOOKUP, REFUND]))
        results = [answer(calls(first)[0], "No such order.", is_error=True)]
        done = await s.after(await s.resume(first, results, tools=[LOOKUP, REFUND]))
        assert "could not look the order up: No such order." in done.output_text


@pytest.mark.asyncio
async def test_default_story_calls_each_tool_once_two_at_a_time() -> None:
    tools = [{**LOOKUP, "name": name} for name in ("first", "second", "third")]
    async with stage() as s:
        one = await s.after(await s.start("About A-17.", tools=tools))
        assert [(c.name, c.arguments) for c in calls(one)] == [
            ("first", {"order_id": "A-17"}),
            ("second", {"order_id": "A-17"}),
        ]
        refused = [answer(calls(one)[0], "No.", is_error=True), answer(calls(one)[1], {"n": 1})]
        two = await s.after(await s.resume(one, refused, tools=tools))
        assert [c.name for c in calls(two)] == ["third"]
        done = await s.after(await s.resume(two, [answer(calls(two)[0], "fine")], tools=tools))
        assert done.output_text == 'Done. first was refused: No.; second: {"n": 1}; third: fine'


@pytest.mark.asyncio
async def test_default_story_knows_only_the_tools_of_this_request() -> None:
    tools = [LOOKUP, {**LOOKUP, "name": "second"}, {**LOOKUP, "name": "third"}]
    async with stage() as s:
        one = await s.after(await s.start("A-17", tools=tools))
        done = await s.after(await s.resume(one, [answer(c, "ok") for c in calls(one)]))
        assert done.status == "completed"  # tools are not carried over, so `third` is never called
        none = await s.after(await s.start("A-17", tools=tools, generation_config={"tool_choice": "none"}))
        assert none.status == "completed"
        allowed = {"tool_choice": {"allowed_tools": {"mode": "any", "tools": ["third"]}}}
        some = await s.after(await s.start("A-17", tools=tools, generation_config=allowed))
        assert [c.name for c in calls(some)] == ["third"]
