"""Where a signing secret goes that is told only once: printed, into an env file, or into a file of its own.

What can keep it from being written is looked for before it is asked for. A file is replaced whole, so
that no reader ever sees half of one.
"""

import os
import re
import stat
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.domain.registration import SecretHint
from orchestrator.errors import ConfigError

VARIABLE: Final = "GEMINI_WEBHOOK_SECRETS"
MAX_BYTES: Final = 1024 * 1024
_SEPARATORS: Final = re.compile(r"[\s,]+")
_ENTRY: Final = re.compile(r"whsec_[A-Za-z0-9+/]+=*(;until=[0-9TZ:+.-]+)?")
_LINE: Final = re.compile(
    rf"^(?P<lead>[ \t]*(?:export[ \t]+)?{VARIABLE}[ \t]*=[ \t]*)"
    r"(?P<quote>[\"']?)(?P<value>.*?)(?P=quote)[ \t]*(?=\r?$)",
    re.MULTILINE,
)
_OTHER: Final = re.compile(rf"^[ \t]*(?:export[ \t]+)?{VARIABLE}_FILE[ \t]*=[ \t]*\S", re.MULTILINE)
_OPEN_TO_OTHERS: Final = 0o027  # write for the group, anything for the rest

Change = Callable[[Sequence[str]], Sequence[str]]
"""The secrets before, as the setting spells them, newest first; to those afterwards."""


def until(instant: datetime) -> str:
    """As the setting takes an end: UTC, whole seconds."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def added(new: str) -> Change:
    """The new one in front, the others as they were."""
    return lambda before: [new, *(e for e in before if _secret(e) != new)]


def rotated(new: str, old: Sequence[SecretHint], ends: datetime | None, now: datetime) -> Change:
    """The new one in front; the webhook's old ones with the end they have now, or gone where `ends` is None.

    Args:
        old: What Gemini shows of the webhook's secrets before; secrets of other webhooks are left alone.
    """

    def change(before: Sequence[str]) -> list[str]:
        kept = [e for e in before if not _past(e, now)]
        return [new, *(e for entry in kept if (e := _ending(entry, old, ends)))]

    return change


def endless(entries: Sequence[str], old: Sequence[SecretHint]) -> int:
    """How many have no end, and are none of the webhook's as far as Gemini shows them."""
    return sum(not any(hint.fits(entry) for hint in old) for entry in entries if ";" not in entry)


def _ending(entry: str, old: Sequence[SecretHint], ends: datetime | None) -> str:
    if not any(hint.fits(_secret(entry)) for hint in old):
        return entry
    if ends is None:
        return ""
    return entry if ";" in entry else f"{entry};until={until(ends)}"


def _secret(entry: str) -> str:
    return entry.partition(";")[0]


def _past(entry: str, now: datetime) -> bool:
    _, _, end = entry.partition(";until=")
    if not end:
        return False
    try:
        instant = datetime.fromisoformat(end)
        return instant <= now
    except (ValueError, TypeError):  # no time, or one without its offset: the service will say so
        return False


class SecretFile:
    """A file that holds the secrets: alone, or as `GEMINI_WEBHOOK_SECRETS=` among other variables.

    Args:
        env: It is an env file; else it holds the secrets and nothing else, one a line.
    """

    def __init__(self, path: Path, *, env: bool) -> None:
        self.path, self._env = path, env

    def check(self) -> None:
        """See that the file can be read and replaced.

        Raises:
            ConfigError: It is a link, no file, open to others, somebody else's, or holds something else.
        """
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise ConfigError(f"--secret-to: nothing can be written in {self.path.parent}")
        self.secrets(self._read()[0])

    def change(self, how: Change) -> None:
        """Read, change, and put the new file in the place of the old one.

        Raises:
            ConfigError: As `check`.
            OSError: The disk says no; the file is as it was.
        """
        text, mode = self._read()
        after = how(self.secrets(text))
        _replace(self.path, self._with(text, after).encode(), mode)

    def secrets(self, text: str) -> list[str]:
        """The entries in a file's text.

        Raises:
            ConfigError: It holds something else, or holds them twice.
        """
        value = self._line(text) if self._env else text
        entries = [e for e in _SEPARATORS.split(value) if e]
        if not all(_ENTRY.fullmatch(e) for e in entries):
            what = VARIABLE if self._env else "it"
            raise ConfigError(f"--secret-to: {self.path}: {what} holds something that is no whsec_<base64>")
        return entries

    def _line(self, text: str) -> str:
        found = list(_LINE.finditer(text))
        if len(found) > 1:
            raise ConfigError(f"--secret-to: {self.path} sets {VARIABLE} more than once")
        if _OTHER.search(text):
            raise ConfigError(
                f"--secret-to: {self.path} sets {VARIABLE}_FILE: write to that file by file:PATH"
            )
        return found[0]["value"] if found else ""

    def _with(self, text: str, entries: Sequence[str]) -> str:
        if not self._env:
            return "".join(f"{e}\n" for e in entries)
        value = ",".join(entries)
        if _LINE.search(text):  # in the quotes it had: not every reader of such files takes them away
            return _LINE.sub(lambda m: f"{m['lead']}{m['quote']}{value}{m['quote']}", text)
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{VARIABLE}={value}\n"

    def _read(self) -> tuple[str, int]:
        """The file's text and permissions; an absent one is empty, and will be our own."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return "", 0o600
        except OSError as e:
            why = "it is a link" if self.path.is_symlink() else e.strerror
            raise ConfigError(f"--secret-to: {self.path}: {why}") from None
        try:
            mode = self._private(os.fstat(handle))
            content = _whole(handle)
        finally:
            os.close(handle)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ConfigError(f"--secret-to: {self.path} is not UTF-8 text") from None
        if len(content) > MAX_BYTES:
            raise ConfigError(f"--secret-to: {self.path} is larger than a file of settings")
        return text, mode

    def _private(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"--secret-to: {self.path} is no file")
        if mode & _OPEN_TO_OTHERS:
            raise ConfigError(f"--secret-to: {self.path} is open to others: chmod 600 it first")
        if (
            status.st_uid != os.geteuid()
        ):  # a file put in its place would be ours, and its owner could not read it
            raise ConfigError(f"--secret-to: {self.path} belongs to another user: run this as that one")
        return mode


def _whole(handle: int) -> bytes:
    """The content, as far as one byte over what is taken."""
    content = b""
    while len(content) <= MAX_BYTES and (piece := os.read(handle, MAX_BYTES + 1 - len(content))):
        content += piece
    return content


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Written beside it, synced, and moved over it; made readable for nobody but us."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def store_of(text: str) -> SecretFile | None:
    """`print` is None, `env:FILE` and `file:PATH` are files.

    Raises:
        ConfigError: It is none of these.
    """
    kind, _, path = text.partition(":")
    if text == "print":
        return None
    if kind not in ("env", "file") or not path:
        raise ConfigError("--secret-to must be print, env:FILE or file:PATH")
    return SecretFile(Path(path), env=kind == "env")
