"""Files apps upload: an address first, then the bytes, then the message that shows them. No HTTP here.

Source: Slack, `files.getUploadURLExternal`, `files.completeUploadExternal`, "Working with files".
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.emulator.slack.arguments import Args, checked_text, decoded
from orchestrator.emulator.slack.settings import SlackChannel
from orchestrator.emulator.slack.tickets import Refused
from orchestrator.emulator.slack.workspace import Message, Workspace

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of one file here; Slack takes a gigabyte."""
ALT_CHARS: Final = 1_000
_KINDS: Final = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass
class File:
    """One file: announced, then with its content, then shown in a message."""

    id: str
    name: str
    length: int
    alt_txt: str
    content: bytes | None = None
    title: str = ""
    shared: bool = False

    @property
    def mimetype(self) -> str:
        """By its first bytes; only pictures have one that a browser shows."""
        found = (kind for head, kind in _KINDS.items() if (self.content or b"").startswith(head))
        return next(found, "application/octet-stream")

    def wire(self) -> dict[str, Any]:
        """As messages carry it."""
        told = {"id": self.id, "name": self.name, "title": self.title, "mimetype": self.mimetype}
        return {**told, "size": self.length, "alt_txt": self.alt_txt}


class Uploads:
    """The files of one workspace."""

    def __init__(self, workspace: Workspace, clock: Callable[[], float], base_url: Callable[[], str]) -> None:
        self._workspace = workspace
        self._clock = clock
        self._base_url = base_url
        self._tickets: dict[str, File] = {}
        self.files: dict[str, File] = {}
        self.methods: Mapping[str, Callable[[Args], dict[str, Any]]] = {
            "files.getUploadURLExternal": self._announce,
            "files.completeUploadExternal": self._complete,
        }

    def take(self, ticket: str, content: bytes) -> None:
        """The bytes sent to an upload address.

        Raises:
            Refused: `no_such_upload`, or `wrong_length`.
        """
        file = self._tickets.get(ticket)
        if file is None or file.shared:
            raise Refused("no_such_upload")
        if len(content) != file.length:
            raise Refused("wrong_length")
        file.content = content

    def shown(self, file_id: str) -> File | None:
        """A file that stands in some message."""
        file = self.files.get(file_id)
        return file if file is not None and file.shared else None

    def drop_unshared(self) -> None:
        """What was not shown in time is gone, as Slack does it."""
        self.files = {key: file for key, file in self.files.items() if file.shared}
        self._tickets = {key: file for key, file in self._tickets.items() if file.shared}

    def _announce(self, args: Args) -> dict[str, Any]:
        name, length = args.get("filename"), _length(args.get("length"))
        alt = args.get("alt_txt") or ""
        if not isinstance(name, str) or not name or not 0 < length <= MOST_BYTES:
            raise Refused("invalid_arguments")
        if not isinstance(alt, str) or len(alt) > ALT_CHARS:
            raise Refused("alt_txt_too_large")
        file = File(f"F{len(self.files) + 1:08d}", name, length, alt)
        ticket = secrets.token_urlsafe(16)
        self.files[file.id] = self._tickets[ticket] = file
        return {"upload_url": f"{self._base_url()}/upload/v1/{ticket}", "file_id": file.id}

    def _complete(self, args: Args) -> dict[str, Any]:
        """With a channel it makes the message that shows them; the same files again make another one."""
        files = self._named(decoded(args.get("files"), "invalid_arguments"))
        channel = self._channel(args)
        thread = self._thread(channel, args.get("thread_ts")) if channel else None
        for file in files:
            file.shared = True
        if channel is not None:
            self._workspace.add(self._message(channel, thread, files, checked_initial(args)))
        return {"files": [{"id": file.id, "title": file.title} for file in files]}

    def _named(self, wished: Any) -> list[File]:
        if not isinstance(wished, list) or not wished or not all(isinstance(w, dict) for w in wished):
            raise Refused("invalid_arguments")
        found = []
        for one in wished:
            file = self.files.get(str(one.get("id")))
            if file is None or file.content is None:
                raise Refused("file_not_found")
            file.title = str(one.get("title") or file.name)
            found.append(file)
        return found

    def _channel(self, args: Args) -> SlackChannel | None:
        if not args.get("channel_id"):
            return None
        channel = self._workspace.channel(str(args["channel_id"]))
        if channel is None:
            raise Refused("channel_not_found")
        if not channel.bot_is_member:
            raise Refused("not_in_channel")
        if channel.is_archived:
            raise Refused("is_archived")
        return channel

    def _thread(self, channel: SlackChannel, thread_ts: Any) -> str | None:
        if thread_ts is None:
            return None
        parent = self._workspace.find(channel.id, str(thread_ts))
        if parent is None or parent.thread_ts is not None:
            raise Refused("thread_not_found")
        return parent.ts

    def _message(self, channel: SlackChannel, thread: str | None, files: list[File], text: str) -> Message:
        return Message(
            channel=channel.id,
            ts=self._workspace.next_ts(self._clock()),
            user=self._workspace.settings.bot_user_id,
            text=text,
            blocks=[],
            thread_ts=thread,
            files=[file.wire() for file in files],
        )


def checked_initial(args: Args) -> str:
    """The words that introduce the files; empty for none."""
    return checked_text({"text": args.get("initial_comment")})


def _length(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
