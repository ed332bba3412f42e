"""The RS256 token that Gemini's guide describes for dynamic webhooks, checked narrowly.

Nobody has seen Gemini send one: what it sends is `v1a` (`dynamic`), while the guide speaks of a JWT
in `Webhook-Signature`. So tokens count only where an audience and an issuer were configured.

The guide names no claim that would cover the body or the other headers, and we do not invent one. A
good token therefore proves that somebody at Google made it for this audience, and nothing about the
body beside it: whoever holds the token until it expires could send another body with it. That is
bearable for the one reason that a delivery is a hint. It wakes the reading of an interaction with our
own key, of ids that our table knows, and nothing in it is believed.

The algorithm is fixed, not read from the token; `kid` is a key of our dictionary and nothing else;
keys or addresses of keys inside a token (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.

Source: RFC 7515, RFC 7519, RFC 8725 (best current practices); Gemini API, Webhooks, "Dynamic webhooks".
"""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from orchestrator.strictjson import StrictReader

ALGORITHM: Final = "RS256"
LEEWAY_SECONDS: Final = 60.0
"""How far the clocks of sender and receiver may disagree."""
_READER: Final = StrictReader(depth=8)


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Which tokens count. Both are compared literally; neither may be empty."""

    audience: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart, with nothing about it proven yet."""

    kid: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def looks_like(entry: bytes) -> bool:
    """Whether an entry of the signature header could be a token: no label, three parts."""
    return b"," not in entry and entry.count(b".") == 2


def take_apart(entry: bytes) -> Token | None:
    """The token in `entry`; None where it is none, or asks to be checked in another way than ours."""
    parts = [_decoded(part) for part in entry.split(b".")]
    if len(parts) != 3 or not all(parts):
        return None
    header, claims = _object(parts[0]), _object(parts[1])
    kid = header.get("kid")
    # `crit` names extensions that a reader must understand; we understand none.
    if header.get("alg") != ALGORITHM or "crit" in header or not isinstance(kid, str) or not claims:
        return None
    return Token(kid, claims, entry.rpartition(b".")[0], parts[2])


def holds(token: Token, keys: Mapping[str, RSAPublicKey], rule: TokenRule, *, now: datetime) -> bool:
    """Whether the key of that name made it, for us, and it is neither too early nor too late."""
    key = keys.get(token.kid)
    return key is not None and _made_by(key, token) and _for_us(token.claims, rule, now.timestamp())


def _made_by(key: RSAPublicKey, token: Token) -> bool:
    try:
        key.verify(token.signature, token.signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _for_us(claims: Mapping[str, Any], rule: TokenRule, now: float) -> bool:
    audience = claims.get("aud")
    meant = rule.audience in audience if isinstance(audience, list) else rule.audience == audience
    issued, expires = _instant(claims.get("iat")), _instant(claims.get("exp"))
    begins = _instant(claims.get("nbf", claims.get("iat")))
    if not meant or claims.get("iss") != rule.issuer or issued is None or expires is None or begins is None:
        return False
    return max(issued, begins) - LEEWAY_SECONDS <= now < expires + LEEWAY_SECONDS


def _instant(value: object) -> float | None:
    """RFC 7519's NumericDate."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = _READER.read(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _decoded(part: bytes) -> bytes:
    """Base64url without padding, in its one canonical spelling; empty for anything else."""
    try:
        raw = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == part else b""
