"""The service is stopped and started again, on the same database, wherever a run stands."""

import asyncio
from pathlib import Path

import pytest
from looking import Json, buttons, metadata, until
from scenery import LEASE_SECONDS, asks, call, says
from stage import ON_SQLITE, Stage, staged

pytestmark = pytest.mark.asyncio

CHARGE = asks(call("charge", item="book", amount=3))
SOON = {"gemini": {"reconcile_seconds": 1}}


async def back(stage: Stage, **changes: object) -> None:
    """Start again; what the old process still held is free once its leases are over."""
    await stage.start(**changes)
    stage.skip(LEASE_SECONDS + 1)


async def test_with_a_create_that_was_not_sent_yet(stage: Stage) -> None:
    stage.gemini.inject("create", "status", status=429, retry_after="5")
    run_id = await stage.play(says("Done."))
    await stage.event(run_id, "CreateDeferred")
    await stage.stop()
    await back(stage)
    await stage.ended(run_id)
    assert [metadata(r["body"])["attempt"] for r in stage.creates(run_id)] == [1, 1]


async def test_with_a_create_in_flight_that_is_lost(stage: Stage) -> None:
    stage.gemini.inject("create", "hang")
    run_id = await stage.play(CHARGE, says("Done."))
    await until(lambda: _sent(stage, run_id, 1), "the create on the wire")
    await stage.stop()
    await back(stage)
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    run = await stage.ended(run_id)
    assert [t["attempt"] for t in run["turns"]] == [2, 1]
    assert len(stage.interactions(run_id)) == 2
    assert len(stage.book()) == 1


async def _sent(stage: Stage, run_id: str, count: int) -> bool:
    return len(stage.creates(run_id)) >= count


async def test_with_a_create_in_flight_that_was_taken(tmp_path: Path, database_url: str) -> None:
    """Its webhook is refused while we are down, comes again, and says whose interaction it is."""
    async with staged(tmp_path, database_url, gemini={"create_grace_seconds": 300}) as stage:
        stage.gemini.inject("create", "slow", seconds=60)
        run_id = await stage.play(asks(call("charge", item="book", amount=3), think=0.4), says("Done."))
        await until(lambda: _sent(stage, run_id, 1), "the create on the wire")
        await stage.stop()
        await back(stage)
        [approval] = await stage.asked(run_id)
        await stage.click(approval)
        run = await stage.ended(run_id)
        assert [t["attempt"] for t in run["turns"]] == [1, 1]
        assert len(stage.interactions(run_id)) == 2


async def test_while_the_model_thinks_and_its_webhook_meets_nobody(stage: Stage) -> None:
    run_id = await stage.play(asks(call("look_up", item="book"), think=0.5), says("Done."))
    await stage.reach(run_id, "running")
    await stage.stop()
    await until(lambda: _refused(stage), "a webhook that met nobody")
    await back(stage)
    await stage.ended(run_id)
    assert len(stage.creates(run_id)) == 2


async def _refused(stage: Stage) -> bool:
    return any(attempt.error for d in stage.gemini.courier.deliveries for attempt in d.attempts)


async def test_while_the_model_thinks_and_its_webhook_is_lost(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.gemini.inject("deliver", "lose", times=10)
        run_id = await stage.play(asks(call("look_up", item="book"), think=0.3), says("Done."))
        await stage.reach(run_id, "running")
        await stage.stop()
        await back(stage)
        await stage.ended(run_id)


async def test_while_a_person_is_asked(stage: Stage) -> None:
    run_id = await stage.play(CHARGE, says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.quiet()
    before = await stage.whole(run_id)
    await stage.stop()
    missed = await stage.click(approval)
    assert missed.failed  # the person sees that it did not work
    await back(stage)
    assert await stage.whole(run_id) == before
    assert buttons(stage.message(approval)) == ["approve", "reject_reason", "details"]
    await stage.click(approval)
    await stage.ended(run_id)
    assert len(stage.messages(approval["id"])) == 1
    assert len(stage.book()) == 1


async def test_before_the_question_was_shown(stage: Stage) -> None:
    stage.slack.fault("chat.postMessage", "hang", seconds=60, stored=True)
    run_id = await stage.play(CHARGE, says("Done."))
    [approval] = await stage.asked(run_id, shown=False)
    await until(lambda: stage.was_posted(approval["id"]), "the message nobody knows of")
    await stage.stop()
    await back(stage)
    [approval] = await stage.asked(run_id)
    assert len(stage.messages(approval["id"])) == 1  # found again, not posted again
    await stage.click(approval)
    await stage.ended(run_id)


async def test_while_the_time_to_answer_runs_out(stage: Stage) -> None:
    run_id = await stage.play(CHARGE, says("Charged.", "Not charged."))
    [approval] = await stage.asked(run_id)
    await stage.stop()
    stage.skip(3600)
    await stage.start()
    run = await stage.ended(run_id)
    assert run["output"] == "Not charged."
    await stage.redrawn(approval, "Expired")
    assert stage.book() == []


async def decided(stage: Stage) -> tuple[str, Json]:
    """A run whose call was approved and has not begun: whoever would begin it was told to stop."""
    run_id = await stage.play(CHARGE, says("Charged.", "Not charged."))
    [approval] = await stage.asked(run_id)
    await stage.quiet()
    await stage.stop_working()
    assert (await stage.click(approval)).status == 200
    assert (await stage.run(run_id))["calls"][0]["status"] == "ready"
    await stage.stop()
    assert stage.book() == []
    return run_id, approval


async def test_decided_and_not_begun(stage: Stage) -> None:
    run_id, approval = await decided(stage)
    await back(stage)
    assert (await stage.ended(run_id))["output"] == "Charged."
    assert len(stage.book()) == 1
    await stage.redrawn(approval, "Done")


async def test_decided_and_not_begun_in_time(stage: Stage) -> None:
    run_id, approval = await decided(stage)
    stage.skip(3601)
    await stage.start()
    run = await stage.ended(run_id)
    assert (run["output"], run["calls"][0]["outcome"]) == ("Not charged.", "expired")
    await stage.redrawn(approval, "Lapsed")
    assert stage.book() == []


async def test_decided_and_then_forbidden(stage: Stage) -> None:
    run_id, approval = await decided(stage)
    await back(stage, tools={"overrides": {"charge": {"approval": "deny"}}})
    run = await stage.ended(run_id)
    assert (run["output"], run["calls"][0]["outcome"]) == ("Not charged.", "denied")
    await stage.redrawn(approval, "Not run")
    assert stage.book() == []


async def test_decided_under_terms_that_have_changed(stage: Stage) -> None:
    """The policy's version is under the digest: it is asked anew, under the new terms."""
    run_id, approval = await decided(stage)
    await back(stage, tools={"overrides": {"charge": {"approvers": ["U0BOB"]}}})
    await stage.reach(run_id, "attention")
    assert stage.book() == []
    assert (await stage.resolve(run_id, "retry")).status_code == 200
    second = (await stage.asked(run_id, 2))[1]
    assert second["approvers"] == ["U0BOB"]
    await stage.click(second, "approve", "U0ALICE")
    await stage.told("U0ALICE")
    await stage.click(second, "approve", "U0BOB")
    await stage.ended(run_id)
    assert [row["approved_by"] for row in stage.book()] == ["U0BOB"]
    assert buttons(await stage.redrawn(approval, "Replaced")) == []


async def test_asked_under_terms_that_have_changed(stage: Stage) -> None:
    """A yes to what would not be asked so any more is refused; it is asked anew of who may decide by now."""
    run_id = await stage.play(CHARGE, says("Charged.", "Not charged."))
    [approval] = await stage.asked(run_id)
    await stage.quiet()
    await stage.stop()
    await back(stage, tools={"overrides": {"charge": {"approvers": ["U0BOB"]}}})
    await stage.click(approval, "approve", "U0ALICE")
    await stage.told("U0ALICE")
    await stage.click(approval, "approve", "U0BOB")
    second = (await stage.asked(run_id, 2))[1]
    assert second["approvers"] == ["U0BOB"]
    assert "has changed since it was shown" in await stage.told("U0BOB")
    assert stage.book() == []
    await stage.quiet()  # its message shows the new question
    await stage.click(second, "approve", "U0BOB")
    await stage.ended(run_id)
    assert [row["approved_by"] for row in stage.book()] == ["U0BOB"]


@ON_SQLITE
async def test_a_tool_that_needs_a_person_now_asks_one(stage: Stage) -> None:
    """A call that was free when the model asked and is not when it is to begin."""
    run_id = await stage.play(asks(call("ship", item="a")), says("Done."))
    await stage.begun("ship")
    await stage.stop()
    stage.let_go()
    await back(stage, tools={"overrides": {"ship": {"approval": "ask"}}})
    await stage.reach(run_id, "attention")
    assert (await stage.resolve(run_id, "retry")).status_code == 200
    [approval] = await stage.asked(run_id)
    assert approval["tool"] == "ship"
    await stage.click(approval, "reject")
    await stage.ended(run_id)


async def test_while_an_idempotent_tool_runs(stage: Stage) -> None:
    run_id = await stage.play(asks(call("pack", item="book")), says("Done."))
    await stage.begun("pack")
    await stage.stop()
    await back(stage)
    await stage.begun("pack", 2)
    stage.let_go()
    run = await stage.ended(run_id)
    assert run["calls"][0]["outcome"] == "succeeded"
    assert {row["key"] for row in stage.book("starts")} == {run["calls"][0]["id"]}  # under the same key
    assert len(stage.book()) == 1
    assert "CallCutOff" in await stage.kinds(run_id)


async def test_while_a_tool_runs_that_must_not_run_twice(stage: Stage) -> None:
    run_id = await stage.play(asks(call("ship", item="book"), call("look_up", item="a")), says("Done."))
    await stage.begun("ship")
    await stage.stop()
    await back(stage)
    run = await stage.reach(run_id, "attention")
    assert "did it happen?" in run["reason"]
    stage.let_go()  # the thread of the stopped service goes on by itself, as another process's might
    await until(lambda: _shipped(stage), "the effect nobody heard of")
    assert (await stage.resolve(run_id, "happened", result="yes, it did")).status_code == 200
    await stage.ended(run_id)
    assert len(stage.book("starts")) == 1
    assert len(stage.book()) == 1


async def _shipped(stage: Stage) -> bool:
    return bool(stage.book())


async def test_a_stop_waits_for_tools_that_need_not_long(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, server={"graceful_seconds": 300}) as stage:
        run_id = await stage.play(asks(call("ship", item="book")), says("Done."))
        await stage.begun("ship")
        stopping = asyncio.create_task(stage.stop())
        await asyncio.sleep(0.2)
        assert not stopping.done()
        stage.let_go()
        await stopping
        assert len(stage.book()) == 1
        await stage.start()  # nothing is held, so there is no lease to wait for
        await stage.ended(run_id)
        assert "CallCutOff" not in await stage.kinds(run_id)


async def test_with_results_that_were_not_sent_yet(stage: Stage) -> None:
    stage.gemini.inject("create", "status", status=429, retry_after="5", skip=1)
    run_id = await stage.play(CHARGE, says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    await stage.event(run_id, "CreateDeferred")
    await stage.stop()
    await back(stage)
    await stage.ended(run_id)
    assert len(stage.book()) == 1
    assert stage.gemini.interactions.forks == {}


async def test_with_results_in_flight(stage: Stage) -> None:
    stage.gemini.inject("create", "hang", skip=1)
    run_id = await stage.play(CHARGE, says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    await until(lambda: _sent(stage, run_id, 2), "the continuation on the wire")
    await stage.stop()
    await back(stage)
    run = await stage.ended(run_id)
    assert [t["attempt"] for t in run["turns"]] == [1, 2]
    assert len(stage.book()) == 1


async def test_a_cancel_that_was_not_passed_on_yet(stage: Stage) -> None:
    stage.gemini.inject("cancel", "status", status=429, retry_after="5")
    run_id = await stage.play(says("Never.", think=1800))
    await stage.reach(run_id, "running")
    assert (await stage.cancel(run_id)).status_code == 200
    await until(lambda: _asked_to_stop(stage), "the first try")
    await stage.stop()
    await back(stage)
    [interaction] = stage.interactions(run_id)

    async def stopped() -> bool:
        return bool(interaction.status == "cancelled")

    await until(stopped, "the end on the model's side")


async def _asked_to_stop(stage: Stage) -> bool:
    return stage.counts("cancel") == 1


async def test_a_tool_that_was_taken_away_meanwhile(stage: Stage) -> None:
    """A run keeps its recipe; a tool that is no longer there is one the model cannot have."""
    run_id, _ = await decided(stage)
    stage.take_away("charge")
    await back(stage)
    run = await stage.ended(run_id)
    assert (run["output"], run["calls"][0]["outcome"]) == ("Not charged.", "denied")
    told = [tool["name"] for tool in stage.creates(run_id)[1]["body"]["tools"]]
    assert "charge" not in told
    assert "look_up" in told


@ON_SQLITE
async def test_a_workflow_that_was_taken_away_meanwhile(stage: Stage) -> None:
    run_id = await stage.play(asks(call("refund", item="book", amount=3)), says("Done."), workflow="other")
    [approval] = await stage.asked(run_id)
    await stage.stop()
    del stage.config["workflows"]["other"]
    await back(stage)
    await stage.click(approval)
    await stage.ended(run_id)
    assert (await stage.call("POST", "/v1/workflows/other/runs", json={"input": "a"})).status_code == 404
