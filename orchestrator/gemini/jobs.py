"""Gemini's long jobs as the engine knows them (`JobsPort`): videos and batches.

A start is sent once and never repeated, as a create is; the upload of a batch's lines before it begins
nothing and costs nothing. What a job made is copied into our storage while Gemini still has it (two days).
"""

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from typing import Any, Final, Protocol
from urllib.parse import quote

from orchestrator.domain.jobs import LISTED, Harvest, JobKind, JobOrder, JobReading, JobState, StoredFile
from orchestrator.domain.values import replace
from orchestrator.errors import InputError, RejectedError, UnavailableError, UnreadAnswerError
from orchestrator.gemini import batch_results, job_wire, wire
from orchestrator.gemini.connection import Connection
from orchestrator.gemini.job_wire import Made
from orchestrator.gemini.library import Answer, Form, Library
from orchestrator.gemini.mapping import MISSING, BlipError
from orchestrator.gemini.transfers import Transfers

VIDEOS: Final = frozenset({"video/mp4", "video/webm", "video/quicktime"})
LINES: Final = frozenset({"application/jsonl"})
INLINE_BYTES: Final = 18 * 1024 * 1024
"""Of a batch's lines; Gemini's own limit is 20 MB, and the rest of the request counts, too."""
PAGE_SIZE: Final = 50
MAX_LISTED: Final = 200
"""Batches looked through for a lost one."""
MAX_PAGES: Final = 40
"""A page may hold fewer than asked for; so many at most are read."""
MAX_OBJECT_BYTES: Final = 256 * 1024 * 1024
"""Of one object: a finished interaction holds its video, a batch its answers, and both may be listed."""
_ABSENT: Final = "not_found"
_DECODED: Final = 3 * 1024 * 1024  # divisible by three: base64 of it has no padding inside
_BLANKS: Final = re.compile(r"\s+")
_PLAIN: Final = str.maketrans("-_", "+/")


class Files(Protocol):
    """The storage, as far as it is needed here; its own page says more."""

    async def write(
        self, path: str, chunks: AsyncIterator[bytes], *, accept: Collection[str]
    ) -> StoredFile: ...

    def read(self, path: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]: ...

    async def size(self, path: str) -> int: ...


class GeminiJobs:
    """Videos and batches (`JobsPort`). One per process; safe for concurrent use.

    Args:
        connection: The gateway's, whose webhook addresses and patience hold here, too. It stays the
            gateway's to close.
        inline_bytes: Larger batches are uploaded as a file.
    """

    def __init__(
        self,
        connection: Connection,
        files: Files,
        *,
        transfers: Transfers | None = None,
        inline_bytes: int = INLINE_BYTES,
    ) -> None:
        self._connection, self._files, self._inline = connection, files, inline_bytes
        self._transfers = transfers or Transfers(connection)

    # -------------------------------------------------------------- start

    async def start(self, order: JobOrder) -> JobReading:
        """Begin it; exactly one request on the wire that can begin anything, never repeated.

        Raises:
            RejectedError: Refused for good, or an order that can be none (`invalid_request`).
            UnavailableError: Nothing began: no connection, 429, a refused key, an upload that did not work.
            UncertainError: It may have begun.
        """
        path, body = await self._begin(order)
        content = await asyncio.to_thread(wire.encode, body)
        form = (await self._connection.opened()).at("POST", path)
        answer = await self._connection.once(f"start of a {order.kind}", form, content)
        try:
            read = job_wire.reading(order.kind, await answer.read(wire.decode))
        except ValueError as e:
            raise UnreadAnswerError(f"the answer is not JSON: {e}"[: wire.MAX_TEXT]) from e
        return replace(read, job=read.job or order.id)

    async def _begin(self, order: JobOrder) -> tuple[str, Any]:
        uris, model = self._connection.uris, job_wire.model(order)
        match order.kind:
            case JobKind.VIDEO:
                return f"models/{model}:predictLongRunning", job_wire.video_body(order, uris)
            case JobKind.VIDEO_INTERACTION:
                return "interactions", job_wire.video_interaction_body(order, uris)
            case JobKind.BATCH:
                source = await self._source(order)
                return f"models/{model}:batchGenerateContent", job_wire.batch_body(order, source, uris)

    async def _source(self, order: JobOrder) -> Any:
        """A batch's lines: in the request where they are few, else as a file that is sent before it."""
        if (path := order.request.get("file")) is not None:
            try:
                size = await self._files.size(str(path))
                chosen = await self._chosen(str(path), order.request.get("keys"))
            except InputError as e:
                raise RejectedError(f"request.file must be a stored file: {e}", code="invalid_request") from e
            if chosen is not None:
                return await self._sent(order, _pieces(chosen), len(chosen))
            return await self._sent(order, self._files.read(str(path)), size)
        lines = job_wire.lines(order)
        inline = job_wire.inline(lines)
        if len(await asyncio.to_thread(wire.encode, inline)) <= self._inline:
            return inline
        content = await asyncio.to_thread(
            lambda: b"".join(wire.encode({"key": k, "request": r}) + b"\n" for k, r in lines)
        )
        return await self._sent(order, _pieces(content), len(content))

    async def _chosen(self, path: str, keys: Any) -> bytes | None:
        """Those lines of a stored file; None where all of them are meant."""
        if keys is None:
            return None
        async with aclosing(self._files.read(path)) as chunks:
            return await batch_results.lines_of(chunks, frozenset(map(str, keys)))

    async def _sent(self, order: JobOrder, chunks: AsyncGenerator[bytes, None], size: int) -> Any:
        async with aclosing(chunks):
            return job_wire.from_file(await self._transfers.upload(chunks, size, label=order.id))

    # -------------------------------------------------------------- look, stop

    async def fetch(self, kind: JobKind, remote: str) -> JobReading:
        """Read it; blips are tried again for a few seconds.

        Raises:
            RejectedError: `not_found` (404, 410, an impossible name), or Gemini's word for another 4xx.
            UnavailableError: No reading now.
        """
        return job_wire.reading(kind, await self._raw(kind, remote))

    async def find(self, order: JobOrder) -> tuple[JobReading, ...]:
        """Batches among the first two hundred listed that carry our id, one for each of its starts at most;
        the other kinds have no list.
        """
        if order.kind not in LISTED:
            return ()
        mine, token, looked = dict[str, JobReading](), "", 0
        for _ in range(MAX_PAGES):
            listed, token = job_wire.batches(await self._connection.retried(self._page, token))
            mine.update((read.remote, read) for read in listed if read.job == order.id)
            looked += len(listed)
            if not token or looked >= MAX_LISTED or len(mine) >= order.attempt:
                break
        return tuple(mine.values())

    async def cancel(self, kind: JobKind, remote: str) -> None:
        """Stop it. What Gemini objects (it has ended, is gone) is not told: reading it says how it is.

        An operation of Veo's cannot be cancelled; nothing is sent.

        Raises:
            UnavailableError: Not now.
        """
        if kind is JobKind.VIDEO or not job_wire.is_remote(kind, remote):
            return
        library = await self._connection.opened()
        form = (
            library.cancel.of(remote) if kind is not JobKind.BATCH else library.at("POST", f"{remote}:cancel")
        )
        await self._connection.retried(self._connection.stop, "cancel", form)

    async def _page(self, token: str) -> Any:
        query = f"batches?pageSize={PAGE_SIZE}" + (f"&pageToken={quote(token, safe='')}" if token else "")
        form = (await self._connection.opened()).at("GET", query)
        answer = await self._connection.heard("list batches", form, most=MAX_OBJECT_BYTES)
        if answer.status != 200:
            raise self._connection.refusal("list batches", answer).of_repeatable()
        return await self._read("list batches", answer)

    async def _raw(self, kind: JobKind, remote: str) -> Any:
        """The object, as Gemini shows it now."""
        if not job_wire.is_remote(kind, remote):
            raise RejectedError(f"Gemini has no such {kind}: the name is impossible", code="not_found")
        return await self._connection.retried(self._try, kind, remote)

    async def _try(self, kind: JobKind, remote: str) -> Any:
        form = _form(await self._connection.opened(), kind, remote)
        answer = await self._connection.heard("fetch", form, most=MAX_OBJECT_BYTES)
        if answer.status != 200:
            raise self._connection.refusal("fetch", answer, missing=MISSING).of_repeatable()
        raw = await self._read("fetch", answer)
        try:
            same = job_wire.reading(kind, raw).remote == remote
        except UnreadAnswerError:
            same = False
        if not same:
            raise BlipError(self._connection.words.tell("fetch", f"the answer is not this {kind}"))
        return raw

    async def _read(self, what: str, answer: Answer) -> Any:
        try:
            return await answer.read(wire.decode)
        except ValueError:
            raise BlipError(self._connection.words.tell(what, "the answer is not JSON")) from None

    # -------------------------------------------------------------- harvest

    async def harvest(self, order: JobOrder, remote: str) -> Harvest:
        """Read it again and copy what it made into the storage, under `<run id>/<job id>-<n>`.

        May be repeated: the names are the same, and a file is there whole or not at all.

        Returns:
            The files. `trouble` where nothing can be used: kept back for safety, gone, at another host,
            too large, or not of a type that is kept.

        Raises:
            UnavailableError: Not now: it has not ended, a download broke off, the storage is full.
            RejectedError: Gemini has no such job (`not_found`).
        """
        raw = await self._raw(order.kind, remote)
        if (read := job_wire.reading(order.kind, raw)).state is JobState.LIVE:
            raise UnavailableError(f"the {order.kind} has not ended yet: {read.said}")
        if order.kind is JobKind.BATCH:
            return await self._answers(order, raw)
        return await self._videos(order, raw)

    async def _videos(self, order: JobOrder, raw: Any) -> Harvest:
        found, kept_back = job_wire.made(order.kind, raw, hosts=self._transfers.hosts)
        files, troubles = list[StoredFile](), [kept_back] if kept_back else list[str]()
        absent = False
        for number, made in enumerate(found, start=1):
            try:
                files.append(await self._video(f"{order.run_id}/{order.id}-{number}", made))
            except RejectedError as e:
                troubles.append(str(e))
                absent = absent or e.code == _ABSENT
        facts = {"troubles": troubles} if files and troubles else {}
        trouble = "" if files else "; ".join(troubles) or "there is no video in it"
        return Harvest(tuple(files), facts, trouble[: wire.MAX_TEXT], absent)

    async def _video(self, path: str, made: Made) -> StoredFile:
        if made.trouble:
            raise RejectedError(made.trouble, code="no_video")
        content = _decoded(made.data) if made.data else self._transfers.download(made.file)
        async with aclosing(content) as chunks:
            return await self._files.write(path, chunks, accept=VIDEOS)

    async def _answers(self, order: JobOrder, raw: Any) -> Harvest:
        output = job_wire.output(raw)
        keys = await self._keys(order)
        tally = batch_results.Tally(keys)
        if output is None:
            return Harvest((), tally.end(), "there are no responses in it")
        content = (
            self._transfers.download(output.file)
            if output.file
            else batch_results.written(output.answers, keys or ())
        )
        try:
            async with aclosing(content) as source, aclosing(batch_results.tallied(source, tally)) as chunks:
                file = await self._files.write(f"{order.run_id}/{order.id}-1", chunks, accept=LINES)
        except RejectedError as e:
            facts, why = batch_results.Tally(keys).end(), str(e)[: wire.MAX_TEXT]
            return Harvest((), facts, why, e.code == _ABSENT)
        return Harvest((file,), tally.end())

    async def _keys(self, order: JobOrder) -> list[str] | None:
        """What was asked, in order; None where the file that said it is gone."""
        if (path := order.request.get("file")) is None:
            return [key for key, _ in job_wire.lines(order)]
        if (keys := order.request.get("keys")) is not None:
            return [str(key) for key in keys]
        try:
            async with aclosing(self._files.read(str(path))) as chunks:
                return await batch_results.keys_in(chunks)
        except InputError:
            return None


def _form(library: Library, kind: JobKind, remote: str) -> Form:
    return library.fetch.of(remote) if kind is JobKind.VIDEO_INTERACTION else library.at("GET", remote)


async def _pieces(content: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), _DECODED):
        yield content[start : start + _DECODED]


async def _decoded(data: str) -> AsyncGenerator[bytes, None]:
    """The bytes behind base64 of either alphabet, piece by piece. Raises `RejectedError`: it is none."""
    text = _BLANKS.sub("", data).translate(_PLAIN).rstrip("=")
    text += "=" * (-len(text) % 4)
    step = _DECODED // 3 * 4
    for start in range(0, len(text), step):
        try:
            yield await asyncio.to_thread(base64.b64decode, text[start : start + step], validate=True)
        except ValueError:
            raise RejectedError("the video is not base64", code="wrong_type") from None
