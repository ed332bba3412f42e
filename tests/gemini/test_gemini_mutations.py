"""Twenty thousand deliveries that are almost good, through verifier and parser: none is believed."""

import asyncio
import random
import resource
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from dynamic_kit import (
    AUDIENCE,
    BODY,
    DYNAMIC,
    ID,
    ISSUER,
    JWK,
    NOW,
    SECRET,
    STAMP,
    STATIC,
    Ticks,
    headers,
    jwks,
    rsa_jwk,
    token,
)

from orchestrator.errors import InvalidError, SignatureError
from orchestrator.gemini.keyset import KeySet
from orchestrator.gemini.token import TokenRule
from orchestrator.gemini.webhook import DynamicVerifier, StaticVerifier, parse

Sent = tuple[list[tuple[bytes, bytes]], bytes]
EACH = 10_000
GROWTH_KIB = 50 * 1024


def mutations(rng: random.Random, signature: bytes, count: int) -> Iterator[Sent]:
    """Deliveries that differ from the good one in at least one byte that counts."""
    while count:
        parts = [ID, STAMP, signature, BODY]
        for _ in range(rng.randint(1, 3)):
            which = rng.randrange(4)
            parts[which] = mutated(rng, parts[which])
        message, stamp, entries, body = parts
        if (message, stamp, body) == (ID, STAMP, BODY) and signature in entries.split(b" "):
            continue  # blanks around an entry say nothing
        count -= 1
        sent = headers(entries, message, stamp)
        if rng.randrange(20) == 0:
            which = rng.randrange(3)
            sent[which : which + 1] = [] if rng.randrange(2) else [sent[which]] * 2
        yield sent, body


def mutated(rng: random.Random, value: bytes) -> bytes:
    changed, at = bytearray(value), rng.randrange(len(value)) if value else 0
    match rng.randrange(6):
        case 0 if value:
            changed[at] ^= 1 << rng.randrange(8)
        case 1 if value:
            del changed[at]
        case 2:
            changed.insert(at, rng.randrange(256))
        case 3 if value:
            changed[at : at + 1] = changed[at : at + 1] * 2
        case 4 if value:
            changed[at] = rng.choice(b'0123456789ABCDabcdez+/=-_,. {}[]"')
        case _:
            other = rng.randrange(len(value)) if value else 0
            changed[min(at, other) : max(at, other)] = reversed(changed[min(at, other) : max(at, other)])
    return bytes(changed)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_no_mutation_of_a_static_delivery_is_believed() -> None:
    verifier, told, before = StaticVerifier([SECRET]), Counter[str](), peak()
    assert parse(BODY).subject == "v1_run1"
    assert verifier.verify(headers(STATIC), BODY, now=NOW)
    for sent, body in mutations(random.Random(20261121), STATIC, EACH):
        try:
            verifier.verify(sent, body, now=NOW)
            parse(body)
            told["believed"] += 1
        except (SignatureError, InvalidError) as refused:
            told[type(refused).__name__] += 1
    assert told == {"SignatureError": EACH}
    assert peak() - before < GROWTH_KIB


@pytest.mark.asyncio
async def test_no_mutation_of_a_dynamic_delivery_is_believed(serving: Any, reply: Any) -> None:
    """Of either form: nine thousand signed ones, a thousand with a token in place of a signature.

    A token does not cover the body; there the token alone is mutated.
    """
    told, before, rng, good = Counter[str](), peak(), random.Random(20261122), token()
    async with serving() as server:
        server.answer(reply.of(jwks(JWK, rsa_jwk())))
        rule = TokenRule(AUDIENCE, ISSUER)
        verifier = DynamicVerifier(KeySet(server.base_url, clock=Ticks()), tokens=rule)
        for entry, named in ((DYNAMIC, "v1a"), (good, "jwt")):
            assert (await verifier.verify(headers(entry), BODY, now=NOW)).scheme == named
        altered = (mutated(rng, good) for _ in range(EACH))
        tokens = [(headers(t), BODY) for t in altered if good not in t.split(b" ")][: EACH // 10]
        for sent, body in [*mutations(rng, DYNAMIC, EACH - len(tokens)), *tokens]:
            try:
                await verifier.verify(sent, body, now=NOW)
                parse(body)
                told["believed"] += 1
            except (SignatureError, InvalidError) as refused:
                told[type(refused).__name__] += 1
        assert len(server.requests) == 1, "no stranger makes us ask for keys again and again"
        await verifier.aclose()
    assert told == {"SignatureError": EACH}
    assert peak() - before < GROWTH_KIB
    assert asyncio.all_tasks() == {asyncio.current_task()}
