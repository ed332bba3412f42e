"""Files a run's jobs have made: their list, and their bytes.

A path opens nothing by itself: only what a job's row records is looked for in the storage.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import re
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from litestar.response import Stream
from msgspec import Meta, Struct
from sqlalchemy.orm import Session

from orchestrator.domain.jobs import JobKind, StoredFile
from orchestrator.errors import ConflictError, NotFoundError, RejectedError
from orchestrator.storage.content import SUFFIX
from orchestrator.storage.files import Storage
from orchestrator.store import audit, job_views, views
from orchestrator.web.doors import Doors
from orchestrator.web.paging import own_id
from orchestrator.web.problems import problems
from orchestrator.web.runs import READ

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SPAN: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
_TAG: Final = re.compile(r'\*|(?:W/)?"[^"]*"')
_UNKNOWN: Final = "application/octet-stream"
_CALM: Final = {
    "accept-ranges": "bytes",
    "content-security-policy": "default-src 'none'; sandbox",
}


class FileOut(Struct, kw_only=True):
    """One file. `path` is the end of `GET /v1/files/<path>`; `type` was found by content.

    From `gone_at` on its bytes are not there any more.
    """

    path: str
    job: str
    kind: JobKind
    type: str
    bytes: int
    sha256: Annotated[str, Meta(description="64 hex digits.")]
    gone_at: Annotated[datetime | None, Meta(description="When it was removed as too old.")]


class FileList(Struct, kw_only=True):
    """All files of a run, in the order of its jobs."""

    items: list[FileOut]


@get("/runs/{run_id:str}/files", opt=READ, summary="The files of a run", responses=problems(400, 404))
async def list_files(run_id: FromPath[str], doors: NamedDependency[Doors]) -> FileList:
    return FileList(items=await doors.database.read(_listed, own_id(run_id, "run")))


def _listed(s: Session, run_id: str) -> list[FileOut]:
    views.run(s, run_id)
    return [
        FileOut(**file, job=row["id"], kind=row["kind"], gone_at=row["files_gone_at"])
        for row in job_views.of_run(s, run_id)
        for file in row["files"]
    ]


@get(
    "/files/{run_id:str}/{name:str}",
    opt=READ,
    summary="The bytes of a file",
    responses={
        206: ResponseSpec(None, generate_examples=False, description="The part that `Range` asked for."),
        304: ResponseSpec(None, generate_examples=False, description="`If-None-Match` names what it is."),
        **problems(400, 404, 409, 410, 412, 416),
    },
)
async def get_file(
    run_id: FromPath[str],
    name: FromPath[str],
    request: Request[Any, Any, Any],
    doors: NamedDependency[Doors],
) -> Stream | Response[None]:
    """Streamed, whole or the one part that `Range` asks for; always to be saved, never to be shown.

    410 for one that was removed as too old, 404 for one whose run was.
    """
    file = await doors.database.read(_recorded, own_id(run_id, "run"), name)
    if doors.files is None:
        raise NotFoundError("there is no such file")
    if await _size(doors.files, file.path) != file.bytes:
        raise ConflictError("the file in the storage is not the one that was recorded")
    tag = f'"{file.sha256}"'
    if _had(request, tag):
        return Response(None, headers={**_CALM, "etag": tag}, status_code=304)
    first, last, status = _span(request, file.bytes, tag)
    headers = {
        **_CALM,
        "etag": tag,
        "content-length": str(last - first + 1),
        "content-disposition": f'attachment; filename="{name}"',
    }
    if status == 206:
        headers["content-range"] = f"bytes {first}-{last}/{file.bytes}"
    content = doors.files.read(file.path, first, last - first + 1)
    media = file.type if file.type in SUFFIX else _UNKNOWN
    closing = BackgroundTask(_let_go, content)
    return Stream(content, media_type=media, headers=headers, status_code=status, background=closing)


async def _size(files: Storage, path: str) -> int | None:
    """None where something else lies in its place, such as a link."""
    try:
        return await files.size(path)
    except RejectedError:
        return None


async def _let_go(content: AsyncGenerator[bytes, None]) -> None:
    """Also who goes away in the middle leaves a file open here: nobody else closes it."""
    await content.aclose()


def _recorded(s: Session, run_id: str, name: str) -> StoredFile:
    path = f"{run_id}/{name}"
    rows = job_views.of_run(s, run_id) if _NAME.fullmatch(name) else []
    found = next(((r, f) for r in rows for f in r["files"] if f["path"] == path), None)
    if found is None:
        removed = audit.removed_at(s, run_id) is not None
        raise NotFoundError(views.not_there(s, run_id) if removed else "there is no such file")
    row, file = found
    if (at := row["files_gone_at"]) is not None:
        why = f"it was removed on {at:%Y-%m-%d %H:%M} UTC, because retention.files_days had passed"
        raise HTTPException(f"the file is not there any more: {why} since its run's end", status_code=410)
    return msgspec.convert(file, StoredFile)


def _had(request: Request[Any, Any, Any], tag: str) -> bool:
    """Whether the caller says that it has the file with this tag.

    Raises:
        HTTPException: 412, it wants another one only.

    Source: RFC 9110, section 13.1: `If-Match` compares strongly, so that a `W/` fits nothing, and goes first.
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and not {"*", tag} & set(_TAG.findall(wanted)):
        raise HTTPException("the file has another tag", status_code=412, headers={"etag": tag})
    return bool({"*", tag, f"W/{tag}"} & set(_TAG.findall(request.headers.get("if-none-match", ""))))


def _span(request: Request[Any, Any, Any], size: int, tag: str) -> tuple[int, int, int]:
    """First and last byte, and the status to answer with. What asks for several parts gets the whole.

    Raises:
        HTTPException: 416, the part lies behind the end.

    Source: RFC 9110, section 14.
    """
    asked = _SPAN.fullmatch(request.headers.get("range", ""))
    if asked is None or asked.group(0) == "bytes=-" or request.headers.get("if-range", tag) != tag:
        return 0, size - 1, 200
    start, end = asked.groups()
    first = int(start) if start else max(size - int(end), 0)
    last = min(int(end), size - 1) if start and end else size - 1
    if first > last:
        beyond = {"content-range": f"bytes */{size}"}
        raise HTTPException(f"the file has {size} bytes", status_code=416, headers=beyond)
    return first, last, 206
