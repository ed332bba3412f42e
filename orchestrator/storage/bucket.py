"""A bucket, over fsspec: `s3://…` with the extra `s3`, `gs://…` with the extra `gs`.

Who we are there is the environment's to say (`AWS_…`, `GOOGLE_APPLICATION_CREDENTIALS`, the machine's own
role), as the stores' own tools read it; no key stands in our settings.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, Any, Final

from orchestrator.errors import ConfigError, OrchestratorError, StorageError
from orchestrator.storage.places import PART

BLOCK_BYTES: Final = 8 * 1024 * 1024
_EXTRAS: Final = {"s3": "s3", "gs": "gs", "gcs": "gs"}
_TOUCHED: Final = ("LastModified", "mtime", "updated", "created")  # as the stores call it


def opened(url: str) -> "Bucket":
    """The bucket at that address, the folder in it included; nothing is asked of it yet.

    Raises:
        ConfigError: Its library is not installed, or does not take the address.
    """
    import fsspec

    scheme = url.partition("://")[0]
    try:
        # No listings kept: another process may just have written.
        fs, root = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as e:
        extra = f"pip install 'gemini-orchestrator[{_EXTRAS.get(scheme, scheme)}]'"
        raise ConfigError(f"storage.url: {scheme}:// needs a library, which comes with: {extra}") from e
    except ValueError as e:
        raise ConfigError(f"storage.url: {scheme}:// leads nowhere: {e}") from e
    return Bucket(fs, str(root).rstrip("/"))


@contextmanager
def _told() -> Iterator[None]:
    """Each store's client has errors of its own; that a thing is not there they all say alike."""
    try:
        yield
    except (FileNotFoundError, OrchestratorError):
        raise
    except Exception as e:
        # Their texts may quote addresses with signatures in them.
        raise StorageError(f"the bucket cannot be used: {type(e).__name__}") from e


class Bucket:
    """Objects below `root`, through one of fsspec's file systems."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._root = fs, root

    def check_room(self) -> None:
        """A bucket has room."""

    def draft(self, path: str) -> "BucketDraft":
        return BucketDraft(self._fs, self._root, path)

    def open(self, path: str) -> IO[bytes]:
        with _told():
            file: IO[bytes] = self._fs.open(f"{self._root}/{path}", "rb", block_size=BLOCK_BYTES)
            return file

    def size(self, path: str) -> int:
        with _told():
            found = self._fs.info(f"{self._root}/{path}")
            if found["type"] != "file":
                raise FileNotFoundError(path)
            return int(found["size"])

    def delete(self, path: str) -> None:
        with _told(), suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{path}")

    def clear(self, folder: str) -> None:
        below = f"{self._root}/{folder}/"
        with _told(), suppress(FileNotFoundError):
            for path in self._fs.find(below):
                if path.startswith(below):  # not those of a folder whose name only begins so
                    with suppress(FileNotFoundError):  # another process is at it, too
                        self._fs.rm_file(path)

    def sweep(self, before: float) -> int:
        swept = 0
        with _told(), suppress(FileNotFoundError):
            for path, found in self._fs.find(self._root, detail=True).items():
                name = path.rpartition("/")[2]
                if name.startswith(".") and name.endswith(PART) and _touched(found) < before:
                    self._fs.rm_file(path)
                    swept += 1
        return swept


def _touched(found: dict[str, Any]) -> float:
    """When, in seconds of the epoch; now and for ever where the store does not say."""
    for key in _TOUCHED:
        when = found.get(key)
        if isinstance(when, str):
            when = datetime.fromisoformat(when)
        if isinstance(when, datetime):
            return when.timestamp()
        if isinstance(when, int | float):
            return float(when)
    return float("inf")


class BucketDraft:
    """An object under a name nobody else has, copied to its place inside the store once it is whole."""

    def __init__(self, fs: Any, root: str, path: str) -> None:
        above, slash, name = path.rpartition("/")
        self._fs, self._root = fs, root
        self._part = f"{root}/{above}{slash}.{name}.{secrets.token_hex(8)}{PART}"
        self._file: Any = None
        self._ended = False
        self._lock = threading.Lock()

    def write(self, block: bytes) -> None:
        with self._lock, _told():
            if self._ended:
                raise StorageError("the writing was given up")
            if self._file is None:
                self._file = self._fs.open(self._part, "wb", block_size=BLOCK_BYTES)
            self._file.write(block)

    def commit(self, path: str) -> None:
        with self._lock, _told():
            if self._file is None or self._ended:
                raise StorageError("the writing was given up")
            self._file.close()
            self._fs.cp_file(self._part, f"{self._root}/{path}")
            self._ended = True
            self._fs.rm_file(self._part)

    def abort(self) -> None:
        with self._lock:
            if self._file is None or self._ended:
                self._ended = True
                return
            self._ended = True
            with _told():
                self._file.discard()
                with suppress(AttributeError):  # else it is finished after all when it is collected
                    self._file.closed = True
                with suppress(FileNotFoundError):
                    self._fs.rm_file(self._part)
