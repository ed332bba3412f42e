"""Whether Slack signed a request: nothing is believed but the bytes and the clock. No I/O.

Source: Slack, "Verifying requests from Slack".
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from orchestrator.errors import SignatureError

Headers = Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]
"""As a mapping (a multi-mapping keeps its repeats) or as pairs, for example a scope's raw ones."""

_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)


def verify(
    headers: Headers, body: bytes, *, secrets: Sequence[str], now: datetime, tolerance_seconds: float = 300
) -> None:
    """Return if Slack signed exactly `body` with one of `secrets`, not long ago; nothing else is said.

    Args:
        headers: Those of the request; each of the two must be there exactly once.
        body: The raw bytes, before anything has parsed them.
        secrets: Signing secrets that count now: during a rotation the new one and the old.
        now: Aware; compared with the request's timestamp in both directions.
        tolerance_seconds: The largest difference that is still believed.

    Raises:
        SignatureError: In every other case; `malformed` when the headers are not of the right form.
    """
    pairs = [(_ascii(k).lower(), _ascii(v)) for k, v in _pairs(headers)]
    timestamp = _header(pairs, "x-slack-request-timestamp", _TIMESTAMP)
    signature = _header(pairs, "x-slack-signature", _SIGNATURE)
    if abs(now.timestamp() - int(timestamp)) > tolerance_seconds:
        raise SignatureError("the request is too old, or a clock is wrong")
    base = b"v0:" + timestamp.encode() + b":" + body
    good = [hmac.compare_digest(_signed(secret, base), signature) for secret in _usable(secrets)]
    if not any(good):
        raise SignatureError("no secret of ours made this signature")


def _usable(secrets: Sequence[str]) -> list[str]:
    """An empty secret is none: everybody could sign with it. A lone string is one secret, not letters."""
    return [s for s in ([secrets] if isinstance(secrets, str) else secrets) if s.strip()]


def _signed(secret: str, base: bytes) -> str:
    return "v0=" + hmac.new(secret.encode("utf-8", "surrogateescape"), base, hashlib.sha256).hexdigest()


def _pairs(headers: Headers) -> Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def _header(pairs: Sequence[tuple[str, str]], name: str, form: re.Pattern[str]) -> str:
    values = [value for key, value in pairs if key == name]
    if len(values) != 1 or not form.fullmatch(values[0]):
        raise SignatureError(f"{name} is missing, repeated or malformed", malformed=True)
    return values[0]


def _ascii(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
