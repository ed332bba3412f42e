"""Things that go wrong on purpose, as the real client and a real receiver see them; and the control API."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from gemini_kit import EVENTS, MODEL, answer, calls, receiving, stage, turns
from google.genai import _interactions as sdk
from litestar.testing import AsyncTestClient
from standardwebhooks import Webhook, WebhookVerificationError

from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.clock import RealClock, VirtualClock
from orchestrator.emulator.gemini.faults import Faults
from orchestrator.emulator.gemini.settings import EmulatorSettings

HELLO = turns({"text": "Hello."})
ERRORS = [
    (400, sdk.BadRequestError, "invalid_request"),
    (401, sdk.AuthenticationError, "authentication"),
    (403, sdk.PermissionDeniedError, "permission_denied"),
    (404, sdk.NotFoundError, "not_found"),
    (409, sdk.ConflictError, "aborted"),
    (422, sdk.UnprocessableEntityError, "invalid_request"),
    (429, sdk.RateLimitError, "rate_limit_exceeded"),
    (499, sdk.APIStatusError, "cancelled"),
    (500, sdk.InternalServerError, "api_error"),
    (501, sdk.InternalServerError, "unimplemented"),
    (503, sdk.InternalServerError, "service_unavailable"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["status", "accept_then_status"])
async def test_every_status_reaches_the_client_as_its_own_error(kind: str) -> None:
    async with stage(scenarios=HELLO) as s:
        for status, error, code in ERRORS:
            s.emulator.inject("create", kind, status=status)
            with pytest.raises(error) as raised:
                await s.start()
            assert (raised.value.status_code, raised.value.body["error"]["code"]) == (status, code)
        assert s.emulator.stats()["created"] == (0 if kind == "status" else len(ERRORS))
        assert [r["status"] for r in s.emulator.stats()["requests"]] == [status for status, _, _ in ERRORS]
        assert (await s.start()).status == "in_progress"


@pytest.mark.asyncio
async def test_shapes_codes_and_retry_after_of_an_error() -> None:
    async with stage() as s:
        s.emulator.inject(
            "get", "status", status=429, retry_after="7", code="quota_exceeded", message="Slowly."
        )
        s.emulator.inject("get", "status", status=404, shape="classic", message="Method not found")
        s.emulator.inject("get", "status", status=503, shape="list")
        first, second, third = [await s.http("GET", "/v1/interactions/x") for _ in range(3)]
        assert first.headers["retry-after"] == "7"
        assert first.json() == {"error": {"code": "quota_exceeded", "message": "Slowly."}}
        assert second.json() == {"error": {"code": 404, "message": "Method not found", "status": "NOT_FOUND"}}
        assert third.json()[0]["error"]["status"] == "UNAVAILABLE"


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "created"), [("reset", 0), ("accept_then_reset", 1)])
async def test_a_connection_really_breaks(kind: str, created: int) -> None:
    async with stage(scenarios=HELLO) as s:
        s.emulator.inject("create", kind, times=2)
        with pytest.raises(sdk.APIConnectionError) as raised:
            await s.start()
        assert not isinstance(raised.value, sdk.APITimeoutError)
        with pytest.raises(httpx.ReadError):
            await s.http("POST", "/v1/interactions", json={"model": MODEL, "input": "x", "background": True})
        assert s.emulator.stats()["created"] == 2 * created
        assert (await s.start()).status == "in_progress"


@pytest.mark.asyncio
async def test_a_connection_breaks_without_a_transport_too() -> None:
    app = build(EmulatorSettings(clock=VirtualClock()))
    app.state.emulator.inject("create", "reset")
    async with AsyncTestClient(app) as client:
        with pytest.raises(ConnectionResetError):
            await client.post("/v1/interactions", json={}, headers={"x-goog-api-key": "k"})


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "created"), [("hang", 0), ("slow", 1)])
async def test_a_client_gives_up_waiting(kind: str, created: int) -> None:
    async with stage(scenarios=HELLO, timeout_ms=150) as s:
        s.emulator.inject("create", kind)
        with pytest.raises(sdk.APITimeoutError):
            await s.start()
        assert s.emulator.stats()["created"] == created


@pytest.mark.asyncio
async def test_slow_and_hanging_requests_are_answered_in_the_end() -> None:
    async with stage(scenarios=HELLO) as s:
        s.emulator.inject("create", "slow", seconds=0.01)
        assert (await s.start()).status == "in_progress"
        s.emulator.inject("create", "hang", seconds=0.01)
        with pytest.raises(sdk.InternalServerError) as raised:
            await s.start()
        assert raised.value.status_code == 504


@pytest.mark.asyncio
async def test_unreadable_answers() -> None:
    async with stage(scenarios=HELLO) as s:
        s.emulator.inject("create", "null")
        assert await s.start() is None
        s.emulator.inject("create", "broken_json")
        with pytest.raises(sdk.APIResponseValidationError):
            await s.start()
        s.emulator.inject("create", "html")
        with pytest.raises(sdk.APIError):
            await s.start()
        assert s.emulator.stats()["created"] == 3


@pytest.mark.asyncio
async def test_reads_that_lag_or_fail() -> None:
    async with stage(scenarios=HELLO) as s:
        made, other = await s.start(), await s.start()
        await s.emulator.advance(1)
        s.emulator.inject("get", "stale", times=2, subject=made.id)
        assert (await s.interactions.get(id=other.id)).status == "completed"
        seen = [(await s.interactions.get(id=made.id)).status for _ in range(3)]
        assert seen == ["in_progress", "in_progress", "completed"]
        s.emulator.inject("get", "not_found", skip=1)
        assert (await s.interactions.get(id=made.id)).status == "completed"
        with pytest.raises(sdk.NotFoundError):
            await s.interactions.get(id=made.id)
        assert (await s.interactions.get(id=made.id)).status == "completed"


@pytest.mark.asyncio
async def test_other_operations_have_faults_too() -> None:
    async with stage() as s:
        for operation in ("cancel", "delete", "webhooks.list", "jwks"):
            s.emulator.inject(operation, "status", status=503)
        with pytest.raises(sdk.InternalServerError):
            await s.interactions.cancel(id="x")
        with pytest.raises(sdk.InternalServerError):
            await s.interactions.delete(id="x")
        with pytest.raises(sdk.InternalServerError):
            await s.webhooks.list()
        assert (await s.http("GET", "/.well-known/jwks.json")).status_code == 503
        assert (await s.http("GET", "/.well-known/jwks.json")).status_code == 200


@pytest.mark.asyncio
async def test_a_webhook_can_come_before_the_create_answer() -> None:
    order: list[str] = []
    async with receiving() as r, stage(scenarios=HELLO) as s:
        await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
        s.emulator.inject("create", "early")
        made = await s.start()
        order.append("answered" if r.got else "answered first")
        assert (order, made.status) == (["answered"], "in_progress")
        assert json.loads(r.got[0][1])["data"]["id"] == made.id
        assert (await s.interactions.get(id=made.id)).status == "completed"
        await s.emulator.advance(10)
        assert len(r.got) == 1


@pytest.mark.asyncio
async def test_deliveries_go_astray() -> None:
    async with receiving() as r, stage(scenarios=HELLO) as s:
        secret = (await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)).new_signing_secret
        s.emulator.inject("deliver", "lose")
        s.emulator.inject("deliver", "duplicate", copies=2)
        s.emulator.inject("deliver", "delay", seconds=60)
        s.emulator.inject("deliver", "bad_signature")
        await s.after(await s.start())
        assert r.got == []
        await s.after(await s.start())
        assert (len(r.got), len(set(r.ids))) == (3, 1)
        await s.after(await s.start())
        assert len(r.got) == 3
        await s.emulator.advance(60)
        assert len(r.got) == 4
        await s.after(await s.start())
        headers, body = r.got[4]
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            Webhook(secret).verify(body, headers)
        states = [d["state"] for d in s.emulator.stats()["deliveries"]]
        assert states == ["lost", "delivered", "delivered", "delivered"]


@pytest.mark.asyncio
async def test_a_spoilt_attempt_is_followed_by_a_good_one() -> None:
    async with receiving(401) as r, stage(scenarios=HELLO) as s:
        secret = (await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)).new_signing_secret
        s.emulator.inject("deliver", "old_timestamp")
        await s.after(await s.start(), 10)
        stamps = [int(headers["webhook-timestamp"]) for headers, _ in r.got]
        assert stamps[1] - stamps[0] == 605
        with pytest.raises(WebhookVerificationError, match="too old"):
            Webhook(secret).verify(r.got[0][1], r.got[0][0])
        Webhook(secret).verify(r.got[1][1], r.got[1][0])


@pytest.mark.asyncio
async def test_held_deliveries_can_be_let_go_out_of_order() -> None:
    async with receiving() as r, stage(scenarios=HELLO) as s:
        await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
        s.emulator.inject("deliver", "hold", times=3)
        made = [(await s.after(await s.start())).id for _ in range(3)]
        assert r.got == []
        released = await s.http("POST", "/_emulator/release", json={"newest_first": True})
        assert released.json() == {"released": 3}
        assert [json.loads(body)["data"]["id"] for _, body in r.got] == made[::-1]


@pytest.mark.asyncio
async def test_deliver_sends_again_early_altered_or_forged() -> None:
    async with receiving() as r, stage(scenarios=HELLO) as s:
        hook = await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
        made = await s.start()
        await s.emulator.deliver(interaction=made.id, event="interaction.completed")  # not true yet
        await s.emulator.advance(1)
        await s.emulator.deliver()
        await s.emulator.deliver(interaction=made.id, message_id="new", copies=2)
        await s.emulator.deliver(message_id="msg_mine", body={"type": "odd"})
        await s.emulator.deliver(body="not json", timestamp_offset=-900, headers={"webhook-signature": None})
        ids = r.ids
        assert ids[1] == ids[2] != ids[0]
        assert ids[3] == ids[4] not in ids[:3]
        assert (ids[5], r.got[5][1]) == ("msg_mine", b'{"type":"odd"}')
        Webhook(hook.new_signing_secret).verify(r.got[5][1], r.got[5][0])
        assert "webhook-signature" not in r.got[6][0]
        assert r.got[6][1] == b"not json"


@pytest.mark.asyncio
async def test_deliver_over_http() -> None:
    async with receiving(204) as r, stage(scenarios=HELLO) as s:
        for bad, status in (({}, 404), ({"interaction": "x", "event": "y"}, 404), ({"uri": "ftp://x"}, 400)):
            assert (await s.http("POST", "/_emulator/deliver", json=bad)).status_code == status
        body = {"uri": r.uri, "body": {"type": "x"}, "message_id": "msg_1", "bad_signature": True}
        sent = await s.http("POST", "/_emulator/deliver", json=body)
        assert [a["status"] for a in sent.json()["attempts"]] == [204]
        assert r.got[0][0]["webhook-signature"].startswith("v1a,")


@pytest.mark.asyncio
async def test_control_over_http() -> None:
    async with receiving() as r, stage(scenarios=HELLO) as s:
        await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
        fault = {"operation": "create", "kind": "status", "status": 503, "retry_after": "1"}
        queued = (await s.http("POST", "/_emulator/faults", json=fault)).json()["faults"]
        assert [(f["kind"], f["times"]) for f in queued] == [("status", 1)]
        assert (await s.http("DELETE", "/_emulator/faults")).json() == {"faults": []}
        made = await s.start()
        moved = await s.http("POST", "/_emulator/clock/advance", json={"seconds": 1.5})
        assert moved.json()["now"] == s.emulator.clock.now().isoformat()
        assert len(r.got) == 1
        put = {"status": "failed", "errors": [{"code": "safety", "message": "No."}]}
        await s.http("POST", f"/_emulator/interactions/{made.id}/status", json=put)
        assert (await s.interactions.get(id=made.id)).errors[0].code == "safety"
        before = s.emulator.courier.seal.jwks()
        await s.http("POST", "/_emulator/keys/rotate")
        assert s.emulator.courier.seal.jwks() != before
        stats = (await s.http("GET", "/_emulator/stats")).json()
        assert stats["counts"] == {"webhooks.create": 1, "create": 1, "get": 1}
        assert stats["requests"][1]["body"]["input"] == "Hello."
        assert stats["requests"][1]["path"] == "/v1beta/interactions"
        assert stats["interactions"][0]["script"] == "test"
        await s.http("POST", "/_emulator/reset")
        stats = (await s.http("GET", "/_emulator/stats")).json()
        assert (stats["counts"], stats["created"], stats["deliveries"]) == ({}, 0, [])


BAD_CONTROL: list[tuple[str, Any, int]] = [
    ("faults", {"operation": "create"}, 400),
    ("faults", {"operation": "dream", "kind": "status"}, 400),
    ("faults", {"operation": "create", "kind": "stale"}, 400),
    ("faults", {"operation": "create", "kind": "status", "often": 2}, 400),
    ("clock/advance", {"second": 1}, 400),
    ("interactions/x/status", {"status": "failed"}, 404),
    ("dreams", {}, 404),
]


@pytest.mark.asyncio
async def test_control_refuses_what_it_does_not_know() -> None:
    async with stage() as s:
        for path, body, status in BAD_CONTROL:
            refused = await s.http("POST", f"/_emulator/{path}", json=body)
            assert (refused.status_code, path) == (status, path)


@pytest.mark.asyncio
async def test_on_the_real_clock_things_happen_by_themselves() -> None:
    options = {"clock": RealClock(), "think_seconds": 0.05, "retry_base_seconds": 0.05}
    async with receiving(500) as r, stage(scenarios=HELLO, **options) as s:
        await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
        made = await s.start()
        async with asyncio.timeout(30):
            await r.until(2)
        assert (await s.interactions.get(id=made.id)).status == "completed"
        foreground = await s.interactions.create(model=MODEL, input="Hi")
        assert foreground.status == "completed"
        refused = await s.http("POST", "/_emulator/clock/advance", json={"seconds": 1})
        assert refused.status_code == 409


@pytest.mark.asyncio
async def test_in_process_without_a_server() -> None:
    app = build(EmulatorSettings(clock=VirtualClock(), seed=1))
    async with AsyncTestClient(app) as client:
        client.headers["x-goog-api-key"] = "k"
        body = {"model": MODEL, "background": True, "input": "Hi"}
        made = (await client.post("/v1/interactions", json=body)).json()
        await app.state.emulator.advance(1)
        got = (await client.get(f"/v1/interactions/{made['id']}")).json()
        assert got["status"] == "completed"


@pytest.mark.asyncio
async def test_the_same_seed_gives_the_same_story() -> None:
    async def story() -> list[Any]:
        async with stage(scenarios=turns({"calls": [{"name": "a", "arguments": {}}]})) as s:
            first = await s.after(await s.start())
            second = await s.resume(first, [answer(calls(first)[0], "ok")])
            return [first.id, calls(first)[0].id, second.id]

    assert await story() == await story()


def test_faults_are_used_in_order_and_as_often_as_said() -> None:
    faults = Faults()
    faults.add("get", "not_found", subject="a", times=2)
    faults.add("get", "stale")
    taken = [faults.take("get", subject) for subject in ("b", "a", "a", "a")]
    assert [fault.kind if fault else None for fault in taken] == ["stale", "not_found", "not_found", None]
    assert faults.view() == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("option", "said"),
    [({"times": "often"}, "times: Expected"), ({"probability": "half"}, "probability: Exp")],
)
async def test_a_faults_option_of_another_type_is_refused_by_its_name(
    option: dict[str, str], said: str
) -> None:
    async with stage() as s:
        refused = await s.http(
            "POST", "/_emulator/faults", json={"operation": "get", "kind": "reset", **option}
        )
        assert refused.status_code == 400
        assert said in refused.json()["error"]["message"]


@pytest.mark.asyncio
async def test_forever_is_also_said_over_http() -> None:
    async with stage() as s:
        fault = {"operation": "get", "kind": "reset", "times": "forever"}
        [queued] = (await s.http("POST", "/_emulator/faults", json=fault)).json()["faults"]
        assert queued["times"] is None
