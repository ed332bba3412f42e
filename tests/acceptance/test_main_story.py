"""The main job: a run is started, people are asked, tools run, results go back, the record is closed."""

import pytest
from looking import buttons, headline_of, metadata, text_of, until
from scenery import INSTRUCTION, asks, call, says
from stage import ON_SQLITE, Stage

pytestmark = pytest.mark.asyncio


async def test_an_approved_call_runs_once_and_the_record_is_closed(stage: Stage) -> None:
    run_id = await stage.play(
        asks(call("look_up", item="book")),
        asks(call("charge", item="book", amount=1250)),
        says("Charged.", "Not charged."),
    )
    [approval] = await stage.asked(run_id)
    assert approval["status"] == "pending"
    assert (await stage.run(run_id))["status"] == "waiting"
    assert stage.book() == []
    message = stage.message(approval)
    assert headline_of(message) == "Approval needed: charge"
    assert buttons(message) == ["approve", "reject_reason", "details"]
    assert '"amount": 1250' in text_of(message.blocks)

    click = await stage.click(approval)

    assert click.status == 200
    assert (await stage.approvals(run_id))[0]["status"] == "approved"  # committed before the 200
    run = await stage.ended(run_id)
    assert run["output"] == "Charged."
    assert [c["outcome"] for c in run["calls"]] == ["succeeded", "succeeded"]
    [entry] = stage.book()
    assert (entry["item"], entry["amount"], entry["approved_by"]) == ("book", 1250, "U0ALICE")
    final = await stage.redrawn(approval, "Done: charge")
    assert buttons(final) == ["details"]
    assert "<@U0ALICE>" in text_of(final.blocks)


async def test_the_record_tells_the_whole_story_in_order(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="pen", amount=1)), says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    run = await stage.ended(run_id)
    kinds = await stage.kinds(run_id)
    told = [
        "RunRequested",
        "CreateClaimed",
        "InteractionObserved",
        "ApprovalPosted",
        "ApprovalDecided",
        "CallClaimed",
        "CallFinished",
        "CreateClaimed",
        "InteractionObserved",
    ]
    rest = iter(kinds)
    assert all(kind in rest for kind in told), kinds
    assert run["closed_at"] >= run["created_at"]
    assert run["requester"] == {"id": "api:operator", "name": "operator", "door": "api"}
    decided = await stage.event(run_id, "ApprovalDecided")
    assert decided["data"]["verdict"]["by"] == {"id": "U0ALICE", "name": "alice", "door": "slack"}
    assert [t["status"] for t in run["turns"]] == ["ended", "ended"]
    assert run["turns"][1]["previous_id"] == run["turns"][0]["interaction_id"]


@ON_SQLITE
async def test_everything_is_sent_again_on_every_turn(stage: Stage) -> None:
    run_id = await stage.play(
        asks(call("look_up", item="a")), asks(call("weigh", item="abc")), says("Weighed.")
    )
    run = await stage.ended(run_id)
    first, *later = [request["body"] for request in stage.creates(run_id)]
    assert len(later) == 2
    assert first["input"] == run["input"]
    assert "previous_interaction_id" not in first
    for number, body in enumerate([first, *later], 1):
        assert metadata(body) == {"run": run_id, "turn": number, "attempt": 1}
        assert body["system_instruction"] == INSTRUCTION
        assert body["generation_config"] == {"thinking_level": "low"}
        assert body["tools"] == first["tools"]
        assert (body["background"], body["store"]) == (True, True)
    assert [tool["name"] for tool in first["tools"]][:3] == ["look_up", "weigh", "charge"]
    chain = [t["interaction_id"] for t in run["turns"]]
    assert [body["previous_interaction_id"] for body in later] == chain[:2]
    assert later[1]["input"][0]["result"] == {"result": 3.0}


@ON_SQLITE
async def test_usage_is_summed_over_the_turns(stage: Stage) -> None:
    counts = [{"total_input_tokens": n, "total_tokens": 10 * n, "total_output_tokens": 1} for n in (1, 2, 4)]
    run_id = await stage.play(
        asks(call("look_up", item="a"), usage=counts[0]),
        asks(call("look_up", item="b"), usage=counts[1]),
        says("Looked.", usage=counts[2]),
    )
    run = await stage.ended(run_id)
    assert run["usage"] == {"total_input_tokens": 7, "total_output_tokens": 3, "total_tokens": 70}


async def test_a_rejected_call_does_not_run_and_the_model_is_told(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="book", amount=5)), says("Charged.", "Not charged."))
    [approval] = await stage.asked(run_id)
    assert (await stage.click(approval, "reject", "U0BOB")).status == 200
    run = await stage.ended(run_id)
    assert run["output"] == "Not charged."
    assert run["calls"][0]["outcome"] == "rejected"
    [result] = stage.creates(run_id)[1]["body"]["input"]
    assert result["is_error"] is True
    assert result["result"] == "A person rejected this call. It did not run."
    assert stage.book() == []
    assert "<@U0BOB>" in text_of((await stage.redrawn(approval, "Rejected: charge")).blocks)


@ON_SQLITE
async def test_a_reason_goes_to_the_model_as_the_persons_words(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="book", amount=5)), says("Charged.", "Not charged."))
    [approval] = await stage.asked(run_id)
    answer = await stage.decide(approval["id"], "reject", reason="Ask <!channel> again in May.")
    assert answer.status_code == 200, answer.text
    await stage.ended(run_id)
    [result] = stage.creates(run_id)[1]["body"]["input"]
    assert result["result"].endswith('In their words: "Ask <!channel> again in May."')
    message = await stage.redrawn(approval, "Rejected: charge")
    marked = [b for b in message.blocks if b["type"] != "rich_text"]
    assert "<!channel>" not in text_of(marked)  # somebody's words are never markup


async def test_a_question_nobody_answers_lapses_as_a_no(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="book", amount=5)), says("Charged.", "Not charged."))
    [approval] = await stage.asked(run_id)
    stage.skip(3601)
    run = await stage.ended(run_id)
    assert (run["output"], run["calls"][0]["outcome"]) == ("Not charged.", "expired")
    [result] = stage.creates(run_id)[1]["body"]["input"]
    assert result["is_error"] is True
    assert "in time" in result["result"]
    assert stage.book() == []
    assert buttons(await stage.redrawn(approval, "Expired: charge")) == ["details"]


async def test_mixed_calls_of_one_turn_give_one_continuation(stage: Stage) -> None:
    """Free, asked about, refused by policy, unknown, wrong, failing: each has its one result."""
    run_id = await stage.play(
        asks(
            call("look_up", "c-free", item="book"),
            call("charge", "c-yes", item="book", amount=7),
            call("refund", "c-no", item="book", amount=8),
            call("demolish", "c-deny", item="shop"),
            call("teleport", "c-unknown", item="book"),
            call("look_up", "c-bad", item=17),
            call("look_up", "c-more", item="book", extra=True),
            call("crash", "c-crash", item="book"),
            call("refuse", "c-refuse", item="books"),
            call("weigh", "c-async", item="four"),
        ),
        says("Done.", "Done, mostly."),
    )
    asked = {a["tool"]: a for a in await stage.asked(run_id, 2)}
    assert set(asked) == {"charge", "refund"}
    await stage.click(asked["refund"], "reject", "U0BOB")
    assert len(stage.creates(run_id)) == 1  # one call is still open
    await stage.click(asked["charge"])
    run = await stage.ended(run_id)

    assert len(stage.creates(run_id)) == 2
    sent = {step["call_id"]: step for step in stage.creates(run_id)[1]["body"]["input"]}
    outcomes = {c["call_id"]: c["outcome"] for c in run["calls"]}
    assert outcomes == {
        "c-free": "succeeded",
        "c-yes": "succeeded",
        "c-no": "rejected",
        "c-deny": "denied",
        "c-unknown": "failed",
        "c-bad": "failed",
        "c-more": "failed",
        "c-crash": "failed",
        "c-refuse": "failed",
        "c-async": "succeeded",
    }
    assert {i for i, step in sent.items() if step.get("is_error")} == {
        i for i, outcome in outcomes.items() if outcome != "succeeded"
    }
    assert sent["c-free"]["result"] == {"item": "book", "price": "12.50"}
    assert sent["c-async"]["result"] == {"result": 4.0}
    assert sent["c-refuse"]["result"] == "We are out of books."
    assert sent["c-crash"]["result"] == "The tool failed."
    assert "teleport" in sent["c-unknown"]["result"]
    assert "item" in sent["c-bad"]["result"]
    assert "extra" in sent["c-more"]["result"]
    everything = str([await stage.run(run_id), await stage.record(run_id)])
    assert "hunter2" not in everything  # what an exception says stays in our log
    assert [row["tool"] for row in stage.book()] == ["charge"]


async def test_every_question_of_a_turn_has_its_own_message_and_decision(stage: Stage) -> None:
    run_id = await stage.play(
        asks(*(call("refund", f"c-{n}", item=f"book {n}", amount=n) for n in range(1, 6))), says("Done.")
    )
    asked = await stage.asked(run_id, 5)
    assert len({a["ts"] for a in asked}) == 5
    for approval in asked:
        verdict = "approve" if approval["arguments"]["amount"] % 2 else "reject"
        await stage.click(approval, verdict)
    run = await stage.ended(run_id)
    kinds = {c["arguments"]["amount"]: c["outcome"] for c in run["calls"]}
    assert kinds == {1: "succeeded", 2: "rejected", 3: "succeeded", 4: "rejected", 5: "succeeded"}
    assert sorted(row["amount"] for row in stage.book()) == [1, 3, 5]


async def test_people_are_asked_again_on_each_turn(stage: Stage) -> None:
    """A second wish for the very same thing is a new call: it needs, and gets, its own decision."""
    again = asks(call("charge", item="book", amount=5))
    run_id = await stage.play(again, again, says("Charged.", "Not again."))
    [first] = await stage.asked(run_id)
    await stage.click(first)
    second = (await stage.asked(run_id, 2))[1]
    assert second["id"] != first["id"]
    await stage.click(second, "reject")
    run = await stage.ended(run_id)
    assert run["output"] == "Not again."
    assert [c["outcome"] for c in run["calls"]] == ["succeeded", "rejected"]
    assert len(stage.book()) == 1


@ON_SQLITE
async def test_a_tool_is_a_name_of_this_workflow_only(stage: Stage) -> None:
    run_id = await stage.play(
        asks(call("charge", item="book", amount=5)), says("Charged.", "I cannot."), workflow="other"
    )
    run = await stage.ended(run_id)
    assert (run["output"], run["calls"][0]["outcome"]) == ("I cannot.", "failed")
    assert await stage.approvals(run_id) == []


@ON_SQLITE
async def test_declared_input_becomes_the_prompt(stage: Stage) -> None:
    run_id = await stage.trigger({"item": "pens", "count": 3}, "order")
    run = await stage.ended(run_id)
    assert run["input"] == "Please order pens, 3 times."
    assert stage.creates(run_id)[0]["body"]["input"] == "Please order pens, 3 times."
    refused = await stage.call(
        "POST", "/v1/workflows/order/runs", json={"input": {"item": "pens", "count": 10, "more": 1}}
    )
    assert refused.status_code == 400
    assert {e["field"] for e in refused.json()["errors"]} == {"input.count", "input.more"}


@ON_SQLITE
async def test_limits_end_a_run_with_a_reason(stage: Stage) -> None:
    look = asks(call("look_up", item="a"))
    too_long = await stage.play(look, look, look, says("Never."), workflow="brief")
    too_wrong = await stage.play(asks(call("x"), call("y")), says("Never."), workflow="brief")
    nameless = await stage.play(asks(call("look_up", item="a") | {"id": ""}), says("Never."))
    assert "turn limit" in (await stage.ended(too_long, "failed"))["reason"]
    assert "over the limit" in (await stage.ended(too_wrong, "failed"))["reason"]
    assert "without an id" in (await stage.ended(nameless, "failed"))["reason"]
    assert len(stage.creates(too_long)) == 2


async def test_the_longest_time_ends_a_run_wherever_it_stands(stage: Stage) -> None:
    waits = await stage.play(asks(call("charge", item="book", amount=3)), says("Never."))
    thinks = await stage.play(says("Never.", think=1800))
    [approval] = await stage.asked(waits)
    await stage.reach(thinks, "running")
    stage.skip(3599)
    assert (await stage.run(waits))["status"] == "waiting"
    stage.skip(8 * 24 * 3600)
    # The question's own time was up long before, and which of the two is noticed first is all the same.
    for run_id in (waits, thinks):
        assert "not ended within" in (await stage.ended(run_id, "failed"))["reason"]
    await until(lambda: _cancelled(stage, thinks), "the end on the model's side")
    assert buttons(await stage.redrawn(approval, "")) == ["details"]
    assert stage.book() == []


async def _cancelled(stage: Stage, run_id: str) -> bool:
    return bool(stage.interactions(run_id)[0].status == "cancelled")


async def test_one_call_told_twice_is_one_call(stage: Stage) -> None:
    twice = call("refund", "c-1", item="book", amount=3)
    run_id = await stage.play(asks(twice, twice), says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    run = await stage.ended(run_id)
    assert len(run["calls"]) == len(stage.book()) == 1
    other = await stage.play(asks(twice, call("refund", "c-1", item="house", amount=9)), says("Never."))
    assert "two different calls under one id" in (await stage.ended(other, "failed"))["reason"]
    assert len(stage.book()) == 1


async def test_many_runs_at_once_do_not_mix(stage: Stage) -> None:
    runs = {}
    for n in range(12):
        calls = call("charge", item=f"item {n}", amount=n), call("look_up", item=f"item {n}")
        runs[await stage.play(asks(*calls), says(f"Charged {n}.", f"Kept {n}."))] = n
    for run_id, n in runs.items():
        [approval] = await stage.asked(run_id)
        await stage.click(approval, "approve" if n % 3 else "reject", ("U0ALICE", "U0BOB")[n % 2])
    for run_id, n in runs.items():
        run = await stage.ended(run_id)
        assert run["output"] == (f"Charged {n}." if n % 3 else f"Kept {n}.")
        assert {c["arguments"]["item"] for c in run["calls"]} == {f"item {n}"}
    assert sorted(row["amount"] for row in stage.book()) == [n for n in range(12) if n % 3]
