"""Files: uploaded piece by piece, or generated; each is gone 48 hours later.

Source: Gemini API, Files; the resumable protocol is read off the client library's requests
(`X-Goog-Upload-Command: start`, then `upload`, and `upload, finalize` with the last piece).
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.emulator.gemini.clock import Clock
from orchestrator.emulator.gemini.errors import ApiError, invalid, not_found, precondition
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import instant
from orchestrator.emulator.gemini.pages import page
from orchestrator.emulator.gemini.settings import EmulatorSettings

Json = dict[str, Any]
NAME: Final = re.compile(r"files/[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
UPLOAD_BYTES_MAX: Final = 2 * 1024**3
JSONL: Final = "application/jsonl"
MP4: Final = "video/mp4"
COMMANDS: Final = ("upload", "finalize", "query", "cancel")


@dataclass(eq=False)
class File:
    """One file. `source` is UPLOADED or GENERATED; only generated ones can be downloaded."""

    name: str
    project: str
    content: bytes
    type: str
    source: str
    created: datetime
    expires: datetime
    display_name: str = ""
    seconds: float | None = None

    def view(self, address: str) -> Json:
        """The resource as JSON; `address` is the emulator's own."""
        shown: Json = {
            "name": self.name,
            "displayName": self.display_name,
            "mimeType": self.type,
            "sizeBytes": str(len(self.content)),
            "createTime": instant(self.created),
            "updateTime": instant(self.created),
            "expirationTime": instant(self.expires),
            "sha256Hash": base64.b64encode(hashlib.sha256(self.content).digest()).decode(),
            "uri": f"{address}/v1beta/{self.name}",
            "state": "ACTIVE",
            "source": self.source,
        }
        if not self.display_name:
            del shown["displayName"]
        if self.source == "GENERATED":
            shown["downloadUri"] = download_uri(address, self.name)
        if self.seconds is not None:
            shown["videoMetadata"] = {"videoDuration": f"{self.seconds:g}s"}
        return shown


@dataclass(eq=False)
class Upload:
    """A file on its way here."""

    project: str
    name: str
    display_name: str
    type: str
    size: int
    content: bytearray


class Files:
    """Every project's files.

    Args:
        address: Tells the emulator's own address, for the URIs in answers.
    """

    def __init__(
        self, settings: EmulatorSettings, clock: Clock, ids: Ids, address: Callable[[], str]
    ) -> None:
        self._settings, self._clock, self._ids, self._address = settings, clock, ids, address
        self._all: dict[str, File] = {}
        self._uploads: dict[str, Upload] = {}

    def put(
        self,
        project: str,
        name: str,
        content: bytes,
        *,
        type: str = JSONL,
        source: str = "UPLOADED",
        display_name: str = "",
        seconds: float | None = None,
    ) -> File:
        """Keep a file under a name of the form `files/{id}`."""
        now = self._clock.now()
        ends = now + timedelta(seconds=self._settings.file_seconds)
        made = File(name, project, content, type, source, now, ends, display_name, seconds)
        self._all[name] = made
        return made

    def generate(self, project: str, content: bytes, type: str, seconds: float | None = None) -> File:
        """Keep a file that a job has made."""
        name = f"files/{self._ids.webhook()}"
        return self.put(project, name, content, type=type, source="GENERATED", seconds=seconds)

    def find(self, project: str, name: str) -> File:
        """A file of this project.

        Raises:
            ApiError: 404 when it is unknown, deleted or expired; 403 when it is another project's.
        """
        found = self._all.get(name)
        if found is None or found.expires <= self._clock.now():
            raise not_found("File", name)
        if found.project != project:
            raise ApiError(403, f"You do not have permission to access the File {name} or it may not exist.")
        return found

    def get(self, project: str, name: str) -> Json:
        """What is known about a file.

        Raises:
            ApiError: As for `find`.
        """
        return self.find(project, name).view(self._address())

    def download(self, project: str, name: str) -> File:
        """A file that was generated; its content.

        Raises:
            ApiError: As for `find`; 400 for an uploaded one.
        """
        found = self.find(project, name)
        if found.source != "GENERATED":
            raise precondition("Only generated files can be downloaded.")
        return found

    def list(self, project: str, page_size: str | None, page_token: str | None) -> Json:
        """A page of the project's files, newest first.

        Raises:
            ApiError: 400 for a size or token that is none.
        """
        now, address = self._clock.now(), self._address()
        mine = [f for f in self._all.values() if f.project == project and f.expires > now][::-1]
        return page("files", mine, lambda found: found.view(address), page_size, page_token)

    def delete(self, project: str, name: str) -> None:
        """Forget a file.

        Raises:
            ApiError: As for `find`.
        """
        self.find(project, name)
        del self._all[name]

    def begin(self, project: str, body: Any, headers: Mapping[str, str]) -> str:
        """Start an upload; returns the address of its pieces.

        Raises:
            ApiError: 400; 409 for a name that is taken.
        """
        if headers.get("x-goog-upload-protocol") != "resumable":
            raise invalid("X-Goog-Upload-Protocol must be 'resumable'.")
        if headers.get("x-goog-upload-command") != "start":
            raise invalid("X-Goog-Upload-Command must be 'start'.")
        size = headers.get("x-goog-upload-header-content-length", "")
        if not size.isdecimal() or int(size) > UPLOAD_BYTES_MAX:
            raise invalid("X-Goog-Upload-Header-Content-Length must be a size of at most 2 GB.")
        file = body.get("file", {}) if isinstance(body, dict) else {}
        if not isinstance(file, dict):
            raise invalid("Invalid value at 'file'.")
        said = headers.get("x-goog-upload-header-content-type", "application/octet-stream")
        type_, shown = str(file.get("mimeType") or said), str(file.get("displayName", ""))
        made = Upload(project, self._free_name(file.get("name")), shown, type_, int(size), bytearray())
        number = self._ids.webhook()
        self._uploads[number] = made
        return f"{self._address()}/upload/v1beta/files?upload_id={number}&upload_protocol=resumable"

    def go_on(self, number: str, headers: Mapping[str, str], piece: bytes) -> tuple[str, Json]:
        """Take a piece of an upload; returns its status (active, final, cancelled) and the answer.

        Raises:
            ApiError: 404 for an unknown upload; 400 for a piece that does not fit.
        """
        found = self._uploads.get(number)
        if found is None:
            raise not_found("Upload", number)
        commands = [word.strip() for word in headers.get("x-goog-upload-command", "").split(",")]
        if not commands or any(word not in COMMANDS for word in commands):
            raise invalid(f"X-Goog-Upload-Command must be some of: {', '.join(COMMANDS)}.")
        if "cancel" in commands:
            del self._uploads[number]
            return "cancelled", {}
        if "upload" in commands:
            _take(found, headers.get("x-goog-upload-offset", ""), piece)
        return self._ended(number, found) if "finalize" in commands else ("active", {})

    def received(self, number: str) -> int:
        """How much of an upload is here, in bytes; 0 when it is over."""
        found = self._uploads.get(number)
        return 0 if found is None else len(found.content)

    def _ended(self, number: str, upload: Upload) -> tuple[str, Json]:
        if len(upload.content) != upload.size:
            raise invalid(f"{upload.size} bytes were announced, {len(upload.content)} came.")
        del self._uploads[number]
        made = self.put(
            upload.project,
            upload.name,
            bytes(upload.content),
            type=upload.type,
            display_name=upload.display_name,
        )
        return "final", {"file": made.view(self._address())}

    def _free_name(self, wanted: Any) -> str:
        if not wanted:
            return f"files/{self._ids.webhook()}"
        if not isinstance(wanted, str) or not NAME.fullmatch(wanted):
            raise invalid("file.name must be files/ and up to 40 of a-z, 0-9 and -.")
        if wanted in self._all and self._all[wanted].expires > self._clock.now():
            raise ApiError(409, f"The file '{wanted}' already exists.", code="already_exists")
        return wanted


def download_uri(address: str, name: str) -> str:
    """Where a generated file is to be had."""
    return f"{address}/v1beta/{name}:download?alt=media"


def _take(upload: Upload, offset: str, piece: bytes) -> None:
    if offset != str(len(upload.content)):
        raise invalid(f"X-Goog-Upload-Offset must be {len(upload.content)}.")
    if len(upload.content) + len(piece) > upload.size:
        raise invalid(f"More than the announced {upload.size} bytes came.")
    upload.content += piece
