"""A neighbour that is away for longer: left alone, told to monitors, taken up again, nothing lost."""

import asyncio
from pathlib import Path

import pytest
from looking import Json, until
from scenery import asks, call, says
from stage import ON_SQLITE, ONE_PROCESS, Stage, staged

from orchestrator.engine.breakers import FAILURES

pytestmark = pytest.mark.asyncio

STORY = asks(call("charge", item="book", amount=3)), says("Charged.", "Not charged.")
SOON = {"gemini": {"reconcile_seconds": 1}, "slack": {"timeout_seconds": 30}}


async def told(stage: Stage, neighbour: str) -> str:
    """What `/readyz` says about a neighbour; whatever it is, the service is ready."""
    answer = await stage.http.get(f"{stage.base}/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    [check] = [c for c in answer.json()["checks"] if c["name"] == neighbour]
    assert check["ok"]
    return str(check["detail"])


async def number(stage: Stage, sample: str) -> float:
    """One line of `/metrics`, 0 where it is not there."""
    text = (await stage.call("GET", "/metrics", token="reader")).text
    lines = [line.split(" ") for line in text.splitlines() if line.startswith(sample + " ")]
    return float(lines[0][-1]) if lines else 0.0


async def away(stage: Stage, neighbour: str) -> None:
    async def probe() -> bool:
        stage.skip(3)  # the outbox tries again
        return "it is away" in await told(stage, neighbour)

    await until(probe, f"a breaker that leaves {neighbour} alone")


@ON_SQLITE
@ONE_PROCESS
async def test_a_revoked_token_is_told_until_there_is_another(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.slack.fault("chat.postMessage", "ok_false", error="token_revoked", count=99)
        run_id = await stage.play(*STORY)
        await stage.asked(run_id, shown=False)
        await revoked(stage)
        stage.slack.faults.clear()

        async def shown() -> bool:
            stage.skip(30)
            return all(a["ts"] for a in await stage.approvals(run_id))

        await until(shown, "the question in Slack")
        assert await told(stage, "slack") == ""
        await stage.cancel(run_id)


async def revoked(stage: Stage) -> None:
    async def probe() -> bool:
        return "credentials (token_revoked)" in await told(stage, "slack")

    await until(probe, "a word about the token")


async def test_a_token_revoked_where_others_work_is_told_by_who_only_answers(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stage, "workers", 2)
    async with staged(tmp_path, postgres_url, **SOON) as stage:
        stage.slack.fault("chat.postMessage", "ok_false", error="token_revoked", count=99)
        run_id = await stage.play(*STORY)
        await stage.asked(run_id, shown=False)
        await revoked(stage)
        await stage.cancel(run_id)


@ON_SQLITE
@ONE_PROCESS
async def test_slack_is_away_and_comes_back(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.slack.fault("*", "status", status=503, count=10_000)
        started = [await stage.play(*STORY) for _ in range(FAILURES + 1)]
        for run_id in started:
            await stage.asked(run_id, shown=False)  # webhooks are taken, and runs go on, all the while
        await away(stage, "slack")
        assert await number(stage, 'orchestrator_breaker_state{neighbour="slack",state="open"}') == 1
        assert await number(stage, 'orchestrator_breaker_state{neighbour="gemini",state="closed"}') == 1

        stage.slack.faults.clear()
        assert {a["ts"] for run_id in started for a in await stage.approvals(run_id)} == {""}

        async def shown() -> list[Json] | None:
            stage.skip(3)
            found = [a for run_id in started for a in await stage.approvals(run_id)]
            return found if all(a["ts"] for a in found) else None

        questions = await until(shown, "every question in Slack")
        assert await told(stage, "slack") == ""
        for approval in questions:
            assert [m.ts for m in stage.messages(approval["id"])] == [approval["ts"]]
            await stage.click(approval)
        for run_id in started:
            await stage.ended(run_id)
        assert len(stage.book()) == len(started)
        opened = await number(stage, 'orchestrator_breaker_opened_by_all_total{neighbour="slack"}')
        assert opened >= 1


@ON_SQLITE
@ONE_PROCESS
async def test_a_gemini_that_asks_to_wait_is_left_alone_by_all(tmp_path: Path, database_url: str) -> None:
    """One create is told to wait: others are not sent meanwhile, and none of them is ever in doubt."""
    async with staged(tmp_path, database_url, **SOON) as stage:
        stage.gemini.inject("create", "status", status=429, retry_after="10")
        first = await stage.play(says("Done."))
        await stage.event(first, "CreateDeferred")
        assert "it is away: left alone for" in await told(stage, "gemini")
        others = [await stage.play(says("Done.")) for _ in range(3)]
        for run_id in others:
            deferred = await stage.event(run_id, "CreateDeferred")
            assert "left alone" in deferred["data"]["why"]
            assert stage.creates(run_id) == []

        async def ended() -> bool:
            stage.skip(3)
            await asyncio.sleep(0.1)
            statuses = {(await stage.run(run_id))["status"] for run_id in (first, *others)}
            return statuses == {"completed"}

        await until(ended, "every run")
        assert [len(stage.creates(run_id)) for run_id in (first, *others)] == [2, 1, 1, 1]
        spared = 'orchestrator_calls_total{neighbour="gemini",operation="create",outcome="spared"}'
        assert await number(stage, spared) >= 3
        assert "CreateUncertain" not in [k for run_id in others for k in await stage.kinds(run_id)]


async def test_how_long_gemini_asked_to_wait_outlives_the_process(stage: Stage) -> None:
    stage.gemini.inject("create", "status", status=429, retry_after="600")
    first = await stage.play(says("Done."))
    await stage.event(first, "CreateDeferred")
    await stage.restart()
    other = await stage.play(says("Done."))
    deferred = await stage.event(other, "CreateDeferred")
    assert "left alone" in deferred["data"]["why"]
    assert (len(stage.creates(first)), len(stage.creates(other))) == (1, 0)
    await stage.cancel(first)
    await stage.cancel(other)
