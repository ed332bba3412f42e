"""A local folder. Every step below it goes by an open directory, so that no link is ever followed."""

import errno
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from orchestrator.errors import RejectedError, StorageError
from orchestrator.storage.places import PART

_HERE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW: Final = _HERE | os.O_NOFOLLOW
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # nobody waits at a pipe
_NOT_OURS: Final = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR)


@contextmanager
def _told() -> Iterator[None]:
    """The system's no, in our words."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as e:
        if e.errno in _NOT_OURS:
            raise RejectedError(
                "there is a link or a folder where a file of ours belongs", code="not_a_file"
            ) from e
        raise StorageError(f"the storage folder cannot be used: {e.strerror}") from e


class Folder:
    """Files below `root`, which is made when the first is written; it alone may itself be a link.

    Args:
        min_free_bytes: Of the disk; below, nothing is written.
    """

    def __init__(self, root: Path, *, min_free_bytes: int) -> None:
        self._root, self._floor = root, min_free_bytes

    def check_room(self) -> None:
        with _told():
            self._root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._root).free
        if free < self._floor:
            raise StorageError(
                f"the storage folder's disk has {free >> 20} MiB left, below storage.min_free_mb"
            )

    def draft(self, path: str) -> "FolderDraft":
        return FolderDraft(self, path)

    def open(self, path: str) -> IO[bytes]:
        with _told(), self.at(path) as (above, name):
            file = os.open(name, _READ, dir_fd=above)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                os.close(file)
                raise OSError(errno.EISDIR, "not a file")
            return os.fdopen(file, "rb")

    def size(self, path: str) -> int:
        with _told(), self.at(path) as (above, name):
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EISDIR, "not a file")
            return found.st_size

    def delete(self, path: str) -> None:
        with _told(), suppress(FileNotFoundError), self.at(path) as (above, name):
            os.unlink(name, dir_fd=above)

    def clear(self, folder: str) -> None:
        with _told(), suppress(FileNotFoundError), self.at(folder) as (above, name):
            _clear(name, above)
            os.fsync(above)

    def sweep(self, before: float) -> int:
        swept = 0
        with _told(), suppress(FileNotFoundError):
            for _, _, names, above in os.fwalk(self._root, follow_symlinks=False):
                for name in names:
                    if name.startswith(".") and name.endswith(PART):
                        swept += _swept(name, above, before)
        return swept

    @contextmanager
    def at(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open directory a path is in, and its name there."""
        *folders, name = path.split("/")
        above = os.open(self._root, _HERE)
        try:
            for folder in folders:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(folder, 0o700, dir_fd=above)
                        os.fsync(above)
                below = os.open(folder, _BELOW, dir_fd=above)
                os.close(above)
                above = below
            yield above, name
        finally:
            os.close(above)


def _clear(folder: str, above: int) -> None:
    """Another process may be at it, too: what is gone already is fine."""
    with suppress(FileNotFoundError):
        here = os.open(folder, _BELOW, dir_fd=above)
        try:
            for name in os.listdir(here):
                with suppress(FileNotFoundError):
                    if stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                        _clear(name, here)
                    else:
                        os.unlink(name, dir_fd=here)
        finally:
            os.close(here)
        os.rmdir(folder, dir_fd=above)


def _swept(name: str, above: int, before: float) -> int:
    with suppress(FileNotFoundError):  # whoever wrote it has just finished
        if os.stat(name, dir_fd=above, follow_symlinks=False).st_mtime < before:
            os.unlink(name, dir_fd=above)
            return 1
    return 0


class FolderDraft:
    """A file under a name nobody else has, opened as new, until it takes its place.

    Its methods may be called from several threads: one that was given up on may still be writing.
    """

    def __init__(self, folder: Folder, path: str) -> None:
        above, slash, name = path.rpartition("/")
        self._folder, self._part = folder, f"{above}{slash}.{name}.{secrets.token_hex(8)}{PART}"
        self._file: IO[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def write(self, block: bytes) -> None:
        with self._lock, _told():
            if self._file is None:
                self._file = self._opened()
            self._file.write(block)

    def _opened(self) -> IO[bytes]:
        if self._ended:
            raise OSError(errno.ECANCELED, "given up")
        with self._folder.at(self._part, make=True) as (above, name):
            return os.fdopen(os.open(name, _NEW, 0o600, dir_fd=above), "wb")

    def commit(self, path: str) -> None:
        with self._lock, _told():
            if self._file is None or self._ended:
                raise OSError(errno.ECANCELED, "given up")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            with self._folder.at(self._part) as (above, part):
                os.rename(part, path.rpartition("/")[2], src_dir_fd=above, dst_dir_fd=above)
                os.fsync(above)
            self._ended = True

    def abort(self) -> None:
        with self._lock:
            if self._file is not None and not self._ended:
                with suppress(OSError):  # it may be what did not fit that is written at last
                    self._file.close()
                with _told(), suppress(FileNotFoundError), self._folder.at(self._part) as (above, name):
                    os.unlink(name, dir_fd=above)
            self._ended = True
