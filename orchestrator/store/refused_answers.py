"""Answers that were turned away and are in the audit: how many, and whose, so that no more are than help."""

import json
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.evidence import MOST_REFUSALS, Entry, EntryKind, Refused, refused_as
from orchestrator.store.audit import audit_t, noted
from orchestrator.store.sql.prepared import Prepared, words

_KINDS: Final = (EntryKind.DECISION_REFUSED, EntryKind.REFUSALS_COUNTED)
_ABOUT: Final = Prepared(
    sa.select(audit_t.c.body)
    .where(audit_t.c.approval == sa.bindparam("of_approval"), audit_t.c.kind.in_(words(_KINDS)))
    .order_by(audit_t.c.seq)
    .limit(sa.literal_column(str(MOST_REFUSALS + 1)))
)


def told(s: Session, approval: str) -> list[Refused]:
    """As whom and by which door, of each that is written down about this question, or is about to be."""
    return [*_written(s, approval), *_soon(s, approval)]


def _written(s: Session, approval: str) -> Iterator[Refused]:
    yield from (refused_as(json.loads(row["body"])) for row in _ABOUT.rows(s, of_approval=approval))


def _soon(s: Session, approval: str) -> Iterator[Refused]:
    def meant(entry: Entry) -> bool:
        return entry.approval == approval and entry.kind in _KINDS

    yield from (refused_as(entry.facts) for entry in noted(s) if meant(entry))
