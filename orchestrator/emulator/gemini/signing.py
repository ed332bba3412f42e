"""The signatures of a webhook delivery: `v1` with a shared secret, `v1a` with a published key, or a token.

Source: Standard Webhooks, "Signature scheme"; for `v1a` what Gemini really sends
(googleapis/python-genai#2927), which is not the RS256 token that its guide describes. The guide names the
token's algorithm, its header and its key set; its claims are ours, the registered ones of RFC 7519.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, not a secret
TOKEN_SECONDS: Final = 300  # from a token's issue to its end


def signed_bytes(message_id: str, timestamp: int, body: bytes) -> bytes:
    """What is signed: the id, the unix seconds and the raw body, joined by dots."""
    return f"{message_id}.{timestamp}.".encode() + body


def check_secret(secret: str) -> str:
    """The same secret, if it can sign.

    Raises:
        ValueError: It is not `whsec_` and the base64 of a key.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError as error:
        raise ValueError("must be whsec_ and base64") from error
    if not secret.startswith(SECRET_PREFIX) or not key:
        raise ValueError("must be whsec_ and base64")
    return secret


def sign_static(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 HMAC-SHA256 under `secret` (`whsec_` and base64).

    Raises:
        ValueError: The part after the prefix is not base64.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    digest = hmac.new(key, signed_bytes(message_id, timestamp, body), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


class KeySet:
    """Ed25519 keys with a public JWKS; deliveries name no key, so a receiver tries each.

    Args:
        seeds: The private keys, 32 bytes each.
    """

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self._keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
        self._next = 0

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """`v1a,` and a base64 signature; the keys take turns, as no receiver may rely on one."""
        key = self._keys[self._next % len(self._keys)]
        self._next += 1
        return "v1a," + base64.b64encode(key.sign(signed_bytes(message_id, timestamp, body))).decode()

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JSON Web Key Set of `OKP`/`Ed25519` entries."""
        return {"keys": [_jwk(key) for key in self._keys]}


class TokenKey:
    """An RSA key that signs deliveries as the guide has it: one RS256 token in the signature header."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self._key.public_key().public_numbers()
        self._n, self._e = _integer(public.n), _integer(public.e)
        self.kid = hashlib.sha256(self._n.encode()).hexdigest()[:16]

    def sign(self, message_id: str, timestamp: int, *, issuer: str, audience: str) -> str:
        """A token for one attempt; `jti` is the delivery's id. It says nothing about the body."""
        header = {"alg": "RS256", "kid": self.kid, "typ": "JWT"}
        claims = {"iss": issuer, "aud": audience, "iat": timestamp, "exp": timestamp + TOKEN_SECONDS}
        parts = [_base64(json.dumps(part).encode()) for part in (header, {**claims, "jti": message_id})]
        signed = ".".join(parts)
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"

    def jwk(self) -> dict[str, str]:
        """The public key as a JSON Web Key."""
        return {"kty": "RSA", "n": self._n, "e": self._e, "kid": self.kid, "use": "sig", "alg": "RS256"}


def _integer(value: int) -> str:
    return _base64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kid = hashlib.sha256(raw).hexdigest()[:16]
    return {"kty": "OKP", "crv": "Ed25519", "x": _base64(raw), "kid": kid, "use": "sig", "alg": "EdDSA"}
