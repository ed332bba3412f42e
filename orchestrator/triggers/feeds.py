"""Feeds: RSS and Atom, by `feedparser`, behind a gate of our own.

What comes is a stranger's. Of the body at most 5 MB are read. It passes `expat` first, which refuses what is
not well-formed, every entity somebody declares (so none can grow or reach for a file), what is nested too
deeply, and elements of very many attributes; only then is it given to the library, as bytes, which it never
takes for an address.

Source: RFC 9110, 13 (conditional requests); RFC 4287 (Atom); RSS 2.0 specification, `guid`.
"""

import asyncio
import io
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NoReturn, Protocol
from xml.parsers import expat

from orchestrator.domain.plain import JsonObject
from orchestrator.domain.retry import told_wait
from orchestrator.domain.triggers import FeedEntry, FeedReading, key_of
from orchestrator.errors import InvalidError, RejectedError, UnavailableError, UncertainError

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_ENTRIES: Final = 500
"""Of one reading; feeds list the newest first."""
MAX_DEPTH: Final = 64
MAX_ATTRIBUTES: Final = 100
"""Of one element: the library takes the square of the time over them."""
MAX_TEXT: Final = 100_000
"""Characters of one text of an entry."""
MAX_TAGS: Final = 50
MAX_HEADER: Final = 500
"""Characters of an ETag or a date we send back."""
TIMEOUT_SECONDS: Final = 30.0
REDIRECTS: Final = 3
ACCEPT: Final = "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.8"


class Answer(Protocol):
    """An HTTP answer; `headers` have lower-case names, `truncated` says that there was more."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    @property
    def truncated(self) -> bool: ...


class Fetch(Protocol):
    """Sends a request where it may go, and nowhere else (promises, outbound addresses)."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int = 65536,
        timeout: float = 10.0,  # noqa: ASYNC109  it is the client's to keep
        redirects: int = 0,
    ) -> Answer: ...


class Feeds:
    """Reads feeds, each as far as it may be asked itself: what one in the house may, no other one may.

    Args:
        fetch: For feeds out in the world.
        inside: For a feed in the house: its host and port, as `Trigger.place` spells them, and nothing else.
        clock: What a date in `Retry-After` is held against.
    """

    def __init__(self, fetch: Fetch, inside: Callable[[str], Fetch], clock: Callable[[], datetime]) -> None:
        self._fetch, self._inside, self._clock = fetch, inside, clock

    async def look(
        self, url: str, *, etag: str = "", last_modified: str = "", inside: str = ""
    ) -> FeedReading:
        """What the feed says now, or that nothing has changed since it said `etag` or `last_modified`.

        Args:
            inside: Host and port of a feed that its trigger marks `internal`; empty for all others.

        Raises:
            UnavailableError: It did not answer, or not now.
            RejectedError: It may not be asked, or says no.
            InvalidError: What came is no feed we take; the text says why and quotes nothing.
        """
        asked = {"accept": ACCEPT, "accept-encoding": "identity"}
        asked |= {"if-none-match": etag} if etag else {}
        asked |= {"if-modified-since": last_modified} if last_modified else {}
        fetch = self._inside(inside) if inside else self._fetch
        try:
            answer = await fetch.request(
                "GET",
                url,
                headers=asked,
                max_bytes=MAX_BYTES,
                timeout=TIMEOUT_SECONDS,
                redirects=REDIRECTS,
            )
        except UncertainError as e:  # reading twice does no harm
            raise UnavailableError(str(e)) from e
        if answer.status == 304:
            return FeedReading(None, etag, last_modified)
        entries = await asyncio.to_thread(parse, _body(answer, self._clock()))
        return FeedReading(entries, _kept(answer, "etag"), _kept(answer, "last-modified"))


def _kept(answer: Answer, name: str) -> str:
    value = answer.headers.get(name, "")
    return value if len(value) <= MAX_HEADER and value.isascii() and value.isprintable() else ""


def _body(answer: Answer, now: datetime) -> bytes:
    status = answer.status
    if status == 429 or status >= 500:
        asked = told_wait(answer.headers.get("retry-after", ""), now)
        raise UnavailableError(f"HTTP {status}", retry_after=asked)
    if status != 200:
        raise RejectedError(f"HTTP {status}", code=str(status))
    if answer.truncated:
        raise InvalidError(f"the feed has more than {MAX_BYTES} bytes")
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidError("an encoded body is not taken")
    return answer.content


def parse(body: bytes) -> tuple[FeedEntry, ...]:
    """The entries of a feed, each once, at most 500, as it lists them.

    Raises:
        InvalidError: It is not well-formed XML, declares entities, or is no feed.
    """
    _gate(body)
    feedparser = _library()
    # Its cleaning of HTML takes the square of the time over some texts; ours is shown to nobody as HTML.
    found = feedparser.parse(io.BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    if not found.version:
        raise InvalidError("it is neither RSS nor Atom")
    title = _text(found.feed.get("title", ""))
    entries: dict[str, FeedEntry] = {}
    for each in found.entries[:MAX_ENTRIES]:
        entry = _entry(each, title)
        entries.setdefault(entry.key, entry)
    return tuple(entries.values())


@cache
def _library() -> Any:
    """The library, imported late, and kept from looking for an address in what names an author.

    It does so by an expression that takes the square of the time over a long word, some 20 s over 60 KB, and
    nothing else of this process goes on meanwhile. What it finds we do not read.
    """
    import feedparser  # type: ignore[import-untyped]  # ships no types
    from feedparser.mixin import _FeedParserMixin  # type: ignore[import-untyped]

    plain = _FeedParserMixin._sync_author_detail

    def in_parts(self: Any, key: str = "author") -> None:
        """Only what came in parts is put together."""
        if self._get_context().get(f"{key}s", [None])[-1]:
            plain(self, key)

    _FeedParserMixin._sync_author_detail = in_parts
    return feedparser


def _gate(body: bytes) -> None:
    parser = expat.ParserCreate()
    parser.ordered_attributes = True  # names and values in turn
    depth = 0

    def opened(_: str, attributes: Sequence[str]) -> None:
        nonlocal depth
        depth += 1
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            raise InvalidError(f"an element of the feed has more than {MAX_ATTRIBUTES} attributes")
        if depth > MAX_DEPTH:
            raise InvalidError("the feed is nested too deeply")

    def closed(*_: object) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.EntityDeclHandler = _entities
    try:
        parser.Parse(body, True)
    except expat.ExpatError as e:
        raise InvalidError(f"the feed is no well-formed XML: line {e.lineno}, column {e.offset}") from None
    except (LookupError, ValueError):
        raise InvalidError("the feed is in an encoding we do not take") from None


def _entities(*_: object) -> NoReturn:
    raise InvalidError("the feed declares entities, which is not taken")


def _entry(each: Mapping[str, Any], feed: str) -> FeedEntry:
    own, link = str(each.get("id") or ""), _text(each.get("link"))
    title, summary = _text(each.get("title")), _text(each.get("summary"))
    content = next((_text(c.get("value")) for c in each.get("content") or ()), "")
    published, updated = (_time(_said(each, f"{which}_parsed")) for which in ("published", "updated"))
    tags = [_text(t.get("term")) for t in (each.get("tags") or ())[:MAX_TAGS]]
    seen: JsonObject = {
        "id": _text(own),
        "link": link,
        "title": title,
        "summary": summary,
        "content": content or summary,
        "author": _text(each.get("author")),
        "published": published or updated,
        "updated": updated or published,
        "tags": [t for t in tags if t],
        "feed": feed,
    }
    return FeedEntry(key_of(own or f"{link}\0{title or summary}"), seen)


def _said(each: Mapping[str, Any], name: str) -> object:
    """What is there under that very name; the library's own look-up puts one date in the other's place."""
    return dict.get(each, name) if isinstance(each, dict) else each.get(name)


def _text(value: object) -> str:
    return str(value)[:MAX_TEXT].replace("\0", "") if value else ""


def _time(parsed: object) -> str:
    """As `2026-11-22T10:00:00Z`; empty where the entry says none."""
    if not isinstance(parsed, time.struct_time):
        return ""
    try:
        return datetime(*parsed[:6], tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return ""
