"""The key set's address is down, slow, empty, rotated, or says odd things; deliveries come meanwhile."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from dynamic_kit import (
    BODY,
    DYNAMIC,
    JWK,
    NOW,
    RSA,
    Ticks,
    ed25519,
    ed25519_jwk,
    headers,
    jwks,
    rsa_jwk,
    sign,
)

from orchestrator.emulator.serving import free_port
from orchestrator.errors import SignatureError, UnavailableError
from orchestrator.gemini.dynamic import DynamicVerifier
from orchestrator.gemini.keyset import MAX_BYTES, Keys, KeySet, read_keys

OLD, NEW = ed25519(1), ed25519(2)
Opened = Callable[..., Any]


@pytest.fixture
def opened(serving: Any) -> Opened:
    """`async with opened() as (server, ticks, verifier)`; a fetch may take `seconds`."""

    @asynccontextmanager
    async def all_three(seconds: float = 60.0) -> AsyncIterator[tuple[Any, Ticks, DynamicVerifier]]:
        async with serving() as server:
            ticks = Ticks()
            verifier = DynamicVerifier(KeySet(f"{server.base_url}/jwks", fetch_seconds=seconds, clock=ticks))
            try:
                yield server, ticks, verifier
            finally:
                await verifier.aclose()

    return all_three


async def asked(server: Any) -> None:
    """Once a request has arrived there."""
    for _ in range(30_000):
        if server.requests:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("nobody asked")


async def outcome(verifier: DynamicVerifier, signature: bytes = DYNAMIC) -> int:
    """The status its sender would see."""
    try:
        await verifier.verify(headers(signature), BODY, now=NOW)
    except SignatureError:
        return 401
    except UnavailableError as away:
        return 503 if away.retry_after and 1 <= away.retry_after <= 60 else 0
    return 200


@pytest.mark.asyncio
async def test_one_fetch_serves_for_an_hour(opened: Opened, reply: Any) -> None:
    async with opened() as (server, ticks, verifier):
        server.answer(reply.of(jwks(JWK)))
        for seconds in (0, 61, 3500):
            ticks.now = 1000 + seconds
            assert await outcome(verifier) == 200
        (asked,) = server.requests
        ticks.now = 1000 + 3600
        assert await outcome(verifier) == 200
        assert len(server.requests) == 2
    assert (asked.method, asked.target, asked.body) == ("GET", "/jwks", b"")
    assert set(asked.headers) == {"host", "accept", "accept-encoding", "connection", "user-agent"}


@pytest.mark.asyncio
async def test_warm_has_it_at_hand(opened: Opened, reply: Any) -> None:
    async with opened() as (server, _, verifier):
        server.answer(reply.of(jwks(JWK)))
        await verifier.warm()
        assert await outcome(verifier) == 200
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_a_set_on_this_machine_is_not_asked_for_through_a_proxy(
    opened: Opened, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with opened() as (server, _, verifier):
        server.answer(reply.of(jwks(JWK)))
        assert await outcome(verifier) == 200


def broken(reply: Any) -> dict[str, Any]:
    return {
        "500": reply.of({}, 500),
        "404": reply.of(jwks(JWK), 404),
        "elsewhere": reply(302, b"", {"location": "/other"}),
        "reset": reply(act="reset"),
        "silent": reply(act="silence"),
        "slow bytes": reply(200, json.dumps(jwks(JWK)).encode(), {}, "drip"),
        "half": reply(200, json.dumps(jwks(JWK)).encode(), {}, "cut"),
        "empty": reply.of(jwks()),
        "no set": reply.of([JWK]),
        "html": reply(200, b"<html>"),
        "twice": reply(200, b'{"keys":[],"keys":[]}'),
        "only keys of other kinds": reply.of(jwks({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})),
        "too large": reply(200, json.dumps({**jwks(JWK), "x": "x" * MAX_BYTES}).encode()),
        "packed": reply(200, gzip.compress(json.dumps(jwks(JWK)).encode()), {"content-encoding": "gzip"}),
    }


LIMITS = {"slow bytes": 1.5}
"""Seconds that takes to fail."""
BROKEN = [
    "500", "404", "elsewhere", "reset", "silent", "slow bytes", "half", "empty", "no set", "html", "twice",
    "only keys of other kinds", "too large", "packed",
]  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", BROKEN)
async def test_without_a_set_a_delivery_is_not_taken(opened: Opened, reply: Any, kind: str) -> None:
    async with opened(LIMITS.get(kind, 60.0)) as (server, ticks, verifier):
        server.answer(broken(reply)[kind])
        with structlog.testing.capture_logs() as logs:
            assert [await outcome(verifier) for _ in range(3)] == [503] * 3
            assert len(server.requests) == 1
            ticks.now += 59.9
            assert await outcome(verifier) == 503
            assert len(server.requests) == 1
            server.answer(reply.of(jwks(JWK)))
            verifier._keys._within = 60.0
            ticks.now += 0.1
            assert await outcome(verifier) == 200
        assert [e["event"] for e in logs] == ["key_set_not_fetched", "key_set_fetched"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["500", "silent", "empty"])
async def test_the_old_set_stays_while_the_address_fails(opened: Opened, reply: Any, kind: str) -> None:
    async with opened() as (server, ticks, verifier):
        server.answer(reply.of(jwks(JWK)))
        assert await outcome(verifier) == 200
        verifier._keys._within = LIMITS.get(kind, 60.0)
        server.answer(broken(reply)[kind])
        for minute in range(2):
            ticks.now = 1000 + 3600 + 60 * minute
            assert await outcome(verifier) == 200
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()} - server._open))
        assert len(server.requests) == 2


@pytest.mark.asyncio
async def test_nobody_waits_for_an_address_that_is_silent(opened: Opened, reply: Any) -> None:
    """The set is old: the first delivery waits a second for a younger one, the others not at all."""
    async with opened() as (server, ticks, verifier):
        server.answer(reply.of(jwks(JWK)))
        assert await outcome(verifier) == 200
        server.answer(broken(reply)["silent"])
        ticks.now += 3600
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await outcome(verifier) == 200
        assert loop.time() - began >= 0.9
        began = loop.time()
        assert [await outcome(verifier) for _ in range(60)] == [200] * 60
        assert loop.time() - began < 30  # and not sixty
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_a_rotated_key_is_found_by_one_more_fetch(opened: Opened, reply: Any) -> None:
    async with opened() as (server, ticks, verifier):
        server.answer(reply.of(jwks(ed25519_jwk(OLD))))
        assert await outcome(verifier, sign(OLD)) == 200
        server.answer(reply.of(jwks(ed25519_jwk(NEW))))
        assert await outcome(verifier, sign(NEW)) == 401  # the last fetch was less than a minute ago
        ticks.now += 60
        assert await outcome(verifier, sign(NEW)) == 200
        assert await outcome(verifier, sign(OLD)) == 401
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_forgeries_cause_one_fetch_a_minute(opened: Opened, reply: Any) -> None:
    async with opened() as (server, ticks, verifier):
        server.answer(reply.of(jwks(JWK)))
        assert await outcome(verifier) == 200
        for minute in range(1, 4):
            ticks.now = 1000 + 60 * minute
            assert set(await asyncio.gather(*(outcome(verifier, sign(NEW)) for _ in range(50)))) == {401}
        assert len(server.requests) == 1 + 3


@pytest.mark.asyncio
async def test_deliveries_share_a_fetch_and_the_good_do_not_wait_for_the_bad(
    opened: Opened, reply: Any
) -> None:
    async with opened(600) as (server, ticks, verifier):
        server.answer(reply.of(jwks(JWK)))
        assert await asyncio.gather(*(outcome(verifier) for _ in range(20))) == [200] * 20
        assert len(server.requests) == 1
        ticks.now += 60
        server.answer(broken(reply)["silent"])
        forged = asyncio.create_task(outcome(verifier, sign(NEW)))
        await asked(server)
        assert await outcome(verifier) == 200
        assert not forged.done()
        await server.stop()  # which ends the fetch
        assert await forged == 401


@pytest.mark.asyncio
async def test_a_sender_that_goes_away_leaves_the_fetch_to_the_others(opened: Opened, reply: Any) -> None:
    async with opened() as (server, _, verifier):
        server.answer(reply.of(jwks(JWK)))
        first, second = (asyncio.create_task(outcome(verifier)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 200
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_closing_ends_a_fetch(serving: Any, reply: Any) -> None:
    async with serving() as server:
        server.answer(reply(act="hang"))
        keys = KeySet(server.base_url, clock=Ticks())
        warming = asyncio.create_task(keys.warm())
        await asked(server)
        async with asyncio.timeout(30):
            await keys.aclose()
            await warming


# ------------------------------------------------------------------ reading a set


def test_the_keys_we_can_use() -> None:
    listed = jwks(JWK, ed25519_jwk(OLD, alg="Ed25519", kid="x", use="sig"), rsa_jwk(), rsa_jwk(kid="r2"))
    found = read_keys(json.dumps(listed).encode())
    assert [key.public_bytes_raw() for key in found.ed25519][1] == OLD.public_key().public_bytes_raw()
    assert len(found.ed25519) == 2
    assert set(found.rsa) == {"r1", "r2"}
    assert found.rsa["r1"].public_numbers() == RSA.public_key().public_numbers()


SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505 - so that it is refused


@pytest.mark.parametrize(
    "odd",
    [
        {"kty": "OKP", "crv": "X25519", "x": JWK["x"]},
        {"kty": "OKP", "crv": "Ed448", "x": JWK["x"]},
        {"kty": "okp", "crv": "Ed25519", "x": JWK["x"]},
        {"kty": "EC", "crv": "Ed25519", "x": JWK["x"]},
        {"kty": "oct", "k": JWK["x"]},
        {**JWK, "use": "enc"},
        {**JWK, "x": JWK["x"][:-2]},
        {**JWK, "x": JWK["x"] + "AAAA"},
        {**JWK, "x": "%%%"},
        {**JWK, "x": "ä"},
        {**JWK, "x": 5},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": ["OKP"], "crv": {}},
        rsa_jwk(SMALL),
        rsa_jwk(use="enc"),
        rsa_jwk(alg="RS512"),
        rsa_jwk(kid=5),  # type: ignore[arg-type]
        rsa_jwk(n=None),
        rsa_jwk(e="AA"),
        rsa_jwk(e="Ag"),
        rsa_jwk(e="_" * 20),
        rsa_jwk(n="A" * 4000),
        "text",
        None,
        [],
        {},
    ],
    ids=lambda odd: repr(odd)[:40],
)
def test_others_are_left_out(odd: Any) -> None:
    found = read_keys(json.dumps({"keys": [odd, JWK]}).encode())
    assert (len(found.ed25519), found.rsa) == (1, {})


def test_a_set_is_not_endless() -> None:
    assert len(read_keys(json.dumps({"keys": [JWK] * 500}).encode()).ed25519) == 32
    assert not Keys()
