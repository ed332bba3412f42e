"""The whole list of what goes wrong: answers nobody can use, answers lost, events forged and out of order."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from gemini_kit import EVENTS, MODEL, Receiver, Stage, answer, calls, receiving, stage, turns
from google.genai import _interactions as sdk
from standardwebhooks import Webhook, WebhookVerificationError

from orchestrator.emulator.gemini.clock import VirtualClock
from orchestrator.emulator.gemini.faults import KINDS, OPERATIONS, Faults, parse, storm
from orchestrator.emulator.gemini.settings import RETENTION_SECONDS

HELLO = turns({"text": "Hello."})
ASK = turns(
    {"calls": [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": {}}]}, {"text": "Ok."}
)

# Every code of the reference's table of errors, beside the class that the client makes of its status.
CODES = [
    (400, sdk.BadRequestError, ("invalid_request", "failed_precondition", "parameter_unknown")),
    (401, sdk.AuthenticationError, ("authentication",)),
    (402, sdk.APIStatusError, ("payment_required",)),
    (403, sdk.PermissionDeniedError, ("permission_denied",)),
    (404, sdk.NotFoundError, ("not_found", "model_not_found")),
    (408, sdk.APIStatusError, ("deadline_exceeded",)),
    (409, sdk.ConflictError, ("already_exists", "aborted")),
    (416, sdk.APIStatusError, ("out_of_range",)),
    (429, sdk.RateLimitError, ("rate_limit_exceeded", "quota_exceeded", "too_many_requests")),
    (499, sdk.APIStatusError, ("cancelled",)),
    (500, sdk.InternalServerError, ("api_error",)),
    (501, sdk.InternalServerError, ("unimplemented", "not_implemented")),
    (503, sdk.InternalServerError, ("service_unavailable",)),
    (504, sdk.InternalServerError, ("deadline_exceeded",)),
]


@pytest.mark.asyncio
async def test_every_code_of_the_reference_can_be_provoked() -> None:
    async with stage() as s:
        for status, error, codes in CODES:
            for code in codes:
                s.emulator.inject("get", "status", status=status, code=code)
                with pytest.raises(error) as raised:
                    await s.interactions.get(id="x")
                assert type(raised.value) is error
                assert (raised.value.status_code, raised.value.body["error"]["code"]) == (status, code)
        assert s.emulator.stats()["struck"] == {"get:status": sum(len(codes) for *_, codes in CODES)}


@pytest.mark.asyncio
async def test_answers_of_wrong_types_pass_through_the_client() -> None:
    async with stage(scenarios=HELLO) as s:
        made = await s.start()
        await s.emulator.advance(1)
        seen = {}
        for kind in ("text", "list", "wrong_types", "unknown_status", "unknown_steps", "missing_id"):
            s.emulator.inject("get", kind)
            seen[kind] = await s.interactions.get(id=made.id)
        assert (seen["text"], seen["list"]) == ("Please try again later.", [])
        assert (seen["wrong_types"].id, seen["wrong_types"].status) == (7, ["completed"])
        assert seen["unknown_status"].status == "pondering"
        strange = seen["unknown_steps"].steps[len(seen["unknown_status"].steps) :]
        assert (strange[0].raw["type"], strange[1:3], len(strange)) == (
            "holographic_call",
            [None, "a step"],
            5,
        )
        assert seen["missing_id"].id == ""
        s.emulator.inject("get", "empty_body")
        with pytest.raises(sdk.APIError):
            await s.interactions.get(id=made.id)
        assert (await s.interactions.get(id=made.id)).id == made.id


@pytest.mark.asyncio
async def test_spoilt_calls_wait_for_an_answer_that_has_calls() -> None:
    async with stage(scenarios=ASK) as s:
        made = await s.start()
        for kind in ("string_arguments", "missing_arguments", "duplicate_call_ids"):
            s.emulator.inject("get", kind)
        assert (await s.interactions.get(id=made.id)).status == "in_progress"
        await s.emulator.advance(1)
        text, missing, twice, right = [calls(await s.interactions.get(id=made.id)) for _ in range(4)]
        assert [call.arguments for call in text] == ['{"x": 1}', "{}"]
        assert [call.arguments for call in missing] == [None, None]
        assert [call.id for call in twice] == [right[0].id] * 2
        assert (right[0].arguments, right[0].id != right[1].id) == ({"x": 1}, True)


@pytest.mark.asyncio
async def test_taken_but_the_answer_is_lost() -> None:
    async with stage(scenarios=HELLO, timeout_ms=1_000) as s:
        s.emulator.inject("create", "accept_then_silence")
        with pytest.raises(sdk.APITimeoutError):
            await s.start()
        assert s.emulator.stats()["created"] == 1
    async with stage(scenarios=HELLO) as s:
        s.emulator.inject("create", "accept_then_silence", seconds=0.01)
        with pytest.raises(sdk.APIConnectionError):
            await s.start()
        s.emulator.inject("create", "truncated")
        with pytest.raises(sdk.APIConnectionError):
            await s.start()
        s.emulator.inject("create", "slow_bytes", seconds=0.05)
        assert (await s.start()).status == "in_progress"
        assert s.emulator.stats()["created"] == 3


@pytest.mark.asyncio
async def test_cancel_ignored_and_resume_refused() -> None:
    async with stage(scenarios=ASK) as s:
        s.emulator.inject("cancel", "ignored")
        s.emulator.inject("create", "resume_refused")
        s.emulator.inject("create", "resume_unimplemented")
        made = await s.start()
        assert (await s.interactions.cancel(id=made.id)).status == "in_progress"
        made = await s.after(made)
        results = [answer(call, "ok") for call in calls(made)]
        with pytest.raises(sdk.BadRequestError, match="immediately after a function call turn"):
            await s.resume(made, results)
        with pytest.raises(sdk.InternalServerError) as raised:
            await s.resume(made, results)
        assert raised.value.status_code == 501
        assert (await s.resume(made, results)).status == "in_progress"


@pytest.mark.asyncio
async def test_not_found_for_a_while_or_for_good() -> None:
    async with stage(scenarios=HELLO) as s:
        made = await s.start()
        s.emulator.inject("get", "not_found", for_seconds=20, subject=made.id)
        for _ in range(3):
            with pytest.raises(sdk.NotFoundError):
                await s.interactions.get(id=made.id)
        assert (await s.after(made, 20)).status == "completed"
        s.emulator.inject("get", "not_found", times=None)
        for _ in range(3):
            assert (await s.http("GET", f"/v1/interactions/{made.id}")).status_code == 404


def test_probabilities_are_drawn_from_the_seed() -> None:
    def fates(seed: int, others: int) -> list[bool]:
        faults = Faults(seed)
        faults.add("get", "reset", times=None, probability=0.3)
        faults.add("create", "reset", times=None, probability=0.5)
        drawn = []
        for _ in range(200):
            drawn.append(faults.take("get") is not None)
            for _ in range(others):
                faults.take("create")
        return drawn

    assert fates(1, 0) == fates(1, 3) != fates(2, 0)
    assert 40 <= sum(fates(1, 0)) <= 80


def test_a_fault_on_one_line() -> None:
    line = "create:status, status=429, retry_after=5, probability=0.25, times=forever"
    assert parse(line) == {
        "operation": "create",
        "kind": "status",
        "status": 429,
        "retry_after": "5",
        "probability": 0.25,
        "times": None,
    }
    for bad in (
        "create",
        "create:dream",
        "create:status,status=many",
        "get:stale,often=1",
        "get:stale,probability=2",
    ):
        with pytest.raises(ValueError, match=r"expected|no fault|not a number|unknown|between"):
            parse(bad)


def test_a_storm_strikes_as_often_as_it_says() -> None:
    assert all(fault["kind"] in KINDS[fault["operation"]] for fault in storm())
    faults = Faults(3, standing=storm(refused=0.3, lost=0.05))
    struck = [faults.take("create") for _ in range(4000)]
    refused = sum(fault is not None and fault.kind == "status" for fault in struck)
    lost = sum(fault is not None and fault.kind not in ("status", "early") for fault in struck)
    assert 0.27 < refused / 4000 < 0.33
    assert 0.04 < lost / (4000 - refused) < 0.065


@pytest.mark.asyncio
async def test_standing_faults_come_back_with_a_reset() -> None:
    async with stage(faults=[{"operation": "get", "kind": "status", "status": 503}]) as s:
        for _ in range(2):
            statuses = [(await s.http("GET", "/v1/interactions/x")).status_code for _ in range(2)]
            assert statuses == [503, 404]
            await s.http("POST", "/_emulator/reset")
        listed = (await s.http("GET", "/_emulator/faults")).json()
        assert [fault["kind"] for fault in listed["faults"]] == ["status"]
        assert set(listed["kinds"]) == set(OPERATIONS)


def good(delivery: tuple[dict[str, str], bytes], secret: str) -> bool:
    try:
        Webhook(secret).verify(delivery[1], delivery[0])
    except WebhookVerificationError:
        return False
    return True


async def registered(s: Stage, r: Receiver) -> str:
    made = await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
    return str(made.new_signing_secret)


SPOILT = ("foreign_signature", "other_scheme", "altered_body", "future_timestamp", "bad_signature")


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", SPOILT)
async def test_a_delivery_no_receiver_should_believe(kind: str) -> None:
    async with receiving(401) as r, stage(scenarios=HELLO) as s:
        secret = await registered(s, r)
        s.emulator.inject("deliver", kind)
        made = await s.after(await s.start(), 10)
        assert [good(delivery, secret) for delivery in r.got] == [False, True]
        assert len(set(r.ids)) == 1
        scheme = "v1a," if kind == "other_scheme" else "v1,"
        assert r.got[0][0]["webhook-signature"].startswith(scheme)
        ids = [json.loads(body)["data"]["id"] for _, body in r.got]
        assert [one == made.id for one in ids] == [kind != "altered_body", True]


@pytest.mark.asyncio
async def test_events_doubled_under_other_ids_in_a_burst_and_about_nothing_known() -> None:
    async with receiving() as r, stage(scenarios=HELLO) as s:
        secret = await registered(s, r)
        told = []
        for kind in ("duplicate_new_id", "burst", "unknown_type", "unknown_id"):
            s.emulator.inject("deliver", kind, copies=3)
            made, seen = await s.after(await s.start()), len(told)
            told = [(json.loads(body), headers["webhook-id"]) for headers, body in r.got]
            new, ids = [event for event, _ in told[seen:]], {name for _, name in told[seen:]}
            mine = [event["data"]["id"] == made.id for event in new]
            match kind:
                case "duplicate_new_id":
                    assert (mine, len(ids)) == ([True] * 4, 4)
                case "burst":
                    assert (mine, len(ids)) == ([True] * 4, 1)
                case "unknown_type":
                    assert [e["type"] for e in new] == ["interaction.dreamt", "interaction.completed"]
                case "unknown_id":
                    assert (mine, len(ids)) == ([False, True], 2)
        assert all(good(delivery, secret) for delivery in r.got)


@pytest.mark.asyncio
async def test_a_failed_burst_is_tried_again_once() -> None:
    async with receiving(*[500] * 21) as r, stage(scenarios=HELLO, retry_base_seconds=10) as s:
        await registered(s, r)
        s.emulator.inject("deliver", "burst")
        await s.after(await s.start())
        assert len(r.got) == 21
        await s.emulator.advance(10)
        assert len(r.got) == 22


@pytest.mark.asyncio
async def test_an_event_is_overtaken_by_the_next_or_comes_late() -> None:
    async with receiving() as r, stage(scenarios=HELLO) as s:
        await registered(s, r)
        s.emulator.inject("deliver", "reorder", seconds=60)
        first = await s.after(await s.start())
        second = await s.after(await s.start())
        assert [json.loads(body)["data"]["id"] for _, body in r.got] == [second.id, first.id]
        s.emulator.inject("deliver", "reorder", seconds=60)
        alone = await s.after(await s.start(), 59)
        assert len(r.got) == 2
        await s.emulator.advance(10)
        assert json.loads(r.got[2][1])["data"]["id"] == alone.id


def believed(delivery: tuple[dict[str, str], bytes], jwks: dict[str, Any]) -> bool:
    headers, body = delivery
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64decode(headers["webhook-signature"].removeprefix("v1a,"))
    for key in jwks["keys"]:
        try:
            Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "=")).verify(
                signature, signed
            )
        except Exception:  # noqa: BLE001, S112 - the next key may fit
            continue
        return True
    return False


@pytest.mark.asyncio
async def test_a_key_set_that_is_empty_foreign_or_replaced() -> None:
    async with receiving() as r, stage(scenarios=HELLO) as s:

        async def fetched() -> Any:
            return (await s.http("GET", "/.well-known/jwks.json")).json()

        async def delivered() -> tuple[dict[str, str], bytes]:
            await s.after(await s.start(webhook_config={"uris": [r.uri]}))
            return r.got[-1]

        s.emulator.inject("jwks", "no_keys")
        s.emulator.inject("jwks", "foreign_keys")
        empty, foreign, right = await fetched(), await fetched(), await fetched()
        first = await delivered()
        assert empty == {"keys": []}
        assert [believed(first, keys) for keys in (foreign, right)] == [False, True]
        s.emulator.inject("deliver", "rotate_signing_keys")
        second = await delivered()
        renewed = await fetched()
        assert [believed(second, keys) for keys in (right, renewed)] == [False, True]
        s.emulator.inject("jwks", "rotate_keys")
        assert not believed(second, await fetched())
        s.emulator.inject("deliver", "other_scheme")
        assert (await delivered())[0]["webhook-signature"].startswith("v1,")


@pytest.mark.asyncio
async def test_the_documented_token_by_a_switch() -> None:
    options = {"dynamic_signature": "jwt", "token_audience": "hooks"}
    async with receiving() as r, stage(scenarios=HELLO, **options) as s:
        await s.after(await s.start(webhook_config={"uris": [r.uri]}))
        headers = r.got[0][0]
        keys = (await s.http("GET", "/.well-known/jwks.json")).json()["keys"]
        assert [key["kty"] for key in keys] == ["OKP", "OKP", "OKP", "RSA"]
        head, claims, signature = [
            base64.urlsafe_b64decode(part + "==") for part in headers["webhook-signature"].split(".")
        ]
        assert json.loads(head) == {"alg": "RS256", "kid": keys[3]["kid"], "typ": "JWT"}
        told = json.loads(claims)
        assert (told["aud"], told["jti"]) == ("hooks", headers["webhook-id"])
        assert told["exp"] - told["iat"] == 300
        n, e = (int.from_bytes(base64.urlsafe_b64decode(keys[3][part] + "=="), "big") for part in "ne")
        signed = headers["webhook-signature"].rpartition(".")[0].encode()
        public = rsa.RSAPublicNumbers(e, n).public_key()
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.asyncio
async def test_so_many_failures_in_a_row_switch_a_webhook_off() -> None:
    async with (
        receiving(500, 500, 200, otherwise=500) as r,
        stage(scenarios=HELLO, disable_after_failures=3) as s,
    ):
        hook = await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
        await s.after(await s.start(), 30)
        assert (await s.webhooks.get(id=hook.id)).state == "enabled"
        await s.after(await s.start(), 30)
        assert (await s.webhooks.get(id=hook.id)).state == "disabled_due_to_failed_deliveries"
        await s.webhooks.update(id=hook.id, state="enabled")
        assert (await s.webhooks.get(id=hook.id)).state == "enabled"


@pytest.mark.asyncio
async def test_two_projects_do_not_see_each_other() -> None:
    async with (
        receiving() as r,
        stage(scenarios=HELLO, accepted_keys={"k": "one", "l": "two", "m": "one"}) as s,
    ):
        hook = await s.webhooks.create(uri=r.uri, subscribed_events=EVENTS)
        made = await s.start()
        foreign = {"headers": {"x-goog-api-key": "l"}}
        for method, path in (
            ("GET", f"/v1/interactions/{made.id}"),
            ("POST", f"/v1/interactions/{made.id}/cancel"),
            ("DELETE", f"/v1/interactions/{made.id}"),
            ("GET", f"/v1/webhooks/{hook.id}"),
            ("PATCH", f"/v1/webhooks/{hook.id}"),
            ("POST", f"/v1/webhooks/{hook.id}:rotateSigningSecret"),
        ):
            assert (await s.http(method, path, **foreign)).status_code == 404, path
        body = {"model": MODEL, "input": "Go on.", "background": True, "previous_interaction_id": made.id}
        assert (await s.http("POST", "/v1/interactions", json=body, **foreign)).status_code == 404
        assert (await s.http("GET", "/v1/webhooks", **foreign)).json() == {"webhooks": []}
        del body["previous_interaction_id"]
        assert (await s.http("POST", "/v1/interactions", json=body, **foreign)).status_code == 200
        await s.emulator.advance(1)
        assert len(r.got) == 1
        colleague = {"headers": {"x-goog-api-key": "m"}}
        assert (await s.http("GET", f"/v1/interactions/{made.id}", **colleague)).status_code == 200
        stranger = {"headers": {"x-goog-api-key": "x"}}
        assert (await s.http("GET", f"/v1/interactions/{made.id}", **stranger)).status_code == 401


@pytest.mark.asyncio
@pytest.mark.parametrize("tier", ["free", "paid"])
async def test_a_tier_forgets_in_its_time(tier: str) -> None:
    kept = RETENTION_SECONDS[tier]
    async with stage(scenarios=HELLO, retention_seconds=kept, clock=VirtualClock()) as s:
        made = await s.start()
        assert (await s.after(made, kept)).status == "completed"
        await s.emulator.advance(1)
        with pytest.raises(sdk.NotFoundError):
            await s.interactions.get(id=made.id)
        with pytest.raises(sdk.NotFoundError):
            await s.start("More.", previous_interaction_id=made.id)
