"""The audit, as far as the API tells of it: its entries, and the receipt of one decision.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import json
from datetime import datetime
from typing import Annotated, Any

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import Meta, Struct

from orchestrator.domain.consent import TENANT
from orchestrator.errors import NotFoundError
from orchestrator.store import audit
from orchestrator.store.chain import Row
from orchestrator.web.doors import Doors
from orchestrator.web.paging import Limit, own_id
from orchestrator.web.problems import problems
from orchestrator.web.runs import OPERATE, READ

_Id = QueryParameter(max_length=64, pattern="^[A-Za-z0-9_-]+$")


class AuditEntry(Struct, kw_only=True):
    """One entry. `hash` is SHA-256 over `previous` followed by `body`, and `body` says it all."""

    seq: int
    at: datetime
    kind: str
    run: str | None
    approval: str | None
    facts: Annotated[dict[str, Any], Meta(description="`body`, read.")]
    body: Annotated[str, Meta(description="RFC 8785 JSON, as it was hashed.")]
    previous: str
    hash: str


class AuditPage(Struct, kw_only=True):
    """Entries in their order. `next` is what `after` is to be for the following page."""

    items: list[AuditEntry]
    next: int | None


class AuditHead(Struct, kw_only=True):
    """The last entry of the chain."""

    tenant: str
    seq: int
    hash: str


class Receipt(Struct, kw_only=True):
    """All the audit says about one question, and where the chain ended when this was written."""

    approval: str
    entries: list[AuditEntry]
    head: AuditHead


@get("/audit", opt=OPERATE, summary="List the audit", responses=problems(400))
async def list_audit(
    doors: NamedDependency[Doors],
    run: Annotated[str | None, _Id] = None,
    approval: Annotated[str | None, _Id] = None,
    after: Annotated[int, QueryParameter(ge=0, le=2**53, description="Entry to go on from.")] = 0,
    limit: Limit = 100,
) -> AuditPage:
    """The first entry first."""
    found = await doors.database.read(
        audit.entries, after=after, limit=limit + 1, run_id=run, approval=approval
    )
    items = [_entry(r) for r in found[:limit]]
    return AuditPage(items=items, next=items[-1].seq if len(found) > limit else None)


@get(
    "/approvals/{approval_id:str}/receipt",
    opt=READ,
    summary="The receipt of a decision",
    responses=problems(400, 404),
)
async def show_receipt(approval_id: FromPath[str], doors: NamedDependency[Doors]) -> Receipt:
    """What was asked, who was asked, who decided how by which door, and what ran because of it."""
    approval = own_id(approval_id, "approval")
    found, head = await doors.database.read(audit.receipt, approval)
    if not found:
        raise NotFoundError("the audit knows no approval of that id")
    ended = AuditHead(tenant=TENANT, seq=head.seq, hash=head.hash)
    return Receipt(approval=approval, entries=[_entry(r) for r in found], head=ended)


def _entry(row: Row) -> AuditEntry:
    same = {n: row[n] for n in ("seq", "at", "kind", "approval", "body", "previous", "hash")}
    return AuditEntry(run=row["run_id"], facts=json.loads(row["body"]), **same)
