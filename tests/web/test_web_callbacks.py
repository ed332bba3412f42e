"""Callers' addresses over HTTP: given with a run, looked at, sent to again."""

import asyncio
import json
from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import NOW, RECIPE, WORKFLOWS, House, bearer

from orchestrator.domain.callbacks import Callback, CallbackState, News, Receipt
from orchestrator.domain.events import CancelRequested
from orchestrator.domain.model import Run
from orchestrator.domain.values import replace
from orchestrator.errors import UnavailableError
from orchestrator.outbound import Rules
from orchestrator.store import callbacks
from orchestrator.store.callbacks import Attempt, Patience
from orchestrator.web.callback_wishes import CallbackDoor

URL = "https://hooks.example.com/canary-path?token=canary-token"
PATIENCE = Patience()


class Sender:
    """Answers what it is told to, and keeps what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.answer: int | None = 204

    def check(self, url: str) -> None:
        Rules(["hooks.example.com"]).target(url)

    async def send(self, url: str, message_id: str, body: str) -> Receipt:
        self.sent.append((url, message_id, body))
        if self.answer is None:
            raise UnavailableError("hooks.example.com cannot be reached")
        return Receipt(self.answer)


@pytest.fixture
def sender(house: House) -> Sender:
    made = Sender()
    calling = replace(WORKFLOWS["refund"], recipe=replace(RECIPE, callbacks=(Callback(URL + "&w"),)))
    house.doors = replace(
        house.doors, callbacks=CallbackDoor(made), workflows={**WORKFLOWS, "calling": calling}
    )
    return made


def start(client: TestClient, callback: Any, *, workflow: str = "refund", **more: Any) -> Any:
    body = {"input": "Order A-1", "callback": callback, **more}
    return client.post(f"/v1/workflows/{workflow}/runs", json=body, headers=bearer("trigger"))


def cancelled(house: House, client: TestClient) -> tuple[Run, str]:
    """A run whose caller is to be told that it was cancelled, and the id of that message."""
    run = house.load(start(client, URL).json()["id"])
    house.apply(run.id, CancelRequested(run.requester, "enough"))
    (item,) = client.get(f"/v1/callbacks?run={run.id}", headers=bearer("reader")).json()["items"]
    return run, item["id"]


def tried(house: House, message: str, attempt: Attempt) -> None:
    house.write(callbacks.settle, message, attempt, PATIENCE, house.clock(), 0.5)


def test_a_run_keeps_the_address_it_was_started_with(
    client: TestClient, house: House, sender: Sender
) -> None:
    with TestClient(house.app()) as client:
        plain = house.load(start(client, URL).json()["id"])
        some = {"url": URL, "events": ["run.completed", "run.failed"]}
        chosen = house.load(start(client, some, workflow="calling").json()["id"])
    assert plain.recipe.callbacks == (Callback(URL, own=True),)
    own = Callback(URL, (News.RUN_COMPLETED, News.RUN_FAILED), own=True)
    assert chosen.recipe.callbacks == (Callback(URL + "&w"), own)


@pytest.mark.parametrize(
    ("callback", "field"),
    [
        ("http://hooks.example.com/", "callback"),
        ("https://elsewhere.example/", "callback"),
        ({"url": "https://10.0.0.1/"}, "callback.url"),
        ({"url": "https://user:pass@hooks.example.com/"}, "callback.url"),
        ({"url": URL, "events": ["run.begun"]}, "callback"),
        ({"url": URL, "events": []}, "callback"),
        ({"url": URL, "secret": "mine"}, "callback"),
        (7, "callback"),
        ("", "callback"),
    ],
)
def test_an_address_that_is_not_called(house: House, sender: Sender, callback: Any, field: str) -> None:
    with TestClient(house.app()) as client:
        answer = start(client, callback)
    assert answer.status_code == 400
    assert field in answer.text
    assert "pass" not in answer.text.replace("password", "")


def test_nobody_is_told_where_nothing_signs(client: TestClient) -> None:
    answer = start(client, URL)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "callback"
    assert "callbacks.secrets is not set" in answer.text


def test_an_address_belongs_to_the_request_of_a_key(house: House, sender: Sender) -> None:
    with TestClient(house.app()) as client:
        made = start(client, URL, idempotency_key="k").json()["id"]
        assert start(client, {"url": URL}, idempotency_key="k").json()["id"] == made
        assert start(client, URL + "&other", idempotency_key="k").status_code == 409


def test_a_message_is_listed_shown_and_sent_again(house: House, sender: Sender) -> None:
    with TestClient(house.app()) as client:
        run, message = cancelled(house, client)
        tried(house, message, Attempt(500, "it answered 500"))
        listed = client.get("/v1/callbacks?state=waiting", headers=bearer("reader"))
        (item,) = listed.json()["items"]
        assert (item["event"], item["host"], item["attempts"], item["last_status"]) == (
            "run.cancelled",
            "hooks.example.com",
            1,
            500,
        )
        tried(house, message, Attempt(200))
        assert client.get("/v1/callbacks?state=waiting", headers=bearer()).json()["items"] == []
        shown = client.get(f"/v1/callbacks/{message}", headers=bearer("reader"))
        assert shown.json()["body"]["data"]["run"] == run.id
        assert [e["status"] for e in shown.json()["log"]] == [500, 200]
        replayed = client.post(f"/v1/callbacks/{message}/replay", headers=bearer("ops"))
        assert (replayed.status_code, replayed.json()["state"]) == (200, "waiting")
        assert replayed.json()["log"][-1]["replayed_by"] == "api:ops"
        assert house.woken
        assert client.get("/v1/callbacks/msg_none", headers=bearer()).status_code == 404
        assert "canary" not in listed.text + shown.text + replayed.text
        assert "canary" not in client.get(f"/v1/runs/{run.id}", headers=bearer()).text


def test_an_address_is_disabled_and_enabled(house: House, sender: Sender) -> None:
    with TestClient(house.app()) as client:
        _, message = cancelled(house, client)
        tried(house, message, Attempt(410, "it answered 410: it wants no more", gone=True))
        told = client.get("/v1/callback-addresses?state=disabled", headers=bearer("reader"))
        (address,) = told.json()["items"]
        assert (address["held"], address["why"]) == (1, "it answered 410: it wants no more")
        refused = client.post(f"/v1/callbacks/{message}/replay", headers=bearer("ops"))
        assert (refused.status_code, address["id"] in refused.text) == (409, True)
        metrics = client.get("/metrics", headers=bearer("reader")).text
        assert "orchestrator_callback_addresses_disabled 1.0" in metrics
        assert 'orchestrator_callbacks{state="held"} 1.0' in metrics
        enabled = client.post(address["links"]["enable"], headers=bearer("ops")).json()
        assert (enabled["state"], enabled["sent"], enabled["given_up"]) == ("active", 1, 0)
        again = client.post(address["links"]["enable"], headers=bearer("ops")).json()
        assert (again["sent"], again["held"]) == (0, 0)
        none = client.post("/v1/callback-addresses/adr_none/enable", headers=bearer("ops"))
        assert none.status_code == 404
        assert "canary" not in told.text
    row = house.write(callbacks.one, message)
    assert (row["state"], row["since"]) == (CallbackState.WAITING, NOW)


def test_an_address_is_tried(house: House, sender: Sender) -> None:
    def ask(body: Any) -> Any:
        return client.post("/v1/callback-addresses/test", json=body, headers=bearer("ops"))

    with TestClient(house.app()) as client:
        good = {"host": "hooks.example.com", "delivered": True, "status": 204, "detail": ""}
        assert ask({"url": URL}).json() == {"items": [good]}
        assert ask({"workflow": "calling"}).json() == {"items": [good]}
        sender.answer = 404
        assert ask({"url": URL}).json()["items"][0]["detail"] == "it answered 404"
        sender.answer = None
        assert ask({"url": URL}).json()["items"][0]["detail"] == "hooks.example.com cannot be reached"
        for wrong in ({}, {"url": URL, "workflow": "calling"}, {"workflow": "refund"}, {"url": "http://x/"}):
            assert ask(wrong).status_code == 400
        assert ask({"workflow": "none"}).status_code == 404
    assert [json.loads(body)["type"] for _, _, body in sender.sent] == ["callback.test"] * 4
    assert len({message for _, message, _ in sender.sent}) == 4


def test_a_run_that_takes_up_another_tells_the_same_caller(house: House, sender: Sender) -> None:
    with TestClient(house.app()) as client:
        run, _ = cancelled(house, client)
        new = client.post(f"/v1/runs/{run.id}/restart", headers=bearer("ops")).json()["id"]
    assert house.load(new).recipe.callbacks == (Callback(URL, own=True),)
    assert asyncio.run(house.database.read(callbacks.one, "msg_none")) is None
