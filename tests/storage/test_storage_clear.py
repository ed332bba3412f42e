"""A whole folder is deleted, in either place: nothing beside it, through no link, twice or at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.errors import InvalidError, RejectedError
from orchestrator.storage import bucket
from orchestrator.storage.files import Storage, opened

pytestmark = pytest.mark.asyncio
Found = Callable[[], set[str]]


@pytest.fixture(params=["folder", "bucket"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Storage, Found]]:
    """A storage, and what is in its place."""
    if request.param == "folder":
        root = tmp_path / "files"
        yield (
            opened(str(root), max_bytes=1 << 20, min_free_bytes=0),
            lambda: {str(p.relative_to(root)) for p in root.rglob("*")},
        )
        return
    place = bucket.opened(f"memory://{tmp_path.name}")
    name = place._root
    yield (
        Storage(place, max_bytes=1 << 20),
        lambda: {p.removeprefix(name).lstrip("/") for p in place._fs.find(name)},
    )
    if place._fs.exists(name):
        place._fs.rm(name, recursive=True)


async def told(text: bytes) -> AsyncIterator[bytes]:
    yield text


async def test_that_folder_goes_and_nothing_beside_it(either: tuple[Storage, Found]) -> None:
    storage, found = either
    for path in ("run_1/job_1-1", "run_1/job_1-2", "run_1/below/it", "run_10/job_1-1"):
        await storage.write(path, told(b"text"), accept={"text/plain"})
    await storage.clear("run_1")
    assert {p for p in found() if p.startswith("run_1/") or p == "run_1"} == set()
    assert "run_10/job_1-1.txt" in found()
    await storage.clear("run_1")
    await storage.clear("run_2")  # there never was one
    with pytest.raises(InvalidError):
        await storage.clear("../run_10")
    assert "run_10/job_1-1.txt" in found()


async def test_several_at_once_are_as_good_as_one(either: tuple[Storage, Found]) -> None:
    storage, found = either
    for n in range(40):
        await storage.write(f"run_1/job_{n}-1", told(b"text"), accept={"text/plain"})
    results = await asyncio.gather(*(storage.clear("run_1") for _ in range(4)))
    await storage.clear("run_1")
    assert results == [None] * 4
    assert found() == set()


async def test_links_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("kept")
    folder = tmp_path / "files" / "run_1"
    folder.mkdir(parents=True)
    (folder / "file").symlink_to(outside / "precious.txt")
    (folder / "folder").symlink_to(outside)
    (tmp_path / "files" / "run_2").symlink_to(outside)
    storage = opened(str(tmp_path / "files"), max_bytes=1, min_free_bytes=0)
    await storage.clear("run_1")
    assert not folder.exists()
    with pytest.raises(RejectedError, match="a link"):
        await storage.clear("run_2")
    assert (outside / "precious.txt").read_text() == "kept"
