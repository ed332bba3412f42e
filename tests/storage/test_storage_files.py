"""Files in and out: whole or not at all, of known types, below limits, through no link, in both places."""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pytest

from orchestrator.errors import (
    ConfigError,
    InvalidError,
    NotFoundError,
    OrchestratorError,
    RejectedError,
    StorageError,
    UnavailableError,
)
from orchestrator.storage import bucket
from orchestrator.storage.content import JSONL, MOV, MP4, VIDEOS, WEBM, type_of
from orchestrator.storage.files import STALE_SECONDS, Storage, opened
from orchestrator.storage.folder import Folder

MIB = 1024 * 1024
HEAD = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
VIDEO = HEAD + bytes(2000)
PATH = "run_0a/job_0b-1"


@pytest.fixture(params=["folder", "bucket"])
def either(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Storage, Callable[[], set[str]]]]:
    """A storage of a mebibyte a file, and what is in its place."""
    if request.param == "folder":
        root = tmp_path / "files"
        found = lambda: {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}  # noqa: E731
        yield opened(f"file://{root}", max_bytes=MIB, min_free_bytes=0), found
        return
    place = bucket.opened(f"memory://{tmp_path.name}")
    root_name = place._root
    yield (
        Storage(place, max_bytes=MIB),
        lambda: {p.removeprefix(root_name).lstrip("/") for p in place._fs.find(root_name)},
    )
    if place._fs.exists(root_name):
        place._fs.rm(root_name, recursive=True)


async def told(*chunks: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then is not None:
        raise then


async def content(storage: Storage, path: str, *span: int) -> bytes:
    async with aclosing(storage.read(path, *span)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def fails(work: Any) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        await work
    return caught.value


@pytest.mark.asyncio
async def test_written_read_replaced_and_deleted(either: Any) -> None:
    storage, found = either
    kept = await storage.write(PATH, told(VIDEO[:7], VIDEO[7:900], VIDEO[900:]), accept=VIDEOS)
    assert (kept.path, kept.type, kept.bytes) == (f"{PATH}.mp4", MP4, len(VIDEO))
    assert kept.sha256 == sha256(VIDEO).hexdigest()
    assert await content(storage, kept.path) == VIDEO
    assert await content(storage, kept.path, 1000, 10) == VIDEO[1000:1010]
    again = await storage.write(PATH, told(VIDEO + b"more"), accept=VIDEOS)
    assert again.path == kept.path
    assert await storage.size(kept.path) == len(VIDEO) + 4
    assert found() == {f"{PATH}.mp4"}
    await storage.delete(kept.path)
    await storage.delete(kept.path)
    assert not await storage.exists(kept.path)
    assert isinstance(await fails(storage.size(kept.path)), NotFoundError)
    assert isinstance(await fails(content(storage, kept.path)), NotFoundError)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("chunks", "accept", "code"),
    [
        ([HEAD, *[bytes(MIB // 4)] * 5], VIDEOS, "too_large"),
        ([b"<html>no video</html>"], VIDEOS, "wrong_type"),
        ([VIDEO], {JSONL}, "wrong_type"),
        ([], VIDEOS, "wrong_type"),
        ([b"\x7fELF" + bytes(600)], VIDEOS, "wrong_type"),
        ([b'{"key": "a"}\n' * 100, b"\xff\xfe"], {JSONL}, "wrong_type"),
        ([b'{"key": "\xc3'], {JSONL}, "wrong_type"),
    ],
)
async def test_what_is_not_kept_leaves_nothing(
    either: Any, chunks: list[bytes], accept: Any, code: str
) -> None:
    storage, found = either
    await storage.write("run_0a/other", told(VIDEO), accept=VIDEOS)
    refused = await fails(storage.write(PATH, told(*chunks), accept=accept))
    assert isinstance(refused, RejectedError)
    assert refused.code == code
    assert found() == {"run_0a/other.mp4"}


@pytest.mark.asyncio
async def test_a_source_that_breaks_off_leaves_what_was_there_before(either: Any) -> None:
    storage, found = either
    await storage.write(PATH, told(VIDEO), accept=VIDEOS)
    broken = told(HEAD, bytes(MIB // 2), then=UnavailableError("it broke off"))
    assert type(await fails(storage.write(PATH, broken, accept=VIDEOS))) is UnavailableError
    assert found() == {f"{PATH}.mp4"}
    assert await content(storage, f"{PATH}.mp4") == VIDEO


@pytest.mark.asyncio
async def test_a_writer_that_is_cancelled_leaves_nothing(either: Any) -> None:
    storage, found = either
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield VIDEO
        begun.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(storage.write(PATH, endless(), accept=VIDEOS))
    async with asyncio.timeout(30):
        await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert found() == set()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "run/../../x", "run//x", ".hidden", "run/.x.part", "run/a b", "run/ä",
     "run/x\n", "run/x\0", "C:\\x", "a/b/c/d/e", "run/x.mp4/", "s3://b/x", "-rf", "a" * 200],
)  # fmt: skip
async def test_a_path_that_is_not_ours_is_refused_everywhere(tmp_path: Path, path: str) -> None:
    storage = opened(str(tmp_path / "files"), max_bytes=MIB, min_free_bytes=0)
    works = (
        storage.write(path, told(VIDEO), accept=VIDEOS),
        content(storage, path),
        storage.size(path),
        storage.delete(path),
        storage.exists(path),
    )
    for work in works:
        assert isinstance(await fails(work), InvalidError)
    assert os.listdir(tmp_path) == []


@pytest.mark.asyncio
async def test_no_link_is_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "files"
    outside.mkdir()
    (outside / "secret.mp4").write_bytes(VIDEO)
    (root / "run_1").mkdir(parents=True)
    (root / "run_2").symlink_to(outside)
    (root / "run_1" / "job.mp4").symlink_to(outside / "secret.mp4")
    os.mkfifo(root / "run_1" / "pipe.mp4")
    storage = opened(str(root), max_bytes=MIB, min_free_bytes=0)
    for path in ("run_2/secret.mp4", "run_1/job.mp4", "run_1/pipe.mp4"):
        async with asyncio.timeout(30):
            for work in (content(storage, path), storage.size(path)):
                assert (await fails(work)).code == "not_a_file"  # type: ignore[attr-defined]
    refused = await fails(storage.write("run_2/new.mp4", told(VIDEO), accept=VIDEOS))
    assert isinstance(refused, RejectedError)
    kept = await storage.write("run_1/job.mp4", told(VIDEO + b"new"), accept=VIDEOS)  # the link itself goes
    assert not (root / kept.path).is_symlink()
    assert {p.name for p in outside.iterdir()} == {"secret.mp4"}
    assert (outside / "secret.mp4").read_bytes() == VIDEO


@pytest.mark.asyncio
async def test_nothing_is_begun_on_a_full_disk(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    full = Storage(Folder(tmp_path / "files", min_free_bytes=free * 2), max_bytes=MIB)
    asked = False

    async def source() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield VIDEO

    refused = await fails(full.write(PATH, source(), accept=VIDEOS))
    assert isinstance(refused, StorageError)
    assert "storage.min_free_mb" in str(refused)
    assert not asked
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.asyncio
async def test_a_folder_that_cannot_be_used_is_not_now(tmp_path: Path) -> None:
    storage = opened(str(tmp_path / "files"), max_bytes=MIB, min_free_bytes=0)
    (tmp_path / "files").write_text("a file where the folder should be")
    assert isinstance(await fails(storage.write(PATH, told(VIDEO), accept=VIDEOS)), StorageError)


@pytest.mark.asyncio
async def test_what_a_dead_process_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    storage = opened(str(tmp_path), max_bytes=MIB, min_free_bytes=0)
    kept = await storage.write(PATH, told(VIDEO), accept=VIDEOS)
    old, new = (tmp_path / "run_0a" / f".job.{name}.part" for name in ("old", "new"))
    old.write_bytes(VIDEO)
    new.write_bytes(VIDEO)
    long_ago = old.stat().st_mtime - STALE_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    os.utime(tmp_path / kept.path, (long_ago, long_ago))
    assert await storage.sweep() == 1
    assert {p.name for p in (tmp_path / "run_0a").iterdir()} == {"job_0b-1.mp4", new.name}
    assert await opened(str(tmp_path / "none"), max_bytes=MIB, min_free_bytes=0).sweep() == 0


@pytest.mark.asyncio
async def test_two_writers_of_one_name_do_not_mix(tmp_path: Path) -> None:
    storage = opened(str(tmp_path), max_bytes=MIB, min_free_bytes=0)
    bodies = [HEAD + bytes([n]) * 300_000 for n in range(1, 9)]
    kept = await asyncio.gather(*(storage.write(PATH, told(b[:5], b[5:]), accept=VIDEOS) for b in bodies))
    assert await content(storage, kept[0].path) in bodies
    assert [p.name for p in (tmp_path / "run_0a").iterdir()] == ["job_0b-1.mp4"]


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (HEAD, MP4),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", MOV),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heicisom", ""),
        (b"\0\0\0\x18ftypXXXX\0\0\0\0YYYYZZZZ", ""),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm", WEBM),
        (b"\x1aE\xdf\xa3\x93B\x82\x88matroska", ""),
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", ""),
        (b'\n{"key": "a"}', JSONL),
        (b"<html>", "text/plain"),
        (b"# A report\n\xc3", "text/plain"),
        (b"MZ\x90\0", ""),
        (b"\xc3\x28", ""),
        (b"", ""),
    ],
)
def test_types_by_content(head: bytes, found: str) -> None:
    assert type_of(head) == found


def test_a_bucket_needs_its_extra() -> None:
    try:
        import s3fs  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match=r"gemini-orchestrator\[s3\]"):
            opened("s3://bucket/files", max_bytes=MIB, min_free_bytes=0)


@pytest.mark.parametrize("below", ["", "/files", "/files/here"])
def test_a_file_where_the_folder_should_be_is_the_settings_fault(tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match=r"storage\.url: .*taken is not a folder"):
        opened(f"file://{tmp_path}/taken{below}", max_bytes=MIB, min_free_bytes=0)


@pytest.mark.asyncio
async def test_a_bucket_in_trouble_is_not_now_and_says_no_address(tmp_path: Path) -> None:
    class Gone:
        def info(self, path: str) -> dict[str, Any]:
            raise PermissionError(f"https://bucket.example/{path}?X-Amz-Signature=canary")

    refused = await fails(Storage(bucket.Bucket(Gone(), "b"), max_bytes=MIB).size("x"))
    assert isinstance(refused, StorageError)
    assert "canary" not in str(refused)


class Slow(Folder):
    """A place that takes its time to open a file."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, min_free_bytes=0)
        self.asked, self.go = threading.Event(), threading.Event()
        self.files: list[IO[bytes]] = []

    def open(self, path: str) -> IO[bytes]:
        self.asked.set()
        self.go.wait(30)
        self.files.append(super().open(path))
        return self.files[-1]


@pytest.mark.asyncio
async def test_who_goes_away_before_a_file_is_open_leaves_it_closed(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    (tmp_path / "run_1" / "a.mp4").write_bytes(b"film")
    place = Slow(tmp_path)
    reading = asyncio.ensure_future(anext(Storage(place, max_bytes=100).read("run_1/a.mp4")))
    await asyncio.to_thread(place.asked.wait, 30)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    place.go.set()
    deadline = time.monotonic() + 30
    while not (place.files and place.files[0].closed) and time.monotonic() < deadline:
        await asyncio.to_thread(time.sleep, 0.01)
    assert place.files[0].closed
