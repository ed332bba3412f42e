"""The ledger of webhooks over HTTP."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
import structlog
from litestar.testing import TestClient
from web_kit import NOW, House, bearer, event_body, later, signed

from orchestrator.domain.values import replace
from orchestrator.engine import webhooks
from orchestrator.engine.refused_webhooks import Refusals
from orchestrator.store import inbox, interactions
from orchestrator.store.inbox import Arrived, Closed, DeliveryVerdict
from orchestrator.web.counters import Counters
from orchestrator.web.handles import from_handle, to_handle
from orchestrator.web.hooks import gemini_hook

ODD = 'a/b?c#d%2F~"\\'
HEADERS = {"webhook-id": "m1", "webhook-signature": "v1,AAAABBBBCCCCDDDD= v1,EEEEFFFFGGGG="}


def put(house: House, name: str, verdict: DeliveryVerdict | None = None, **more: Any) -> None:
    """A delivery, worked on with that verdict; without one it waits."""
    run_id = more.pop("run_id", None)
    given = {"kind": "interaction.completed", "subject": "i1", "timestamp": 1_795_262_400, "body": b"{}"}
    arrived = Arrived(name, at=more.pop("at", NOW), **{**given, **more})

    def job(s: Any) -> None:
        inbox.put(s, [arrived])
        inbox.close(s, [Closed(name, verdict, run_id)] if verdict else [], NOW)

    house.write(job)


def ours(house: House) -> tuple[str, str]:
    """A run that waits for people, and its interaction, known to be ours."""
    run = house.asked()
    interaction = run.turn.interaction_id or ""
    house.write(interactions.remember, interaction, run.id, 1, 1)
    return run.id, interaction


def listed(client: TestClient, **query: Any) -> list[str]:
    answer = client.get("/v1/deliveries", params=query, headers=bearer("reader"))
    assert answer.status_code == 200, answer.text
    return [d["id"] for d in answer.json()["items"]]


# ------------------------------------------------------------------ looking


def test_a_delivery_from_the_door_to_the_ledger(client: TestClient, house: House) -> None:
    body = event_body("v1_abc")
    for content in (body, body, event_body("v1_abc", more=1)):
        assert client.post("/webhooks/gemini", content=content, headers=signed(content)).status_code == 200
    told = client.get("/v1/deliveries/msg_1", headers=bearer("reader")).json()
    assert (told["duplicates"], told["conflicts"], told["scheme"]) == (2, 1, "v1")
    assert (told["state"], told["verdict"], told["handled_at"]) == ("new", None, None)
    assert (told["body"], told["encoding"], told["size"]) == (body.decode(), "json", len(body))
    assert told["headers"]["webhook-id"] == "msg_1"
    assert signed(body)["webhook-signature"] not in json.dumps(told)


def test_one_is_shown_with_all_that_matters(client: TestClient, house: House) -> None:
    run_id, interaction = ours(house)
    put(house, "m1", DeliveryVerdict.WOKE, subject=interaction, run_id=run_id, scheme="v1a", headers=HEADERS)
    assert client.get("/v1/deliveries/m1", headers=bearer("reader")).json() == {
        "id": "m1",
        "kind": "interaction.completed",
        "subject": interaction,
        "state": "done",
        "verdict": "woke",
        "note": "",
        "scheme": "v1a",
        "run": run_id,
        "received_at": "2026-11-21T12:00:00Z",
        "timestamp": 1_795_262_400,
        "handled_at": "2026-11-21T12:00:00Z",
        "duplicates": 0,
        "conflicts": 0,
        "size": 2,
        "links": {
            "self": "/v1/deliveries/m1",
            "replay": "/v1/deliveries/m1/replay",
            "run": f"/v1/runs/{run_id}",
        },
        "headers": {"webhook-id": "m1", "webhook-signature": "v1,AAAABBBB… v1,EEEEFFFF…"},
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "encoding": "json",
        "body": "{}",
        "turn": 1,
        "followed": [
            {
                "seq": 3,
                "kind": "InteractionObserved",
                "at": "2026-11-21T12:00:00Z",
                "status": "waiting",
                "note": "",
            }
        ],
    }


@pytest.mark.parametrize("body", [b"\xff\x00", b"not json", b"[" * 50_000, b'{"a":1,"a":2}', b""])
def test_what_is_no_plain_json_is_shown_byte_by_byte(client: TestClient, house: House, body: bytes) -> None:
    put(house, "m1", body=body)
    told = client.get("/v1/deliveries/m1", headers=bearer()).json()
    assert (told["encoding"], base64.b64decode(told["body"])) == ("base64", body)


def test_a_token_for_a_signature_is_shortened_too(client: TestClient, house: House) -> None:
    put(house, "m1", headers={"Webhook-Signature": "eyJhbGciOi.canary.canary"})
    told = client.get("/v1/deliveries/m1", headers=bearer()).json()
    assert told["headers"] == {"Webhook-Signature": "eyJhbGci…"}


def test_the_list_and_its_filters(client: TestClient, house: House) -> None:
    run_id, interaction = ours(house)
    put(house, "m1", DeliveryVerdict.KNOWN, subject=interaction, run_id=run_id)
    put(house, "m2", DeliveryVerdict.PARKED, at=later(seconds=1))
    put(house, "m3", kind="batch.succeeded", at=later(seconds=2))
    assert listed(client) == ["m3", "m2", "m1"]
    assert listed(client, state="new") == ["m3"]
    assert listed(client, verdict="parked") == ["m2"]
    assert listed(client, kind="batch.succeeded") == ["m3"]
    assert listed(client, subject=interaction) == listed(client, run=run_id) == ["m1"]
    assert listed(client, verdict="overflow") == []


@pytest.mark.parametrize("path", ["deliveries", "effects", "callbacks", "callback-addresses"])
def test_a_filter_that_does_not_fit_is_named_as_it_was_sent(client: TestClient, path: str) -> None:
    answer = client.get(f"/v1/{path}?state=NEW", headers=bearer())
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (400, ["state"])


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_page_by_page_whatever_the_ids_are(client: TestClient, house: House, limit: int) -> None:
    made = ["m1", ODD, "x" * 256, "~bTE", "0"]
    for n, name in enumerate(made):
        put(house, name, at=later(seconds=n))
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/deliveries", params=query, headers=bearer()).json()
        for item in page["items"]:
            assert client.get(item["links"]["self"], headers=bearer()).json()["id"] == item["id"]
        found += [d["id"] for d in page["items"]]
        cursor = page["next"]
    assert found == made[::-1]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "NEW"},
        {"verdict": "waits"},
        {"verdict": ""},
        {"kind": ""},
        {"kind": "a\0b"},
        {"subject": "x" * 513},
        {"run": "run_x' OR 1=1"},
        {"limit": "0"},
        {"limit": "101"},
        {"cursor": "nonsense"},
        {"cursor": "x" * 401},
    ],
)
def test_what_does_not_fit_is_refused(client: TestClient, query: dict[str, str]) -> None:
    answer = client.get("/v1/deliveries", params=query, headers=bearer())
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["m_unknown", "~", "~bTE", "~!", "a.b", "x" * 257, "m1%00", "%D9%A1"])
def test_unknown_and_impossible_ids_answer_alike(client: TestClient, house: House, name: str) -> None:
    put(house, "m1")
    for method, path in (("GET", ""), ("POST", "/replay")):
        answer = client.request(method, f"/v1/deliveries/{name}{path}", headers=bearer())
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no delivery of that id")


@pytest.mark.parametrize("name", ["msg_2x-Y", ODD, "~", "~bTE", "!" * 256])
def test_a_handle_stands_for_one_id(name: str) -> None:
    assert from_handle(to_handle(name)) == name
    assert to_handle(name).replace("~", "_").replace("-", "_").isidentifier()


# ------------------------------------------------------------------ working on one again


def test_a_replay_is_worked_on_and_the_record_says_by_whom(house: House) -> None:
    mailed: list[int] = []
    run_id, interaction = ours(house)
    put(house, "m1", DeliveryVerdict.KNOWN, subject=interaction, run_id=run_id)
    doors = house.app(mail=lambda: mailed.append(1))
    with TestClient(doors) as client, structlog.testing.capture_logs() as logs:
        for _ in range(2):
            answer = client.post("/v1/deliveries/m1/replay", json={"reason": "look"}, headers=bearer("ops"))
            assert answer.status_code == 200
            told = answer.json()
            assert (told["state"], told["verdict"]) == ("new", None)
            assert told["note"] == "replayed by ops: look"
        events = client.get(f"/v1/runs/{run_id}/events", headers=bearer()).json()["items"]
    assert [e["kind"] for e in events].count("DeliveryReplayed") == 1
    assert events[-1]["data"]["by"] == {"id": "api:ops", "name": "ops", "door": "api"}
    assert events[-1]["data"]["delivery"] == "m1"
    assert mailed == [1, 1]
    assert [e["by"] for e in logs if e["event"] == "delivery_replayed"] == ["api:ops"] * 2
    heeded, _ = house.write(webhooks.sift, 9)
    assert [d.id for d in heeded] == ["m1"]


def test_a_replay_without_a_body_and_of_an_odd_id(client: TestClient, house: House) -> None:
    put(house, ODD, DeliveryVerdict.IGNORED)
    path = f"/v1/deliveries/{to_handle(ODD)}/replay"
    assert client.post(path, headers=bearer("reader")).status_code == 403
    answer = client.post(path, headers=bearer("ops"))
    assert (answer.status_code, answer.json()["id"]) == (200, ODD)


# ------------------------------------------------------------------ numbers


def test_repeats_and_refusals_are_counted(house: House) -> None:
    counters = Counters()
    intake = type(house.intake)(
        house.database,
        policy=house.intake._policy,
        clock=house.clock,
        wake=lambda: None,
        stop_tools=lambda run_id: None,
        repeated=counters.repeated,
    )
    hook = gemini_hook(
        replace(house.doors, intake=intake, counters=counters), Refusals(house.database, house.clock)
    )
    good, other = event_body(), event_body(more=1)

    async def deliver() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://x") as http:
            for body in (good, good, other):
                assert (await http.post("/", content=body, headers=signed(body))).status_code == 200
            bad, torn = signed(good, key=b"x" * 32), signed(b"[")
            assert (await http.post("/", content=good, headers=bad)).status_code == 401
            assert (await http.post("/", content=b"[", headers=torn)).status_code == 400
            assert (await http.put("/", content=good, headers=signed(good))).status_code == 405

    asyncio.run(deliver())
    found = {
        (sample.name.removeprefix("orchestrator_webhooks_"), *sample.labels.values()): sample.value
        for family in counters.registry.collect()
        for sample in family.samples
        if sample.name in ("orchestrator_webhooks_repeated_total", "orchestrator_webhooks_refused_total")
    }
    assert found == {
        ("repeated_total", "same"): 1,
        ("repeated_total", "other"): 1,
        ("refused_total", "signature"): 1,
        ("refused_total", "body"): 1,
        ("refused_total", "request"): 1,
        ("refused_total", "ours"): 0,
    }
