"""Webhooks that are not taken: what the ledger shows of them, and a flood of forgeries."""

import asyncio
import json
import logging
import resource
from collections import Counter
from typing import Any

import pytest
import structlog
from litestar.testing import TestClient
from web_kit import House, bearer, event_body, later, signed

from orchestrator.engine.refused_webhooks import Refusals
from orchestrator.store import refused_webhooks
from orchestrator.web.hooks import gemini_hook

HOOK = "/webhooks/gemini"
GOOD = event_body()
FORGED = 10_000
GROWTH_KIB = 50 * 1024


def shown(client: TestClient[Any]) -> list[dict[str, Any]]:
    answer = client.get("/v1/deliveries", params={"verdict": "refused"}, headers=bearer("reader"))
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]  # type: ignore[no-any-return]


def test_why_it_was_refused_is_read_later(house: House) -> None:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        for _ in range(2):
            forged = {**signed(GOOD, key=b"x" * 32), "user-agent": "curl/8"}
            assert client.post(HOOK, content=GOOD, headers=forged).status_code == 401
        stale = signed(GOOD, at=later(seconds=-301))
        assert client.post(HOOK, content=GOOD, headers=stale).status_code == 400
        assert client.post(HOOK, content=b"[1]", headers=signed(b"[1]")).status_code == 400
    # The end of the service wrote what was still on its way.
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        found = {d["note"]: d for d in shown(client)}
        assert {note: (d["duplicates"], d["scheme"], d["state"]) for note, d in found.items()} == {
            "refused: no signature matches": (1, "", "done"),
            "refused: the timestamp is too far from now": (0, "", "done"),
            "refused: the body is not an object": (0, "v1", "done"),
        }
        assert client.get("/v1/deliveries", headers=bearer("reader")).json()["items"] == []
        one = found["refused: no signature matches"]
        told = client.get(one["links"]["self"], headers=bearer("reader")).json()
        assert (told["body"], told["verdict"]) == (GOOD.decode(), "refused")
        assert (told["headers"]["webhook-id"], told["headers"]["user-agent"]) == ("msg_1", "curl/8")
        assert forged["webhook-signature"] not in json.dumps(told)
        before = len(house.woken)
        answer = client.post(one["links"]["replay"], headers=bearer("ops"))
        assert (answer.status_code, "no signature matches" in answer.json()["detail"]) == (409, True)
        assert client.post(HOOK, content=GOOD, headers=signed(GOOD)).status_code == 200, "the honest one"
        assert len(house.woken) == before + 1


@pytest.fixture
def quiet() -> None:
    """Twenty thousand lines of a log would be what is measured."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def test_a_flood_of_forgeries_costs_little(house: House, quiet: None) -> None:
    answers, waits = Counter[int](), list[float]()
    refusals = Refusals(house.database, house.clock, unkept=house.doors.counters.unkept, pause_seconds=0.01)
    hook = gemini_hook(house.doors, refusals)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def send(headers: dict[str, str], body: bytes) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                answers[message["status"]] += 1

        raw = [(k.encode(), v.encode()) for k, v in headers.items()]
        scope: Any = {"type": "http", "method": "POST", "path": HOOK, "headers": raw}
        await hook(scope, receive, answer)

    async def flood() -> None:
        forged = signed(GOOD, key=b"x" * 32)
        async with refusals.owned():
            for n in range(FORGED):
                await send({**forged, "webhook-id": f"m{n}"}, b"%b%d" % (b"x" * 20_000, n))
                await asyncio.sleep(0)
                if n % 1_000 == 0:
                    began = asyncio.get_running_loop().time()
                    await send(signed(GOOD, webhook_id=f"good{n}"), GOOD)
                    waits.append(asyncio.get_running_loop().time() - began)

    asyncio.run(flood())
    assert answers == {401: FORGED, 200: FORGED / 1_000}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KIB
    found = house.write(
        lambda s: (
            s.connection()
            .exec_driver_sql("SELECT count(*), sum(verdict = 'refused'), max(length(body)) FROM delivery")
            .one()
        )
    )
    assert 64 <= found[1] <= refused_webhooks.MOST
    assert (found[0] - found[1], found[2]) == (FORGED / 1_000, refused_webhooks.BODY_BYTES)
    assert sorted(waits)[len(waits) // 2] < 30, "an honest one comes through meanwhile"
