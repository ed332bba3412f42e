"""The `google-genai` client, opened once: one request out, at most one answer back.

The library owns address, version, key, headers, connections and TLS. We do not let it build and read
each request, though: it makes pydantic models of the API's whole union of shapes anew on every call,
about 17 ms of CPU for a create and 7 ms for a get, during which the event loop stands still. Instead
it prepares each kind of request once (`Form`), into a transport that records and sends nothing; we
fill in id and body and send through the library's own HTTP client: under 1 ms. Reaching that client
takes one attribute the library does not document (`sdk_configuration.async_client`); a contract test
holds it in place, and what we send equal to what the library sends.

Nothing here repeats or judges; `gateway.py` does.
"""

import asyncio
import importlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from orchestrator.domain.retry import MOST_TOLD_SECONDS, told_wait
from orchestrator.domain.values import replace

T = TypeVar("T")

CONNECT_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_ANSWER_VALUES: Final = 1_000_000
"""In such an answer, roughly: while they are made, for some tenths of a second, nothing else runs here."""
MOST_ON_THE_LOOP: Final = 64 * 1024
"""Bytes of an answer that are read where they come; what is larger, in a thread."""
_MILLISECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_SLOT: Final = "interaction-id-goes-here"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def by_proxy(url: str) -> bool:
    """Whether the environment's proxies count on the way there: nothing on this machine goes through one."""
    return urlsplit(url).hostname not in _LOOPBACK


@dataclass(frozen=True, slots=True)
class Form:
    """A request as the library prepares it, to be filled in."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # the key is among them

    def of(self, interaction_id: str) -> "Form":
        """The same about that interaction; the id must be one that may stand in an address."""
        return replace(self, url=interaction_id.join(self.url.rsplit(_SLOT, 1)))


@dataclass(frozen=True, slots=True)
class Answer:
    """Any answer, whatever its status. `retry_after` is in seconds."""

    status: int
    content: bytes = b""
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def read(self, how: Callable[[bytes], T]) -> T:
        """What that makes of the body; of a large one in a thread, for the loop would stand still over it."""
        if len(self.content) <= MOST_ON_THE_LOOP:
            return how(self.content)
        return await asyncio.to_thread(how, self.content)


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer. `sent` is False only where certainly nothing reached the other side.

    `too_large`: there is one, and it will not fit another time either.
    """

    why: str
    sent: bool
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer whose body still comes; `content`, decoded, raises `BrokenError` where it breaks off.

    `location` is where a redirect leads; none is followed.
    """

    status: int
    content: AsyncGenerator[bytes, None]
    retry_after: float | None = None
    location: str = ""


class BrokenError(Exception):
    """A body that broke off on its way, or did not go on."""


class Library:
    """An opened client. It keeps `client` referenced: once collected, that closes its connections.

    Args:
        timeout_seconds: For the answer; to connect, at most ten of them.
        now: The clock against which a `Retry-After` date is read.
    """

    def __init__(
        self,
        *,
        key: str,
        base_url: str,
        api_version: str,
        timeout_seconds: float,
        now: Callable[[], datetime],
    ) -> None:
        self._timeout, self._now = timeout_seconds, now
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "api_version": api_version,
            "timeout": int(timeout_seconds * 1000),
            "async_client_args": {"trust_env": by_proxy(base_url)},
        }
        self._client = self._make(key)
        self._http = self._client.aio.interactions.sdk_configuration.async_client
        self._closed = False
        http = _http_library(self._http)
        self._unsent = (http.ConnectError, http.ConnectTimeout, http.PoolTimeout)
        self._faults = (http.HTTPError, http.StreamError, TimeoutError)
        self.create, self.fetch, self.cancel = self._prepare(key, http)

    async def exchange(
        self, form: Form, content: bytes | None = None, *, most: int | None = None
    ) -> Answer | Silence:
        """Send it once. No redirect is followed: the key stays here.

        Args:
            most: Bytes of an answer; what is above is none. Without, there are bounds for bytes and values.
        """
        if self._closed:
            return Silence("the client is closed", sent=False)
        try:
            async with asyncio.timeout(2 * self._timeout):  # the client's own count from byte to byte
                answer = await self._send(self._request(form, content), most or MAX_ANSWER_BYTES)
        except self._unsent as fault:
            return Silence(f"no connection: {_words(fault)}", sent=False)
        except self._faults as fault:
            return Silence(f"no answer: {_words(fault)}", sent=True)
        if most is None and isinstance(answer, Answer) and _values(answer.content) > MAX_ANSWER_VALUES:
            return Silence("the answer holds too many values", sent=True, too_large=True)
        return answer

    def at(self, method: str, path: str, *, upload: bool = False, **headers: str) -> Form:
        """Any other request of the API, under the same address, version and key.

        Args:
            path: Below the version, escaped, as `batches/b1:cancel`.
            upload: Where files are sent to: `upload/` stands before the version.
            headers: More of them, or others; with _ for -.
        """
        base = self._options["base_url"]
        version = self._options["api_version"]
        url = f"{base}/upload/{version}/{path}" if upload else f"{base}/{version}/{path}"
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return Form(method, url, {**self.fetch.headers, **named})

    @asynccontextmanager
    async def stream(self, form: Form) -> AsyncIterator[Streamed | Silence]:
        """The same as `exchange`, but whoever asks reads the body as it comes."""
        if self._closed:
            yield Silence("the client is closed", sent=False)
            return
        request = self._request(form, None)
        try:
            async with asyncio.timeout(2 * self._timeout):
                response = await self._http.send(request, stream=True, follow_redirects=False)
        except self._unsent as fault:
            yield Silence(f"no connection: {_words(fault)}", sent=False)
            return
        except self._faults as fault:
            yield Silence(f"no answer: {_words(fault)}", sent=True)
            return
        try:
            location = response.headers.get("location", "")
            yield Streamed(response.status_code, self._body(response), self._retry_after(response), location)
        finally:
            await response.aclose()

    async def _body(self, response: Any) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except self._faults as fault:
            raise BrokenError(_words(fault)) from fault

    def _request(self, form: Form, content: bytes | None) -> Any:
        connect = min(CONNECT_SECONDS, self._timeout)
        return self._http.build_request(
            form.method,
            form.url,
            headers=dict(form.headers),
            content=content,
            timeout=(connect, self._timeout, self._timeout, connect),  # connect, read, write, pool
        )

    async def _send(self, request: Any, most: int) -> Answer | Silence:
        response = await self._http.send(request, stream=True, follow_redirects=False)
        content = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > most:
                    return Silence("the answer is too large", sent=True, too_large=True)
        finally:
            await response.aclose()
        return Answer(
            response.status_code, bytes(content), self._retry_after(response), dict(response.headers)
        )

    def _retry_after(self, response: Any) -> float | None:
        return asked_pause(response.headers, self._now())

    async def aclose(self) -> None:
        """Close the connections; whatever is sent later meets `Silence`."""
        self._closed = True
        await self._client.aio.aclose()
        self._client.close()

    def _make(self, key: str, **recorders: Any) -> Any:
        from google import genai  # 0.8 s
        from google.genai import types

        once = types.HttpRetryOptions(attempts=1)
        options = types.HttpOptions(**self._options, retry_options=once, **recorders)
        return genai.Client(api_key=key, vertexai=False, http_options=options)

    def _prepare(self, key: str, http: Any) -> list[Form]:
        """Let the library prepare one request of each kind, and keep them; nothing is sent."""
        seen: list[Form] = []

        def record(request: Any) -> Any:
            headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
            seen.append(Form(request.method, str(request.url), headers))
            return http.Response(200, json={"id": _SLOT, "status": "completed"})

        transport = http.MockTransport(record)
        sync, unused = http.Client(transport=transport), http.AsyncClient(transport=transport)
        interactions = (client := self._make(key, httpx_client=sync, httpx_async_client=unused)).interactions
        interactions.create(model="any", input="any", background=True)
        interactions.get(id=_SLOT)
        interactions.cancel(id=_SLOT)
        client.close()
        sync.close()
        return seen


def _http_library(client: Any) -> Any:
    """The HTTP library under the client: `httpx2`, or `httpx` where the environment says so."""
    base = next(kind for kind in type(client).__mro__ if kind.__name__ == "AsyncClient")
    return importlib.import_module(base.__module__.partition(".")[0])


def _values(content: bytes) -> int:
    """How many there are in that JSON at most; what stands in its texts is counted with them."""
    return sum(map(content.count, (b",", b"{", b"[")))


def _words(fault: Exception) -> str:
    return f"{type(fault).__name__} {fault}".strip()


def asked_pause(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds an answer asks us to wait: by `Retry-After`, and in milliseconds by `retry-after-ms`.

    The longer one counts. The library heeds both; its own retries are off, so that this is ours.
    """
    told, finer = headers.get("retry-after"), headers.get("retry-after-ms", "").strip()
    pauses = [] if told is None else [told_wait(told, now)]
    if _MILLISECONDS.fullmatch(finer):
        pauses.append(min(float(finer) / 1000, MOST_TOLD_SECONDS))
    return max((p for p in pauses if p is not None), default=None)
