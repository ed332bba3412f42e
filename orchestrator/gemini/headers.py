"""The headers of a delivery, common to every scheme: which must be there, in what shape, and how old.

Nothing a header says is quoted in an error, for that goes into answers and logs.

Source: Standard Webhooks specification, "Webhook metadata".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from orchestrator.errors import SignatureError

TOLERANCE_SECONDS: Final = 300  # the specification's, either way
MAX_ID: Final = 256  # characters
MAX_SIGNATURES: Final = 4096  # bytes of the signature header; an entry has 47 or 92
MAX_KEPT: Final = 512  # characters of a header that are kept for people to read

ID: Final = b"webhook-id"
TIMESTAMP: Final = b"webhook-timestamp"
SIGNATURE: Final = b"webhook-signature"
ENCODING: Final = b"content-encoding"
_ONCE: Final = frozenset({ID, TIMESTAMP, SIGNATURE, ENCODING})
_KEPT: Final = {
    ID: "webhook-id",
    TIMESTAMP: "webhook-timestamp",
    SIGNATURE: "webhook-signature",
    b"content-type": "content-type",
    b"user-agent": "user-agent",
}
_WANTED: Final = _ONCE | _KEPT.keys()

_VISIBLE_NO_DOT: Final = re.compile(rb"[!-\-/-~]{1,%d}" % MAX_ID)
_SECONDS: Final = re.compile(rb"[0-9]{1,12}")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")

Headers = Iterable[tuple[bytes, bytes]] | Mapping[str, str]
"""As ASGI gives them, repetitions and all; or a mapping, where names are spelled in any case."""
Found = Mapping[bytes, bytes]
Scheme = Literal["v1", "v1a", "jwt"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified delivery.

    Args:
        id: The same over the sender's retries: duplicates are known by it.
        sent: In Unix seconds; of this attempt, not of the first one.
        scheme: Which kind of signature was good.
        headers: Those that matter to a reader of the record: printable, at most 512 characters each.
    """

    id: str
    sent: int
    scheme: Scheme = "v1"
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def sent_at(self) -> datetime:
        return datetime.fromtimestamp(self.sent, UTC)


def read(headers: Headers, *, now: datetime, tolerance_seconds: int) -> tuple[Found, int]:
    """The headers that count, and when the delivery was sent, in Unix seconds.

    Raises:
        SignatureError: `malformed`, for headers that are missing, repeated, garbled or stale.
    """
    found: dict[bytes, bytes] = {}
    for name, value in _pairs(headers):
        key = name.lower()
        if key not in _WANTED:
            continue
        if key not in found:
            found[key] = value
        elif key in _ONCE:
            raise SignatureError(f"{key.decode()} is repeated", malformed=True)
    _check(found)
    sent = int(found[TIMESTAMP])
    if abs(now.timestamp() - sent) > tolerance_seconds:
        raise SignatureError("the timestamp is too far from now", malformed=True)
    return found, sent


def signed(found: Found, body: bytes) -> bytes:
    """The bytes that `v1` and `v1a` sign."""
    return b"%b.%b.%b" % (found[ID], found[TIMESTAMP], body)


def delivery(found: Found, sent: int, scheme: Scheme) -> Delivery:
    """What is known of a delivery once it is believed."""
    kept = {_KEPT[key]: _text(value) for key, value in found.items() if key in _KEPT}
    return Delivery(kept["webhook-id"], sent, scheme, kept)


def worth_keeping(headers: Headers) -> Mapping[str, str]:
    """Those that matter to a reader of the record, of a delivery that is not believed: as `Delivery` keeps
    them; of one that is repeated, the first.
    """
    kept: dict[str, str] = {}
    for name, value in _pairs(headers):
        known = _KEPT.get(name.lower())
        if known is not None and known not in kept:
            kept[known] = _text(value)
    return kept


def _text(value: bytes) -> str:
    text = value.decode("latin-1")
    if len(text) <= MAX_KEPT and text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub("?", text[:MAX_KEPT])


def _check(found: Found) -> None:
    for name in (ID, TIMESTAMP, SIGNATURE):
        if not found.get(name):
            raise SignatureError(f"{name.decode()} is missing", malformed=True)
    if not _VISIBLE_NO_DOT.fullmatch(found[ID]):
        raise SignatureError("webhook-id is malformed", malformed=True)
    if not _SECONDS.fullmatch(found[TIMESTAMP]):
        raise SignatureError("webhook-timestamp is malformed", malformed=True)
    if len(found[SIGNATURE]) > MAX_SIGNATURES:
        raise SignatureError("webhook-signature is too long", malformed=True)
    # The signature is over the bytes as sent; nobody should have to unpack them.
    if ENCODING in found and found[ENCODING].strip().lower() != b"identity":
        raise SignatureError("an encoded body is not taken", malformed=True)


def _pairs(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    if isinstance(headers, Mapping):
        return [
            (name.encode("utf-8", "surrogatepass"), value.encode("utf-8", "surrogatepass"))
            for name, value in headers.items()
        ]
    return headers
