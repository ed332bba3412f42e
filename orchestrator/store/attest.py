"""The audit held against the tables: what was decided and run there must be what was written down here.

A chain alone shows that nobody changed the audit. Somebody who changes the tables instead leaves it whole,
and is found because the two no longer tell the same story.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from orchestrator.domain.consent import ApprovalStatus, Preview, Terms, Verdict, Vote
from orchestrator.domain.evidence import EntryKind, deciders, shown, text_of, word
from orchestrator.store.audit import TENANT, audit_t
from orchestrator.store.chain import Broken, Chain, Head, Row, Verified, sha256_of
from orchestrator.store.runs import approval_t, call_t, run_t

BATCH: Final = 500
"""Rows read at once."""
UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError)
"""What reading a row raises in which somebody put what no column of its kind holds; SQLite takes anything."""


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


def compare(conn: sa.Connection, batch: int = BATCH) -> Attested:
    """Every question and every call that ran because of one, held against the entries.

    The chain must be whole. A run that was opened before there was an audit is compared as far as it reaches.
    """
    approvals, older, faults = 0, 0, [*_gone(conn)]
    for part in _readable(_questions(conn, batch), faults):
        told = _told(conn, part)
        opened, last = _of_runs(conn, {q["run_id"] for q in part})
        for question in part:
            story, run = told[question["id"]], question["run_id"]
            approvals += 1
            if not story.requested and run not in opened:
                older += 1
                continue
            found = [*_faults(question, story, last.get(question["call"]))]
            if run in opened and _requester(question) != opened[run]:
                found.append("who asked for its run is not who the audit says")
            faults += [f"approval {question['id']}: {fault}" for fault in found]
    return Attested(approvals, older, tuple(faults))


def _readable(parts: Iterator[Sequence[Row]], faults: list[str]) -> Iterator[Sequence[Row]]:
    """Those there are, up to one that cannot be read."""
    try:
        yield from parts
    except UNREADABLE:
        faults.append("a row of the tables cannot be read, and what follows it was not compared")


@dataclass(slots=True)
class _Story:
    """What the audit says of one question."""

    requested: bool = False
    status: str = ""
    digest: str = ""
    arguments: str = ""
    previews: set[str | None] = field(default_factory=set)
    start_by: str | None = None
    deciders: Any = None
    widened: bool = True
    expires_at: str = ""
    yes: set[tuple[str, str]] = field(default_factory=set)
    verdict: dict[str, Any] = field(default_factory=dict)
    approved: str = ""
    claims: set[str] = field(default_factory=set)
    loose: list[str] = field(default_factory=list)

    def hear(self, kind: str, said: dict[str, Any]) -> None:
        self.requested = self.requested or kind == EntryKind.APPROVAL_REQUESTED
        if "status" in said:
            self.status, self.digest = said["status"], said["digest"]
        if kind in (EntryKind.APPROVAL_REQUESTED, EntryKind.EDITED):
            self.arguments = said.get("arguments_sha256", self.arguments)
        if kind in (EntryKind.APPROVAL_REQUESTED, EntryKind.DECIDED):
            self.previews.add(said.get("preview_sha256"))
        if kind in (EntryKind.DECIDED, EntryKind.START_PROLONGED):
            self.start_by = said.get("start_by")
        if kind == EntryKind.ESCALATED:
            self.widened = self.widened and _only_more(self.deciders, said["deciders"])
        if kind in (EntryKind.APPROVAL_REQUESTED, EntryKind.ESCALATED):
            self.deciders, self.expires_at = said["deciders"], said["expires_at"]
        if kind == EntryKind.TIME_BEGAN:
            self.expires_at = said["expires_at"]
        if kind == EntryKind.VOTED:
            self.yes.add((said["by"]["id"], said.get("cast_at", "")))
        if kind == EntryKind.DECIDED:
            self.verdict = said
            if said["verdict"] == "approve":
                self.yes.add((said["by"]["id"], said["decided_at"]))
            self.approved = said["digest"] if said["verdict"] == "approve" else ""
        if kind == EntryKind.CALL_CLAIMED:
            self.claims.add(said["claim"])
            if said["gated"] and said["digest"] != self.approved:
                self.loose.append(said["call"])


def _only_more(before: Any, after: Any) -> bool:
    """Whether an escalation only let more people decide: what stood in the row then may have been forged."""
    if before is None:  # asked before there was an audit
        return True
    was, now = before["stages"], after["stages"]
    kept = all(before[part] == after[part] for part in ("never", "four_eyes")) and len(was) == len(now)
    return kept and all(
        {*old["approvers"]} <= {*new["approvers"]} and old["quorum"] == new["quorum"]
        for old, new in zip(was, now, strict=False)
    )


def _faults(row: Row, story: _Story, last: str | None) -> Iterator[str]:
    """What of a question is not as its story has it; `last` is the one its call was asked about last."""
    if not story.requested:
        yield "the audit does not know that it was asked"
        return
    if str(row["status"]) != story.status:
        yield f"is {row['status']}, the audit says {story.status}"
    if row["digest"] != story.digest:
        yield "its digest is not the one in the audit"
    try:
        yield from _astray(row, story)
    except msgspec.ValidationError:
        yield "cannot be read"
    if not story.widened:
        yield "who may decide it was another already when others were asked too"
    yield from (f"call {call} was started and nobody had approved just that" for call in story.loose)
    if last != row["id"]:
        return
    if row["newest"] != row["id"]:
        yield f"call {row['call']} is gone, or does not know any more that it was asked about"
        return
    if row["claim"] is not None and row["claim"] not in story.claims:
        yield f"call {row['call']} was started, which the audit does not know"
    arguments = sha256_of(row["arguments"])
    inexact = arguments.startswith("sorted:") and story.arguments.startswith("sorted:")
    if arguments != story.arguments and not inexact:
        yield f"the arguments of call {row['call']} are not those people were asked about"


def _astray(row: Row, story: _Story) -> Iterator[str]:
    """Who decided, who said yes, and who may. Raises `msgspec.ValidationError`."""
    here, there = _answer(row["verdict"]), _audited(story.verdict)
    if here != there:
        yield f"its decision is {_shown(here)}, the audit says {_shown(there)}"
    for vote in msgspec.convert(row["votes"], tuple[Vote, ...]):
        if (vote.by.id, text_of(vote.at)) not in story.yes:
            yield f"the audit does not know of a yes by {vote.by.id}"
    if story.previews != {_preview(row["preview"])}:
        yield "what it would do is not what the audit says people were shown"
    if (text_of(row["start_by"]) if row["start_by"] else None) != story.start_by:
        yield "its call may not start until when the audit says"
    if row["status"] not in (ApprovalStatus.PENDING, ApprovalStatus.APPROVED):
        return  # nobody can decide it any more, and nothing runs because of it
    if deciders(msgspec.convert(row["terms"], Terms)) != story.deciders:
        yield "who may decide it is not as the audit says"
    if text_of(row["expires_at"]) != story.expires_at:
        yield "it does not lapse when the audit says"


def _preview(stored: dict[str, Any] | None) -> str | None:
    """The hash of what people were shown. Raises `msgspec.ValidationError`."""
    return None if stored is None else sha256_of(shown(msgspec.convert(stored, Preview)))


def _requester(row: Row) -> Any:
    return row["requester"].get("id") if isinstance(row["requester"], dict) else None


_Said = tuple[str, str, str, str, str, bool]


def _answer(stored: dict[str, Any] | None) -> _Said | None:
    """A decision as the tables have it: what, who, by which door, why, which answer, and whether it stops."""
    if stored is None:
        return None
    verdict = msgspec.convert(stored, Verdict)
    given = "" if verdict.answer is None else sha256_of(verdict.answer)
    return word(verdict), verdict.by.id, verdict.by.door, verdict.reason, given, verdict.stop


def _audited(said: dict[str, Any]) -> _Said | None:
    """The same as the audit has it."""
    if not said or said["verdict"] is None:
        return None
    given, stop = said.get("answer_sha256", ""), said.get("stop", False)
    return said["verdict"], said["by"]["id"], said["by"]["door"], said["reason"], given, stop


def _shown(said: _Said | None) -> str:
    return "none" if said is None else f"{said[0]} by {said[1]} ({said[2]})"


_COMPARED: Final = (
    *("id", "run_id", "call", "status", "digest", "verdict", "votes", "terms", "expires_at"),
    *("preview", "start_by"),
)


def _questions(conn: sa.Connection, batch: int) -> Iterator[Sequence[Row]]:
    """All questions with the call each is about, if it is there, so many at once."""
    query = (
        sa.select(
            *(approval_t.c[n] for n in _COMPARED),
            call_t.c.arguments,
            call_t.c.claim,
            call_t.c.approval.label("newest"),
            run_t.c.requester,
        )
        .join_from(approval_t, call_t, approval_t.c.call == call_t.c.id, isouter=True)
        .join(run_t, approval_t.c.run_id == run_t.c.id, isouter=True)
        .order_by(approval_t.c.id)
        .limit(batch)
    )
    after = ""
    while found := conn.execute(query.where(approval_t.c.id > after)).mappings().all():
        yield [dict(row) for row in found]
        after = found[-1]["id"]


def _told(conn: sa.Connection, part: Sequence[Row]) -> dict[str, _Story]:
    stories: dict[str, _Story] = defaultdict(_Story)
    for row in rows(conn, audit_t.c.approval.in_([q["id"] for q in part])):
        stories[row["approval"]].hear(row["kind"], msgspec.json.decode(row["body"]))
    return stories


def _of_runs(conn: sa.Connection, run_ids: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Of those runs: who asked for the ones whose whole life the audit tells, and by call what it was asked
    about last.
    """
    opened: dict[str, Any] = {}
    last: dict[str, str] = {}
    kinds = (EntryKind.RUN_OPENED, EntryKind.APPROVAL_REQUESTED)
    for row in rows(conn, audit_t.c.run_id.in_(sorted(run_ids)), audit_t.c.kind.in_(kinds)):
        said = msgspec.json.decode(row["body"])
        if row["kind"] == EntryKind.RUN_OPENED:
            opened[row["run_id"]] = said["requester"]["id"]
        else:
            last[said["call"]] = row["approval"]
    return opened, last


def _gone(conn: sa.Connection) -> Iterator[str]:
    """Questions the audit knows of runs that are still there, while they are not."""
    there = sa.exists().where(approval_t.c.id == audit_t.c.approval)
    of_run = sa.exists().where(run_t.c.id == audit_t.c.run_id)
    query = sa.select(audit_t.c.approval).where(
        audit_t.c.tenant == TENANT, audit_t.c.kind == EntryKind.APPROVAL_REQUESTED, of_run, ~there
    )
    for approval in conn.execute(query.order_by(audit_t.c.seq)).scalars():
        yield f"approval {approval}: is gone, and its run is there"
