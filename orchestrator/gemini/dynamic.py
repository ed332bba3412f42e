"""The dynamic scheme: signed with Google's own keys, sent to an address that a create named.

    signed = id "." timestamp "." raw body        Ed25519        label `v1a`

The keys are the same for every customer of Gemini. So a good signature proves who wrote it and not
that it is ours; that is why the address carries a token of ours, and why a delivery stays a hint.
`v1` counts for nothing here. Tokens (`token`) count where a rule for them is given.

Source: googleapis/python-genai#2927, what is really delivered; the guide describes tokens.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from orchestrator.errors import SignatureError
from orchestrator.gemini import token
from orchestrator.gemini.headers import (
    SIGNATURE,
    TOLERANCE_SECONDS,
    Delivery,
    Found,
    Headers,
    Scheme,
    delivery,
    read,
    signed,
)
from orchestrator.gemini.keyset import Keys, KeySet
from orchestrator.gemini.token import Token, TokenRule

_LABEL: Final = b"v1a,"
_LENGTH: Final = len(_LABEL) + 88  # base64 of 64 bytes
MAX_CANDIDATES: Final = 8
"""Of each kind that are tried: a check costs some 0.1 ms per key, and one good entry is enough."""


class DynamicVerifier:
    """Checks deliveries against Google's key set.

    Args:
        keys: Closed by `aclose`.
        tokens: Which RS256 tokens count; None for none.
        tolerance_seconds: How far a delivery's timestamp may be from now, either way.
    """

    __slots__ = ("_keys", "_rule", "_tolerance")

    def __init__(
        self, keys: KeySet, *, tokens: TokenRule | None = None, tolerance_seconds: int = TOLERANCE_SECONDS
    ) -> None:
        self._keys = keys
        self._rule = tokens
        self._tolerance = tolerance_seconds

    async def verify(self, headers: Headers, body: bytes, *, now: datetime) -> Delivery:
        """Who sent this, and when; may wait for a fetch of the key set.

        Args:
            body: The raw bytes, before any parsing or decoding.
            now: Aware.

        Raises:
            SignatureError: As `StaticVerifier.verify`.
            UnavailableError: There is no key set to check it with; it is not taken (503).
        """
        found, sent = read(headers, now=now, tolerance_seconds=self._tolerance)
        claims = self._claims(found, body)
        if not claims:  # nothing that any key could prove, so none is fetched for it
            raise SignatureError(self._why(found))
        keys = await self._keys.current()
        scheme = claims.proven(keys, now)
        if scheme is None and (newer := await self._keys.after(keys)) is not None:
            scheme = claims.proven(newer, now)
        if scheme is None:
            raise SignatureError("no signature matches")
        return delivery(found, sent, scheme)

    async def warm(self) -> None:
        """Have the key set at hand before the first delivery."""
        await self._keys.warm()

    async def aclose(self) -> None:
        await self._keys.aclose()

    def _claims(self, found: Found, body: bytes) -> "_Claims":
        entries = found[SIGNATURE].split(b" ")
        signatures = [raw for entry in entries if (raw := _signature(entry))][:MAX_CANDIDATES]
        tokens: list[Token] = []
        if self._rule is not None:
            likely = [entry for entry in entries if token.looks_like(entry)][:MAX_CANDIDATES]
            tokens = [taken for entry in likely if (taken := token.take_apart(entry)) is not None]
        return _Claims(signed(found, body), signatures, tokens, self._rule)

    def _why(self, found: Found) -> str:
        if self._rule is None and any(token.looks_like(entry) for entry in found[SIGNATURE].split(b" ")):
            return "signed by a token; those count only with webhooks.jwt_audience"
        return "no signature matches"


class _Claims:
    """What one delivery offers as proof, taken apart once and held against one set or two."""

    __slots__ = ("_message", "_rule", "_signatures", "_tokens")

    def __init__(
        self, message: bytes, signatures: Sequence[bytes], tokens: Sequence[Token], rule: TokenRule | None
    ) -> None:
        self._message, self._signatures, self._tokens, self._rule = message, signatures, tokens, rule

    def __bool__(self) -> bool:
        return bool(self._signatures or self._tokens)

    def proven(self, keys: Keys, now: datetime) -> Scheme | None:
        for key in keys.ed25519:
            if any(_made_by(key, signature, self._message) for signature in self._signatures):
                return "v1a"
        rule = self._rule
        if rule is not None and any(token.holds(t, keys.rsa, rule, now=now) for t in self._tokens):
            return "jwt"
        return None


def _made_by(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _signature(entry: bytes) -> bytes:
    """The 64 bytes of a `v1a` entry in their one canonical spelling; empty for anything else."""
    if len(entry) != _LENGTH or not entry.startswith(_LABEL):
        return b""
    text = entry[len(_LABEL) :]
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.b64encode(raw) == text else b""
