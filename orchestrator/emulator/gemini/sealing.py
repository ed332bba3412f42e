"""What goes around a delivery's body: its headers, signed rightly, or wrongly on purpose."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.emulator.gemini.clock import Clock
from orchestrator.emulator.gemini.faults import OFF_SECONDS, Fault
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.signing import KeySet, TokenKey, sign_static

KEYS: Final = 3
STRANGER: Final = bytes(range(32))  # a key that nobody has published
STRANGERS_SECRET: Final = "whsec_" + base64.b64encode(STRANGER).decode()


@dataclass(frozen=True)
class Tamper:
    """What is wrong with an attempt, on purpose.

    Args:
        body: Sent (and signed) instead of the event.
        message_id: Sent instead of the delivery's id.
        bad_signature: Well formed, but over other bytes.
        foreign_signature: Over the right bytes, with somebody else's key.
        other_scheme: `v1a` on a registered address, `v1` on a request's own.
        altered: The body is changed after it was signed.
        timestamp_offset: Seconds added to the timestamp; it is signed with it.
        headers: Added to the usual ones, or taken away where None.
    """

    body: bytes | None = None
    message_id: str | None = None
    bad_signature: bool = False
    foreign_signature: bool = False
    other_scheme: bool = False
    altered: bool = False
    timestamp_offset: float = 0.0
    headers: Mapping[str, str | None] = field(default_factory=dict)


def tamper_of(fault: Fault | None) -> Tamper:
    """What a delivery's fault does to its next attempt; nothing for the kinds that only move it in time."""
    match fault.kind if fault is not None else "":
        case "bad_signature":
            return Tamper(bad_signature=True)
        case "foreign_signature":
            return Tamper(foreign_signature=True)
        case "other_scheme":
            return Tamper(other_scheme=True)
        case "altered_body":
            return Tamper(altered=True)
        case "old_timestamp" if fault is not None:
            return Tamper(timestamp_offset=-fault.waits(OFF_SECONDS))
        case "future_timestamp" if fault is not None:
            return Tamper(timestamp_offset=fault.waits(OFF_SECONDS))
        case _:
            return Tamper()


class Seal:
    """Signs deliveries: with a webhook's secrets, or with the published keys."""

    def __init__(self, settings: EmulatorSettings, clock: Clock, ids: Ids) -> None:
        self._settings, self._clock, self._ids = settings, clock, ids
        self._token: TokenKey | None = None
        self.keys = self._fresh()

    def rotate(self) -> None:
        """Publish and sign with a fresh set of keys."""
        self.keys, self._token = self._fresh(), None

    def jwks(self) -> dict[str, Any]:
        """The published set: three Ed25519 keys, and an RSA key where tokens are signed."""
        published = self.keys.jwks()
        if self._settings.dynamic_signature == "jwt":
            published["keys"].append(self._token_key().jwk())
        return published

    def foreign_jwks(self) -> dict[str, Any]:
        """A set of the same shape that verifies nothing."""
        return self._fresh().jwks()

    def headers(
        self, message_id: str, secrets: Sequence[str] | None, body: bytes, tamper: Tamper
    ) -> dict[str, str]:
        """The headers of one attempt; `secrets` is None for an address that a request named itself."""
        now = datetime.now(UTC) if self._settings.real_timestamps else self._clock.now()
        timestamp = int(now.timestamp() + tamper.timestamp_offset)
        message_id = tamper.message_id or message_id
        signed = b"other" + body if tamper.bad_signature else body
        usual: dict[str, str | None] = {
            "content-type": "application/json",
            "user-agent": "gemini-emulator",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._signature(message_id, timestamp, signed, secrets, tamper),
        }
        merged = {**usual, **{name.lower(): value for name, value in tamper.headers.items()}}
        return {name: value for name, value in merged.items() if value is not None}

    def _signature(
        self, message_id: str, timestamp: int, signed: bytes, secrets: Sequence[str] | None, tamper: Tamper
    ) -> str:
        static = (secrets is not None) != tamper.other_scheme
        if static:
            usable = [STRANGERS_SECRET] if tamper.foreign_signature or secrets is None else secrets
            return " ".join(sign_static(secret, message_id, timestamp, signed) for secret in usable)
        if self._settings.dynamic_signature == "jwt":
            return self._signed_token(message_id, timestamp, tamper)
        keys = KeySet([STRANGER]) if tamper.foreign_signature else self.keys
        return keys.sign(message_id, timestamp, signed)

    def _signed_token(self, message_id: str, timestamp: int, tamper: Tamper) -> str:
        key = TokenKey() if tamper.foreign_signature else self._token_key()
        issuer, audience = self._settings.token_issuer, self._settings.token_audience
        token = key.sign(message_id, timestamp, issuer=issuer, audience=audience)
        if not tamper.bad_signature:
            return token
        other = key.sign(message_id, timestamp + 1, issuer=issuer, audience=audience)
        return token.rpartition(".")[0] + "." + other.rpartition(".")[2]

    def _token_key(self) -> TokenKey:
        # Made when first wanted: an RSA key takes a tenth of a second, and most emulators never sign a token.
        self._token = self._token or TokenKey()
        return self._token

    def _fresh(self) -> KeySet:
        return KeySet([self._ids.random.randbytes(32) for _ in range(KEYS)])


def altered(body: bytes) -> bytes:
    """Another event than the one that was signed: about somebody else's interaction."""
    try:
        event = json.loads(body)
        event["data"]["id"] = str(event["data"]["id"])[::-1]
    except (ValueError, KeyError, TypeError):
        return body + b" "
    return json.dumps(event, separators=(",", ":")).encode()
