"""What the storage asks of a place files can be; `folder.py` and `bucket.py` are the two there are.

Everything here blocks, and is called in threads; paths are checked before. What a place has not is
`FileNotFoundError`; what else goes wrong is `StorageError`, or `RejectedError` where it will not mend.
"""

from typing import IO, Final, Protocol

PART: Final = ".part"
"""How the names of files end that are being written; they begin with a dot, which no name of ours does."""


class Draft(Protocol):
    """A file that is being written, and is not there until it is whole."""

    def write(self, block: bytes) -> None:
        """Append; the first block opens it."""
        ...

    def commit(self, path: str) -> None:
        """Put it in its place, whole and durable, whatever was there before."""
        ...

    def abort(self) -> None:
        """Leave nothing of it; may follow a commit, and is then nothing."""
        ...


class Place(Protocol):
    """Where files are."""

    def check_room(self) -> None:
        """Raises `StorageError` where there is too little room to begin, or go on, writing."""
        ...

    def draft(self, path: str) -> Draft:
        """A file to be, beside that path. Does nothing yet."""
        ...

    def open(self, path: str) -> IO[bytes]:
        """For reading; it can be sought in."""
        ...

    def size(self, path: str) -> int:
        """In bytes."""
        ...

    def delete(self, path: str) -> None:
        """Nothing where it is not there."""
        ...

    def clear(self, folder: str) -> None:
        """All below it, and the folder itself; nothing where it is not there. No link in it is followed."""
        ...

    def sweep(self, before: float) -> int:
        """Remove what was begun, not finished and not touched since that time (seconds of the epoch)."""
        ...
