"""Numbers for monitors, read back by Prometheus' own parser."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from web_kit import (
    SLACK_SECRET,
    TOKENS,
    WEBHOOK_SECRET,
    House,
    bearer,
    click_payload,
    event_body,
    form,
    later,
    signed,
    slack_signed,
)

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.values import replace
from orchestrator.engine.breakers import FAILURES, Breaker, own, own_openings
from orchestrator.engine.refused_webhooks import Refusals
from orchestrator.errors import UnavailableError
from orchestrator.store import outbox
from orchestrator.web.counters import Counters, program_version
from orchestrator.web.doors import Check
from orchestrator.web.hooks import gemini_hook

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(client: TestClient) -> Samples:
    answer = client.get("/metrics", headers=bearer("reader"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == CONTENT_TYPE_LATEST  # a scraper reads it, each word once
    assert answer.headers["cache-control"] == "no-store"
    return parsed(answer.text)


def parsed(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def at(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"orchestrator_{name}", frozenset(labels.items())]


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


# ------------------------------------------------------------------ what waits


def test_an_empty_service(client: TestClient) -> None:
    samples = scraped(client)
    assert at(samples, "database_up") == 1
    assert at(samples, "build_info", version=program_version()) == 1
    for name in ("backlog_lag_seconds", "approvals_open", "effects_scheduled", "webhooks_waiting"):
        assert at(samples, name) == 0
    statuses = {dict(labels)["status"] for name, labels in samples if name == "orchestrator_runs"}
    assert statuses == {
        *("queued", "running", "waiting", "resuming", "attention"),
        *("completed", "failed", "cancelled"),
    }
    assert "process_resident_memory_bytes" in names(samples)


def test_what_is_there_is_counted(client: TestClient, house: House) -> None:
    house.run()
    house.asked()
    client.post(f"/v1/runs/{house.run()}/cancel", headers=bearer())

    def job(s: Any) -> None:
        for n in range(2):
            outbox.add(s, "run_x", [Effect(EffectKind.CANCEL_INTERACTION, f"i{n}", later(seconds=-40))])
        mine = outbox.effect_t.c.subject == "i0"
        s.connection().execute(outbox.effect_t.update().where(mine).values(state="dead"))

    house.write(job)
    assert client.post("/webhooks/gemini", content=event_body(), headers=signed(event_body())).is_success
    samples = scraped(client)
    assert at(samples, "runs", status="queued") == 1
    assert at(samples, "runs", status="waiting") == 1
    assert at(samples, "runs", status="cancelled") == 1
    assert at(samples, "effects", state="dead", kind="cancel_interaction") == 1
    assert at(samples, "effects", state="due", kind="cancel_interaction") == 1
    assert at(samples, "effects", state="due", kind="request_approval") == 1
    assert at(samples, "effects_scheduled") >= 3  # the ends of both runs, of the question, a next look
    assert at(samples, "backlog_lag_seconds") == 40
    assert at(samples, "approvals_open") == 1
    assert at(samples, "webhooks_waiting") == 1


def test_the_database_is_asked_every_five_seconds(client: TestClient, house: House) -> None:
    assert at(scraped(client), "runs", status="queued") == 0
    house.run()
    house.clock.now = later(seconds=4.9)
    assert at(scraped(client), "runs", status="queued") == 0
    house.clock.now = later(seconds=5)
    assert at(scraped(client), "runs", status="queued") == 1
    house.run()
    house.clock.now = later(seconds=-3600)  # a clock set back keeps nothing old
    assert at(scraped(client), "runs", status="queued") == 2


def test_the_ended_are_counted_every_minute(client: TestClient, house: House) -> None:
    scraped(client)
    client.post(f"/v1/runs/{house.run()}/cancel", headers=bearer())
    house.clock.now = later(seconds=59)
    assert at(scraped(client), "runs", status="cancelled") == 0
    house.clock.now = later(seconds=64)
    assert at(scraped(client), "runs", status="cancelled") == 1


def test_many_monitors_at_once_are_one_reading(house: House) -> None:
    asked: list[int] = []

    class Counting:
        async def read(self, job: Any, *args: Any) -> Any:
            asked.append(1)
            await asyncio.sleep(0.01)
            return await house.database.read(job, *args)

    async def scrape_all() -> list[int]:
        transport = httpx.ASGITransport(house.app(database=Counting()))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            gets = (http.get("/metrics", headers=bearer()) for _ in range(10))
            return [answer.status_code for answer in await asyncio.gather(*gets)]

    assert asyncio.run(scrape_all()) == [200] * 10
    assert len(asked) == 2  # what lives, and what ended


@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_without_the_database_the_rest_is_told(
    house: House, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.web.metrics.PATIENCE_SECONDS", 0.05)

    class Away:
        url = house.database.url
        sqlite = True
        watcher = None

        async def read(self, *_: object) -> object:
            await asyncio.sleep(3600 if trouble == "hangs" else 0)
            raise OSError("canary: disk on fire")

    with TestClient(house.app(database=Away())) as client:
        samples = scraped(client)
        assert "canary" not in client.get("/metrics", headers=bearer()).text
    assert at(samples, "database_up") == 0
    assert at(samples, "build_info", version=program_version()) == 1
    assert "orchestrator_runs" not in names(samples)


# ------------------------------------------------------------------ what this process did


def test_calls_and_tools(house: House) -> None:
    counters = Counters()
    counters.called("gemini", "create", "ok", 0.3)
    counters.called("gemini", "create", "spared", None)
    counters.ran("refund_order", "succeeded", 0.02)
    with TestClient(house.app(counters=counters)) as client:
        samples = scraped(client)
    assert at(samples, "calls_total", neighbour="gemini", operation="create", outcome="ok") == 1
    assert at(samples, "calls_total", neighbour="gemini", operation="create", outcome="spared") == 1
    assert at(samples, "call_seconds_count", neighbour="gemini", operation="create") == 1
    assert at(samples, "call_seconds_bucket", neighbour="gemini", operation="create", le="0.25") == 0
    assert at(samples, "call_seconds_bucket", neighbour="gemini", operation="create", le="0.5") == 1
    assert at(samples, "tool_executions_total", tool="refund_order", outcome="succeeded") == 1
    assert at(samples, "tool_execution_seconds_sum", tool="refund_order") == pytest.approx(0.02)


def test_two_services_in_one_process_count_apart(house: House) -> None:
    one, other = Counters(), Counters()
    one.called("slack", "post", "ok", 1.0)
    with TestClient(house.app(counters=other)) as client:
        assert "orchestrator_calls_total" not in names(scraped(client))


def test_clicks_by_how_they_were_answered(client: TestClient, house: House) -> None:
    approval = house.asked().turn.calls[0].approval
    assert approval is not None
    body = form(click_payload(approval.id))
    assert client.post("/slack/interactivity", content=body, headers=slack_signed(body)).status_code == 200
    for _ in range(3):
        forged = slack_signed(body, secret=SLACK_SECRET[::-1])
        assert client.post("/slack/interactivity", content=body, headers=forged).status_code == 401
    samples = scraped(client)
    assert at(samples, "deliveries_total", door="slack", outcome="taken") == 1
    assert at(samples, "deliveries_total", door="slack", outcome="refused") == 3


def test_a_door_is_counted_by_its_answers(house: House) -> None:
    """As the webhook endpoint is, which stands before Litestar's stack."""

    class Disk:
        full = False

        async def deliver(self, **delivery: Any) -> None:
            if self.full:
                raise OSError("no space left")
            await house.intake.deliver(**delivery)

    counters, intake = Counters(), Disk()
    hook = gemini_hook(
        replace(house.doors, intake=intake, counters=counters), Refusals(house.database, house.clock)
    )
    assert hook.__name__ == "gemini_webhook"

    async def deliver() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://x") as http:
            good = [
                await http.post("/", content=event_body(), headers=signed(event_body())) for _ in range(2)
            ]
            bad = await http.post("/", content=event_body(), headers=signed(event_body(), key=b"x" * 32))
            intake.full = True
            lost = await http.post("/", content=event_body(), headers=signed(event_body(), webhook_id="m2"))
            return [answer.status_code for answer in (*good, bad, lost)]

    statuses = asyncio.run(deliver())
    assert [s // 100 for s in statuses] == [2, 2, 4, 5]
    found = {dict(labels)["outcome"]: value for (name, labels), value in _of(counters).items() if name}
    assert found == {"taken": 2, "refused": 1, "failed": 1}


def _of(counters: Counters) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in counters.registry.collect()
        for sample in family.samples
        if sample.name == "orchestrator_deliveries_total"
    }


def test_how_the_breakers_stand(house: House) -> None:
    now = [0.0]
    breaker, fine = Breaker("gemini", clock=lambda: now[0], roll=lambda: 0.5), Breaker("slack")

    async def fail() -> None:
        raise UnavailableError("no connection")

    async def trouble() -> None:
        for _ in range(FAILURES):
            with pytest.raises(UnavailableError):
                await breaker.call(fail)

    asyncio.run(trouble())
    both = (breaker, fine)
    with TestClient(house.app(breakers=own(both), openings=own_openings(both))) as client:
        for seconds, state in ((0.0, "open"), (60.0, "half_open")):
            now[0] = seconds
            samples = scraped(client)
            for other in ("open", "half_open", "closed"):
                assert at(samples, "breaker_state", neighbour="gemini", state=other) == (other == state)
            assert at(samples, "breaker_state", neighbour="slack", state="closed") == 1
            assert at(samples, "breaker_opened_total", neighbour="gemini") == 1
            assert at(samples, "breaker_opened_by_all_total", neighbour="gemini") == 1


def test_what_readyz_finds_amiss_is_a_number_too(house: House) -> None:
    async def checks() -> Sequence[Check]:
        return [Check("worker", False, "it is not running"), Check("slack", True, "no"), Check("jobs", True)]

    with TestClient(house.app(readiness=checks)) as client:
        samples = scraped(client)
    assert {check: at(samples, "degraded", check=check) for check in ("worker", "slack", "jobs")} == {
        "worker": 1,
        "slack": 1,
        "jobs": 0,
    }


# ------------------------------------------------------------------ what it does not say


def test_no_secret_and_no_callers_words(client: TestClient, house: House) -> None:
    house.run("canary-input")
    client.get("/v1/runs/canary-run", headers=bearer())
    client.post("/v1/workflows/canary-workflow/runs", json={"input": "x"}, headers=bearer())
    text = client.get("/metrics", headers=bearer("reader")).text
    assert "canary" not in text
    assert not [token for token in (*TOKENS.values(), WEBHOOK_SECRET, SLACK_SECRET) if token in text]
