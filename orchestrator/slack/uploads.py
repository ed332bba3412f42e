"""Pictures on their way to Slack: asked for an address, sent there, shown in a thread.

    files.getUploadURLExternal ──► an address and a file id ── POST the bytes ──► nobody sees it yet
    files.completeUploadExternal ──► it stands in the thread

Nothing is shown before the last of them, so the first two may be repeated; what is never shown Slack drops.

Sources: Slack, `files.getUploadURLExternal`, `files.completeUploadExternal`, "Working with files".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.domain.cards import Card, Picture
from orchestrator.errors import RejectedError, UnavailableError
from orchestrator.slack.api_errors import SlackRefusalError, SlackUnavailableError
from orchestrator.slack.text import escape, line
from orchestrator.slack.web_api import LOOPBACK, WebApi, answerable

_PNG: Final = b"\x89PNG"
_TITLE: Final = 100
_UPLOADS: Final = "files.slack.com"


def hosts(base_url: str) -> frozenset[str]:
    """Where Slack may have bytes sent: its own host for files, or that of a Slack set up elsewhere."""
    host = urlsplit(base_url).hostname or ""
    return frozenset({host} if host in LOOPBACK else {_UPLOADS, host, f"files.{host}"})


async def send(api: WebApi, picture: Picture, allowed: frozenset[str]) -> str:
    """Slack's id for the picture once it has it.

    Raises:
        UnavailableError: It has not, or nobody knows; safe to try again.
        RejectedError: It does not take it, or names an address that is not Slack's.
    """
    end = "png" if picture.content.startswith(_PNG) else "jpg"
    told = {
        "filename": f"{picture.number}.{end}",
        "length": len(picture.content),
        "alt_txt": f"A picture of file {picture.number}",
    }
    data = await _allowed(api, told)
    url, file_id = data.get("upload_url"), data.get("file_id")
    if not isinstance(file_id, str) or not isinstance(url, str) or not file_id:
        raise UnavailableError("Slack did not say where the picture goes")
    if not answerable(url, allowed):
        raise RejectedError("Slack named an address for the picture that is not its own", code="foreign_url")
    status = await api.send(url, picture.content)
    if status == 200:
        return file_id
    if status is None or status >= 500 or status in (408, 429):
        raise UnavailableError(f"the picture could not be sent to Slack ({status or 'no answer'})")
    raise SlackRefusalError(f"upload_{status}")


async def _allowed(api: WebApi, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """That a scope is missing is final here: the question is decided without pictures."""
    try:
        return await api.safely("files_getUploadURLExternal", **told)
    except SlackUnavailableError as e:
        if e.code != "missing_scope":
            raise
        raise SlackRefusalError("missing_files_scope") from e


def shown(card: Card, files: Sequence[tuple[str, str]], thread: str) -> dict[str, Any]:
    """What `files.completeUploadExternal` is told."""
    name = escape(line(card.approval.id, 60))
    return {
        "files": [{"id": file_id, "title": line(title, _TITLE)} for file_id, title in files],
        "channel_id": card.approval.channel,
        "thread_ts": thread,
        "initial_comment": f"What can be chosen in `{name}`, by number.",
    }


def stands(message: Mapping[str, Any], files: Sequence[tuple[str, str]]) -> bool:
    """Whether a message has one of these files."""
    there = message.get("files")
    wanted = {file_id for file_id, _ in files}
    found = there if isinstance(there, list) else []
    return any(isinstance(file, dict) and file.get("id") in wanted for file in found)
