"""The record of a run, entry by entry.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from orchestrator.domain.hidden import covered_record
from orchestrator.web.schemas.ground import Hidden, Row, whole_text


class EventOut(Struct, kw_only=True):
    """One entry of a run's record."""

    seq: int
    kind: str
    at: datetime
    status: str
    note: str
    refused: str | None
    data: dict[str, Any]


class EventPage(Struct, kw_only=True):
    """Oldest first; `next` is the `after` of the next page, None at the end of the record."""

    items: list[EventOut]
    next: int | None


def event_out(row: Row, hidden: Hidden) -> EventOut:
    same = {k: row[k] for k in ("seq", "kind", "at", "status", "note", "refused")}
    return EventOut(**same, data=covered_record(whole_text(row["data"]), hidden))
