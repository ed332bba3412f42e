"""Cancel wins from its 2xx on, wherever the run stands; the model's side is stopped too."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from looking import Json, buttons, text_of, until
from scenery import asks, call, says
from stage import Stage, staged

pytestmark = pytest.mark.asyncio

CHARGE = asks(call("charge", item="book", amount=3))
LONG = 1800.0


async def cancelled(stage: Stage, run_id: str) -> Json:
    answer = await stage.cancel(run_id, "changed my mind")
    assert answer.status_code == 200, answer.text
    run: Json = answer.json()
    assert (run["status"], run["reason"]) == ("cancelled", "cancelled by operator: changed my mind")
    return run


async def gone(interaction: Any) -> None:
    """Until Gemini works on it no more."""

    async def probe() -> bool:
        return bool(interaction.status == "cancelled")

    await until(probe, "the end on the model's side")


async def nothing_after(stage: Stage, run_id: str) -> None:
    """Nothing was begun for the run after it was cancelled."""
    events = await stage.record(run_id)
    at = next(n for n, e in enumerate(events) if e["kind"] == "CancelRequested")
    begun = [e["kind"] for e in events[at:] if e["kind"] in ("CreateClaimed", "CallClaimed")]
    assert [e["refused"] for e in events[at:] if e["kind"] in begun].count(None) == 0
    assert {e["status"] for e in events[at:]} == {"cancelled"}


async def test_before_anything_was_sent(stage: Stage) -> None:
    stage.gemini.inject("create", "status", status=429, retry_after="30")
    run_id = await stage.play(says("Never."))
    await stage.event(run_id, "CreateDeferred")
    await cancelled(stage, run_id)
    stage.skip(60)
    await stage.quiet()
    assert len(stage.creates(run_id)) == 1
    await nothing_after(stage, run_id)


async def test_while_the_create_is_in_flight(stage: Stage) -> None:
    stage.gemini.inject("create", "slow", seconds=4)
    run_id = await stage.play(says("Never.", think=LONG))
    await until(lambda: _taken(stage, run_id, 1), "the create at Gemini")
    await cancelled(stage, run_id)
    [interaction] = stage.interactions(run_id)
    assert interaction.status == "in_progress"
    await gone(interaction)
    await nothing_after(stage, run_id)


async def _taken(stage: Stage, run_id: str, count: int) -> bool:
    return len(stage.interactions(run_id)) == count


async def test_while_nobody_knows_whether_the_create_arrived(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, gemini={"create_grace_seconds": 3}) as stage:
        stage.gemini.inject("create", "accept_then_reset")
        run_id = await stage.play(says("Never.", think=LONG))
        await stage.event(run_id, "CreateUncertain")
        await cancelled(stage, run_id)
        [interaction] = stage.interactions(run_id)
        await stage.gemini.deliver(
            interaction=interaction.id, event="interaction.requires_action", message_id="new"
        )
        await gone(interaction)
        stage.skip(10)
        await stage.quiet()
        assert len(stage.creates(run_id)) == 1
        await nothing_after(stage, run_id)


async def test_while_the_model_thinks(stage: Stage) -> None:
    run_id = await stage.play(says("Never.", think=LONG))
    await stage.reach(run_id, "running")
    await cancelled(stage, run_id)
    await gone(stage.interactions(run_id)[0])
    assert (await stage.cancel(run_id)).status_code == 200  # twice is once
    await nothing_after(stage, run_id)


async def test_while_a_person_is_asked(stage: Stage) -> None:
    run_id = await stage.play(CHARGE, says("Never."))
    [approval] = await stage.asked(run_id)
    payload = await stage.payload(approval)
    await cancelled(stage, run_id)
    message = await stage.redrawn(approval, "Withdrawn: charge")
    assert buttons(message) == ["details"]
    assert "The run was cancelled." in text_of(message.blocks)
    assert (await stage.press(payload)).status_code == 200
    assert (await stage.decide(approval["id"])).status_code == 409
    await stage.quiet()
    assert (await stage.approvals(run_id))[0]["status"] == "withdrawn"
    assert stage.book() == []
    assert stage.counts("cancel") == 1
    await nothing_after(stage, run_id)


async def test_before_the_question_could_be_shown(stage: Stage) -> None:
    stage.slack.fault("chat.postMessage", "accept_then_reset")
    run_id = await stage.play(CHARGE, says("Never."))
    [approval] = await stage.asked(run_id, shown=False)
    await until(lambda: stage.was_posted(approval["id"]), "the message nobody knows of")
    await cancelled(stage, run_id)
    stage.skip(5)
    [message] = stage.messages(approval["id"])

    async def drawn() -> bool:
        return buttons(message) == ["details"]

    await until(drawn, "a message without buttons")
    assert len(stage.messages(approval["id"])) == 1
    await nothing_after(stage, run_id)


async def test_while_a_tool_runs_its_late_result_is_kept_and_not_sent(stage: Stage) -> None:
    run_id = await stage.play(asks(call("ship", item="book"), call("watch", item="door")), says("Never."))
    await stage.begun("ship")
    await stage.begun("watch")
    await cancelled(stage, run_id)
    await stage.begun("watch was told to stop")
    stage.let_go()
    await stage.event(run_id, "CallFinished", 2)
    run = await stage.run(run_id)
    assert {c["tool"]: c["outcome"] for c in run["calls"]} == {"ship": "succeeded", "watch": "failed"}
    assert run["status"] == "cancelled"
    late = [e for e in await stage.record(run_id) if e["kind"] == "CallFinished"]
    assert all(e["note"].startswith("late:") for e in late)
    assert len(stage.creates(run_id)) == 1
    assert [row["tool"] for row in stage.book()] == ["ship"]
    await nothing_after(stage, run_id)


async def test_while_the_results_are_on_their_way(stage: Stage) -> None:
    stage.gemini.inject("create", "slow", seconds=4, skip=1)
    run_id = await stage.play(asks(call("look_up", item="book")), says("Never.", think=LONG))
    await until(lambda: _taken(stage, run_id, 2), "the continuation at Gemini")
    assert (await stage.run(run_id))["status"] == "resuming"
    await cancelled(stage, run_id)
    await gone(stage.interactions(run_id)[1])
    await nothing_after(stage, run_id)


async def test_while_the_results_wait_to_be_sent(stage: Stage) -> None:
    stage.gemini.inject("create", "status", status=429, retry_after="30", skip=1)
    run_id = await stage.play(asks(call("look_up", item="book")), says("Never."))
    await stage.event(run_id, "CreateDeferred")
    assert (await stage.run(run_id))["status"] == "resuming"
    await cancelled(stage, run_id)
    stage.skip(60)
    await stage.quiet()
    assert len(stage.interactions(run_id)) == 1
    await nothing_after(stage, run_id)


async def test_while_a_person_has_to_say_what_happened(stage: Stage) -> None:
    run_id = await stage.play(asks(call("courier", item="book")), says("Never."))
    await stage.reach(run_id, "attention")
    await cancelled(stage, run_id)
    assert (await stage.resolve(run_id, "retry")).status_code == 409
    await nothing_after(stage, run_id)


async def test_an_ended_run_is_not_cancelled_any_more(stage: Stage) -> None:
    run_id = await stage.play(says("Done."))
    await stage.ended(run_id)
    await stage.quiet()
    before = await stage.run(run_id)
    answer = await stage.cancel(run_id)
    assert answer.status_code == 409
    assert "already completed" in answer.json()["detail"]
    assert await stage.run(run_id) == before
    refused = await stage.event(run_id, "CancelRequested")  # that somebody tried is in the record
    assert (refused["refused"], refused["status"]) == ("run_ended", "completed")


async def test_cancel_against_approve(stage: Stage) -> None:
    """Whichever commits first; what has not begun by then does not begin."""
    runs = [await stage.play(CHARGE, says("Done.")) for _ in range(8)]
    asked = {run_id: (await stage.asked(run_id))[0] for run_id in runs}
    presses = {run_id: await stage.payload(approval) for run_id, approval in asked.items()}
    for n, run_id in enumerate(runs):
        both = [stage.press(presses[run_id]), stage.cancel(run_id)]
        await asyncio.gather(*(both if n % 2 else both[::-1]))
        await cancelled_or_done(stage, run_id)
    await stage.quiet()
    for run_id in runs:
        run = await stage.run(run_id)
        began = any(e["kind"] == "CallClaimed" and not e["refused"] for e in await stage.record(run_id))
        assert sum(row["key"] == run["calls"][0]["id"] for row in stage.book()) == began


async def cancelled_or_done(stage: Stage, run_id: str) -> None:
    run = await stage.reach(run_id, "cancelled", "completed")
    if run["status"] == "cancelled":
        await nothing_after(stage, run_id)
