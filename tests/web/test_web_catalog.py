"""Workflows, tools, probes, the OpenAPI document."""

import asyncio
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient
from structlog.testing import capture_logs
from web_kit import WEBHOOK_SECRET, House, bearer

from orchestrator.web.doors import Check
from orchestrator.web.samples import SAMPLES


def test_workflows(client: TestClient) -> None:
    listed = client.get("/v1/workflows", headers=bearer()).json()["items"]
    assert [w["name"] for w in listed] == ["refund", "support"]
    one = client.get("/v1/workflows/refund", headers=bearer()).json()
    assert one == listed[0]
    assert (one["tools"], one["input"], one["max_turns"]) == (["refund_order"], None, 20)
    assert listed[1]["input"]["properties"] == {"order_id": {"type": "string"}}
    assert client.get("/v1/workflows/nope", headers=bearer()).status_code == 404


def test_tools(client: TestClient) -> None:
    one = client.get("/v1/tools/refund_order", headers=bearer()).json()
    assert client.get("/v1/tools", headers=bearer()).json()["items"] == [one]
    assert (one["approval"], one["approvers"], one["workflows"]) == ("required", ["U0ALICE"], ["refund"])
    assert client.get("/v1/tools/nope", headers=bearer()).status_code == 404


@pytest.mark.parametrize("name", ["%00", "%F0%9F%A6%80", "a" * 500, "%E2%80%AE"])
def test_a_made_up_name_is_shown_harmlessly(client: TestClient, name: str) -> None:
    answer = client.get(f"/v1/tools/{name}", headers=bearer())
    assert answer.status_code == 404
    assert answer.json()["detail"].isascii()
    assert len(answer.json()["detail"]) < 600


# ------------------------------------------------------------------ probes


def test_the_process_answers(client: TestClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"status": "ok"})


def test_ready_says_what_was_looked_at_and_what_waits(client: TestClient, house: House) -> None:
    house.run()
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert [c["name"] for c in answer.json()["checks"]] == ["database", "schema", "worker", "neighbours"]
    assert answer.json()["backlog"] == {"deliveries": 0, "effects_due": 1, "effects_dead": 0, "live_runs": 1}


def test_one_failed_check_is_enough(house: House) -> None:
    async def worker_gone() -> Sequence[Check]:
        return [Check("schema", True), Check("worker", False, "it has stopped")]

    with TestClient(house.app(readiness=worker_gone)) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    gone = {"name": "worker", "ok": False, "status": "failing", "detail": "it has stopped"}
    assert gone in answer.json()["checks"]


def test_what_works_on_and_wants_a_look_is_not_said_to_be_well(house: House) -> None:
    async def switched_off() -> Sequence[Check]:
        return [Check("worker", True), Check("webhook", True, "Gemini has switched it off")]

    with TestClient(house.app(readiness=switched_off)) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True), "others would do no better"
    assert answer.json()["degraded"] == ["webhook"]
    told = {c["name"]: (c["ok"], c["status"]) for c in answer.json()["checks"]}
    assert told == {"database": (True, "well"), "worker": (True, "well"), "webhook": (True, "degraded")}


def test_a_check_that_fails_to_check(house: House) -> None:
    async def broken() -> Sequence[Check]:
        raise RuntimeError("postgresql://user:canary@host")

    with TestClient(house.app(readiness=broken)) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "canary" not in answer.text


def test_a_database_that_does_not_answer(house: House) -> None:
    def drop(s: Any) -> None:
        s.connection().exec_driver_sql("DROP TABLE effect")

    house.write(drop)
    with TestClient(house.app()) as client:
        answer = client.get("/readyz")
        assert client.get("/healthz").status_code == 200
    assert (answer.status_code, answer.json()["checks"][0]["ok"], answer.json()["backlog"]) == (
        503,
        False,
        {},
    )


def test_an_outage_is_told_once_and_not_by_each_probe(house: House) -> None:
    broken = True

    async def readiness() -> Sequence[Check]:
        if broken:
            raise RuntimeError("postgresql://user:canary@host")
        return []

    with capture_logs() as logs, TestClient(house.app(readiness=readiness)) as client:
        for _ in range(3):
            assert client.get("/readyz").status_code == 503
            client.get("/metrics", headers=bearer("reader"))
        broken = False
        assert client.get("/readyz").status_code == 200
    told = [(line["event"], line.get("error")) for line in logs if line["event"].startswith("readiness_")]
    assert told == [("readiness_failed", "RuntimeError"), ("readiness_recovered", None)]
    assert "canary" not in str(logs)


def test_one_look_does_not_wait_for_the_other(house: House) -> None:
    """Who asks has little patience, and where the database hangs each look takes all of its own."""
    begun, read = asyncio.Event(), house.database.read

    async def readiness() -> Sequence[Check]:
        begun.set()
        return []

    class Slow:
        url, sqlite, watcher = house.database.url, True, None

        async def read(self, *asked: Any) -> Any:
            await begun.wait()
            return await read(*asked)

    with TestClient(house.app(readiness=readiness, database=Slow())) as client:
        assert client.get("/readyz").status_code == 200


def test_probes_show_no_secrets(client: TestClient) -> None:
    assert WEBHOOK_SECRET not in client.get("/readyz").text


# ------------------------------------------------------------------ the document


def test_the_document_names_every_operation_of_the_api(client: TestClient) -> None:
    spec = client.get("/docs/openapi.json").json()
    ids = [o["operationId"] for ops in spec["paths"].values() for o in ops.values()]
    assert len(ids) == len(set(ids)) == 45
    assert {"start_run", "decide", "cancel_run", "resolve_run"} <= set(ids)


def test_the_document_says_what_is_refused(client: TestClient) -> None:
    spec = client.get("/docs/openapi.json").json()
    schemas = spec["components"]["schemas"]
    closed = {name for name, schema in schemas.items() if schema.get("additionalProperties") is False}
    orders = {"NewRun", "NewCallback", "CancelOrder", "Restart", "Resolution", "FireOrder", "Trial"}
    assert closed == orders | {"Answer", "Decisions", "OneOfMany", "NewInquiry", "InquiryAnswer"}
    start = spec["paths"]["/v1/workflows/{name}/runs"]["post"]
    refused = {"400", "401", "403", "404", "409", "413", "415", "429", "500", "503"}
    assert set(start["responses"]) == {"200", "202"} | refused
    assert start["security"] == [{"bearer": []}]
    problem = start["responses"]["409"]["content"]
    assert list(problem) == ["application/problem+json"]
    assert {p["name"] for p in start["parameters"]} == {"name", "Idempotency-Key"}


def test_the_document_names_the_headers_a_client_goes_by(client: TestClient) -> None:
    paths = client.get("/docs/openapi.json").json()["paths"]
    told = [(o, c, r) for ops in paths.values() for o in ops.values() for c, r in o["responses"].items()]
    later = [r for o, c, r in told if c in ("429", "503") and o["operationId"] != "readyz"]
    assert all("retry-after" in r["headers"] for r in later)
    begun = {(o["operationId"], c) for o, c, r in told if "location" in r.get("headers", {})}
    assert begun == {(o, c) for o in ("start_run", "restart_run", "resubmit_job") for c in ("200", "202")}
    assert all("schema" in header for _, _, r in told for header in r.get("headers", {}).values())


def test_the_document_shows_what_to_send(client: TestClient) -> None:
    spec = client.get("/docs/openapi.json").json()
    schemas = spec["components"]["schemas"]
    shown = {name: schema["examples"] for name, schema in schemas.items() if "examples" in schema}
    assert shown == {kind.__name__: [sample] for kind, sample in SAMPLES.items()}
    for kind, sample in SAMPLES.items():
        msgspec.convert(sample, kind)
    page = client.get("/docs").text
    assert "arrived broken" in page
    assert 'href="#NewRun"' in page
    assert '<p id="NewRun">' in page  # within its details, which a browser then opens


def test_every_field_of_an_answer_is_always_there(client: TestClient) -> None:
    schemas = client.get("/docs/openapi.json").json()["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith(("Out", "Page", "List", "Summary", "Detail")):
            assert set(schema["required"]) == set(schema["properties"]), name


def test_no_default_is_named_that_would_be_refused(client: TestClient) -> None:
    schemas = client.get("/docs/openapi.json").json()["components"]["schemas"]
    shaped = [f for s in schemas.values() for f in s.get("properties", {}).values() if "pattern" in f]
    assert schemas["Answer"]["properties"]["digest"] in shaped
    assert all(re.search(f["pattern"], f["default"]) for f in shaped if "default" in f)
    events = schemas["NewCallback"]["properties"]["events"]
    assert (events["items"], len(events["default"])) == ({"$ref": "#/components/schemas/News"}, 8)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href")]


def test_the_page_fetches_nothing_from_anywhere(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    seen = Links()
    seen.feed(answer.text)
    assert "script" not in seen.tags
    outside = {link for link in seen.fetched if not link.startswith("#")}
    assert outside == {"data:,", "/docs/openapi.json"}
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"https?://", answer.text)
    assert ":root{color-scheme:light dark}" in answer.text
    assert "/v1/approvals/{approval_id}/decision" in answer.text


def test_whispers_under_way_end_with_the_service(house: House) -> None:
    """Held by the app, not by the event loop's good will."""
    from orchestrator.web.whispers import Whispers

    async def story() -> list[str]:
        said: list[str] = []

        async def slow(*, channel: str, user: str, text: str, response_url: str = "") -> None:
            await asyncio.sleep(0)
            said.append(user)

        whispers = Whispers(slow)
        async with whispers.owned():
            for i in range(150):
                whispers.say(channel="C", user=f"U{i}", text="x", response_url="")
        return said

    assert asyncio.run(story()) == [f"U{i}" for i in range(100)]
