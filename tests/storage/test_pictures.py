"""Pictures of films by a program on a short leash, here a script; and those shown as they are."""

import asyncio
import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator.domain.jobs import StoredFile
from orchestrator.errors import ConfigError, RejectedError
from orchestrator.storage.content import JPEG, JSONL, MP4, PNG
from orchestrator.storage.files import opened
from orchestrator.storage.pictures import AS_IT_IS_BYTES, MOST_BYTES, Pictures, found

JPEG_HEAD = "printf '\\377\\330\\377'"
DRAWS = f"{JPEG_HEAD} > $out; cat $in >> $out"
Painter = Callable[[str], str]


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Painter:
    """A program that does as told; `$in` and `$out` are the film and the picture."""

    def made(does: str) -> str:
        program = tmp_path / "ffmpeg"
        lines = ["#!/bin/sh", f'echo "$@" > {tmp_path}/asked', f"/usr/bin/env > {tmp_path}/env"]
        lines += ['for last; do [ "$before" = -i ] && in=$last; before=$last; done; out=$last', does]
        program.write_text("\n".join(lines))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return str(program)

    return made


def pictures(folder: Path, ffmpeg: str | None, **more: float) -> Pictures:
    files = opened(str(folder / "files"), max_bytes=10**8, min_free_bytes=0)
    return Pictures(files, ffmpeg, **more)  # type: ignore[arg-type]


def stored(folder: Path, content: bytes, kind: str = MP4) -> StoredFile:
    path = "run_1/job_1-1.mp4"
    file = folder / "files" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return StoredFile(path, kind, len(content), sha256(content).hexdigest())


def left_in(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith("picture-")]


@pytest.mark.asyncio
@pytest.mark.parametrize(("frames", "look"), [(1, "scale=640:-2"), (6, "tile=3x2"), (10, "tile=4x3")])
async def test_a_film_is_drawn_from_a_copy_and_nothing_leaks(
    tmp_path: Path, ffmpeg: Painter, monkeypatch: pytest.MonkeyPatch, frames: int, look: str
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "a-secret")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = await pictures(tmp_path, ffmpeg(DRAWS), frames=frames).of(stored(tmp_path, b"a film"))
    assert made == b"\xff\xd8\xffa film"
    told, env = (tmp_path / "asked").read_text(), (tmp_path / "env").read_text()
    assert look in told
    assert "-nostdin" in told
    assert "-protocol_whitelist file -f mov" in told
    assert "files/run_1" not in told, "it is given a copy"
    assert "a-secret" not in env
    assert left_in(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "does",
    [
        "echo garbage > $out",
        "exit 0",
        f"{DRAWS}; exit 1",
        f"{JPEG_HEAD} > $out; head -c {MOST_BYTES + 1} /dev/zero >> $out",
        "kill -9 $$",
    ],
)
async def test_what_it_draws_is_not_believed_blindly(tmp_path: Path, ffmpeg: Painter, does: str) -> None:
    with pytest.raises(RejectedError, match="no picture of it could be drawn"):
        await pictures(tmp_path, ffmpeg(does)).of(stored(tmp_path, b"a film"))


@pytest.mark.asyncio
async def test_one_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, ffmpeg: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    hangs = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    film = stored(tmp_path, b"a film")
    for seconds in (0.5, 5, 50):  # a busy machine may need longer to begin with it
        with pytest.raises(RejectedError, match="too long"):
            await pictures(tmp_path, ffmpeg(hangs), seconds=seconds).of(film)
        if (tmp_path / "child").exists():
            break
    child = int((tmp_path / "child").read_text())
    async with asyncio.timeout(30):
        while _lives(child):  # noqa: ASYNC110  a process of nobody's: there is nothing to wait on
            await asyncio.sleep(0.01)
    assert left_in(tmp_path) == []


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.asyncio
async def test_without_ffmpeg_there_is_none_and_pictures_are_shown_as_they_are(tmp_path: Path) -> None:
    none, png = pictures(tmp_path, None), b"\x89PNG\r\n\x1a\n" + bytes(99)
    assert await none.of(stored(tmp_path, b"a film")) is None
    for kind in (PNG, JPEG):
        assert await none.of(stored(tmp_path, png, kind)) == png
    assert await none.of(stored(tmp_path, png + bytes(AS_IT_IS_BYTES), PNG)) is None
    assert await none.of(stored(tmp_path, b"{}", JSONL)) is None


@pytest.mark.asyncio
async def test_a_file_that_is_not_the_one_recorded_is_not_shown(tmp_path: Path, ffmpeg: Painter) -> None:
    draws = pictures(tmp_path, ffmpeg(DRAWS))
    for kind in (MP4, PNG):
        file = stored(tmp_path, b"a film", kind)
        stored(tmp_path, b"a lie!")
        with pytest.raises(RejectedError, match="recorded"):
            await draws.of(file)
        (tmp_path / "files" / file.path).unlink()
        with pytest.raises(RejectedError, match="no such file"):
            await draws.of(file)
    with pytest.raises(RejectedError, match="no picture of it could be drawn"):
        await pictures(tmp_path, "/no/such/program").of(stored(tmp_path, b"a film"))


def test_where_ffmpeg_is(ffmpeg: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    program = ffmpeg(DRAWS)
    assert (found("off"), found(program)) == (None, program)
    monkeypatch.setenv("PATH", str(Path(program).parent))
    assert found("auto") == program
    monkeypatch.setenv("PATH", "/nowhere")
    assert found("auto") is None
    with pytest.raises(ConfigError, match=r"media\.ffmpeg"):
        found("/nowhere/ffmpeg")
