"""Dynamic deliveries: Google's keys, and what else claims to be as good."""

import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dynamic_kit import (
    AUDIENCE,
    BODY,
    DYNAMIC,
    ID,
    ISSUER,
    JWK,
    NOW,
    OTHER_RSA,
    RSA,
    SECRET,
    STAMP,
    STATIC,
    Ticks,
    ed25519,
    ed25519_jwk,
    headers,
    jwks,
    rsa_jwk,
    sign,
    token,
    url64,
)
from standardwebhooks import Webhook

from orchestrator.errors import SignatureError
from orchestrator.gemini.keyset import KeySet
from orchestrator.gemini.token import TokenRule
from orchestrator.gemini.webhook import DynamicVerifier, StaticVerifier

RULE = TokenRule(AUDIENCE, ISSUER)
Verifying = Callable[..., Any]


@pytest.fixture
def verifying(serving: Any, reply: Any) -> Verifying:
    """`async with verifying(*jwks, rule=...) as verifier`, over the vector's key and the RSA key."""

    @asynccontextmanager
    async def opened(*keys: dict[str, Any], rule: TokenRule | None = None) -> AsyncIterator[DynamicVerifier]:
        async with serving() as server:
            server.answer(reply.of(jwks(*(keys or (JWK, rsa_jwk())))))
            verifier = DynamicVerifier(KeySet(f"{server.base_url}/jwks", clock=Ticks()), tokens=rule)
            try:
                yield verifier
            finally:
                await verifier.aclose()

    return opened


async def scheme(verifier: DynamicVerifier, signature: bytes, body: bytes = BODY) -> str | None:
    """Which kind of signature was good; None for none."""
    try:
        return (await verifier.verify(headers(signature), body, now=NOW)).scheme
    except SignatureError as refused:
        return "malformed" if refused.malformed else None


@pytest.mark.asyncio
async def test_the_published_vector(verifying: Verifying) -> None:
    async with verifying(JWK) as verifier:
        taken = await verifier.verify(headers(), BODY, now=NOW)
    assert (taken.id, taken.sent_at, taken.scheme) == (ID.decode(), NOW, "v1a")
    assert taken.headers["webhook-signature"] == DYNAMIC.decode()


@pytest.mark.asyncio
async def test_no_address_takes_what_belongs_to_another(verifying: Verifying) -> None:
    """Scheme by address: the static one, the dynamic one, and that with tokens switched on."""
    static = StaticVerifier([SECRET])
    offered = {"v1": STATIC, "v1a": DYNAMIC, "jwt": token(), "v2": b"v2," + STATIC[3:]}
    table: dict[str, list[str | None]] = {}
    async with verifying() as plain, verifying(rule=RULE) as tokened:
        for name, signature in offered.items():
            try:
                first = static.verify(headers(signature), BODY, now=NOW).scheme
            except SignatureError:
                first = None
            table[name] = [first, await scheme(plain, signature), await scheme(tokened, signature)]
    assert table == {
        "v1": ["v1", None, None],
        "v1a": [None, "v1a", "v1a"],
        "jwt": [None, None, "jwt"],
        "v2": [None, None, None],
    }


@pytest.mark.asyncio
async def test_any_key_and_any_good_entry_is_enough(verifying: Verifying) -> None:
    one, two = ed25519(1), ed25519(2)
    async with verifying(ed25519_jwk(one, kid="a"), ed25519_jwk(two, use="sig", alg="EdDSA")) as verifier:
        assert await scheme(verifier, sign(one)) == "v1a"
        assert await scheme(verifier, sign(two)) == "v1a"
        beside = b"v1 v1a, v1a,%% a.b.c " + STATIC + b" " + sign(ed25519(3)) + b" " + sign(two) + b" v2,x"
        assert await scheme(verifier, beside) == "v1a"
        assert await scheme(verifier, sign(ed25519(3))) is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "signature",
    [
        b"v1a,",
        b"v1a",
        b"V1A," + DYNAMIC[4:],
        b"v1," + DYNAMIC[4:],
        DYNAMIC[4:],
        DYNAMIC[:-1],
        DYNAMIC[:-2],
        DYNAMIC + b"=",
        DYNAMIC[:-3] + b"h==",  # the same 64 bytes in another spelling
        DYNAMIC.replace(b"+", b"-").replace(b"/", b"_"),
        b"v1a," + base64.b64encode(bytes(64)),
        sign(ed25519(1), BODY[:-1] + b" "),
        b"v1a," + base64.b64encode(ed25519(1).sign(BODY)),
    ],
)
async def test_what_is_no_signature_of_theirs(verifying: Verifying, signature: bytes) -> None:
    async with verifying(JWK, ed25519_jwk(ed25519(1))) as verifier:
        assert await scheme(verifier, signature) is None


@pytest.mark.asyncio
async def test_headers_and_clock_come_first(serving: Any) -> None:
    """What is malformed, or carries no entry of this scheme, makes nobody ask for keys."""
    async with serving() as server:
        verifier = DynamicVerifier(KeySet(server.base_url, clock=Ticks()), tolerance_seconds=10)
        for sent in (
            headers()[1:],
            headers(message=b"a.b"),
            headers(stamp=b"1795255218"),
            [*headers(), (b"content-encoding", b"gzip")],
            headers(STATIC),
            headers(token()),
        ):
            with pytest.raises(SignatureError):
                await verifier.verify(sent, BODY, now=NOW)
        assert server.requests == []


# ------------------------------------------------------------------ tokens

ELSE = "somebody else"


def respelled(entry: bytes) -> bytes:
    """The last letter stands for two bits and four that nobody reads; those are set."""
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters.index(entry[-1:])
    assert last % 16 == 0
    return entry[:-1] + letters[last + 1 : last + 2]


UNENDED = json.dumps({"aud": AUDIENCE, "iss": ISSUER, "iat": 1}).encode()[:-1]
_HS = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "r1"}).encode()).rstrip(b"=")

GOOD_TOKENS = {
    "plain": token(),
    "one audience of several": token(aud=[ELSE, AUDIENCE]),
    "a little early": token(iat=1795255207 + 60),
    "a little late": token(exp=1795255207 - 59),
    "not before": token(nbf=1795255207),
    "foreign keys in it are not looked at": token(
        header={"jwk": rsa_jwk(OTHER_RSA), "jku": "https://evil.example/keys", "x5u": "https://evil.example"}
    ),
    "fractions": token(iat=1795255200.5),
}
BAD_TOKENS = {
    "another audience": token(aud=ELSE),
    "part of the audience": token(aud=AUDIENCE[:-1]),
    "an audience inside another text": token(aud=f"x {AUDIENCE} x"),
    "no audience": token(aud=None),
    "another issuer": token(iss=ELSE),
    "no issuer": token(iss=None),
    "a list of issuers": token(iss=[ISSUER]),
    "no issue time": token(iat=None),
    "no expiry": token(exp=None),
    "expired": token(exp=1795255207 - 60),
    "from the future": token(iat=1795255207 + 61),
    "not yet": token(nbf=1795255207 + 61),
    "an odd not-before": token(nbf="now"),
    "a time as text": token(exp="1795255800"),
    "a time as a truth": token(exp=True),
    "an endless time": token(raw=UNENDED + b',"exp":1e999}'),
    "a repeated claim": token(raw=UNENDED + b',"exp":1,"exp":2e9}'),
    "claims that are a list": token(raw=b"[]"),
    "claims that are no JSON": token(raw=b"{"),
    "another key": token(OTHER_RSA),
    "its own key": token(OTHER_RSA, header={"jwk": rsa_jwk(OTHER_RSA)}),
    "another kid": token(header={"kid": "r2"}),
    "no kid": token(header={"kid": None}),
    "a kid that is a path": token(header={"kid": "../r1"}),
    "a kid that is a list": token(header={"kid": ["r1"]}),
    "an Ed25519 key's kid": token(header={"kid": "ed"}),
    "alg none": token(header={"alg": "none"}),
    "no alg": token(header={"alg": None}),
    "alg in lower case": token(header={"alg": "rs256"}),
    "a longer digest": token(header={"alg": "RS512"}),
    "HMAC": _HS + token()[token().index(b".") :],
    "extensions": token(header={"crit": ["b64"], "b64": False}),
    "no signature": token().rpartition(b".")[0] + b".",
    "four parts": token() + b".x",
    "padding": token() + b"=",
    "the same signature in another spelling": respelled(token()),
    "a blank in it": token()[:20] + b"\t" + token()[20:],
}  # fmt: skip


@pytest.mark.asyncio
async def test_tokens_that_count_and_those_that_do_not(verifying: Verifying) -> None:
    keys = (rsa_jwk(), ed25519_jwk(ed25519(1), kid="ed"))
    async with verifying(*keys, rule=RULE) as verifier:
        told = {name: await scheme(verifier, entry) for name, entry in (GOOD_TOKENS | BAD_TOKENS).items()}
    assert told == {**dict.fromkeys(GOOD_TOKENS, "jwt"), **dict.fromkeys(BAD_TOKENS, None)}


@pytest.mark.asyncio
async def test_the_digest_is_fixed(verifying: Verifying) -> None:
    signed = token().rpartition(b".")[0]
    other = signed + b"." + url64(RSA.sign(signed, padding.PKCS1v15(), SHA512())).encode()
    pss = padding.PSS(padding.MGF1(SHA512()), 32)
    third = signed + b"." + url64(RSA.sign(signed, pss, SHA512())).encode()
    async with verifying(rule=RULE) as verifier:
        assert [await scheme(verifier, entry) for entry in (other, third)] == [None, None]


@pytest.mark.asyncio
async def test_a_refused_token_says_what_would_have_to_be_set(verifying: Verifying) -> None:
    async with verifying() as verifier:
        with pytest.raises(SignatureError, match=r"webhooks\.jwt_audience"):
            await verifier.verify(headers(token()), BODY, now=NOW)


# ------------------------------------------------------------------ signatures made elsewhere


def openssl(*words: str | Path, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, words)], input=given, capture_output=True, check=True).stdout


@pytest.mark.asyncio
@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
async def test_what_openssl_signed(verifying: Verifying, tmp_path: Path) -> None:
    message, file = ID + b"." + STAMP + b"." + BODY, tmp_path / "message"
    file.write_bytes(message)
    mac = openssl(
        "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{bytes(range(32)).hex()}", "-binary", file
    )
    static = StaticVerifier([SECRET]).verify(headers(b"v1," + base64.b64encode(mac)), BODY, now=NOW)
    assert static.scheme == "v1"

    ed_file, rsa_file = tmp_path / "ed.pem", tmp_path / "rsa.pem"
    ed_file.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
    raw = openssl("pkey", "-in", ed_file, "-pubout", "-outform", "DER")[-32:]
    rsa_file.write_bytes(RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    keys = ({"kty": "OKP", "crv": "Ed25519", "x": url64(raw)}, rsa_jwk())
    signed = token().rpartition(b".")[0]
    async with verifying(*keys, rule=RULE) as verifier:
        entry = openssl("pkeyutl", "-sign", "-rawin", "-inkey", ed_file, "-in", file)
        assert await scheme(verifier, b"v1a," + base64.b64encode(entry)) == "v1a"
        made = openssl("dgst", "-sha256", "-sign", rsa_file, given=signed)
        assert await scheme(verifier, signed + b"." + url64(made).encode()) == "jwt"


def test_what_the_specification_s_library_signed() -> None:
    entry = Webhook(SECRET).sign(ID.decode(), NOW, BODY.decode())
    assert StaticVerifier([SECRET]).verify(headers(entry.encode()), BODY, now=NOW).scheme == "v1"


def test_the_kit_s_keys_are_of_the_usual_size() -> None:
    assert all(isinstance(k, rsa.RSAPrivateKey) and k.key_size == 2048 for k in (RSA, OTHER_RSA))
