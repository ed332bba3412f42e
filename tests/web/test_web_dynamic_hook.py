"""The dynamic webhook address: there for whoever knows it, like any unknown path for everybody else."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar.testing import TestClient
from web_kit import House, event_body, later, signed

from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.gemini.keyset import KeySet
from orchestrator.gemini.webhook import DynamicVerifier
from orchestrator.store.inbox import delivery_t
from orchestrator.web.application import build_app
from orchestrator.web.doors import DynamicDoor

TOKEN, PREVIOUS = "tok_dynamic-0123456789abcdefghijkl", "tok_previous-0123456789abcdefghijk"
STATIC, HOOK = "/webhooks/gemini", f"/webhooks/gemini/{TOKEN}"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
GOOD = event_body()


def google_signed(body: bytes, *, webhook_id: str = "msg_g", key: Ed25519PrivateKey = KEY) -> dict[str, str]:
    sent = signed(body, webhook_id=webhook_id)
    message = f"{webhook_id}.{sent['webhook-timestamp']}.".encode() + body
    return {**sent, "webhook-signature": "v1a," + base64.b64encode(key.sign(message)).decode()}


@dataclass
class Published:
    """Google's address for its keys, in a server of its own."""

    status: int = 200

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        x = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode().rstrip("=")
        body = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).encode()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Late:
    """A verifier whose key set's address is known only once a server listens there."""

    verify: Any = None


@pytest.fixture
def door(house: House) -> Iterator[tuple[TestClient, Published]]:
    """A client before a house with both addresses, and the place where its keys are published."""
    published, late = Published(), Late()

    @asynccontextmanager
    async def google(_: Any) -> AsyncIterator[None]:
        async with running(published) as address:  # in the client's own event loop
            verifier = DynamicVerifier(KeySet(address))
            late.verify = verifier.verify
            yield
            await verifier.aclose()

    dynamic: Any = DynamicDoor([TOKEN, PREVIOUS], late)  # type: ignore[arg-type]
    app = build_app(replace(house.doors, dynamic=dynamic), google)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, published


def kept(house: House) -> list[dict[str, Any]]:
    def job(s: Any) -> list[dict[str, Any]]:
        taken = sa.select(delivery_t).where(delivery_t.c.verdict != "refused")
        return [dict(r) for r in s.connection().execute(taken).mappings()]

    return house.write(job)  # type: ignore[no-any-return]


def test_both_addresses_keep_which_scheme_was_good(door: Any, house: House) -> None:
    client, _ = door
    sent = {**google_signed(GOOD), "user-agent": "Google-Webhooks/1"}
    assert client.post(HOOK, content=GOOD, headers=sent).content == b"{}"
    assert client.post(STATIC, content=GOOD, headers=signed(GOOD)).status_code == 200
    rows = {row["id"]: row for row in kept(house)}
    assert {key: row["scheme"] for key, row in rows.items()} == {"msg_g": "v1a", "msg_1": "v1"}
    assert rows["msg_g"]["headers"] == sent
    assert (rows["msg_g"]["body"], rows["msg_g"]["subject"]) == (GOOD, "v1_abc")


def test_no_scheme_at_the_other_s_address(door: Any, house: House) -> None:
    client, _ = door
    answers = {
        "v1a at static": client.post(STATIC, content=GOOD, headers=google_signed(GOOD)),
        "v1 at dynamic": client.post(HOOK, content=GOOD, headers=signed(GOOD)),
        "another key": client.post(
            HOOK, content=GOOD, headers=google_signed(GOOD, key=Ed25519PrivateKey.generate())
        ),
    }
    assert {name: a.status_code for name, a in answers.items()} == dict.fromkeys(answers, 401)
    assert kept(house) == []


def test_the_previous_token_while_they_change(door: Any) -> None:
    client, _ = door
    assert client.post(f"{STATIC}/{PREVIOUS}", content=GOOD, headers=google_signed(GOOD)).status_code == 200


WRONG = [
    TOKEN[:-1],
    TOKEN + "x",
    TOKEN.upper(),
    TOKEN[::-1],
    "ä",
    "%00",
    "%ff%fe",
    f"{TOKEN}/",
    f"x/{TOKEN}",
    f"{TOKEN}%20",
    "a" * 5000,
]


def test_a_wrong_token_is_a_path_nobody_knows(door: Any) -> None:
    client, _ = door
    for wrong, method in product(WRONG, ("POST", "GET", "OPTIONS")):
        sent = google_signed(GOOD)
        told = client.request(method, f"{STATIC}/{wrong}", content=GOOD, headers=sent)
        unknown = client.request(method, f"/webhooks/nobody/{wrong}", content=GOOD, headers=sent)
        assert told.status_code == unknown.status_code == 404, wrong
        assert told.content == unknown.content
        assert dict(told.headers) == dict(unknown.headers)
    assert client.get(f"{STATIC}/").status_code == 405  # the static address with a slash behind it, as ever


def test_without_tokens_there_is_no_such_address(client: TestClient) -> None:
    assert client.post(HOOK, content=GOOD, headers=google_signed(GOOD)).status_code == 404


def test_at_the_right_address_it_is_an_endpoint_like_the_other(door: Any, house: House) -> None:
    client, _ = door
    assert client.get(HOOK).headers["allow"] == "POST"
    stale = google_signed(GOOD)
    house.clock.now = later(seconds=301)
    assert client.post(HOOK, content=GOOD, headers=stale).status_code == 400
    house.clock.now = later(seconds=0)
    no_event = b"[]"
    assert client.post(HOOK, content=no_event, headers=google_signed(no_event)).status_code == 400
    large = b"x" * 70_000
    assert client.post(HOOK, content=large, headers=google_signed(large)).status_code == 413
    packed = {**google_signed(GOOD), "content-encoding": "gzip"}
    assert client.post(HOOK, content=GOOD, headers=packed).status_code == 415


def test_without_keys_it_is_not_taken(door: Any, house: House) -> None:
    client, published = door
    published.status = 500
    with structlog.testing.capture_logs() as logs:
        answer = client.post(HOOK, content=GOOD, headers=google_signed(GOOD))
    assert (answer.status_code, kept(house)) == (503, [])
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert TOKEN not in answer.text + str(logs)
    assert client.post(STATIC, content=GOOD, headers=signed(GOOD)).status_code == 200


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(DynamicDoor([TOKEN], None))  # type: ignore[arg-type]
