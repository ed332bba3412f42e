"""Pictures of stored files, for people who choose among them: small, and made by a program on a short leash.

A film is whatever a model made, or somebody said it made: FFmpeg reads it as that type alone, from a copy of
our own, without network, environment or time; what it writes is believed only if it is a small JPEG.
"""

import asyncio
import math
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import structlog

from orchestrator.domain.jobs import StoredFile
from orchestrator.errors import ConfigError, NotFoundError, RejectedError
from orchestrator.storage.content import HEAD_BYTES, JPEG, MOV, MP4, PNG, WEBM, type_of
from orchestrator.storage.files import Storage

MOST_BYTES: Final = 512 * 1024
"""Of a picture that is drawn."""
AS_IT_IS_BYTES: Final = 5 * 1024 * 1024
"""Of a picture that is shown as it is."""
FILM_BYTES: Final = 512 * 1024 * 1024
"""Of a film that is looked at."""
AT_ONCE: Final = 2
_MEMORY: Final = 2 * 1024 * 1024 * 1024  # address space, of which ffmpeg uses little
_FORMATS: Final = {MP4: "mov", MOV: "mov", WEBM: "matroska"}
_LEASH: Final = (
    "import os, resource, sys\n"
    "for name, most in zip(('AS', 'FSIZE', 'CPU', 'CORE'), map(int, sys.argv[1:5])):\n"
    "    resource.setrlimit(getattr(resource, 'RLIMIT_' + name), (most, most))\n"
    "os.execv(sys.argv[5], sys.argv[5:])\n"
)

log = structlog.get_logger(__name__)


class Pictures:
    """Draws pictures of what is in the storage.

    Args:
        ffmpeg: Where it is; None where films are not drawn.
        frames: 1 for the first frame of a film, more for a sheet with one of each second.
        seconds: How long it may take to draw one.
    """

    def __init__(self, files: Storage, ffmpeg: str | None, *, frames: int = 6, seconds: float = 20) -> None:
        self._files, self._ffmpeg = files, ffmpeg
        self._frames, self._seconds = frames, seconds
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def of(self, file: StoredFile) -> bytes | None:
        """A JPEG or PNG of it; None where there is nothing that draws such a file.

        Raises:
            RejectedError: It cannot be drawn; the text is for people.
            StorageError: The storage cannot be read now.
        """
        if file.type in (PNG, JPEG):
            return await self._as_it_is(file) if file.bytes <= AS_IT_IS_BYTES else None
        if self._ffmpeg is None or file.type not in _FORMATS:
            return None
        if file.bytes > FILM_BYTES:
            raise RejectedError("the film is too large for a picture of it", code="too_large")
        async with self._turn:
            with TemporaryDirectory(prefix="picture-", ignore_cleanup_errors=True) as folder:
                await self._copied(file, Path(folder, "film"))
                return await self._drawn(self._ffmpeg, file, Path(folder))

    async def _as_it_is(self, file: StoredFile) -> bytes:
        content = bytearray()
        try:
            async for block in self._files.read(file.path, 0, AS_IT_IS_BYTES + 1):
                content += block
        except NotFoundError as e:
            raise RejectedError(str(e), code="gone") from e
        _check(file, len(content), sha256(content).hexdigest())
        return bytes(content)

    async def _copied(self, file: StoredFile, to: Path) -> None:
        seen, size = sha256(), 0
        try:
            with to.open("xb") as copy:
                async for block in self._files.read(file.path, 0, FILM_BYTES + 1):
                    seen.update(block)
                    size += len(block)
                    await asyncio.to_thread(copy.write, block)
        except NotFoundError as e:
            raise RejectedError(str(e), code="gone") from e
        _check(file, size, seen.hexdigest())

    async def _drawn(self, ffmpeg: str, file: StoredFile, folder: Path) -> bytes:
        out = folder / "picture.jpg"
        try:
            async with asyncio.timeout(self._seconds):
                code = await _run(self._leashed(ffmpeg, file, folder / "film", out), folder)
        except TimeoutError:
            raise RejectedError("it took too long to draw a picture of it", code="too_slow") from None
        except OSError as e:
            log.warning("picture_not_drawn", path=file.path, error=type(e).__name__)
            raise RejectedError("the program that draws pictures does not start", code="no_program") from e
        content = await asyncio.to_thread(_read, out)
        if code != 0 or type_of(content[:HEAD_BYTES]) != JPEG or len(content) > MOST_BYTES:
            log.warning("picture_not_drawn", path=file.path, exit=code, bytes=len(content))
            raise RejectedError("no picture of it could be drawn", code="not_drawn")
        return content

    def _leashed(self, ffmpeg: str, file: StoredFile, film: Path, out: Path) -> list[str]:
        """The command, behind limits it cannot undo: memory, bytes of a file, seconds of CPU, no core."""
        seconds = math.ceil(self._seconds)
        limits = [str(most) for most in (_MEMORY, MOST_BYTES, seconds, 0)]
        return [sys.executable, "-I", "-S", "-c", _LEASH, *limits, ffmpeg, *self._asked(file, film, out)]

    def _asked(self, file: StoredFile, film: Path, out: Path) -> list[str]:
        """Source: FFmpeg, "ffmpeg" and "ffmpeg-filters" (fps, scale, tile)."""
        reading = ["-protocol_whitelist", "file", "-f", _FORMATS[file.type], "-threads", "1", "-i", str(film)]
        wide = math.ceil(math.sqrt(self._frames))
        sheet = f"fps=1:start_time=0,scale=320:-2,tile={wide}x{math.ceil(self._frames / wide)}"
        sheet += f":nb_frames={self._frames}"
        look = "scale=640:-2" if self._frames == 1 else sheet
        drawing = ["-an", "-sn", "-dn", "-frames:v", "1", "-vf", look, "-threads", "1", "-q:v", "5"]
        return ["-nostdin", "-hide_banner", "-loglevel", "error", *reading, *drawing, "-f", "mjpeg", str(out)]


async def _run(command: Sequence[str], folder: Path) -> int:
    """Its exit code. Whatever ends the wait ends all that was started as well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
        env={"LC_ALL": "C"},
        start_new_session=True,
    )
    try:
        return await process.wait()
    finally:
        _end(process.pid)
        await asyncio.shield(process.wait())


def _end(pid: int) -> None:
    """It, and what it may have started: they are a group of their own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nothing of it is left


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError:
        return b""


def _check(file: StoredFile, size: int, digest: str) -> None:
    """People decide about what was recorded, not about what lies there now."""
    if (size, digest) != (file.bytes, file.sha256):
        raise RejectedError("the file is not the one that was recorded", code="changed")


def found(choice: str) -> str | None:
    """Where ffmpeg is, by the settings' word for it; None for none.

    Raises:
        ConfigError: There is no such program.
    """
    if choice == "off":
        return None
    if choice == "auto":
        return shutil.which("ffmpeg")
    if not os.access(choice, os.X_OK) or not Path(choice).is_file():
        raise ConfigError(f"media.ffmpeg: there is no program {choice}")
    return choice
