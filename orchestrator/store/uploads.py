"""Pictures under a question in Slack: which of Slack's files they are, so that none is shown twice.

What was sent to Slack is written down before it is shown there. Whoever comes second shows the same files.

No `from __future__ import annotations` here: SQLModel reads the annotations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel

from orchestrator.domain.jobs import StoredFile
from orchestrator.store import jobs
from orchestrator.store.sql.prepared import Prepared, insert_into
from orchestrator.store.tables import ID, JSON, table


class UploadRow(SQLModel, table=True):
    """The pictures of one question. `files` are pairs of Slack's id and the title it is shown by."""

    __tablename__ = "upload"
    approval: str = Field(primary_key=True, max_length=ID, foreign_key="approval.id", ondelete="CASCADE")
    files: list[Any] = Field(sa_type=JSON)
    shown: bool
    trouble: str = Field(sa_type=sa.Text)


upload_t = table(UploadRow)


@dataclass(frozen=True, slots=True)
class Upload:
    """How it stands: what Slack has, whether people see it, and what could not be shown."""

    files: tuple[tuple[str, str], ...] = ()
    shown: bool = False
    trouble: str = ""


_OF = upload_t.c.approval == sa.bindparam("of_approval")
_FIND: Final = Prepared(sa.select(upload_t).where(_OF))
_BEGIN: Final = Prepared(
    lambda dialect: insert_into(dialect)(upload_t).on_conflict_do_nothing(),
    ["approval", "files", "shown", "trouble"],
)
_MOVE: Final = Prepared(upload_t.update().where(_OF), ["files", "shown", "trouble"])


def standing(s: Session, approval: str) -> Upload:
    """What is known of the pictures of a question."""
    row = _FIND.first(s, of_approval=approval)
    if row is None:
        return Upload()
    return Upload(tuple((str(i), str(t)) for i, t in row["files"]), row["shown"], row["trouble"])


def sent(s: Session, approval: str, files: Sequence[tuple[str, str]], trouble: str) -> Upload:
    """Slack has these; where it has others of an earlier try already, those are the ones to show."""
    kept = standing(s, approval)
    if kept.files:
        return kept
    put(s, approval, Upload(tuple(files), False, trouble))
    return standing(s, approval)


def put(s: Session, approval: str, upload: Upload) -> None:
    """How it stands now."""
    row = {"files": [list(f) for f in upload.files], "shown": upload.shown, "trouble": upload.trouble}
    if not _BEGIN.run(s, approval=approval, **row):
        _MOVE.run(s, of_approval=approval, **row)


def recorded(s: Session, paths: Sequence[str]) -> dict[str, StoredFile]:
    """Of those paths, the ones that a job's row records; a path by itself opens nothing.

    They may be of other runs: their names hold ids nobody can guess.
    """
    runs = {path.partition("/")[0] for path in paths}
    known = {file.path: file for run in sorted(runs) for _, job in jobs.of_run(s, run) for file in job.files}
    return {path: known[path] for path in paths if path in known}
