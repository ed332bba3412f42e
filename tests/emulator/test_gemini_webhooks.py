"""Registered and dynamic webhooks: the resource, the deliveries, their signatures and their retries."""

import base64
import json
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from gemini_kit import EVENTS, Receiver, Stage, answer, calls, receiving, stage, turns
from google.genai import _interactions as sdk
from standardwebhooks import Webhook, WebhookVerificationError

from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.errors import ApiError
from orchestrator.emulator.gemini.settings import SUBSCRIBABLE, EmulatorSettings, StaticWebhook

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ASK = turns({"calls": [{"name": "a", "arguments": {}}]}, {"text": "Done."})


def verified(delivery: tuple[dict[str, str], bytes], secret: str) -> bool:
    headers, body = delivery
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def signed_by_any(delivery: tuple[dict[str, str], bytes], jwks: dict[str, Any]) -> bool:
    headers, body = delivery
    scheme, _, encoded = headers["webhook-signature"].partition(",")
    assert scheme == "v1a"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return any(_verifies(key, base64.b64decode(encoded), signed) for key in jwks["keys"])


def _verifies(jwk: dict[str, str], signature: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "=")).verify(signature, signed)
    except InvalidSignature:
        return False
    return True


async def registered(s: Stage, receiver: Receiver, **options: Any) -> Any:
    return await s.webhooks.create(uri=receiver.uri, subscribed_events=EVENTS, name="test", **options)


@pytest.mark.asyncio
async def test_the_resource_from_create_to_delete() -> None:
    async with stage() as s:
        made = await s.webhooks.create(uri="https://x.example/h", subscribed_events=EVENTS[:2], name="prod")
        assert made.new_signing_secret.startswith("whsec_")
        assert len(base64.b64decode(made.new_signing_secret.removeprefix("whsec_"))) == 32
        assert (made.state, made.subscribed_events, made.name) == ("enabled", EVENTS[:2], "prod")
        got = await s.webhooks.get(id=made.id)
        assert got.new_signing_secret is None
        assert got.signing_secrets[0].truncated_secret == "whsec_..." + made.new_signing_secret[-4:]
        changed = await s.webhooks.update(
            id=made.id, update_mask="name", state="disabled", subscribed_events=EVENTS
        )
        assert (changed.state, changed.subscribed_events, changed.name) == ("disabled", EVENTS, "prod")
        await s.webhooks.delete(id=made.id)
        with pytest.raises(sdk.NotFoundError):
            await s.webhooks.get(id=made.id)


@pytest.mark.asyncio
async def test_lists_come_in_pages() -> None:
    async with stage() as s:
        made = [
            (await s.webhooks.create(uri=f"https://x.example/{n}", subscribed_events=EVENTS)).id
            for n in range(5)
        ]
        seen, token = [], None
        while token is None or token:
            page = await s.webhooks.list(page_size=2, **({"page_token": token} if token else {}))
            seen += [hook.id for hook in page.webhooks]
            token = page.next_page_token or ""
        assert seen == made
        other = await s.http("GET", "/v1/webhooks", headers={"x-goog-api-key": "other"})
        assert other.json() == {"webhooks": []}
        for query in ("page_size=0", "page_size=1001", "page_size=x", "page_token=%21"):
            assert (await s.http("GET", f"/v1/webhooks?{query}")).status_code == 400


BAD = [
    {"subscribed_events": EVENTS},
    {"uri": "https://x.example"},
    {"uri": "https://x.example", "subscribed_events": []},
    {"uri": "https://x.example", "subscribed_events": ["interaction.cancelled"]},
    {"uri": "http://x.example", "subscribed_events": EVENTS},
    {"uri": "https://x.example", "subscribedEvents": EVENTS},
    {"uri": "https://x.example", "subscribed_events": EVENTS, "state": "broken"},
]


@pytest.mark.asyncio
@pytest.mark.parametrize("body", BAD)
async def test_bad_webhooks_are_refused(body: dict[str, Any]) -> None:
    async with stage() as s:
        assert (await s.http("POST", "/v1/webhooks", json=body)).status_code == 400
        assert (await s.http("POST", "/v1/webhooks/x:explode")).status_code == 404


@pytest.mark.asyncio
async def test_static_delivery() -> None:
    async with receiving() as r, stage(scenarios=ASK) as s:
        hook = await registered(s, r)
        metadata = {"run_id": "run-1", "attempt": 1}
        first = await s.after(await s.start(webhook_config={"user_metadata": metadata}))
        done = await s.after(await s.resume(first, [answer(calls(first)[0], "ok")]))
        assert [verified(d, hook.new_signing_secret) for d in r.got] == [True, True]
        assert [verified(d, SECRET) for d in r.got] == [False, False]
        bodies = [json.loads(body) for _, body in r.got]
        assert bodies == [
            {
                "type": "interaction.requires_action",
                "version": "v1",
                "timestamp": first.updated,
                "data": {"id": first.id, "user_metadata": metadata},
            },
            {
                "type": "interaction.completed",
                "version": "v1",
                "timestamp": done.updated,
                "data": {"id": done.id},
            },
        ]
        assert r.got[0][0]["webhook-id"].startswith("msg_")
        assert len(set(r.ids)) == 2


@pytest.mark.asyncio
async def test_a_failed_event_says_why() -> None:
    errors = [{"code": "safety", "message": "Blocked."}]
    async with receiving() as r, stage(scenarios=turns({"status": "failed", "errors": errors})) as s:
        await registered(s, r)
        made = await s.after(await s.start())
        data = json.loads(r.got[0][1])["data"]
        assert data == {"id": made.id, "error_code": "safety", "error_message": "Blocked."}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("place", "found"), [("data", (1, None)), ("top", (None, 1)), ("none", (None, None))]
)
async def test_metadata_position_is_a_setting(place: Any, found: tuple[Any, Any]) -> None:
    async with receiving() as r, stage(scenarios=turns({"text": "x"}), metadata=place) as s:
        await registered(s, r)
        await s.after(await s.start(webhook_config={"user_metadata": {"n": 1}}))
        body = json.loads(r.got[0][1])
        got = tuple((part.get("user_metadata") or {}).get("n") for part in (body["data"], body))
        assert got == found


@pytest.mark.asyncio
async def test_dynamic_delivery_replaces_the_registered_one_and_is_signed_by_a_published_key() -> None:
    async with receiving() as static, receiving() as r, stage(scenarios=ASK) as s:
        await registered(s, static)
        for _ in range(3):
            await s.after(await s.start(webhook_config={"uris": [r.uri]}))
        jwks = (await s.http("GET", "/.well-known/jwks.json", headers={"x-goog-api-key": ""})).json()
        assert [(k["kty"], k["crv"]) for k in jwks["keys"]] == [("OKP", "Ed25519")] * 3
        assert [signed_by_any(d, jwks) for d in r.got] == [True] * 3
        alone = [{"keys": [key]} for key in jwks["keys"]]
        assert [[signed_by_any(d, one) for one in alone].count(True) for d in r.got] == [1, 1, 1]
        assert not signed_by_any((r.got[0][0], r.got[0][1] + b" "), jwks)
        assert static.got == []
        s.emulator.rotate_keys()
        await s.after(await s.start(webhook_config={"uris": [r.uri]}))
        assert not signed_by_any(r.got[3], jwks)
        assert signed_by_any(r.got[3], s.emulator.courier.seal.jwks())


@pytest.mark.asyncio
async def test_only_subscribed_events_of_enabled_hooks_go_out() -> None:
    async with receiving() as r, stage(scenarios=ASK) as s:
        hook = await s.webhooks.create(uri=r.uri, subscribed_events=["interaction.completed"])
        first = await s.after(await s.start())
        assert r.got == []
        await s.after(await s.resume(first, [answer(calls(first)[0], "ok")]))
        assert len(r.got) == 1
        await s.webhooks.update(id=hook.id, state="disabled")
        await s.after(await s.resume(first, [answer(calls(first)[0], "ok")]))
        assert len(r.got) == 1


@pytest.mark.asyncio
async def test_rotation_overlaps_for_a_day_or_not_at_all() -> None:
    async with receiving() as r, stage(scenarios=turns({"text": "x"})) as s:
        hook = await registered(s, r)
        old = hook.new_signing_secret
        new = (await s.webhooks.rotate_signing_secret(id=hook.id)).secret
        await s.after(await s.start())
        assert len(r.got[0][0]["webhook-signature"].split(" ")) == 2
        assert [verified(r.got[0], secret) for secret in (old, new)] == [True, True]
        shown = (await s.webhooks.get(id=hook.id)).signing_secrets
        assert shown[0].expire_time is None
        ends_in = (shown[1].expire_time - s.emulator.clock.now()).total_seconds()
        assert 86_300 < ends_in <= 86_400
        at_once = await s.webhooks.rotate_signing_secret(
            id=hook.id, revocation_behavior="revoke_previous_secrets_immediately"
        )
        await s.after(await s.start())
        assert [verified(r.got[1], secret) for secret in (old, new, at_once.secret)] == [False, False, True]
        bad = await s.http(
            "POST", f"/v1/webhooks/{hook.id}:rotateSigningSecret", json={"revocation_behavior": "X"}
        )
        assert bad.status_code == 400


@pytest.mark.asyncio
async def test_the_old_secret_stops_signing_after_a_day() -> None:
    async with receiving() as r, stage(scenarios=turns({"text": "x"})) as s:
        hook = await registered(s, r)
        new = (await s.webhooks.rotate_signing_secret(id=hook.id)).secret
        await s.emulator.advance(86_401)
        await s.after(await s.start())
        headers, body = r.got[0]
        # The emulator is a day ahead; a verifier without the age check looks at the signature alone.
        when = s.emulator.clock.now().replace(microsecond=0) - timedelta(seconds=0.8)
        assert abs(int(headers["webhook-timestamp"]) - when.timestamp()) <= 2
        stamp = s.emulator.clock.now().fromtimestamp(int(headers["webhook-timestamp"]), when.tzinfo)
        assert headers["webhook-signature"] == Webhook(new).sign(headers["webhook-id"], stamp, body.decode())


@pytest.mark.asyncio
async def test_ping_is_signed_and_does_not_mind_a_dead_address() -> None:
    async with stage() as s:
        async with receiving() as r:
            hook = await registered(s, r)
            await s.webhooks.ping(id=hook.id)
            await s.emulator.advance(1)
            assert verified(r.got[0], hook.new_signing_secret)
        await s.webhooks.ping(id=hook.id)
        await s.emulator.advance(0.5)
        attempt = s.emulator.stats()["deliveries"][1]["attempts"][0]
        assert attempt["status"] is None
        assert "ConnectError" in attempt["error"]
        with pytest.raises(sdk.NotFoundError):
            await s.webhooks.ping(id="unknown")


@pytest.mark.asyncio
async def test_retries_keep_the_id_and_renew_the_timestamp() -> None:
    async with (
        receiving(500, 404, 302, 204) as r,
        stage(scenarios=turns({"text": "x"}), retry_base_seconds=10) as s,
    ):
        hook = await registered(s, r)
        await s.after(await s.start())
        assert len(r.got) == 1
        await s.emulator.advance(10)
        assert len(r.got) == 2
        await s.emulator.advance(19)
        assert len(r.got) == 2
        await s.emulator.advance(1000)
        assert len(set(r.ids)) == 1
        stamps = [int(headers["webhook-timestamp"]) for headers, _ in r.got]
        assert [b - a for a, b in pairwise(stamps)] == [10, 20, 40]
        (delivery,) = s.emulator.stats()["deliveries"]
        assert (delivery["state"], [a["status"] for a in delivery["attempts"]]) == (
            "delivered",
            [500, 404, 302, 204],
        )
        assert verified(r.got[0], hook.new_signing_secret)


@pytest.mark.asyncio
async def test_after_a_day_of_failures_the_webhook_is_switched_off() -> None:
    async with receiving(otherwise=500) as r, stage(scenarios=turns({"text": "x"})) as s:
        hook = await registered(s, r)
        await s.after(await s.start(), 86_000 * 2)
        (delivery,) = s.emulator.stats()["deliveries"]
        assert delivery["state"] == "given_up"
        assert len(delivery["attempts"]) > 20
        assert (await s.webhooks.get(id=hook.id)).state == "disabled_due_to_failed_deliveries"
        await s.after(await s.start())
        assert len(s.emulator.stats()["deliveries"]) == 1
        r.otherwise = 200
        await s.webhooks.update(id=hook.id, state="enabled")
        await s.after(await s.start())
        assert s.emulator.stats()["deliveries"][1]["state"] == "delivered"


@pytest.mark.asyncio
async def test_a_deleted_webhook_hears_no_more() -> None:
    async with receiving(503) as r, stage(scenarios=turns({"text": "x"})) as s:
        hook = await registered(s, r)
        await s.after(await s.start())
        await s.webhooks.delete(id=hook.id)
        await s.emulator.advance(1000)
        assert (len(r.got), s.emulator.stats()["deliveries"][0]["state"]) == (1, "dropped")


@pytest.mark.asyncio
async def test_a_webhook_can_be_there_from_the_start() -> None:
    async with receiving() as r:
        static = StaticWebhook(uri=r.uri, secret=SECRET, name="service")
        async with stage(scenarios=turns({"text": "x"}), webhooks=[static]) as s:
            await s.after(await s.start())
            assert verified(r.got[0], SECRET)
            (hook,) = (await s.webhooks.list()).webhooks
            assert (hook.name, tuple(hook.subscribed_events)) == ("service", SUBSCRIBABLE)


def test_a_bad_webhook_in_the_settings_stops_the_build() -> None:
    with pytest.raises(ApiError, match="https"):
        build(EmulatorSettings(webhooks=[StaticWebhook(uri="http://x.example", secret=SECRET)]))
    build(
        EmulatorSettings(
            webhooks=[StaticWebhook(uri="http://service:8000", secret=SECRET)], plain_http_hosts=["service"]
        )
    )


@pytest.mark.asyncio
async def test_a_slow_receiver_counts_as_a_failure() -> None:
    async with receiving() as r, stage(scenarios=turns({"text": "x"}), delivery_timeout_seconds=1) as s:
        r.delay = 60
        await registered(s, r)
        await s.after(await s.start())
        attempt = s.emulator.stats()["deliveries"][0]["attempts"][0]
        assert attempt["status"] is None
        assert "ReadTimeout" in attempt["error"]
