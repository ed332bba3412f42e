"""How runs began and ended, and what came of their calls: the tables held against the audit.

Nothing of it lets anything run; it is what people are shown afterwards, and keep as the record.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from orchestrator.domain.consent import TENANT
from orchestrator.domain.evidence import EntryKind
from orchestrator.domain.model import RunStatus
from orchestrator.store.audit import audit_t
from orchestrator.store.chain import Row, sha256_of
from orchestrator.store.run_rows import call_t, run_t

_KINDS: Final = (EntryKind.RUN_OPENED, EntryKind.RUN_CLOSED, EntryKind.CALL_SETTLED)
_CLOSED: Final = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
_RUN: Final = tuple(run_t.c[n] for n in ("id", "workflow", "input", "status", "reason", "output"))
_CALL: Final = tuple(call_t.c[n] for n in ("id", "run_id", "outcome", "result"))

Said = Mapping[str, Any]


def faults(conn: sa.Connection, batch: int) -> Iterator[Sequence[str]]:
    """What is not as the audit has it, of runs it knows from their beginning; so many of them at once.

    Raises `run_rows.UNREADABLE`: a row holds what no column of its kind does.
    """
    query, after = sa.select(*_RUN).order_by(run_t.c.id).limit(batch), ""
    while found := conn.execute(query.where(run_t.c.id > after)).mappings().all():
        yield [*_of([dict(row) for row in found], conn)]
        after = found[-1]["id"]


def _of(runs: Sequence[Row], conn: sa.Connection) -> Iterator[str]:
    ids = [run["id"] for run in runs]
    told: dict[tuple[str, str], Said] = {}
    of_runs = (audit_t.c.tenant == TENANT, audit_t.c.run_id.in_(ids), audit_t.c.kind.in_(_KINDS))
    for entry in conn.execute(sa.select(audit_t).where(*of_runs).order_by(audit_t.c.seq)).mappings():
        said = msgspec.json.decode(entry["body"])
        told[entry["kind"], said["call"] if entry["kind"] == EntryKind.CALL_SETTLED else entry["run_id"]] = (
            said
        )
    for run in runs:
        if (opened := told.get((EntryKind.RUN_OPENED, run["id"]))) is not None:
            yield from _of_run(run, opened, told.get((EntryKind.RUN_CLOSED, run["id"])))
    for call in conn.execute(sa.select(*_CALL).where(call_t.c.run_id.in_(ids))).mappings():
        if (EntryKind.RUN_OPENED, call["run_id"]) in told:
            yield from _of_call(dict(call), told.get((EntryKind.CALL_SETTLED, call["id"])))


def _of_run(run: Row, opened: Said, closed: Said | None) -> Iterator[str]:
    if (run["workflow"], sha256_of(run["input"])) != (opened["workflow"], opened["input_sha256"]):
        yield f"run {run['id']}: what was asked for is not what the audit says"
    ended = run["status"] in _CLOSED
    if closed is None:
        if ended:
            yield f"run {run['id']}: is {run['status']}, and the audit does not know that it ended"
        return
    here = str(run["status"]), sha256_of(run["reason"]), sha256_of(run["output"])
    if here != (closed["status"], closed["reason_sha256"], closed["output_sha256"]):
        yield f"run {run['id']}: its end is not the one in the audit, which says {closed['status']}"


def _of_call(call: Row, settled: Said | None) -> Iterator[str]:
    if settled is None:
        if call["outcome"] is not None:
            yield f"call {call['id']}: is said to be over, and the audit does not know that"
        return
    result = sha256_of(call["result"])
    inexact = result.startswith("sorted:") and settled["result_sha256"].startswith("sorted:")
    same = result == settled["result_sha256"] or inexact
    if call["outcome"] is None or str(call["outcome"]) != settled["outcome"] or not same:
        yield f"call {call['id']}: what came of it is not what the audit says, which is {settled['outcome']}"
