"""Google's side of dynamic webhooks, made by hand: keys, signatures, tokens, and the published set."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

# Published vectors (Gemini API reference, "The dynamic signature"); the keys are made up.
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ID = b"msg_00000000-0000-4000-8000-000000000001"
STAMP = b"1795255207"
BODY = (
    b'{"type":"interaction.requires_action","version":"v1",'
    b'"timestamp":"2026-11-21T10:00:07Z","data":{"id":"v1_run1"}}'
)
STATIC = b"v1,ReZvixNbngM9xjHZyuOfKujG+6vaV5V2DkwPDFP3iPA="
DYNAMIC = b"v1a,OgsYXPXn0GdWP0R5xjil68A2I574CP3pAuIHfA6TU4BvTo1tPPIP37rz91Gu0pwbfQXAT54a+z9/c7bOT6abDg=="
JWK = {"kty": "OKP", "crv": "Ed25519", "x": "Kay64UG8yvCyLhqU000LxzYeUm0L_hLIl5S8kyKWbdc"}
NOW = datetime.fromtimestamp(1795255207, UTC)

AUDIENCE, ISSUER = "https://hooks.example.com", "https://google.example"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)


class Ticks:
    """Seconds of a clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def headers(
    signature: bytes = DYNAMIC, message: bytes = ID, stamp: bytes = STAMP
) -> list[tuple[bytes, bytes]]:
    return [(b"webhook-id", message), (b"webhook-timestamp", stamp), (b"webhook-signature", signature)]


def url64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def ed25519(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def ed25519_jwk(key: Ed25519PrivateKey, **more: Any) -> dict[str, Any]:
    return {"kty": "OKP", "crv": "Ed25519", "x": url64(key.public_key().public_bytes_raw()), **more}


def sign(key: Ed25519PrivateKey, body: bytes = BODY, message: bytes = ID, stamp: bytes = STAMP) -> bytes:
    return b"v1a," + base64.b64encode(key.sign(message + b"." + stamp + b"." + body))


def rsa_jwk(key: rsa.RSAPrivateKey = RSA, kid: str = "r1", **more: Any) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    n, e = (url64(v.to_bytes((v.bit_length() + 7) // 8)) for v in (numbers.n, numbers.e))
    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": n, "e": e, **more}


def jwks(*keys: dict[str, Any]) -> dict[str, Sequence[dict[str, Any]]]:
    return {"keys": keys}


CLAIMS = {"aud": AUDIENCE, "iss": ISSUER, "iat": 1795255200, "exp": 1795255800}


def token(
    key: rsa.RSAPrivateKey = RSA,
    *,
    header: dict[str, Any] | None = None,
    raw: bytes | None = None,
    **claims: Any,
) -> bytes:
    """A token; a claim or a part of the header given as None is left out, `raw` replaces all claims."""
    head = {"alg": "RS256", "typ": "JWT", "kid": "r1", **(header or {})}
    said = {**CLAIMS, **claims}
    parts = [
        json.dumps({k: v for k, v in head.items() if v is not None}).encode(),
        raw if raw is not None else json.dumps({k: v for k, v in said.items() if v is not None}).encode(),
    ]
    signed = ".".join(url64(part) for part in parts).encode()
    return signed + b"." + url64(key.sign(signed, padding.PKCS1v15(), SHA256())).encode()
