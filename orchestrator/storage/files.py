"""Files in and out by streaming: names of ours, types by content, sizes as counted, nothing half.

Source: the rules for generated files of our own promises: whatever another service sends may be too
large, of another type than it says, cut off, or never end.
"""

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine
from hashlib import sha256
from pathlib import Path
from time import time
from typing import IO, Any, Final, TypeVar

import structlog

from orchestrator.domain.jobs import StoredFile
from orchestrator.errors import (
    ConfigError,
    InvalidError,
    NotFoundError,
    OrchestratorError,
    RejectedError,
    StorageError,
)
from orchestrator.storage import bucket
from orchestrator.storage.content import HEAD_BYTES, JSONL, SUFFIX, TEXT, Text, type_of
from orchestrator.storage.folder import Folder
from orchestrator.storage.places import Draft, Place

MIB: Final = 1024 * 1024
READ_BYTES: Final = 256 * 1024
STALE_SECONDS: Final = 3600.0
"""What was not touched for so long, nobody writes any more."""
_ROOM_EVERY: Final = 64 * MIB
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\.[a-z0-9]{1,8})?")
_DEPTH: Final = 4

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Storage:
    """The files we keep; safe for concurrent use, also of several processes over one place.

    Args:
        max_bytes: Of one file; what goes on beyond it is refused while it comes.
    """

    def __init__(self, place: Place, *, max_bytes: int) -> None:
        self._place, self._max = place, max_bytes

    async def write(self, path: str, chunks: AsyncIterator[bytes], *, accept: Collection[str]) -> StoredFile:
        """Keep what comes, once it has all come; a file of that name is replaced by then, never mixed with.

        Args:
            path: Ours: words of letters, digits, - and _, with / between. Without a suffix it gets the
                one of its type.
            chunks: May raise: nothing is left then, and the error goes on.
            accept: The media types it may have, see `content.py`.

        Raises:
            InvalidError: The path is none.
            RejectedError: `too_large`, `wrong_type`, or `not_a_file` where a link is in the way.
            StorageError: Too little room, or the place cannot be written to.
        """
        checked(path)
        await asyncio.to_thread(self._place.check_room)
        taking = _Taking(self._place, path, accept, self._max)
        try:
            async for block in _blocks(chunks, self._max):
                await asyncio.to_thread(taking.take, block)
            return await asyncio.to_thread(taking.end)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(taking.abort))
            raise

    async def read(
        self, path: str, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset` on, at most `length`. Raises as `size`."""
        checked(path)
        file = await _opened(asyncio.to_thread(self._found, self._place.open, path))
        try:
            left = length
            await asyncio.to_thread(file.seek, offset)
            while left is None or left > 0:
                block = await asyncio.to_thread(
                    file.read, READ_BYTES if left is None else min(left, READ_BYTES)
                )
                if not block:
                    return
                left = None if left is None else left - len(block)
                yield block
        except OSError as e:
            raise StorageError(f"the file cannot be read now: {type(e).__name__}") from e
        finally:
            file.close()

    async def size(self, path: str) -> int:
        """In bytes.

        Raises:
            NotFoundError: There is none.
            InvalidError, RejectedError, StorageError: As `write`.
        """
        return await asyncio.to_thread(self._found, self._place.size, checked(path))

    async def exists(self, path: str) -> bool:
        """Whether there is such a file, whole."""
        try:
            await self.size(path)
        except NotFoundError:
            return False
        return True

    async def delete(self, path: str) -> None:
        """Forget it; nothing where there is none."""
        await asyncio.to_thread(self._place.delete, checked(path))

    async def clear(self, folder: str) -> None:
        """Delete all that is in a folder, and the folder; nothing where there is none. Raises as `write`."""
        await asyncio.to_thread(self._place.clear, checked(folder))

    async def sweep(self) -> int:
        """Remove what a process that died has left half written; how many files that were."""
        return await asyncio.to_thread(self._place.sweep, time() - STALE_SECONDS)

    @staticmethod
    def _found(do: Callable[[str], T], path: str) -> T:
        try:
            return do(path)
        except FileNotFoundError:
            raise NotFoundError("there is no such file in the storage") from None


async def _opened(opening: Coroutine[Any, Any, IO[bytes]]) -> IO[bytes]:
    """A file that a thread opens; closed too where its caller is cancelled before it is there."""
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_close)
        raise


def _close(opened: "asyncio.Task[IO[bytes]]") -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()


class _Taking:
    """One file on its way in. Called from threads, one after the other, but for an abort."""

    def __init__(self, place: Place, path: str, accept: Collection[str], most: int) -> None:
        self._place, self._path, self._accept, self._most = place, path, accept, most
        self._draft: Draft = place.draft(path)
        self._hash, self._text = sha256(), Text()
        self._bytes, self._type = 0, ""
        self._turn = threading.Lock()

    def take(self, block: bytes) -> None:
        with self._turn:
            if not self._bytes:
                self._type = self._checked(type_of(block[:HEAD_BYTES]))
            if self._bytes // _ROOM_EVERY != (self._bytes + len(block)) // _ROOM_EVERY:
                self._place.check_room()
            self._read(block)
            self._draft.write(block)
            self._bytes += len(block)
            self._hash.update(block)

    def end(self) -> StoredFile:
        with self._turn:
            if not self._bytes:
                raise RejectedError("the file is empty", code="wrong_type")
            self._read(b"", last=True)
            path = self._path if "." in self._path.rpartition("/")[2] else self._path + SUFFIX[self._type]
            self._draft.commit(path)
            return StoredFile(path, self._type, self._bytes, self._hash.hexdigest())

    def abort(self) -> None:
        """Whatever it meets, what led to it is the news."""
        with self._turn:
            try:
                self._draft.abort()
            except OrchestratorError:
                log.warning("partial_file_left", path=self._path, exc_info=True)  # until it is swept

    def _read(self, block: bytes, *, last: bool = False) -> None:
        if self._type in (JSONL, TEXT) and not self._text.take(block, last=last):
            raise RejectedError("the file is not the text it began as", code="wrong_type")

    def _checked(self, found: str) -> str:
        if found not in self._accept:
            wanted = ", ".join(sorted(self._accept))
            raise RejectedError(
                f"the file is {found or 'of a type not known'}, expected {wanted}", code="wrong_type"
            )
        return found


async def _blocks(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """The same in blocks of about a mebibyte, so that a thread is called seldom. Counts as it comes."""
    waiting, size = bytearray(), 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise RejectedError(f"the file is larger than {most >> 20} MiB", code="too_large")
        waiting += chunk
        if len(waiting) >= MIB or len(waiting) == size >= HEAD_BYTES:  # the first as soon as it can be judged
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def checked(path: str) -> str:
    """The path, if it is one of ours. Raises `InvalidError`."""
    parts = path.split("/")
    if not (len(parts) <= _DEPTH and all(_NAME.fullmatch(part) for part in parts)):
        raise InvalidError(
            "the path of a stored file must be words of letters, digits, - and _, with / between",
            [("path", f"must be at most {_DEPTH} such words")],
        )
    return path


def opened(url: str, *, max_bytes: int, min_free_bytes: int) -> Storage:
    """The storage at an address of the settings: a folder's path, `file://…`, `s3://…` or `gs://…`.

    Raises:
        ConfigError: What the address needs is not installed, or it leads through a file.
    """
    scheme, _, rest = url.rpartition("://")
    if scheme in ("", "file"):
        there = next((p for p in (Path(rest), *Path(rest).parents) if p.exists()), None)
        if there is not None and not there.is_dir():
            raise ConfigError(f"storage.url: {there} is not a folder")
        return Storage(Folder(Path(rest), min_free_bytes=min_free_bytes), max_bytes=max_bytes)
    return Storage(bucket.opened(url), max_bytes=max_bytes)
