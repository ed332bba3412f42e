"""Letting go of what ended long ago: whole runs, their files, and logs; few rows in each transaction.

A run goes in one transaction, which writes down in its place which folder of the storage was its own. Files
go the same way, while their run stays and its jobs say so. The bytes are deleted after that COMMIT, and the
folder's row last: a crash in between leaves nothing that says a file is there which is not, and the row that
says what is still to be deleted.

Several processes may do all of it at once: what one holds the others pass by, and each looks again at what
it has locked.

No `from __future__ import annotations` here: SQLModel reads the annotations.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.callbacks import CallbackState
from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.evidence import Entry, EntryKind, text_of
from orchestrator.store import audit
from orchestrator.store.callbacks import callback_t
from orchestrator.store.digests import digest_t
from orchestrator.store.jobs import job_t
from orchestrator.store.outbox import effect_t
from orchestrator.store.run_rows import approval_t, call_t, run_t
from orchestrator.store.sql.held import forget
from orchestrator.store.sql.oldest import MOST, oldest
from orchestrator.store.sql.prepared import Prepared, insert_into, listed, words
from orchestrator.store.tables import ID, EffectState, table

AT_ONCE: Final = 50
"""Live runs whose texts are read at once."""
_NAME: Final = re.compile(r"(?:run|job)_[A-Za-z0-9]+")


class LeavingRow(SQLModel, table=True):
    """A folder of the storage whose files nobody refers to any more, until they are deleted."""

    __tablename__ = "leaving"
    folder: str = Field(primary_key=True, max_length=ID)
    since: datetime


leaving_t = table(LeavingRow)


class Due(NamedTuple):
    """A run that has ended, and where the next batch goes on: by `at`, then by its id."""

    at: datetime
    id: str


_LAST: Final = sa.bindparam("last", type_=sa.String)


def _instant(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=run_t.c.created_at.type)


_ACTIVE: Final = sa.exists().where(
    effect_t.c.run_id == run_t.c.id,
    effect_t.c.state.in_(words((EffectState.PENDING, EffectState.CLAIMED))),
)
"""Something is still done behind it: a message is tried, a hook is to be started, a file is on its way."""
_PAST: Final = sa.tuple_(run_t.c.closed_at, run_t.c.id) > sa.tuple_(_instant("at"), _LAST)
_OVER: Final = sa.and_(run_t.c.closed_at < _instant("before"), ~_ACTIVE)
_KEPT: Final = run_t.c.id.in_(sa.select(job_t.c.run_id).where(job_t.c.files_gone_at.is_(None)))
_IN_ORDER: Final = (run_t.c.closed_at, run_t.c.id)
_ENDED: Final = sa.select(run_t.c.closed_at.label("at"), run_t.c.id).where(_OVER, _PAST)
_DUE_RUNS: Final = Prepared(_ENDED.order_by(*_IN_ORDER).limit(MOST))
_DUE_FILES: Final = Prepared(_ENDED.where(_KEPT).order_by(*_IN_ORDER).limit(MOST))


def due(
    s: Session, before: datetime, most: int, after: Due | None = None, *, only_files: bool = False
) -> list[Due]:
    """Runs that ended before that time and have nothing left to do, the oldest first.

    Args:
        only_files: Of those with jobs whose files are still there.
    """
    begun = after or Due(datetime(1970, 1, 1, tzinfo=UTC), "")
    query = _DUE_FILES if only_files else _DUE_RUNS
    rows = query.rows(s, before=before, most=most, at=begun.at, last=begun.id)
    return [Due(r["at"], r["id"]) for r in rows]


# ------------------------------------------------------------------ what live runs still need

_LIVE: Final = Prepared(
    sa.select(run_t.c.id)
    .where(run_t.c.closed_at.is_(None), run_t.c.id > _LAST)
    .order_by(run_t.c.id)
    .limit(MOST)
)


def _text(column: Any) -> sa.ColumnElement[str]:
    return sa.cast(column, sa.Text)


def _among(column: Any) -> Callable[[str], sa.ColumnElement[bool]]:
    return lambda dialect: column.in_(listed(dialect, "ids"))


_of_id, _of_call, _of_job = _among(run_t.c.id), _among(call_t.c.run_id), _among(job_t.c.run_id)
_RUN_TEXTS: Final = (
    run_t.c.id.label("run"),
    run_t.c.restart_of,
    run_t.c.input,
    _text(run_t.c.outputs).label("outputs"),
    _text(run_t.c.recipe).label("recipe"),
)
_CALL_TEXTS: Final = (
    call_t.c.run_id.label("run"),
    _text(call_t.c.arguments).label("arguments"),
    _text(call_t.c.result).label("result"),
)
_JOB_TEXTS: Final = (
    job_t.c.run_id.label("run"),
    job_t.c.request["file"].as_string().label("file"),
    job_t.c.request["lines_of"].as_string().label("lines_of"),
)
_TEXTS: Final = (
    Prepared(lambda dialect: sa.select(*_RUN_TEXTS).where(_of_id(dialect))),
    Prepared(lambda dialect: sa.select(*_CALL_TEXTS).where(_of_call(dialect))),
    Prepared(lambda dialect: sa.select(*_JOB_TEXTS).where(_of_job(dialect))),
)
"""Where a live run may name a file, a job or a run: what it was asked, does, has done and is told."""
_JOBS: Final = Prepared(lambda dialect: sa.select(job_t.c.run_id, job_t.c.id).where(_of_job(dialect)))


def needed(s: Session, run_ids: Sequence[str]) -> set[str]:
    """Those of them that a live run names, or names a job or a file of. Read before they are let go.

    A name by itself is enough: nobody can guess one, so who has it got it from there.
    """
    of = {row["id"]: row["run_id"] for row in _JOBS.rows(s, ids=list(run_ids))} if run_ids else {}
    of.update((run_id, run_id) for run_id in run_ids)
    return {of[name] for name in _named(s) if name in of} if of else set()


def _named(s: Session) -> Iterator[str]:
    last = ""
    while live := [r["id"] for r in _LIVE.rows(s, last=last, most=AT_ONCE)]:
        for query in _TEXTS:
            for row in query.rows(s, ids=live):
                for name, text in row.items():
                    yield from _NAME.findall(text) if text and name != "run" else ()
        last = live[-1]


# ------------------------------------------------------------------ runs and files


def _held(dialect: str) -> Any:
    """Those that are over still, and nobody else has in hand: for this transaction alone."""
    query = sa.select(run_t.c.id, run_t.c.workflow, run_t.c.status, run_t.c.closed_at)
    query = query.where(_of_id(dialect), _OVER).order_by(run_t.c.id)
    return query.with_for_update(skip_locked=True) if dialect == "postgresql" else query


_HELD: Final = Prepared(_held)
_LEAVE: Final = Prepared(
    lambda dialect: insert_into(dialect)(leaving_t).on_conflict_do_nothing(), ["folder", "since"]
)
_MARK: Final = Prepared(
    lambda dialect: (
        job_t.update()
        .where(_of_job(dialect), job_t.c.files_gone_at.is_(None))
        .values(files_gone_at=_instant("now"))
    )
)
_DELETE_EFFECTS: Final = Prepared(lambda dialect: effect_t.delete().where(_among(effect_t.c.run_id)(dialect)))
_DELETE_RUNS: Final = Prepared(lambda dialect: run_t.delete().where(_of_id(dialect)))


def let_runs_go(s: Session, run_ids: Sequence[str], before: datetime, now: datetime) -> int:
    """Delete them whole, but for their audit, which says so; returns how many that were.

    One that is in somebody's hands, or has something to do again, stays until it is asked for once more.
    """
    held = _HELD.rows(s, ids=list(run_ids), before=before)
    ids = [row["id"] for row in held]
    if not ids:
        return 0
    _leave(s, ids, now)
    audit.note(s, [_removed(row) for row in held], now)
    _DELETE_EFFECTS.run(s, ids=ids)
    _DELETE_RUNS.run(s, ids=ids)
    forget(s)
    return len(ids)


def let_files_go(s: Session, run_ids: Sequence[str], before: datetime, now: datetime) -> int:
    """From here on their jobs have no files; returns of how many runs."""
    ids = [row["id"] for row in _HELD.rows(s, ids=list(run_ids), before=before)]
    if ids:
        _leave(s, ids, now)
        _MARK.run(s, ids=ids, now=now)
        forget(s)
    return len(ids)


def _leave(s: Session, run_ids: Sequence[str], now: datetime) -> None:
    """Of those that had jobs; what else would have made a file?"""
    having = sorted({row["run_id"] for row in _JOBS.rows(s, ids=list(run_ids))})
    _LEAVE.run_many(s, [{"folder": run_id, "since": now} for run_id in having])


def _removed(row: Any) -> Entry:
    facts = {
        "workflow": row["workflow"],
        "status": str(row["status"]),
        "closed_at": text_of(row["closed_at"]),
    }
    return Entry(EntryKind.RUN_REMOVED, row["id"], {**facts, "because": "retention.runs_days"})


_LEAVING: Final = Prepared(
    sa.select(leaving_t.c.folder).where(leaving_t.c.folder > _LAST).order_by(leaving_t.c.folder).limit(MOST)
)
_LEFT: Final = Prepared(leaving_t.delete().where(leaving_t.c.folder == sa.bindparam("of_folder")))


def leaving(s: Session, most: int, after: str = "") -> list[str]:
    """Folders whose files are still to be deleted."""
    return [row["folder"] for row in _LEAVING.rows(s, last=after, most=most)]


def left(s: Session, folder: str) -> None:
    """Its files are deleted."""
    _LEFT.run(s, of_folder=folder)


# ------------------------------------------------------------------ logs


_CALLBACKS: Final = oldest(
    callback_t,
    callback_t.c.id,
    sa.and_(
        callback_t.c.created_at < _instant("before"),
        callback_t.c.since < _instant("before"),
        callback_t.c.state != words([CallbackState.WAITING])[0],
    ),
    callback_t.c.created_at,
)
_DIGESTS: Final = oldest(
    digest_t,
    digest_t.c.name,
    sa.and_(
        digest_t.c.begun_at < _instant("before"),
        ~sa.exists().where(
            approval_t.c.collected == digest_t.c.name,
            approval_t.c.collected != "",
            approval_t.c.status == words([ApprovalStatus.PENDING])[0],
        ),
    ),
    digest_t.c.begun_at,
)


def prune_callbacks(s: Session, before: datetime, most: int) -> int:
    """Forget messages that were written, or sent anew, before that time and wait no more."""
    return _CALLBACKS.run(s, before=before, most=most)


def prune_digests(s: Session, before: datetime, most: int) -> int:
    """Forget where digests stand that were begun before that time and in which nothing is open."""
    return _DIGESTS.run(s, before=before, most=most)
