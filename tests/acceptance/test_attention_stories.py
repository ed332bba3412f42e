"""What no machine can know: a tool that was cut off, and a person who says what became of it."""

import pytest
from looking import headline_of, until
from scenery import asks, call, says
from sqlalchemy.orm import Session
from stage import Stage

from orchestrator.store.run_rows import call_t

pytestmark = pytest.mark.asyncio

COURIER = asks(call("courier", "c-1", item="book")), says("Brought.", "Not brought.")


async def test_what_happened_is_the_calls_result_and_the_run_goes_on(stage: Stage) -> None:
    run_id = await stage.play(*COURIER)
    run = await stage.reach(run_id, "attention")
    assert "did it happen?" in run["reason"]
    assert run["calls"][0]["status"] == "in_doubt"
    assert stage.journal.named("run_needs_a_look")
    assert len(stage.creates(run_id)) == 1
    answer = await stage.resolve(run_id, "happened", result={"brought": "at noon"})
    assert answer.status_code == 200, answer.text
    run = await stage.ended(run_id)
    assert (run["output"], run["calls"][0]["outcome"]) == ("Brought.", "succeeded")
    [result] = stage.creates(run_id)[1]["body"]["input"]
    assert result["result"] == {"brought": "at noon"}
    resolved = await stage.event(run_id, "AttentionResolved")
    assert resolved["data"]["by"]["id"] == "api:operator"
    assert len(stage.book("starts")) == 1


async def test_it_did_not_happen(stage: Stage) -> None:
    run_id = await stage.play(*COURIER)
    await stage.reach(run_id, "attention")
    stage.let_go()
    assert (await stage.resolve(run_id, "retry")).status_code == 200
    run = await stage.ended(run_id)
    assert run["output"] == "Brought."
    assert [row["tool"] for row in stage.book()] == ["courier"]
    assert (await stage.resolve(run_id, "retry")).status_code == 409


async def test_a_run_that_is_given_up_fails_and_its_late_result_is_not_sent(stage: Stage) -> None:
    run_id = await stage.play(*COURIER)
    await stage.reach(run_id, "attention")
    assert (await stage.resolve(run_id, "give_up")).status_code == 200
    run = await stage.ended(run_id, "failed")
    assert run["reason"].startswith("given up by api:operator: courier was cut off")
    stage.let_go()
    await stage.quiet()
    assert (await stage.run(run_id))["calls"][0]["outcome"] == "withdrawn"
    assert len(stage.creates(run_id)) == 1


async def test_only_what_is_in_doubt_can_be_settled(stage: Stage) -> None:
    two = asks(call("courier", "c-1", item="a"), call("courier", "c-2", item="b"))
    run_id = await stage.play(two, says("Done."))

    async def both() -> bool:
        calls = (await stage.run(run_id))["calls"]
        return [c["status"] for c in calls] == ["in_doubt"] * 2

    await until(both, "two calls in doubt")
    first, second = [c["id"] for c in (await stage.run(run_id))["calls"]]
    unnamed = await stage.resolve(run_id, "happened", result="yes")
    assert unnamed.status_code == 409
    assert first in unnamed.json()["detail"]
    assert second in unnamed.json()["detail"]
    assert (await stage.resolve(run_id, "retry", call=first, result="yes")).status_code == 400
    assert (await stage.resolve(run_id, "happened", call="call_nobodys")).status_code == 409
    path = f"/v1/runs/{run_id}/resolve"
    told = await stage.call("POST", path, token="alice", json={"choice": "retry", "call": first})
    assert told.status_code == 403
    assert (await stage.resolve(run_id, "happened", call=first, result="yes")).status_code == 200
    assert (await stage.run(run_id))["status"] == "attention"  # one is still in doubt
    assert (await stage.resolve(run_id, "happened", call=first, result="no")).status_code == 409
    assert (await stage.resolve(run_id, "happened", call=second, result="no")).status_code == 200
    await stage.ended(run_id)
    sent = {step["call_id"]: step["result"] for step in stage.creates(run_id)[1]["body"]["input"]}
    assert sent == {"c-1": "yes", "c-2": "no"}


async def test_a_tool_that_may_be_asked_again_only_fails(stage: Stage) -> None:
    run_id = await stage.play(asks(call("ask_stock", item="book")), says("Asked.", "No answer."))
    run = await stage.ended(run_id)
    assert run["output"] == "No answer."
    assert run["calls"][0]["result"] == "The tool timed out after 0.3 seconds."


async def test_a_changed_row_does_not_run_under_an_old_approval(stage: Stage) -> None:
    """What was approved is what runs: anything else stops at the gate, and is asked about anew."""
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Charged."))
    [approval] = await stage.asked(run_id)
    await stage.stop_working()
    assert (await stage.click(approval)).status == 200
    await stage.service.database.write(_poke, run_id)
    await stage.restart()
    run = await stage.reach(run_id, "attention")
    assert "are not those people were asked about" in run["reason"]
    assert stage.book() == []
    assert headline_of(await stage.redrawn(approval, "In doubt")).endswith("charge")
    assert (await stage.resolve(run_id, "retry")).status_code == 200
    second = (await stage.asked(run_id, 2))[1]
    assert (second["revision"], second["arguments"]["amount"]) == (2, 999)
    assert (await stage.click(second, "reject")).status == 200
    await stage.ended(run_id)
    assert stage.book() == []


def _poke(s: Session, run_id: str) -> None:
    """Somebody with a database shell."""
    poked = call_t.update().where(call_t.c.run_id == run_id).values(arguments={"item": "book", "amount": 999})
    s.connection().execute(poked)
