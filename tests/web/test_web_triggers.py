"""Signed deliveries that start runs, and the surfaces that show triggers."""

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import structlog
from litestar.testing import TestClient
from support.clock import pass_by
from web_kit import POLICY, RECIPE, Flaky, House, away, bearer, later, render_fields, signed

from orchestrator.domain.plain import JsonObject
from orchestrator.domain.triggers import FeedReading
from orchestrator.domain.values import replace
from orchestrator.engine.armed import Armed, Cron, Feed, Fired, Hook
from orchestrator.engine.commits import Commits
from orchestrator.engine.triggers import Triggers
from orchestrator.errors import OversizeError
from orchestrator.gemini.webhook import StaticVerifier
from orchestrator.store import triggers
from orchestrator.triggers.cron import Cron as Schedule
from orchestrator.triggers.mapping import Mapped
from orchestrator.web.doors import TriggerDoor
from orchestrator.web.patience import DELIVERIES

KEY = b"k" * 24
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATH = "/v1/triggers/orders"
BODY = json.dumps({"order": {"id": "A-1042"}}).encode()


def short(seen: JsonObject) -> str:
    """At most 50 characters."""
    if (many := len(seen["body"]["order"]["id"])) > 50:
        raise OversizeError(f"input makes {many} characters; at most 50")
    return "short"


class NoFeeds:
    async def look(
        self, url: str, *, etag: str = "", last_modified: str = "", inside: str = ""
    ) -> FeedReading:
        raise AssertionError("nothing is read here")


@pytest.fixture
def door(house: House) -> TriggerDoor:
    mapped = Mapped(None, {"order_id": "body.order.id"}, ("occurrence", "body"))
    clock = Cron(Schedule("0 22 * * mon-fri", "Europe/Berlin"))
    armed = (
        Armed("orders", RECIPE, Hook(), lambda seen: render_fields(mapped(seen)), "p", "deliveries"),
        Armed("nightly", RECIPE, clock, lambda seen: seen["occurrence"]["key"], "p", "0 22 * * mon-fri"),
        Armed("news", RECIPE, Feed("https://a.example", timedelta(hours=1)), str, "p", "https://a.example"),
        Armed("short", RECIPE, Hook(), short, "p", "deliveries"),
    )
    commits = Commits(house.database, policy=POLICY, clock=house.clock)
    return TriggerDoor(
        Triggers(commits, armed, NoFeeds()), dict.fromkeys(("orders", "short"), StaticVerifier([SECRET]))
    )


@pytest.fixture
def client(house: House, door: TriggerDoor) -> Iterator[TestClient]:
    with TestClient(house.app(triggers=door), raise_server_exceptions=False) as client:
        yield client


def send(client: TestClient, body: bytes = BODY, path: str = PATH, **how: Any) -> Any:
    headers = signed(body, **{"key": KEY, **how})
    return client.post(path, content=body, headers=headers)


def test_a_delivery_starts_one_run_however_often_it_comes(client: TestClient, house: House) -> None:
    first = send(client)
    assert first.status_code == 200
    told = first.json()
    assert (told["occurrence"], told["verdict"]) == ("msg_1", "started")
    run = house.load(told["run"])
    assert (run.input, run.requester.id, run.requester.door) == ("Order A-1042", "trigger:orders", "trigger")
    again = send(client, at=later(minutes=2)).json()
    assert again == {**told, "verdict": "known"}
    other = send(client, b'{"order": {"id": "B-2"}}').json()
    assert (other["verdict"], other["run"]) == ("known", told["run"])
    assert send(client, webhook_id="msg_2").json()["run"] != told["run"]
    shown = client.get(PATH, headers=bearer()).json()["occurrences"]
    assert [(o["key"], o["again"], o["conflicts"]) for o in shown] == [("msg_2", 0, 0), ("msg_1", 2, 1)]


class Broken(Triggers):
    async def deliver(self, name: str, delivery: str, body: bytes, value: object) -> Fired:
        raise OSError("the disk is full")


def test_what_could_not_be_stored_is_not_taken(house: House) -> None:
    commits = Commits(house.database, policy=POLICY, clock=house.clock)
    door = TriggerDoor(Broken(commits), {"orders": StaticVerifier([SECRET])})
    with TestClient(house.app(triggers=door), raise_server_exceptions=False) as client:
        answer = send(client)
    assert (answer.status_code, "disk" in answer.text) == (503, False)


class Standing(Triggers):
    """Its database has stood still since the delivery came."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def deliver(self, name: str, delivery: str, body: bytes, value: object) -> Fired:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.asyncio
async def test_whoever_delivers_is_not_kept_waiting_by_a_database_that_stands_still(house: House) -> None:
    standing = Standing()
    door = TriggerDoor(standing, {"orders": StaticVerifier([SECRET])})
    transport = httpx.ASGITransport(house.app(triggers=door))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        sending = asyncio.create_task(http.post(PATH, content=BODY, headers=signed(BODY, key=KEY)))
        await standing.asked.wait()
        pass_by(1.1 * DELIVERIES.seconds)
        answer = await sending
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


STALE, EARLY = later(seconds=-301), later(seconds=301)
WRONG: dict[str, tuple[dict[str, Any], int]] = {
    "another key": ({"key": b"x" * 24}, 401),
    "no signature of ours": ({"entry": "v1a," + "A" * 86 + "=="}, 401),
    "empty": ({"entry": ""}, 400),
    "stale": ({"at": STALE}, 400),
    "early": ({"at": EARLY}, 400),
    "id with a dot": ({"webhook_id": "msg.1"}, 400),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_signed_for_us_now_is_nothing(client: TestClient, house: House, name: str) -> None:
    how, status = WRONG[name]
    assert send(client, **how).status_code == status
    assert client.get(PATH, headers=bearer()).json()["occurrences"] == []


def test_only_the_bytes_that_were_signed(client: TestClient) -> None:
    headers = signed(BODY, key=KEY)
    assert client.post(PATH, content=BODY + b" ", headers=headers).status_code == 401
    assert client.post(PATH, content=BODY, headers=bearer()).status_code == 400  # a token is no signature


@pytest.mark.parametrize("path", ["/v1/triggers/nightly", "/v1/triggers/nope"])
def test_who_knows_no_secret_does_not_learn_which_there_are(client: TestClient, path: str) -> None:
    assert send(client, path=path).json() == send(client, key=b"x" * 24).json()


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": 1, "a": 2}', b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 70 + b"]" * 70]
)
def test_a_signed_body_that_is_no_strict_json(client: TestClient, body: bytes) -> None:
    assert send(client, body).status_code == 400


def test_a_large_body_and_other_methods(client: TestClient) -> None:
    assert send(client, b'"' + b"x" * 70_000 + b'"').status_code == 413
    assert client.put(PATH, content=BODY, headers=signed(BODY, key=KEY)).status_code == 405


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"order": {"id": {"type": "function_call"}}}', b"null"])
def test_what_does_not_fit_is_taken_and_seen(client: TestClient, house: House, body: bytes) -> None:
    """A 4xx would have the sender try for days what can never work."""
    answer = send(client, body)
    told = answer.json()
    assert (answer.status_code, told["run"]) == (200, None) or b"function" in body
    if told["verdict"] == "refused":
        assert "order_id" in told["note"]
        shown = client.get(PATH, headers=bearer()).json()
        assert (shown["occurrences"][0]["verdict"], shown["failures"]) == ("refused", 1)


def test_what_makes_too_long_an_input_is_told_so_once(client: TestClient, house: House) -> None:
    """400 with the bound, as over the API; a sender that comes again is heard out, and starts nothing."""
    body = json.dumps({"order": {"id": "x" * 51}}).encode()
    answer = send(client, body, path="/v1/triggers/short")
    assert (answer.status_code, answer.json()["detail"]) == (400, "input makes 51 characters; at most 50")
    again = send(client, body, path="/v1/triggers/short")
    assert (again.status_code, again.json()["verdict"], again.json()["run"]) == (200, "known", None)
    shown = client.get("/v1/triggers/short", headers=bearer()).json()
    assert [(o["verdict"], o["again"], o["run"]) for o in shown["occurrences"]] == [("refused", 1, None)]
    assert shown["occurrences"][0]["note"] == "input makes 51 characters; at most 50"


def test_lists_and_details(client: TestClient, house: House) -> None:
    items = client.get("/v1/triggers", headers=bearer()).json()["items"]
    assert [(t["name"], t["kind"]) for t in items] == [
        ("news", "feed"),
        ("nightly", "cron"),
        ("orders", "webhook"),
        ("short", "webhook"),
    ]
    one = client.get("/v1/triggers/nightly", headers=bearer()).json()
    assert one["times"][:2] == ["2026-11-23T21:00:00Z", "2026-11-24T21:00:00Z"]  # a Saturday is today
    assert client.get("/v1/triggers/nope", headers=bearer()).status_code == 404


def test_occurrences_come_page_by_page_the_newest_first(client: TestClient, house: House) -> None:
    for n in range(3):
        send(client, webhook_id=f"msg_{n}")
    page = client.get(f"{PATH}?limit=2", headers=bearer()).json()
    rest = client.get(f"{PATH}?limit=2&cursor={page['next']}", headers=bearer()).json()
    assert [o["key"] for o in page["occurrences"] + rest["occurrences"]] == ["msg_2", "msg_1", "msg_0"]
    assert rest["next"] is None
    other = client.get(f"/v1/triggers/nightly?cursor={page['next']}", headers=bearer())
    assert (other.status_code, other.json()["errors"][0]["field"]) == (400, "cursor")


def test_an_outage_that_many_deliveries_meet_is_told_once_and_when_it_is_over(
    house: House, door: TriggerDoor
) -> None:
    flaky: Any = Flaky(door.triggers)
    app = house.app(triggers=replace(door, triggers=flaky))
    with TestClient(app, raise_server_exceptions=False) as client, structlog.testing.capture_logs() as logs:
        flaky.trouble = away()
        answers = [send(client, webhook_id=f"msg_{n}").status_code for n in range(20)]
        flaky.trouble = KeyError("canary")  # a mistake of ours hides behind no outage
        answers.append(send(client).status_code)
        flaky.trouble = None
        answers.append(send(client).status_code)
    assert answers == [503] * 21 + [200]
    told = [e for e in logs if e["event"].startswith(("request_", "delivery_"))]
    assert [(e["event"], e.get("why"), e.get("trigger")) for e in told] == [
        ("request_failed", "connection refused", "orders"),
        ("request_failed", "", "orders"),
        ("request_recovered", None, None),
    ]
    assert told[-1]["failures"] == 20
    assert "canary" not in str(logs)


def test_fired_by_hand_the_run_is_the_callers(client: TestClient, house: House) -> None:
    fired = client.post("/v1/triggers/nightly/fire", headers=bearer("ops")).json()
    assert fired["verdict"] == "started"
    assert house.load(fired["run"]).requester.id == "api:ops"
    event = {"event": {"order": {"id": "B-7"}}}
    hooked = client.post(f"{PATH}/fire", json=event, headers=bearer()).json()
    assert house.load(hooked["run"]).input == "Order B-7"
    assert client.post(f"{PATH}/fire", headers=bearer()).status_code == 400
    assert client.post(f"{PATH}/fire", json={"x": 1}, headers=bearer()).status_code == 400
    assert client.post("/v1/triggers/nope/fire", headers=bearer()).status_code == 404
    assert client.post("/v1/triggers/news/fire", headers=bearer()).json()["verdict"] is None


def test_what_keeps_failing_is_counted(client: TestClient, house: House) -> None:
    for n in range(3):
        send(client, b"{}", webhook_id=f"msg_{n}")
    assert client.get(PATH, headers=bearer()).json()["failing"] is True
    text = client.get("/metrics", headers=bearer()).text
    assert 'orchestrator_trigger_failures{trigger="orders"} 3.0' in text
    assert [r["name"] for r in house.write(triggers.failing)] == ["orders"]


def test_without_any_trigger(house: House) -> None:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        assert client.get("/v1/triggers", headers=bearer()).json() == {"items": []}
        assert send(client).status_code == 401
