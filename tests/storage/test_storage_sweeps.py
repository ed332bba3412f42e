"""What a killed process has left half written goes, even where its successor starts at once."""

import os
from pathlib import Path

import pytest

from orchestrator.lifetime import sweep
from orchestrator.storage.files import STALE_SECONDS, Storage, opened


class Aging:
    """A storage in which an hour passes after each sweep."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self.swept: list[int] = []

    async def sweep(self) -> int:
        self.swept.append(await self._storage.sweep())
        for file in self._folder.rglob("*.part"):
            stamp = file.stat().st_mtime - STALE_SECONDS - 1
            os.utime(file, (stamp, stamp))
        return self.swept[-1]


@pytest.mark.asyncio
async def test_a_file_that_was_cut_off_right_before_the_start_goes_an_hour_later(tmp_path: Path) -> None:
    left = tmp_path / "run_1" / ".job_1-1.0123456789abcdef.part"
    left.parent.mkdir()
    left.write_bytes(b"half a film")
    storage = Aging(opened(str(tmp_path), max_bytes=1, min_free_bytes=0), tmp_path)
    await sweep(storage, waits=(0.0, 0.0))  # type: ignore[arg-type]
    assert storage.swept == [0, 1]  # at first somebody might still be writing it
    assert not left.exists()
    assert sweep.__defaults__ == ((0.0, STALE_SECONDS),)
