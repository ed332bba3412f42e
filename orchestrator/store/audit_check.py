"""The audit held against the tables: what was decided and run there must be what was written down here.

A chain alone shows that nobody changed the audit. Somebody who changes the tables instead leaves it whole,
and is found because the two no longer tell the same story: by `compare` of everything there is, and by
`doubts` at the gate, before a call runs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.calls import impossible
from orchestrator.domain.consent import TENANT, ApprovalStatus
from orchestrator.domain.evidence import EntryKind
from orchestrator.domain.model import CallStatus, Run, ToolCall
from orchestrator.store import audit_runs
from orchestrator.store.audit import audit_t
from orchestrator.store.audit_questions import Testimony, faults, of_call
from orchestrator.store.chain import Broken, Chain, Head, Row, Verified, flaw
from orchestrator.store.run_rows import UNREADABLE, approval_t, call_t, run_t
from orchestrator.store.sql.prepared import Prepared, words

T = TypeVar("T")
BATCH: Final = 500
"""Rows read at once."""
COMPARED: Final = (
    *("id", "run_id", "call", "status", "digest", "verdict", "votes", "terms", "expires_at"),
    *("preview", "start_by", "questions", "requested_at"),
)
"""What of a question is compared; beside it go its call's tool, arguments and claim."""
OF_RUN: Final = (EntryKind.RUN_OPENED, EntryKind.APPROVAL_REQUESTED)


@dataclass(frozen=True, slots=True)
class Attested:
    """What comparing came to: `faults` in words, and how many questions are older than the audit."""

    approvals: int = 0
    older: int = 0
    faults: tuple[str, ...] = ()


def walk(conn: sa.Connection, published: Head | None = None, batch: int = BATCH) -> Verified:
    """The whole chain, first to last."""
    chain = Chain(TENANT, published)
    try:
        for row in rows(conn, batch=batch):
            if not chain.take(row):
                break
    except UNREADABLE:
        return Verified(chain.head, Broken(chain.head.seq + 1, "or one soon after it cannot be read"))
    return chain.end()


def rows(conn: sa.Connection, *where: sa.ColumnElement[bool], batch: int = BATCH) -> Iterator[Row]:
    """Entries in their order, so many read at once."""
    after = -(2**63)  # a row with a number nobody gave is found too
    query = sa.select(audit_t).where(audit_t.c.tenant == TENANT, *where).order_by(audit_t.c.seq).limit(batch)
    while found := conn.execute(query.where(audit_t.c.seq > after)).mappings().all():
        yield from (dict(r) for r in found)
        after = found[-1]["seq"]


def _about(conn: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Row]:
    """Entries about some questions or runs, in their order; found by those, not along the chain."""
    return _one_tenant(conn.execute(sa.select(audit_t).where(*where).order_by(audit_t.c.seq)).mappings())


def compare(conn: sa.Connection, batch: int = BATCH) -> Attested:
    """Every question, every call that ran because of one, and how runs and calls ended, held against entries.

    The chain must be whole. A run that was opened before there was an audit is compared as far as it reaches.
    """
    approvals, older, found = 0, 0, [*_gone(conn)]
    began = _began(conn)
    for part in _readable(_questions(conn, batch), found):
        about = _told(_about(conn, audit_t.c.approval.in_([q["id"] for q in part])))
        runs = sorted({q["run_id"] for q in part})
        lives = _Lives(_about(conn, audit_t.c.run_id.in_(runs), audit_t.c.kind.in_(OF_RUN)))
        for question in part:
            told = about[question["id"]]
            approvals += 1
            if lives.older(question, told, began):
                older += 1
                continue
            wrong = (*faults(question, told, lives.last.get(question["call"])), *lives.requester(question))
            found += [f"approval {question['id']}: {fault}" for fault in wrong]
    for ended in _readable(audit_runs.faults(conn, batch), found):
        found += ended
    return Attested(approvals, older, tuple(found))


def doubts(s: Session, call: ToolCall) -> tuple[str, ...]:
    """Where the tables differ from the audit about a call that is to run and that people were asked about.

    Read in the transaction that is to claim it. Of a question that was taken back only the call counts.
    Empty for a call nobody was asked about, and for a question older than the audit.
    """
    approval = call.approval
    if approval is None:
        return ()
    return _read(_doubts(s, approval.id, approval.status is ApprovalStatus.WITHDRAWN))


def unasked(s: Session, run_id: str, call: ToolCall) -> tuple[str, ...]:
    """The same of a call that has no question: whether the audit has one."""
    return _read(_unasked(s, run_id, call.id))


def _read(found: Iterator[str]) -> tuple[str, ...]:
    try:
        return tuple(found)
    except UNREADABLE:
        return ("what the tables or the audit say of it cannot be read",)


def idle(s: Session, run_id: str, call: ToolCall) -> tuple[str, ...]:
    """Why a call is where nothing of ours leaves it, so that nothing would ever come of it.

    It waits for people though its question is over or gone, runs by nobody's hand, or is over without an end.
    """
    if wrong := impossible(call):
        return (wrong,)
    if call.status is not CallStatus.AWAITING_APPROVAL or (call.approval and call.approval.open):
        return ()
    found = doubts(s, call) if call.approval else unasked(s, run_id, call)
    return found or (f"call {call.id} is said to wait for people, and nobody is asked",)


def gone(s: Session, run: Run, call: str) -> tuple[str, ...]:
    """The same of a call that is to run and is none of the newest turn's: it may be of a turn before.

    Not told by the audit, which knows no calls but those people were asked about.
    """
    row = _CALL.first(s, of_call=call)
    if row is not None and row["run_id"] == run.id and row["turn"] < run.turn.number:
        return ()
    return ("it is not where it was",)


def _unasked(s: Session, run_id: str, call: str) -> Iterator[str]:
    if call in _Lives(_one_tenant(_OF_RUN.rows(s, of_run=run_id))).last:
        yield "the question about it is gone"


def _doubts(s: Session, approval: str, spent: bool) -> Iterator[str]:
    question = _QUESTION.first(s, of_approval=approval)
    if question is None:
        yield "the question about it is gone"
        return
    about = _one_tenant(_OF_QUESTION.rows(s, of_approval=approval))
    of_run = _one_tenant(_OF_RUN.rows(s, of_run=question["run_id"]))
    if any(flaw(row, TENANT) for row in (*about, *of_run)):
        yield "entries of the audit about it were changed"
        return
    told, lives = _told(about)[approval], _Lives(of_run)
    if not told.requested:
        if not lives.older(question, told, _began(s.connection())):
            yield from faults(question, told, approval)
        elif _gaps(s):
            yield "entries of the audit are gone, and what it has of it may have been among them"
    elif lives.last.get(question["call"]) != approval:
        yield "the audit says that people were asked about it otherwise since"
    elif spent:
        yield from of_call(question, told)
    else:
        yield from (*faults(question, told, approval), *lives.requester(question))


def _began(conn: sa.Connection) -> datetime | None:
    """When the first entry of the audit was written; None while there is none."""
    first = sa.select(audit_t.c.at).where(audit_t.c.tenant == TENANT).order_by(audit_t.c.seq).limit(1)
    return conn.execute(first).scalar()


def _gaps(s: Session) -> bool:
    """Whether numbers of the chain are missing: only asked where a question is said to be older than it."""
    there = _NUMBERS.first(s)
    return (
        there is not None
        and there["last"] is not None
        and (there["first"], there["many"]) != (1, there["last"])
    )


def _readable(parts: Iterator[Sequence[T]], found: list[str]) -> Iterator[Sequence[T]]:
    """Those there are, up to one that cannot be read."""
    try:
        yield from parts
    except UNREADABLE:
        found.append("a row of the tables cannot be read, and what follows it was not compared")


class _Lives:
    """Of runs: who asked for those whose whole life the audit tells, and what each call was asked last."""

    def __init__(self, entries: Iterable[Row]) -> None:
        self.opened: dict[str, Any] = {}
        self.last: dict[str, str] = {}
        for row in entries:
            said = msgspec.json.decode(row["body"])
            if row["kind"] == EntryKind.RUN_OPENED:
                self.opened[row["run_id"]] = said["requester"]["id"]
            else:
                self.last[said["call"]] = row["approval"]

    def older(self, question: Row, told: Testimony, began: datetime | None) -> bool:
        """Whether it was asked before there was an audit, which `began` then; None while it is empty.

        Of one that was asked since and is unknown to it, the entries were deleted.
        """
        unknown = not told.requested and question["run_id"] not in self.opened
        return unknown and (began is None or question["requested_at"] <= began)

    def requester(self, question: Row) -> Iterator[str]:
        """What is wrong with who asked for its run."""
        asked, run = question["requester"], question["run_id"]
        who = asked.get("id") if isinstance(asked, dict) else None
        if run in self.opened and who != self.opened[run]:
            yield "who asked for its run is not who the audit says"


_COMPARING: Final = (
    sa.select(
        *(approval_t.c[n] for n in COMPARED),
        call_t.c.tool,
        call_t.c.arguments,
        call_t.c.claim,
        call_t.c.approval.label("newest"),
        run_t.c.requester,
    )
    .join_from(approval_t, call_t, approval_t.c.call == call_t.c.id, isouter=True)
    .join(run_t, approval_t.c.run_id == run_t.c.id, isouter=True)
)
_QUESTION: Final = Prepared(_COMPARING.where(approval_t.c.id == sa.bindparam("of_approval")))
_OF_QUESTION: Final = Prepared(
    sa.select(audit_t).where(audit_t.c.approval == sa.bindparam("of_approval")).order_by(audit_t.c.seq)
)
_CALL: Final = Prepared(
    sa.select(call_t.c.run_id, call_t.c.turn).where(call_t.c.id == sa.bindparam("of_call"))
)
_OF_RUN: Final = Prepared(
    sa.select(audit_t)
    .where(audit_t.c.run_id == sa.bindparam("of_run"), audit_t.c.kind.in_(words(OF_RUN)))
    .order_by(audit_t.c.seq)
)
"""What opened a run and asked about its calls. As one statement with the entries about a question, or with
their tenant, SQLite would read the whole chain.
"""


_NUMBERS: Final = Prepared(
    sa.select(
        sa.func.count().label("many"),
        sa.func.min(audit_t.c.seq).label("first"),
        sa.func.max(audit_t.c.seq).label("last"),
    ).where(audit_t.c.tenant == TENANT)
)


def _one_tenant(found: Iterable[Any]) -> list[Row]:
    return [row for row in found if row["tenant"] == TENANT]


def _questions(conn: sa.Connection, batch: int) -> Iterator[Sequence[Row]]:
    """All questions with the call each is about, if it is there, so many at once."""
    query, after = _COMPARING.order_by(approval_t.c.id).limit(batch), ""
    while found := conn.execute(query.where(approval_t.c.id > after)).mappings().all():
        yield [dict(row) for row in found]
        after = found[-1]["id"]


def _told(entries: Iterable[Row]) -> dict[str, Testimony]:
    about: dict[str, Testimony] = defaultdict(Testimony)
    for row in entries:
        about[row["approval"]].hear(row["kind"], msgspec.json.decode(row["body"]))
    return about


def _gone(conn: sa.Connection) -> Iterator[str]:
    """Runs the audit knows, and questions of runs that are there, which are no more and nothing says why."""
    removed = sa.select(audit_t.c.run_id).where(
        audit_t.c.tenant == TENANT, audit_t.c.kind == EntryKind.RUN_REMOVED
    )
    of_run = sa.exists().where(run_t.c.id == audit_t.c.run_id)
    opened = sa.select(audit_t.c.run_id).where(
        audit_t.c.tenant == TENANT, audit_t.c.kind == EntryKind.RUN_OPENED, ~of_run
    )
    for run in conn.execute(opened.where(audit_t.c.run_id.not_in(removed)).order_by(audit_t.c.seq)).scalars():
        yield f"run {run}: is gone, and the audit does not say that it was removed"
    there = sa.exists().where(approval_t.c.id == audit_t.c.approval)
    asked = sa.select(audit_t.c.approval).where(
        audit_t.c.tenant == TENANT, audit_t.c.kind == EntryKind.APPROVAL_REQUESTED, of_run, ~there
    )
    for approval in conn.execute(asked.order_by(audit_t.c.seq)).scalars():
        yield f"approval {approval}: is gone, and its run is there"
