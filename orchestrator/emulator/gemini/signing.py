"""Both signatures of a webhook delivery: `v1` with a shared secret, `v1a` with a published key.

Source: Standard Webhooks, "Signature scheme"; for `v1a` what Gemini really sends
(googleapis/python-genai#2927), which is not what its guide describes.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, not a secret


def signed_bytes(message_id: str, timestamp: int, body: bytes) -> bytes:
    """What is signed: the id, the unix seconds and the raw body, joined by dots."""
    return f"{message_id}.{timestamp}.".encode() + body


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


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    kid = hashlib.sha256(raw).hexdigest()[:16]
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"}
