"""Files of jobs by the API: only what a row records, streamed, in parts, never to be shown in a browser."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from litestar.testing import TestClient
from sqlalchemy.orm import Session
from web_kit import House, bearer

from orchestrator.domain.jobs import JobKind, JobStatus, StoredFile
from orchestrator.storage.files import Storage
from orchestrator.store.jobs import job_t

MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(range(256)) * 4000


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content


def stored(house: House, storage: Storage, content: bytes = MP4) -> StoredFile:
    """A video of a run's job, in the storage and in the job's row."""
    run = house.asked()
    name = f"{run.id}/job_0123456789abcdef01234567-1"
    file = asyncio.run(storage.write(name, _one(content), accept={"video/mp4"}))

    def record(s: Session) -> None:
        job: dict[str, Any] = {
            "id": "job_0123456789abcdef01234567",
            "run_id": run.id,
            "call": run.turn.calls[0].id,
            "number": 0,
            "kind": JobKind.VIDEO,
            "request": {},
            "status": JobStatus.SUCCEEDED,
            "attempt": 1,
            "key": "",
            "said": "",
            "readings": 0,
            "counts": {},
            "files": msgspec.to_builtins((file,)),
            "facts": {},
            "created_at": house.clock(),
        }
        s.execute(job_t.insert().values(**job))

    house.write(record)
    return file


def test_listed_and_fetched(house: House, storage: Storage) -> None:
    file = stored(house, storage)
    run_id, name = file.path.split("/")
    with TestClient(house.app(files=storage)) as client:
        listed = client.get(f"/v1/runs/{run_id}/files", headers=bearer()).json()["items"]
        assert listed == [
            {
                "path": file.path,
                "job": "job_0123456789abcdef01234567",
                "kind": "video",
                "type": "video/mp4",
                "bytes": len(MP4),
                "sha256": sha256(MP4).hexdigest(),
                "gone_at": None,
            }
        ]
        answer = client.get(f"/v1/files/{file.path}", headers=bearer())
        assert (answer.status_code, answer.content == MP4) == (200, True)
        told = {
            "content-type": "video/mp4",
            "content-length": str(len(MP4)),
            "content-disposition": f'attachment; filename="{name}"',
            "x-content-type-options": "nosniff",
            "accept-ranges": "bytes",
            "etag": f'"{file.sha256}"',
        }
        assert {header: answer.headers[header] for header in told} == told


def test_the_part_of_a_file_that_is_asked_for_is_given(house: House, storage: Storage) -> None:
    file = stored(house, storage)
    size = len(MP4)
    with TestClient(house.app(files=storage)) as client:

        def part(asked: str, **more: str) -> Any:
            return client.get(f"/v1/files/{file.path}", headers={**bearer(), "range": asked, **more})

        for asked, first, last in (
            ("bytes=0-3", 0, 3),
            ("bytes=300000-", 300_000, size - 1),
            ("bytes=-10", size - 10, size - 1),
            ("bytes=5-99999999999", 5, size - 1),
        ):
            answer = part(asked)
            assert (answer.status_code, answer.content) == (206, MP4[first : last + 1])
            assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
        for odd in ("bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"):
            assert part(odd).status_code == 200
        assert part("bytes=0-3", **{"if-range": '"another"'}).status_code == 200
        for beyond in (f"bytes={size}-", "bytes=9-3", "bytes=-0"):
            assert part(beyond).status_code == 416
            assert part(beyond).headers["content-range"] == f"bytes */{size}"


def test_conditions_on_the_tag(house: House, storage: Storage) -> None:
    """Who is told a tag may ask by it: what they have is not sent again, nor another file in its place."""
    file = stored(house, storage)
    tag = f'"{file.sha256}"'
    with TestClient(house.app(files=storage)) as client:

        def asked(**headers: str) -> Any:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.get(f"/v1/files/{file.path}", headers={**bearer(), **named})

        for same in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = asked(if_none_match=same, range="bytes=0-3")
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag), same
            assert "content-range" not in answer.headers
        assert asked(if_none_match='"other"').content == MP4
        for fitting in (tag, f'"other" , {tag}', "*"):
            assert asked(if_match=fitting).status_code == 200
        for unfit in ('"other"', f"W/{tag}"):
            refused = asked(if_match=unfit, if_none_match=tag)
            assert (refused.status_code, refused.json()["status"]) == (412, 412)


def test_nothing_but_what_is_recorded(house: House, storage: Storage, tmp_path: Path) -> None:
    file = stored(house, storage)
    run_id, name = file.path.split("/")
    (tmp_path / "files" / run_id / "other.mp4").write_bytes(MP4)
    (tmp_path / "files" / run_id / "..data").write_bytes(MP4)
    with TestClient(house.app(files=storage)) as client:
        for path in (
            f"{run_id}/other.mp4",
            f"{run_id}/..data",
            f"run_unknown/{name}",
            f"{run_id}/%2e%2e%2f{run_id}%2f{name}",
            f"{run_id}/{name}%00",
            f"{run_id}/{name}%0d%0aX-Evil:1",
            f"{run_id}/../{file.path}/x",
        ):
            assert client.get(f"/v1/files/{path}", headers=bearer()).status_code == 404, path
        assert client.get("/v1/runs/run_unknown/files", headers=bearer()).status_code == 404
        asyncio.run(storage.write(file.path, _one(MP4 + b"more"), accept={"video/mp4"}))
        assert client.get(f"/v1/files/{file.path}", headers=bearer()).status_code == 409
        asyncio.run(storage.delete(file.path))
        assert client.get(f"/v1/files/{file.path}", headers=bearer()).status_code == 404
        (tmp_path / "files" / file.path).symlink_to("/etc/passwd")
        assert client.get(f"/v1/files/{file.path}", headers=bearer()).status_code == 409
    with TestClient(house.app()) as client:
        assert client.get(f"/v1/files/{file.path}", headers=bearer()).status_code == 404
