"""The one client for addresses that others gave us.

A name is resolved once; unless every address it has is public, nothing is opened. The connection goes to
an address that was looked at then, whatever the name leads to a moment later; certificate and `Host` are
those of the name. No proxy, cookie or credential of ours goes along.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.outbound.address import NOT_ALLOWED, Rules, Target, is_global

MAX_REDIRECTS: Final = 3
MAX_ADDRESSES: Final = 32
MAX_FIELD: Final = 8190
CHUNK: Final = 64 * 1024
TOO_MANY_REDIRECTS: Final = "too_many_redirects"
AGENT: Final = "gemini-orchestrator"
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_HARMLESS: Final = frozenset(
    {"accept", "accept-language", "if-modified-since", "if-none-match", "user-agent"}
)
"""Header fields that go along to another host."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The IP addresses of a name, for a port. Raises `OSError` where there are none."""
Sockets = Callable[[Any], socket.socket]
"""Makes the socket for one address, as `getaddrinfo` describes it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` have lower-case names; `truncated` says that more was there than was read.

    `url` is where it came from in the end, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str
    truncated: bool = False


class Stream:
    """An answer whose body is still to come."""

    def __init__(self, response: aiohttp.ClientResponse, target: Target) -> None:
        self._response, self._target = response, target
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.url = target.url

    async def chunks(self, size: int = CHUNK) -> AsyncIterator[bytes]:
        """The body in pieces of at most `size` bytes, as it was sent: no encoding is undone.

        Raises:
            UncertainError: It broke off, or took too long.
        """
        with _told(self._target):
            async for chunk in self._response.content.iter_chunked(size):
                yield chunk

    async def read(self, most: int) -> tuple[bytes, bool]:
        """At most that many bytes, and whether there are more."""
        taken = bytearray()
        async for chunk in self.chunks(min(CHUNK, most + 1)):
            taken += chunk
            if len(taken) > most:
                return bytes(taken[:most]), True
        return bytes(taken), False


class Outbound:
    """Calls what the rules allow.

    Args:
        rules: Which addresses.
        resolve: The machine's own resolver by default.
        trust: Whose certificates are believed; the machine's own list by default.
        sockets: Makes sockets; the standard library by default.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
        sockets: Sockets | None = None,
    ) -> None:
        self.rules = rules or Rules()
        self._resolve = resolve or system_addresses
        self._given_trust = trust
        self._sockets = sockets

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return self._given_trust or ssl.create_default_context()

    def check(self, url: str) -> Target:
        """Whether an address may be called, without resolving it. Raises `RejectedError` (`not_allowed`)."""
        return self.rules.target(url)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int = CHUNK,
        timeout: float = 10.0,  # noqa: ASYNC109 - of the whole exchange, handed to the HTTP library
        redirects: int = 0,
    ) -> Answer:
        """One exchange, whatever its status; see `stream`. Of the body at most `max_bytes` are kept."""
        async with self.stream(
            method, url, headers=headers, content=content, timeout=timeout, redirects=redirects
        ) as got:
            body, more = await got.read(max_bytes)
        return Answer(got.status, got.headers, body, got.url, more)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout: float = 10.0,  # noqa: ASYNC109 - of the whole exchange, handed to the HTTP library
        redirects: int = 0,
    ) -> AsyncIterator[Stream]:
        """One exchange, its body to be read in pieces.

        Args:
            timeout: Seconds for all of it: names, redirects and body.
            redirects: How many are followed, up to 3, and for GET and HEAD only. Each is looked at like the
                first address; another host gets only harmless header fields. With 0 a redirect is
                the answer.

        Raises:
            RejectedError: `not_allowed`: the address, or one of its IP addresses, or where it redirects to;
                `too_many_redirects`.
            UnavailableError: Nothing was sent: no address, no connection, no valid certificate.
            UncertainError: It was sent, and no whole answer came.
        """
        target, fields = self.rules.target(url), _fields(headers or {})
        left = min(redirects, MAX_REDIRECTS) if method in ("GET", "HEAD") else 0
        following = left > 0
        end = asyncio.get_running_loop().time() + timeout
        while True:
            async with self._exchange(method, target, fields, content, end) as got:
                where = got.headers.get("location")
                if not (following and got.status in _MOVED and where):
                    yield got
                    return
            if left == 0:
                raise RejectedError(f"{target.shown} redirects too often", code=TOO_MANY_REDIRECTS)
            left -= 1
            moved = self._moved(target, where)
            if moved.origin != target.origin:
                fields = {name: value for name, value in fields.items() if name in _HARMLESS}
            target = moved

    def _moved(self, target: Target, where: str) -> Target:
        """Where a redirect leads; it leads from TLS to plain text, or to this machine, for nobody."""
        try:
            moved = self.rules.target(urljoin(target.url, where.partition("#")[0]))
        except (RejectedError, ValueError):
            moved = None
        if moved is None or (moved.local and moved.origin != target.origin):
            raise RejectedError(f"{target.shown} redirects to where we do not call", code=NOT_ALLOWED)
        return moved

    @asynccontextmanager
    async def _exchange(
        self, method: str, target: Target, fields: Mapping[str, str], content: bytes, end: float
    ) -> AsyncIterator[Stream]:
        addresses = await self._looked_up(target, end)
        connector = aiohttp.TCPConnector(
            resolver=_Looked(addresses),
            use_dns_cache=False,
            force_close=True,
            ssl=self._trust if target.scheme == "https" else False,
            socket_factory=self._sockets,
        )
        limits = aiohttp.ClientTimeout(total=max(0.001, end - asyncio.get_running_loop().time()))
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=limits,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=MAX_FIELD,
            max_field_size=MAX_FIELD,
        ) as session:
            with _told(target):
                response = await session.request(
                    method,
                    URL(target.url, encoded=True),
                    headers=dict(fields),
                    data=content or None,
                    allow_redirects=False,
                )
            async with response:
                yield Stream(response, target)

    async def _looked_up(self, target: Target, end: float) -> Sequence[str]:
        """The addresses of a target. Refused unless all are public: nobody knows which one is used."""
        if target.literal:
            return [target.host]  # the rules have looked at it
        try:
            async with asyncio.timeout_at(end):
                found = list(dict.fromkeys(await self._resolve(target.host, target.port)))
        except (OSError, UnicodeError, TimeoutError) as e:
            raise UnavailableError(f"the name {target.host} was not found: {type(e).__name__}") from e
        if not found:
            raise UnavailableError(f"the name {target.host} has no address")
        if not target.local and (len(found) > MAX_ADDRESSES or not all(map(is_global, found))):
            raise RejectedError(f"{target.host} is not at public addresses only", code=NOT_ALLOWED)
        return found


class _Looked(AbstractResolver):
    """Answers with what was looked at, whatever is asked."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = tuple(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """What this machine's resolver says. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    fields = {"user-agent": AGENT, "accept-encoding": "identity"}
    return {**fields, **{name.lower(): value for name, value in headers.items()}}


class _told:  # noqa: N801 - reads as the block it opens
    """Failures of the HTTP library in our words; the other side's own words are left out."""

    def __init__(self, target: Target) -> None:
        self._where = target.shown

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, aiohttp.ClientSSLError):
            raise UnavailableError(f"{self._where} showed no certificate we trust") from error
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            raise UnavailableError(f"{self._where} cannot be reached") from error
        if isinstance(error, TimeoutError):
            raise UncertainError(f"{self._where} did not answer in time") from error
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            raise UncertainError(f"{self._where} gave no whole answer") from error
