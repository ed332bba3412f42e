"""Gemini in trouble: answers that are late, lost, wrong or missing, and every status there is."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from looking import buttons, metadata, stays, until
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged

pytestmark = pytest.mark.asyncio

SOON = {"gemini": {"reconcile_seconds": 1}}
CHARGE = asks(call("charge", "c-1", item="book", amount=3))


@ON_SQLITE
async def test_a_busy_gemini_is_asked_again_no_sooner_than_it_said(stage: Stage) -> None:
    stage.gemini.inject("create", "status", status=429, retry_after="1")
    stage.gemini.inject("create", "status", status=429, retry_after="1", skip=1)
    run_id = await stage.play(asks(call("look_up", item="book")), says("Done."))
    await stage.ended(run_id)
    sent = stage.creates(run_id)
    assert [r["status"] for r in sent] == [429, 200, 429, 200]
    assert {metadata(r["body"])["attempt"] for r in sent} == {1}  # nothing was taken: the same attempt
    times = [datetime.fromisoformat(r["at"]) for r in sent]
    assert all((b - a).total_seconds() >= 1 for a, b in [times[:2], times[2:]])


@ON_SQLITE
async def test_a_refused_key_waits_for_people_and_a_refused_request_ends_the_run(stage: Stage) -> None:
    stage.gemini.inject("create", "status", status=401, times=None)
    waits = await stage.play(says("Done."))
    await stage.event(waits, "CreateDeferred", 2)
    assert (await stage.run(waits))["status"] == "queued"
    stage.gemini.faults.clear()  # the key is mended
    await stage.ended(waits)
    stage.gemini.inject("create", "status", status=400, message="That model is gone.")
    refused = await stage.play(says("Done."))
    assert "That model is gone." in (await stage.ended(refused, "failed"))["reason"]
    assert len(stage.creates(refused)) == 1


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_create_that_may_have_been_lost_is_replaced_after_the_grace(stage: Stage, turn: int) -> None:
    """Refused with 503 and never taken: nobody can know, so it is a new attempt, not a repetition."""
    stage.gemini.inject("create", "status", status=503, skip=turn - 1)
    run_id = await stage.play(CHARGE, says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    run = await stage.ended(run_id)
    marks = [(m["turn"], m["attempt"]) for m in (metadata(r["body"]) for r in stage.creates(run_id))]
    assert marks == ([(1, 1), (1, 2), (2, 1)] if turn == 1 else [(1, 1), (2, 1), (2, 2)])
    assert [t["attempt"] for t in run["turns"]] == ([2, 1] if turn == 1 else [1, 2])
    first, second = [datetime.fromisoformat(r["at"]) for r in stage.creates(run_id)][turn - 1 : turn + 1]
    assert (second - first).total_seconds() >= 1  # the grace
    assert stage.gemini.interactions.forks == {}
    assert len(stage.book()) == 1


async def test_a_taken_create_whose_answer_got_lost_is_adopted(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, gemini={"create_grace_seconds": 15}) as stage:
        for kind in ("accept_then_status", "accept_then_reset", "html", "null", "broken_json"):
            stage.gemini.inject("create", kind, times=2, status=500)
            run_id = await stage.play(CHARGE, says("Done."))
            [approval] = await stage.asked(run_id)
            await stage.click(approval)
            run = await stage.ended(run_id)
            assert (await stage.kinds(run_id)).count("CreateUncertain") == 2, kind
            assert [t["attempt"] for t in run["turns"]] == [1, 1], kind
            assert len(stage.interactions(run_id)) == 2, kind
        assert len(stage.book()) == 5


async def test_a_replaced_attempt_that_shows_itself_is_stopped_and_never_acted_on(stage: Stage) -> None:
    stage.gemini.inject("create", "accept_then_reset")
    mark = "two of one turn"
    stage.script(mark, CHARGE, says("Done."))
    slow = asks(call("refund", item="book", amount=10**6), think=1800)
    stage.script(mark, slow, says("Robbed."), times=1)
    run_id = await stage.trigger(mark)
    [approval] = await stage.asked(run_id)
    orphan, real = stage.interactions(run_id)
    assert (orphan.request.metadata["attempt"], real.request.metadata["attempt"]) == (1, 2)
    assert orphan.status == "in_progress"

    await stage.gemini.deliver(interaction=orphan.id, event="interaction.requires_action", message_id="new")

    async def stopped() -> bool:
        return bool(orphan.status == "cancelled")

    await until(stopped, "the orphan's end")
    run = await stage.run(run_id)
    assert (run["status"], run["turns"][0]["interaction_id"]) == ("waiting", real.id)
    assert [a["tool"] for a in await stage.approvals(run_id)] == ["charge"]
    await stage.click(approval)
    assert (await stage.ended(run_id))["output"] == "Done."
    assert orphan.children == 0
    assert [row["tool"] for row in stage.book()] == ["charge"]


async def test_of_two_continuations_only_one_is_gone_on_with(stage: Stage) -> None:
    """The continuation is taken, its answer and its webhook are lost, and it shows itself too late."""
    stage.gemini.inject("create", "accept_then_reset", skip=1)
    stage.gemini.inject("deliver", "hold", skip=1)
    run_id = await stage.play(CHARGE, asks(call("refund", "r-1", item="book", amount=3)), says("Done."))
    [first] = await stage.asked(run_id)
    await stage.click(first)
    [_, second] = await stage.asked(run_id, 2)
    _, orphan, real = stage.interactions(run_id)
    assert stage.gemini.interactions.forks == {orphan.request.previous: 1}
    assert await stage.gemini.release() == 1
    await stage.quiet()
    assert [a["tool"] for a in await stage.approvals(run_id)] == ["charge", "refund"]
    await stage.click(second)
    run = await stage.ended(run_id)
    assert run["turns"][1]["interaction_id"] == real.id
    assert (orphan.children, real.children) == (0, 1)
    assert [row["tool"] for row in stage.book()] == ["charge", "refund"]


async def test_a_lost_create_may_be_a_persons_to_decide(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, gemini={"lost_create": "attention"}) as stage:
        stage.gemini.inject("create", "status", status=503, times=2)
        again = await stage.play(says("Done."))
        never = await stage.play(says("Done."))
        for run_id in (again, never):
            assert "got lost" in (await stage.reach(run_id, "attention"))["reason"]
        assert (await stage.resolve(again, "happened", result="x")).status_code == 409
        assert (await stage.resolve(again, "retry")).status_code == 200
        await stage.ended(again)
        assert (await stage.resolve(never, "give_up")).status_code == 200
        assert "given up by api:operator" in (await stage.ended(never, "failed"))["reason"]
        assert (await stage.resolve(never, "retry")).status_code == 409

        stage.gemini.inject("create", "accept_then_reset")
        stage.gemini.inject("deliver", "hold")
        shows = await stage.play(says("Here I am."))
        await stage.reach(shows, "attention")
        await stage.gemini.release()
        run = await stage.ended(shows)  # it settled itself
        assert (run["output"], run["reason"]) == ("Here I am.", "")


@ON_SQLITE
async def test_an_interaction_may_be_slow_to_appear(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.gemini.inject("get", "not_found", times=2)
        run_id = await stage.play(asks(call("look_up", item="book")), says("Done."))
        await stage.ended(run_id)
        assert (await stage.kinds(run_id)).count("InteractionMissing") == 2


async def test_an_interaction_that_is_gone_ends_the_run(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.gemini.inject("get", "not_found", times=100)
        run_id = await stage.play(asks(call("look_up", item="book")), says("Done."))
        assert "no longer has this interaction" in (await stage.ended(run_id, "failed"))["reason"]
        assert 3 <= stage.counts("get") <= 5


async def test_what_gemini_forgets_while_people_think_is_withdrawn(tmp_path: Path, database_url: str) -> None:
    """Retention strikes while a person is asked: the run ends, the question too, nothing runs."""
    changes = {"gemini": {"waiting_reconcile_seconds": 1}}
    async with staged(tmp_path, database_url, **changes) as stage:
        run_id = await stage.play(CHARGE, says("Done."))
        [approval] = await stage.asked(run_id)
        [interaction] = stage.interactions(run_id)
        interaction.gone = True
        run = await stage.ended(run_id, "failed")
        assert "retention" in run["reason"]
        message = await stage.redrawn(approval, "Withdrawn: charge")
        assert buttons(message) == ["details"]
        assert (await stage.decide(approval["id"])).status_code == 409
        assert stage.book() == []
        assert len(stage.creates(run_id)) == 1


async def test_what_gemini_forgot_before_the_results_came_ends_the_run(stage: Stage) -> None:
    run_id = await stage.play(CHARGE, says("Done."))
    [approval] = await stage.asked(run_id)
    stage.interactions(run_id)[0].gone = True
    await stage.click(approval)
    run = await stage.ended(run_id, "failed")
    assert "no longer has" in run["reason"]
    assert run["calls"][0]["outcome"] == "succeeded"  # that much is in the record
    assert len(stage.book()) == 1


@ON_SQLITE
async def test_a_stale_reading_is_read_again(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.gemini.inject("get", "stale", times=1)
        run_id = await stage.play(asks(call("look_up", item="book")), says("Done."))
        await stage.ended(run_id)
        assert len(stage.creates(run_id)) == 2


@ON_SQLITE
async def test_readings_that_cannot_be_read_are_asked_for_again(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, gemini={"timeout_seconds": 3}) as stage:
        for kind in ("html", "null", "broken_json", "reset", "hang", "status"):
            stage.gemini.inject("get", kind)
        run_id = await stage.play(asks(call("look_up", item="book")), says("Done."))
        await stage.ended(run_id)
        assert len(stage.creates(run_id)) == 2


@ON_SQLITE
async def test_a_create_that_hangs_is_given_up_on_and_replaced(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, gemini={"timeout_seconds": 2}) as stage:
        stage.gemini.inject("create", "hang")
        run_id = await stage.play(says("Done."))
        run = await stage.ended(run_id)
        assert run["turns"][0]["attempt"] == 2
        assert len(stage.interactions(run_id)) == 1


async def test_every_status_has_its_meaning(tmp_path: Path, database_url: str) -> None:
    changes = {"gemini": {"reconcile_seconds": 1, "strange_readings": 2}}
    async with staged(tmp_path, database_url, **changes) as stage:
        stage.gemini.inject("deliver", "lose", times=1000)  # some have no event anyway
        whole = says("Whole.", think=1.5)  # read at least once before
        ends = {
            "completed": (says("Whole."), "completed", "", "Whole."),
            "queued": (says("Whole.", queued=1.2), "completed", "", "Whole."),
            "in_progress": (says("Whole.", think=1.2), "completed", "", "Whole."),
            "incomplete": (says("Half.", status="incomplete"), "failed", "incomplete", "Half."),
            "budget_exceeded": (says("Half.", status="budget_exceeded"), "failed", "budget_", "Half."),
            "failed": (
                {"status": "failed", "errors": [{"code": "boom", "message": "It broke."}]},
                "failed",
                "boom: It broke.",
                "",
            ),
            "cancelled": ({"status": "cancelled"}, "cancelled", "cancelled at Gemini", ""),
            "requires_continuation": ({"status": "requires_continuation"}, "failed", "without a token", ""),
            "requires_action": ({"status": "requires_action"}, "failed", "names no function call", ""),
            "pondering": ({"status": "pondering", "then": whole}, "completed", "", "Whole."),
        }
        runs = {status: await stage.play(end[0]) for status, end in ends.items()}
        forever = await stage.play({"status": "daydreaming"})
        for status, run_id in runs.items():
            _, wanted, reason, output = ends[status]
            run = await stage.ended(run_id, wanted)
            assert reason in run["reason"], status
            assert run["output"].startswith(output), status
            if wanted == "completed":  # what was read more than once is counted once
                usage = stage.interactions(run_id)[0].usage
                assert run["usage"] == {k: v for k, v in usage.items() if k.startswith("total_")}, status
        strange = await until(lambda: _strange(stage, forever), "an alarm")
        assert "'daydreaming'" in strange
        assert (await stage.cancel(forever)).status_code == 200


async def _strange(stage: Stage, run_id: str) -> str:
    run = await stage.run(run_id)
    assert run["status"] == "running"  # it may well be alive
    return str(run["reason"]) if stage.journal.named("run_needs_a_look") else ""


async def test_a_finished_run_stays_finished_whatever_gemini_says(stage: Stage) -> None:
    run_id = await stage.play(says("Done."))
    await stage.ended(run_id)
    await stage.quiet()
    before = await stage.whole(run_id)
    [interaction] = stage.interactions(run_id)
    await stage.gemini.move(interaction.id, "requires_action")
    await stage.gemini.move(interaction.id, "failed")
    await stage.quiet()
    assert await stage.whole(run_id) == before


async def test_the_model_side_is_stopped_even_if_the_first_words_are_lost(stage: Stage) -> None:
    stage.gemini.inject("cancel", "status", status=503, times=3)
    run_id = await stage.play(says("Never.", think=1800))
    await stage.reach(run_id, "running")
    assert (await stage.cancel(run_id)).status_code == 200
    [interaction] = stage.interactions(run_id)

    async def stopped() -> bool:
        return bool(interaction.status == "cancelled")

    await until(stopped, "the end on the model's side")
    assert stage.counts("cancel") == 4


async def test_gemini_down_for_a_while_delays_and_loses_nothing(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        runs = [await stage.play(asks(call("look_up", item="book")), says("Done.")) for _ in range(4)]
        for operation in ("create", "get"):
            stage.gemini.inject(operation, "status", status=429, times=1000, retry_after="1")
        more = [await stage.play(asks(call("look_up", item="book")), says("Done.")) for _ in range(4)]
        for run_id in more:
            await stage.event(run_id, "CreateDeferred")
        await stays(lambda: _none_ended(stage, more), 0.2)
        stage.gemini.faults.clear()
        stage.skip(60)
        for run_id in (*runs, *more):
            await stage.ended(run_id)
            assert len(stage.interactions(run_id)) == 2
            sent = [r for r in stage.creates(run_id) if r["status"] == 429]
            times = [datetime.fromisoformat(r["at"]) for r in sent]
            assert all((b - a).total_seconds() >= 1 for a, b in pairwise(times))


async def _none_ended(stage: Stage, runs: list[str]) -> bool:
    return all([(await stage.run(run_id))["status"] == "queued" for run_id in runs])
