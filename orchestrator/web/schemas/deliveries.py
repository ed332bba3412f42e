"""Webhooks as they came, and what became of them.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct

from orchestrator.store.inbox import DeliveryVerdict
from orchestrator.store.tables import DeliveryState
from orchestrator.strictjson import StrictReader
from orchestrator.web.handles import to_handle
from orchestrator.web.schemas.ground import Links, Row, run_path

SIGNATURE_SHOWN: Final = 8
"""Characters of a signature that are shown: enough to tell two apart."""

_READER: Final = StrictReader(depth=64)
_SAME: Final = (
    *("id", "kind", "subject", "state", "note", "scheme", "received_at", "timestamp", "handled_at"),
    *("duplicates", "conflicts", "size"),
)


class DeliverySummary(Struct, kw_only=True):
    """One webhook as it came, and what became of it. Of a refused one nothing is believed, and of its body
    the first 16 KiB are kept; `scheme` is empty where no signature was good.

    `verdict` is None while it waits, `handled_at` when it was worked on. `duplicates` counts how often it
    came again, `conflicts` how often of those with another body, which was not kept. `timestamp` is the
    sender's, in Unix seconds; `size` is the body's, in bytes.
    """

    id: str
    kind: str
    subject: str
    state: DeliveryState
    verdict: DeliveryVerdict | None
    note: str
    scheme: str
    run: str | None
    received_at: datetime
    timestamp: int
    handled_at: datetime | None
    duplicates: int
    conflicts: int
    size: int
    links: Links


class Followed(Struct, kw_only=True):
    """An entry of a run's record."""

    seq: int
    kind: str
    at: datetime
    status: str
    note: str


class DeliveryOut(DeliverySummary, kw_only=True):
    """`body` is text where `encoding` is `json`, else `base64`. Signatures in `headers` are shortened.

    `followed` are the first entries of the run's record from the reading on that the webhook asked for.
    """

    headers: dict[str, str]
    sha256: str
    encoding: Literal["json", "base64"]
    body: str
    turn: int | None
    followed: list[Followed]


class DeliveryPage(Struct, kw_only=True):
    """The last received first; `next` is the cursor of the next page."""

    items: list[DeliverySummary]
    next: str | None


def delivery_summary(row: Row) -> DeliverySummary:
    return DeliverySummary(**_summary(row))


def delivery_out(row: Row, turn: int | None, followed: Sequence[Row]) -> DeliveryOut:
    """With its headers and body; `turn` is the one read for it, `followed` what came after in the record."""
    encoding, body = _body(row["body"])
    return DeliveryOut(
        **_summary(row),
        headers={name: _header(name, str(value)) for name, value in row["headers"].items()},
        sha256=row["body_hash"],
        encoding=encoding,
        body=body,
        turn=turn,
        followed=[Followed(**{k: e[k] for k in Followed.__struct_fields__}) for e in followed],
    )


def _summary(row: Row) -> dict[str, Any]:
    own = f"/v1/deliveries/{to_handle(row['id'])}"
    run_id: str | None = row["run_id"]
    verdict = DeliveryVerdict(row["verdict"]) if row["verdict"] else None
    links = {"self": own, "replay": f"{own}/replay", **({"run": run_path(run_id)} if run_id else {})}
    return {**{k: row[k] for k in _SAME}, "verdict": verdict, "run": run_id, "links": links}


def _header(name: str, value: str) -> str:
    """A header as people may see it: a signature stays recognisable, and is of no use to anybody."""
    if not name.lower().endswith("signature"):
        return value
    return " ".join(_shortened(entry) for entry in value.split(" "))


def _shortened(entry: str) -> str:
    label, comma, signature = entry.rpartition(",")
    shown = signature if len(signature) <= SIGNATURE_SHOWN else f"{signature[:SIGNATURE_SHOWN]}…"
    return f"{label[:SIGNATURE_SHOWN]}{comma}{shown}"


def _body(raw: bytes) -> tuple[Literal["json", "base64"], str]:
    """The body as text where it is JSON that everybody reads alike; any other one byte by byte."""
    try:
        _READER.read(raw)
    except ValueError:
        return "base64", base64.b64encode(raw).decode()
    return "json", raw.decode()
