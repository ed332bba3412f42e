"""From a signed delivery to a signal. A signal is a hint: it wakes the reading of an interaction, no more.

Order matters: headers, then clock, then signature over the raw bytes, and only a body that proved
to be the sender's is parsed. This is the static scheme (HMAC, label `v1`), and nothing else counts
here: other labels and malformed entries are passed over, they neither help nor harm.

    signed = id "." timestamp "." raw body        key = base64 part of `whsec_...`

We take the signing core of `standardwebhooks`, not its `verify`: that raises foreign errors on
malformed input, reads timestamps generously and knows one secret only.

Source: Standard Webhooks specification; Gemini API, Webhooks, "Verify signatures".
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from standardwebhooks.webhooks import hmac_data

from orchestrator.domain.model import Correlation
from orchestrator.errors import ConfigError, InvalidError, SignatureError
from orchestrator.gemini import wire
from orchestrator.strictjson import StrictReader

TOLERANCE_SECONDS: Final = 300  # the specification's, either way
MAX_ID: Final = 256  # characters
MAX_SIGNATURES: Final = 4096  # bytes of the signature header; an entry has 47
MAX_DEPTH: Final = 64
_READER: Final = StrictReader(depth=MAX_DEPTH)
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (a label, no secret)

ID: Final = b"webhook-id"
TIMESTAMP: Final = b"webhook-timestamp"
SIGNATURE: Final = b"webhook-signature"
ENCODING: Final = b"content-encoding"
_WANTED: Final = frozenset({ID, TIMESTAMP, SIGNATURE, ENCODING})

_VISIBLE_NO_DOT: Final = re.compile(rb"[!-\-/-~]{1,%d}" % MAX_ID)
_SECONDS: Final = re.compile(rb"[0-9]{1,12}")

Headers = Sequence[tuple[bytes, bytes]] | Mapping[str, str]
"""As ASGI gives them, repetitions and all; or a mapping, where names are spelled in any case."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified delivery. `id` is the same over the sender's retries: duplicates are known by it."""

    id: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Signal:
    """What an event says, believed for nothing but a reason to look.

    Args:
        type: For example `interaction.requires_action`; the list is open.
        occurred_at: The sender's timestamp, as it wrote it; empty if it wrote none.
        subject: Id of the interaction, batch (without `batches/`) or video it is about.
        correlation: What we sent along with the create, where the event repeats it.
    """

    type: str
    version: str = ""
    occurred_at: str = ""
    subject: str | None = None
    correlation: Correlation | None = None


class StaticVerifier:
    """Checks deliveries against the secrets of our registered webhooks; any one of them is enough.

    Args:
        secrets: `whsec_` and base64, as Gemini gave them on create or rotation. With none, every
            delivery is refused.
        tolerance_seconds: How far a delivery's timestamp may be from now, either way.

    Raises:
        ConfigError: A secret is not of that form; the text does not contain it.
    """

    __slots__ = ("_keys", "_tolerance")

    def __init__(self, secrets: Sequence[str], *, tolerance_seconds: int = TOLERANCE_SECONDS) -> None:
        self._keys = tuple(_key(secret) for secret in secrets)
        self._tolerance = tolerance_seconds

    def verify(self, headers: Headers, body: bytes, *, now: datetime) -> Delivery:
        """Who sent this, and when.

        Args:
            body: The raw bytes, before any parsing or decoding.
            now: Aware.

        Raises:
            SignatureError: `malformed` for headers that are missing, repeated, garbled or stale (400);
                without it, no entry matches any secret (401).
        """
        found = _required(headers)
        message_id, timestamp = found[ID], found[TIMESTAMP]
        sent = self._sent(timestamp, now)
        signed = b"%b.%b.%b" % (message_id, timestamp, body)
        if not self._matches(signed, found[SIGNATURE].split(b" ")):
            raise SignatureError("no signature matches")
        return Delivery(message_id.decode("ascii"), datetime.fromtimestamp(sent, UTC))

    def _sent(self, timestamp: bytes, now: datetime) -> int:
        sent = int(timestamp)
        if abs(now.timestamp() - sent) > self._tolerance:
            raise SignatureError("the timestamp is too far from now", malformed=True)
        return sent

    def _matches(self, signed: bytes, entries: list[bytes]) -> bool:
        candidates = [entry for entry in entries if entry.startswith(b"v1,")]
        matched = False
        for key in self._keys:
            expected = b"v1," + base64.b64encode(hmac_data(key, signed))
            for entry in candidates:  # every one, so that the time taken tells nothing
                matched |= hmac.compare_digest(entry, expected)
        return matched


def verify(
    headers: Headers,
    body: bytes,
    *,
    secrets: Sequence[str],
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


def _required(headers: Headers) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in _pairs(headers):
        key = name.lower()
        if key in _WANTED:
            if key in found:
                raise SignatureError(f"{key.decode()} is repeated", malformed=True)
            found[key] = value
    _check(found)
    return found


def _check(found: Mapping[bytes, bytes]) -> None:
    """The shape of each header; what a header says is not quoted, for it goes into answers and logs."""
    for name in (ID, TIMESTAMP, SIGNATURE):
        if not found.get(name):
            raise SignatureError(f"{name.decode()} is missing", malformed=True)
    if not _VISIBLE_NO_DOT.fullmatch(found[ID]):
        raise SignatureError("webhook-id is malformed", malformed=True)
    if not _SECONDS.fullmatch(found[TIMESTAMP]):
        raise SignatureError("webhook-timestamp is malformed", malformed=True)
    if len(found[SIGNATURE]) > MAX_SIGNATURES:
        raise SignatureError("webhook-signature is too long", malformed=True)
    if ENCODING in found:  # the signature is over the bytes as sent; nobody should have to unpack them
        raise SignatureError("an encoded body is not taken", malformed=True)


def _pairs(headers: Headers) -> Sequence[tuple[bytes, bytes]]:
    if isinstance(headers, Mapping):
        return [
            (name.encode("utf-8", "surrogatepass"), value.encode("utf-8", "surrogatepass"))
            for name, value in headers.items()
        ]
    return headers


# ------------------------------------------------------------------ the body, once it is believed


def parse(body: bytes) -> Signal:
    """The event in a verified body; unknown types and unknown fields are fine.

    Raises:
        InvalidError: Not strict JSON in UTF-8 (no repeated keys, no NaN, no half surrogate pairs, at
            most 64 deep, numbers of at most 40 digits), not an object, or without a `type`.
    """
    event = _strict(body)
    kind = event.get("type")
    if not isinstance(kind, str) or not 0 < len(kind) <= 128:
        raise InvalidError("the event has no type", [("type", "must be a text of 1 to 128 characters")])
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    sent_along = wire.correlation(data.get("user_metadata")) or wire.correlation(event.get("user_metadata"))
    return Signal(
        kind, _text(event.get("version")), _text(event.get("timestamp")), _subject(data.get("id")), sent_along
    )


def _text(value: object) -> str:
    return value[:64] if isinstance(value, str) else ""


def _subject(value: object) -> str | None:
    bare = value.removeprefix("batches/") if isinstance(value, str) else value
    return bare if wire.is_interaction_id(bare) else None


def _strict(body: bytes) -> dict[str, Any]:
    try:
        value = _READER.read(body)
    except ValueError as error:  # UnicodeError and JSONDecodeError are ValueErrors
        why = str(error) if type(error) is ValueError else type(error).__name__
        raise InvalidError(f"the body is not strict JSON: {why}") from error
    if not isinstance(value, dict):
        raise InvalidError("the body is not an object")
    return value
