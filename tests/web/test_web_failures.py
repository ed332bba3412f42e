"""An outage of the database is one thing in the log, however many requests meet it; all else is told."""

import structlog
from litestar.testing import TestClient
from web_kit import Flaky, House, away, bearer, event_body, signed

RUNS = "/v1/workflows/refund/runs"


def ask(client: TestClient) -> int:
    return client.post(RUNS, json={"input": "canary"}, headers=bearer()).status_code


def deliver(client: TestClient) -> int:
    body = event_body()
    return client.post("/webhooks/gemini", content=body, headers=signed(body)).status_code


def test_an_outage_that_many_requests_meet_is_told_once_and_when_it_is_over(house: House) -> None:
    flaky = Flaky(house.intake)
    app = house.app(intake=flaky)
    with TestClient(app, raise_server_exceptions=False) as client, structlog.testing.capture_logs() as logs:
        flaky.trouble = away()
        answers = [act(client) for _ in range(9) for act in (ask, deliver)]
        answers += [client.get("/v1/workflows", headers=bearer()).status_code]  # which needs no database
        flaky.trouble = away("disk full")
        answers += [ask(client) for _ in range(9)]
        for _ in range(2):  # mistakes of ours hide behind no outage, nor behind each other
            flaky.trouble = KeyError("canary")
            answers.append(ask(client))
        flaky.trouble = None
        answers += [ask(client), ask(client), deliver(client)]
    assert answers == [503] * 18 + [200] + [503] * 9 + [500] * 2 + [202, 202, 200]
    told = [(e["event"], e.get("why", "")) for e in logs if e["event"].startswith("request_")]
    assert told == [
        ("request_failed", "connection refused"),
        ("request_failed", "disk full"),
        ("request_failed", ""),
        ("request_failed", ""),
        ("request_recovered", ""),
    ]
    assert [e["failures"] for e in logs if e["event"] == "request_recovered"] == [27]
    assert "canary" not in str(logs)


def test_the_next_outage_is_told_anew(house: House) -> None:
    flaky = Flaky(house.intake)
    app = house.app(intake=flaky)
    with TestClient(app, raise_server_exceptions=False) as client, structlog.testing.capture_logs() as logs:
        for _ in range(2):
            for trouble in (away(), None):
                flaky.trouble = trouble
                deliver(client)
    told = [e["event"] for e in logs if e["event"].startswith("request_")]
    assert told == ["request_failed", "request_recovered"] * 2
