"""The static scheme: HMAC-SHA256 under a secret that Gemini gave us when the webhook was registered.

    signed = id "." timestamp "." raw body        key = base64 part of `whsec_...`        label `v1`

Only `v1` counts here: other labels, tokens and malformed entries are passed over, they neither help
nor harm. We take the signing core of `standardwebhooks`, not its `verify`: that raises foreign errors
on malformed input, reads timestamps generously and knows one secret only.

Source: Standard Webhooks specification; Gemini API, Webhooks, "Verify signatures".
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from standardwebhooks.webhooks import hmac_data

from orchestrator.errors import ConfigError, SignatureError
from orchestrator.gemini.headers import (
    SIGNATURE,
    TOLERANCE_SECONDS,
    Delivery,
    Headers,
    delivery,
    read,
    signed,
)

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (a label, no secret)
_LABEL: Final = b"v1,"


@dataclass(frozen=True, slots=True)
class StaticSecret:
    """One secret of a registered webhook.

    Args:
        text: `whsec_` and base64, as Gemini gave it on create or rotation.
        until: From this instant on it verifies nothing; None for the one that is current. After a
            rotation Gemini signs with the previous one for another 24 hours, or not at all.
    """

    text: str = field(repr=False)
    until: datetime | None = None


class StaticVerifier:
    """Checks deliveries against the secrets of our registered webhooks; any current one is enough.

    Args:
        secrets: With none, every delivery is refused.
        tolerance_seconds: How far a delivery's timestamp may be from now, either way.

    Raises:
        ConfigError: A secret is not of that form; the text does not contain it.
    """

    __slots__ = ("_keys", "_tolerance")

    def __init__(
        self, secrets: Sequence[str | StaticSecret], *, tolerance_seconds: int = TOLERANCE_SECONDS
    ) -> None:
        given = [StaticSecret(s) if isinstance(s, str) else s for s in secrets]
        self._keys = tuple((_key(s.text), s.until) for s in given)
        self._tolerance = tolerance_seconds

    def verify(self, headers: Headers, body: bytes, *, now: datetime) -> Delivery:
        """Who sent this, and when.

        Args:
            body: The raw bytes, before any parsing or decoding.
            now: Aware.

        Raises:
            SignatureError: `malformed` for headers that are missing, repeated, garbled or stale (400);
                without it, no entry matches any current secret (401).
        """
        found, sent = read(headers, now=now, tolerance_seconds=self._tolerance)
        if not self._matches(signed(found, body), found[SIGNATURE].split(b" "), now):
            raise SignatureError("no signature matches")
        return delivery(found, sent, "v1")

    def _matches(self, message: bytes, entries: list[bytes], now: datetime) -> bool:
        candidates = [entry for entry in entries if entry.startswith(_LABEL)]
        matched = False
        for key, until in self._keys:
            if until is not None and now >= until:
                continue
            expected = _LABEL + base64.b64encode(hmac_data(key, message))
            for entry in candidates:  # every one, so that the time taken tells nothing
                matched |= hmac.compare_digest(entry, expected)
        return matched


def verify(
    headers: Headers,
    body: bytes,
    *,
    secrets: Sequence[str | StaticSecret],
    now: datetime,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> Delivery:
    """`StaticVerifier` for a single delivery; see there."""
    return StaticVerifier(secrets, tolerance_seconds=tolerance_seconds).verify(headers, body, now=now)


def _key(secret: str) -> bytes:
    text = secret.strip().removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key or not secret.strip().startswith(SECRET_PREFIX):
        raise ConfigError("a webhook secret is not of the form whsec_<base64>")
    return key
