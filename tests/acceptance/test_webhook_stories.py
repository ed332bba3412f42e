"""Webhooks are hints: lost, doubled, early, late, forged or lying ones change nothing about the story."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from looking import buttons, metadata, stays, until
from scenery import HOOK_SECRET, NEXT_HOOK_SECRET, asks, call, says
from stage import ON_SQLITE, Stage, staged

from orchestrator.emulator.gemini.webhooks import Secret

pytestmark = pytest.mark.asyncio

STORY = asks(call("look_up", item="book")), asks(call("weigh", item="book")), says("Done.")
SOON = {"gemini": {"reconcile_seconds": 1}}


async def test_lost_webhooks_are_made_up_for_within_the_interval(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.gemini.inject("deliver", "lose", times=1000)
        runs = [await stage.play(*STORY) for _ in range(5)]
        for run_id in runs:
            await stage.ended(run_id)
            assert len(stage.creates(run_id)) == 3
            known = {i.id: i for i in stage.interactions(run_id)}
            for event in await stage.record(run_id):
                if event["kind"] == "InteractionObserved" and event["data"]["snapshot"]["calls"]:
                    settled = known[event["data"]["snapshot"]["interaction_id"]].updated
                    late = datetime.fromisoformat(event["at"]) - settled
                    assert late < timedelta(seconds=1 + 25)  # the interval, and a busy machine
        assert {d.state for d in stage.gemini.courier.deliveries} == {"lost"}
        assert await stage.deliveries() == []


async def test_doubled_webhooks_wake_and_do_no_more(stage: Stage) -> None:
    stage.gemini.inject("deliver", "duplicate", times=1000, copies=5)
    run_id = await stage.play(*STORY[:1], asks(call("charge", item="book", amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    await stage.ended(run_id)
    assert len(stage.creates(run_id)) == 3
    assert len(stage.book()) == 1
    assert len(stage.messages(approval["id"])) == 1

    async def all_came() -> bool:
        return sum(d["duplicates"] for d in await stage.deliveries()) == 3 * 5

    await until(all_came, "every copy")


async def test_webhooks_may_come_before_the_creates_answer(stage: Stage) -> None:
    stage.gemini.inject("create", "early", times=3)
    run_id = await stage.play(*STORY)
    await stage.ended(run_id)
    assert len(stage.creates(run_id)) == 3
    assert {d["state"] for d in await stage.deliveries()} == {"done"}


async def test_an_answer_slower_than_its_webhooks_finds_the_work_begun(stage: Stage) -> None:
    stage.gemini.inject("create", "slow", times=2, seconds=3)
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    run = await stage.ended(run_id)
    assert run["output"] == "Done."
    await stage.noted(run_id, "stale reading")  # the answer, at last
    assert len(stage.creates(run_id)) == 2
    assert len(stage.book()) == 1


async def test_reordered_webhooks_tell_nothing_new(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.gemini.inject("deliver", "hold", times=1000)
        run_id = await stage.play(*STORY[:1], asks(call("charge", item="book", amount=3)), says("Done."))
        [approval] = await stage.asked(run_id)
        waiting = await stage.run(run_id)
        assert await stage.gemini.release(newest_first=True) == 2
        await stage.quiet()
        now = await stage.run(run_id)
        assert (now["turns"], now["calls"], now["status"]) == (
            waiting["turns"],
            waiting["calls"],
            waiting["status"],
        )
        await stage.click(approval)
        await stage.ended(run_id)
        await stage.redrawn(approval, "Done")
        before = await stage.whole(run_id)
        assert await stage.gemini.release(newest_first=True) == 1
        await stage.quiet()
        assert await stage.whole(run_id) == before
        assert len(stage.creates(run_id)) == 3


async def test_webhooks_after_the_end_change_nothing(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    await stage.ended(run_id)
    await stage.redrawn(approval, "Done")
    await stage.quiet()
    before, creates = await stage.whole(run_id), stage.counts("create")
    for interaction in stage.interactions(run_id):
        for event in ("requires_action", "completed", "failed"):
            attempts = await stage.gemini.deliver(
                interaction=interaction.id, event=f"interaction.{event}", message_id="new", copies=2
            )
            assert [a.status for a in attempts] == [200, 200]
    await stage.quiet()
    assert await stage.whole(run_id) == before
    assert stage.counts("create") == creates
    assert len(stage.book()) == 1


async def test_a_lying_event_is_a_hint_to_look_and_no_more(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    [interaction] = stage.interactions(run_id)
    for event in ("interaction.completed", "interaction.failed", "interaction.cancelled", "interaction.x"):
        body = {"type": event, "version": "v9", "data": {"id": interaction.id, "status": "completed"}}
        [attempt] = await stage.gemini.deliver(body=body, message_id="new")
        assert attempt.status == 200
    await stage.quiet()
    assert (await stage.run(run_id))["status"] == "waiting"
    assert buttons(stage.message(approval)) == ["approve", "reject_reason", "details"]
    await stage.click(approval)
    await stage.ended(run_id)


WRONG: list[tuple[dict[str, Any], int]] = [
    ({"bad_signature": True}, 401),
    ({"timestamp_offset": -600.0}, 400),
    ({"timestamp_offset": 600.0}, 400),
    ({"headers": {"webhook-signature": None}}, 400),
    ({"headers": {"webhook-signature": "v1,"}}, 401),
    ({"headers": {"webhook-id": None}}, 400),
    ({"headers": {"webhook-timestamp": "yesterday"}}, 400),
    ({"headers": {"content-encoding": "gzip"}}, 415),
    ({"body": b"{"}, 400),
    ({"body": b"[]"}, 400),
    ({"body": b'{"type": "a", "x": "' + b"x" * 9000 + b'"}'}, 413),
]


@ON_SQLITE
async def test_what_is_not_believed_is_not_taken(stage: Stage) -> None:
    stage.gemini.inject("deliver", "hold", times=1000)
    run_id = await stage.play(asks(call("look_up", item="book")), says("Done."))
    await stage.event(run_id, "InteractionObserved")
    gets = stage.counts("get")
    await until(lambda: _held(stage), "the event")
    for wrong, status in WRONG:
        [attempt] = await stage.gemini.deliver(**{"message_id": "new", **wrong})
        assert attempt.status == status, wrong
    await stays(lambda: _running(stage, run_id), 0.2)
    assert await stage.deliveries() == []
    assert stage.counts("get") == gets  # nobody even looked
    [attempt] = await stage.gemini.deliver(message_id="new")  # the honest one
    assert attempt.status == 200
    stage.gemini.faults.clear()
    await stage.ended(run_id)


async def _held(stage: Stage) -> bool:
    return bool(stage.gemini.courier.deliveries)


async def _running(stage: Stage, run_id: str) -> bool:
    return bool((await stage.run(run_id))["status"] == "running")


@ON_SQLITE
async def test_only_posts_are_taken(stage: Stage) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await stage.call(method, "/webhooks/gemini")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_an_event_about_a_strange_interaction_is_kept_and_acted_on_by_nobody(stage: Stage) -> None:
    body = {"type": "interaction.requires_action", "version": "v1", "data": {"id": "v1_nobodys"}}
    [attempt] = await stage.gemini.deliver(uri=f"{stage.base}/webhooks/gemini", body=body)
    assert attempt.status == 200

    async def given_up() -> bool:
        stage.skip(60)
        return bool((await stage.backlog())["effects_dead"] == 1)

    await until(given_up, "the last look")
    assert 1 < stage.counts("get") < 30
    [kept] = await stage.deliveries()
    assert (kept["state"], kept["subject"]) == ("parked", "v1_nobodys")
    assert (await stage.get("/v1/runs"))["items"] == []


async def test_metadata_of_a_run_does_not_make_a_strange_interaction_its_own(stage: Stage) -> None:
    """Somebody else with our key starts an interaction that claims to be this run's."""
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    before = await stage.run(run_id)
    stage.script("an impostor", asks(call("refund", item="everything", amount=10**6)))
    claims = {"run": run_id, "turn": 1, "attempt": 1}
    body = {
        "model": "gemini-3.8-flash",
        "background": True,
        "input": "an impostor",
        "tools": stage.creates(run_id)[0]["body"]["tools"],
        "webhook_config": {"user_metadata": claims},
    }
    base = stage.environ["ORCHESTRATOR_GEMINI__BASE_URL"]
    async with httpx.AsyncClient(trust_env=False, timeout=60) as stranger:
        key = {"x-goog-api-key": stage.environ["GEMINI_API_KEY"]}
        made = (await stranger.post(f"{base}/v1beta/interactions", json=body, headers=key)).json()
    await until(lambda: _asked_about(stage, made["id"]), "a look at it")
    await stage.quiet()
    run = await stage.run(run_id)
    assert (run["turns"], run["calls"]) == (before["turns"], before["calls"])
    assert len(await stage.approvals(run_id)) == 1
    await stage.click(approval)
    await stage.ended(run_id)
    assert [row["tool"] for row in stage.book()] == ["charge"]
    strange = stage.gemini.interactions.get(stage.environ["GEMINI_API_KEY"], made["id"])
    assert strange.children == 0
    strange.request.metadata.clear()  # it never was ours: what is checked at the end is about our own


async def _asked_about(stage: Stage, interaction: str) -> bool:
    return any(interaction in r["path"] for r in stage.gemini.requests)


async def test_an_event_may_not_speak_for_another_run(stage: Stage) -> None:
    waits = asks(call("charge", item="book", amount=3))
    one, other = [await stage.play(waits, says("Done.")) for _ in range(2)]
    await stage.asked(one)
    await stage.asked(other)
    before = [await stage.whole(run_id) for run_id in (one, other)]
    body = {
        "type": "interaction.requires_action",
        "version": "v1",
        "data": {
            "id": stage.interactions(one)[0].id,
            "user_metadata": metadata(stage.creates(other)[0]["body"]),
        },
    }
    [attempt] = await stage.gemini.deliver(body=body, message_id="new")
    assert attempt.status == 200
    await stage.quiet()
    assert [await stage.whole(run_id) for run_id in (one, other)] == before


async def test_another_body_under_a_known_id_is_not_kept(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Done."))
    await stage.asked(run_id)
    [first] = [d for d in await stage.deliveries() if d["run_id"] == run_id]
    gets = stage.counts("get")
    body = {"type": "interaction.completed", "version": "v1", "data": {"id": "v1_other"}}
    [attempt] = await stage.gemini.deliver(delivery=first["id"], body=body)
    assert attempt.status == 200
    await stage.quiet()
    [kept] = await stage.deliveries()
    assert json.loads(kept["body"])["data"]["id"] == stage.interactions(run_id)[0].id
    assert (kept["duplicates"], kept["conflicts"]) == (1, 1)
    assert stage.counts("get") == gets


@ON_SQLITE
async def test_what_is_not_about_an_interaction_is_kept_and_answered(stage: Stage) -> None:
    for body in (
        {"type": "ping", "data": {"id": "x"}},
        {"type": "batch.succeeded", "data": {"id": "batches/7"}},
        {"type": "brand.new", "version": "v7"},
        {"type": "interaction.completed", "data": {"id": "../../etc"}},
        {"type": "interaction.completed", "data": None},
    ):
        [attempt] = await stage.gemini.deliver(
            uri=f"{stage.base}/webhooks/gemini", body=body, message_id="new"
        )
        assert attempt.status == 200
    await stage.quiet()
    assert [d["state"] for d in await stage.deliveries()] == ["done"] * 5
    assert stage.counts("get") == 0


async def test_secrets_rotate_without_losing_a_webhook(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, start=False) as stage:
        [hook] = stage.gemini.webhooks.of("any")

        async def told_in_time() -> str:
            """A run that ends before it would be read anyway: its webhooks were believed."""
            run_id = await stage.play(*STORY)
            await stage.ended(run_id)
            return run_id

        stage.environ["GEMINI_WEBHOOK_SECRETS"] = f"{HOOK_SECRET} {NEXT_HOOK_SECRET}"
        await stage.start()
        await told_in_time()
        hook.secrets = [Secret(NEXT_HOOK_SECRET), Secret(HOOK_SECRET)]  # Gemini signs with both for a day
        await told_in_time()
        hook.secrets = [Secret(NEXT_HOOK_SECRET)]
        last = await told_in_time()
        await stage.stop()
        stage.environ["GEMINI_WEBHOOK_SECRETS"] = NEXT_HOOK_SECRET
        await stage.start()
        await told_in_time()
        hook.secrets = [Secret(HOOK_SECRET)]
        before = await stage.deliveries()
        [attempt] = await stage.gemini.deliver(
            interaction=stage.interactions(last)[0].id, event="interaction.completed", message_id="new"
        )
        assert attempt.status == 401
        assert await stage.deliveries() == before
