"""Files to and from Gemini, by streaming; the key goes to the API's own host and to no other.

Source: Gemini API, "Files": the resumable upload and `files/…:download?alt=media`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from orchestrator.errors import RejectedError, UnavailableError
from orchestrator.gemini import job_wire, wire
from orchestrator.gemini.connection import BASE_URL, Connection
from orchestrator.gemini.library import Answer, BrokenError, Form, Silence, Streamed
from orchestrator.gemini.mapping import MISSING

MAX_HOPS: Final = 3
CHUNK_BYTES: Final = 8 * 1024 * 1024
DOWNLOAD_SECONDS: Final = 3600.0
REDIRECTS_TO: Final = (".googleapis.com", ".googleusercontent.com")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_ERROR_BYTES: Final = 64 * 1024
_JSONL: Final = "application/jsonl"


class Transfers:
    """Files of the API.

    Args:
        within_seconds: For one download, so that one that drips does not go on for ever.
        redirects_to: Ends of the hosts a download may be sent on to, without the key and by https.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        within_seconds: float = DOWNLOAD_SECONDS,
        redirects_to: Sequence[str] = REDIRECTS_TO,
    ) -> None:
        self._connection, self._within, self._onward = connection, within_seconds, tuple(redirects_to)
        self._own = _origin(connection.base_url)
        self.hosts = (urlsplit(connection.base_url).hostname or "", urlsplit(BASE_URL).hostname or "")
        """Whose addresses of files are taken for the API's."""

    async def download(self, name: str) -> AsyncGenerator[bytes, None]:
        """The bytes of `files/…`, as they come.

        Raises:
            UnavailableError: Not now, or not whole.
            RejectedError: Not there (`not_found`), or never.
        """
        library = await self._connection.opened()
        form = library.at("GET", f"{name}:download?alt=media", accept="*/*", accept_encoding="identity")
        for _ in range(MAX_HOPS):
            async with library.stream(form) as got:
                if isinstance(got, Silence):
                    raise UnavailableError(self._told("download", got.why))
                if got.status not in _REDIRECTS:
                    async with aclosing(self._content(got)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                    return
                form = self._onwards(form, got.location)
        raise RejectedError(self._told("download", "the redirects do not end"), code="redirected")

    async def _content(self, got: Streamed) -> AsyncGenerator[bytes, None]:
        if got.status != 200:
            answer = Answer(got.status, await _some(got), got.retry_after)
            raise self._connection.refusal("download", answer, missing=MISSING).of_repeatable()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._within
        try:
            async for chunk in got.content:
                if loop.time() > end:
                    raise UnavailableError(self._told("download", "it comes too slowly"))
                yield chunk
        except BrokenError as e:
            raise UnavailableError(self._told("download", f"it broke off: {e}")) from e

    def _onwards(self, form: Form, location: str) -> Form:
        """Where a redirect leads, without the key anywhere but at home. Raises `RejectedError`."""
        try:
            url = urljoin(form.url, location)
            host, origin = urlsplit(url).hostname or "", _origin(url)
        except ValueError:
            host, origin, url = "", None, ""
        if not url.isprintable():  # the library would raise an error of its own
            host, origin, url = "", None, ""
        if url and origin == self._own:
            return Form("GET", url, form.headers)
        if not (url.startswith("https://") and host.endswith(self._onward)):
            raise RejectedError(
                self._told("download", f"a redirect to another host: {host or 'none'}"), code="redirected"
            )
        return Form("GET", url, _without_key(form.headers))

    async def upload(self, chunks: AsyncIterator[bytes], size: int, *, label: str) -> str:
        """Send `size` bytes of JSON Lines; the name they have then. May be repeated: nothing begins by it.

        Raises:
            UnavailableError: Not sent; try again.
            RejectedError: It will not be taken.
        """
        library = await self._connection.opened()
        begin = library.at(
            "POST",
            "files",
            upload=True,
            x_goog_upload_protocol="resumable",
            x_goog_upload_command="start",
            x_goog_upload_header_content_length=str(size),
            x_goog_upload_header_content_type=_JSONL,
        )
        said = {"file": {"displayName": label, "mimeType": _JSONL, "sizeBytes": str(size)}}
        answer = self._taken(await self._connection.heard("upload", begin, wire.encode(said)))
        address = answer.headers.get("x-goog-upload-url", "")
        if _origin(address) not in (self._own, _origin(BASE_URL)):
            raise UnavailableError(self._told("upload", "the answer holds no address of the API's own"))
        # The address itself says who may write there; the key is not needed, and is not sent.
        into = Form("POST", address, _without_key(begin.headers))
        return await self._send(into, chunks, size)

    async def _send(self, into: Form, chunks: AsyncIterator[bytes], size: int) -> str:
        offset, answer = 0, None
        async for block in _blocks(chunks):
            last = offset + len(block) >= size
            answer = await self._part(into, block, offset, last=last)
            offset += len(block)
        if answer is None or offset != size or answer.headers.get("x-goog-upload-status") != "final":
            raise UnavailableError(self._told("upload", f"{offset} of {size} bytes were sent, and not taken"))
        name = job_wire.uploaded(wire.decoded(answer.content))
        if not name:
            raise UnavailableError(self._told("upload", "the answer names no file"))
        return name

    async def _part(self, into: Form, block: bytes, offset: int, *, last: bool) -> Answer:
        command = "upload, finalize" if last else "upload"
        headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
        form = Form(into.method, into.url, {**into.headers, **headers})
        return self._taken(await self._connection.heard("upload", form, block))

    def _taken(self, answer: Answer) -> Answer:
        if answer.status != 200:
            raise self._connection.refusal("upload", answer).of_repeatable()
        return answer

    def _told(self, what: str, why: str) -> str:
        return self._connection.words.tell(what, why)


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same in the size the upload wants all but the last to have."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)


async def _some(got: Streamed) -> bytes:
    """The beginning of a refusal."""
    content = bytearray()
    try:
        async with aclosing(got.content) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > _ERROR_BYTES:
                    break
    except BrokenError:
        pass  # its status says enough
    return bytes(content)


def _without_key(headers: Any) -> dict[str, str]:
    return {name: text for name, text in headers.items() if not name.lower().startswith("x-goog-api-")}


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; None for what has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname.lower(), port) if parts.hostname else None
