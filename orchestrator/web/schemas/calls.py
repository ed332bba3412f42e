"""Function calls, and in short what they wait for.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.jobs import Job, JobKind, JobStatus
from orchestrator.domain.model import CallStatus, OutcomeKind
from orchestrator.store.run_rows import terms_value
from orchestrator.web.schemas.ground import Hidden, Row, seen, whole_text


class Question(Struct, kw_only=True):
    """An approval in short."""

    id: str
    status: ApprovalStatus
    expires_at: datetime


class JobInShort(Struct, kw_only=True):
    """A long job a call waits for, or has waited for."""

    id: str
    number: int
    kind: JobKind
    status: JobStatus


class CallOut(Struct, kw_only=True):
    """One function call. `call_id` is Gemini's id, `id` ours; `result` is what went back to the model."""

    id: str
    call_id: str
    turn: int
    tool: str
    arguments: dict[str, Any]
    status: CallStatus
    idempotent: bool
    outcome: OutcomeKind | None
    result: Any
    approval: Question | None
    jobs: list[JobInShort]
    started_at: datetime | None
    settled_at: datetime | None


class CallList(Struct, kw_only=True):
    items: list[CallOut]


def call_out(row: Row, approval: Row | None, jobs: Sequence[Job], hidden: Hidden) -> CallOut:
    same = ("id", "call_id", "turn", "tool", "status", "idempotent", "outcome", "started_at", "settled_at")
    asked = approval and Question(
        id=approval["id"], status=approval["status"], expires_at=approval["expires_at"]
    )
    frozen = terms_value(approval).hidden if approval else ()
    return CallOut(
        **{k: row[k] for k in same},
        arguments=seen(row, frozen, hidden),
        result=whole_text(row["result"]),
        approval=asked or None,
        jobs=[JobInShort(id=j.id, number=j.number, kind=j.kind, status=j.status) for j in jobs],
    )
