"""Feeds as they come: good, strange, broken and hostile."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator import clients
from orchestrator.errors import InvalidError, RejectedError, UnavailableError
from orchestrator.outbound import Outbound, Rules
from orchestrator.triggers import feeds
from orchestrator.triggers.feeds import Feeds, Fetch, parse

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>{}</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><id>tag:a,1</id><title>One</title><link href="https://a.example/1"/><category term="x"/>
<updated>2026-11-22T10:00:00Z</updated>
<content type="html">&lt;p&gt;Hi&lt;script&gt;bad()&lt;/script&gt;&lt;/p&gt;</content></entry>
</feed>"""


def item(n: int, guid: str | None = "", title: str = "", more: str = "") -> str:
    own = "" if guid is None else f"<guid>{guid or f'id-{n}'}</guid>"
    link = f"<link>https://a.example/{n}</link>"
    return f"<item>{own}<title>{title or f'Title {n}'}</title>{link}{more}</item>"


def keys(*items: str) -> list[str]:
    return [e.key for e in parse(RSS.format("".join(items)).encode())]


def test_an_atom_entry_as_a_mapping_sees_it() -> None:
    (entry,) = parse(ATOM.encode())
    assert entry.key == "tag:a,1"
    seen = dict(entry.seen)
    written = "<p>Hi<script>bad()</script></p>"  # data, as everything a stranger writes
    assert (seen.pop("content"), seen.pop("summary")) == (written, written)
    assert seen == {
        "id": "tag:a,1",
        "link": "https://a.example/1",
        "title": "One",
        "author": "",
        "published": "2026-11-22T10:00:00Z",
        "updated": "2026-11-22T10:00:00Z",
        "tags": ["x"],
        "feed": "News",
    }


def test_an_rss_entry_with_one_date_and_a_text_for_people() -> None:
    more = "<pubDate>Sun, 22 Nov 2026 11:00:00 +0100</pubDate><description>Short</description>"
    (entry,) = parse(RSS.format(item(1, more=more)).encode())
    assert (entry.seen["published"], entry.seen["updated"]) == ("2026-11-22T10:00:00Z",) * 2
    assert (entry.seen["summary"], entry.seen["content"]) == ("Short", "Short")


def test_an_entry_is_known_by_its_id_whatever_else_changes() -> None:
    assert keys(item(1), item(2)) == ["id-1", "id-2"]
    assert keys(item(2, title="Edited"), item(1)) == ["id-2", "id-1"]
    assert keys(item(1), item(1, title="Again")) == ["id-1"]


def test_without_an_id_by_its_link_and_title() -> None:
    one, two = keys(item(1, None), item(2, None))
    assert one.startswith("sha256:")
    assert keys(item(2, None), item(1, None, more="<description>new</description>")) == [two, one]
    assert keys(item(1, None, title="Other")) != [one]


def test_a_long_or_odd_id_makes_a_short_key() -> None:
    (long,) = keys(item(1, "x" * 5000))
    (odd,) = keys(item(1, "ä b"))
    assert len({long, odd}) == 2
    assert all(len(k) == 71 and k.isascii() for k in (long, odd))


BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">{}]><rss version="2.0"><channel>
<item><title>&z;</title></item></channel></rss>""".format(
    "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghijy", "bcdefghijyz", strict=True))
)
HOSTILE = {
    "entity bomb": BOMB,
    "file": '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><rss><channel><title>&f;</title></channel></rss>',
    "parameter": '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]><rss version="2.0"/>',
    "deep": "<rss>" + "<a>" * 50_000 + "</a>" * 50_000 + "</rss>",
    "not closed": RSS.format("<item><title>x</item>"),
    "cut off": RSS.format(item(1))[:-20],
    "a page": "<!DOCTYPE html><html><head></head><body><p>Sign in</p></body></html>",
    "json": '{"items": []}',
    "empty": "",
    "an address": "http://127.0.0.1/feed",
    "zero": "\0" * 100,
    "unknown encoding": '<?xml version="1.0" encoding="x-evil"?><rss version="2.0"/>',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_feed_is_refused_at_once(name: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(HOSTILE[name].encode())
    assert "passwd" not in str(caught.value)


def test_a_feed_is_bounded() -> None:
    huge = item(0, more=f"<description>{'y' * 300_000}</description>")
    found = parse(RSS.format(huge + "".join(item(n) for n in range(1, 600))).encode())
    assert len(found) == feeds.MAX_ENTRIES
    assert max(len(str(v)) for v in found[0].seen.values()) == feeds.MAX_TEXT


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_the_attributes_of_an_element_are_bounded(more: int, fits: bool) -> None:
    named = " ".join(f'a{n}="x"' for n in range(feeds.MAX_ATTRIBUTES + more))
    feed = RSS.format(f"<item {named}><guid>1</guid></item>").encode()
    if fits:
        assert [e.key for e in parse(feed)] == ["1"]
        return
    with pytest.raises(InvalidError, match="more than 100 attributes"):
        parse(feed)


@pytest.mark.parametrize(
    ("written", "author"),
    [
        ("<author>ann@a.example (Ann)</author>", "ann@a.example (Ann)"),
        ("<author><name>Ann</name></author>", "Ann"),
        ("<author><name>Ann</name><email>ann@a.example</email></author>", "Ann (ann@a.example)"),
        ("<author></author>", ""),
        ("<webMaster>ann@a.example</webMaster>", ""),
        (f"<author>{'a' * 90_000}@</author>", "a" * 90_000 + "@"),
    ],
)
def test_nobody_looks_for_an_address_in_an_author(written: str, author: str) -> None:
    """It took the square of the time: 100 KB would hold the whole process for a minute."""
    feed = RSS.format(item(1, more=written)).encode()
    (found,) = feeds._library().parse(feed).entries
    assert "email" not in found.get("author_detail", {}) or "<email>" in written
    assert parse(feed)[0].seen["author"] == author


# ------------------------------------------------------------------ over HTTP


@dataclass
class Said:
    status: int = 200
    content: bytes = RSS.format(item(1)).encode()
    headers: Mapping[str, str] = field(default_factory=dict)
    truncated: bool = False


class Once:
    """A fetcher that gives one answer and keeps what was asked."""

    def __init__(self, answer: Said) -> None:
        self.answer, self.asked = answer, {}

    async def request(self, method: str, url: str, **asked: Any) -> Said:
        self.asked = {"method": method, "url": url, **asked}
        return self.answer


def reader(fetch: Fetch) -> Feeds:
    """One that asks nobody in the house."""

    def nobody(place: str) -> Fetch:
        raise AssertionError(f"{place} is not to be asked")

    return Feeds(fetch, nobody, lambda: NOW)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Said(500), UnavailableError),
        (Said(429, headers={"retry-after": "120"}), UnavailableError),
        (Said(503, headers={"retry-after": "Sat, 21 Nov 2026 10:02:00 GMT"}), UnavailableError),
        (Said(404), RejectedError),
        (Said(301, headers={"location": "https://b.example"}), RejectedError),
        (Said(truncated=True), InvalidError),
        (Said(headers={"content-encoding": "gzip"}), InvalidError),
    ],
)
def test_an_answer_that_is_no_feed_is_told_by_its_kind(answer: Said, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        asyncio.run(reader(Once(answer)).look("https://a.example/feed"))
    assert getattr(caught.value, "retry_after", None) == (
        120.0 if answer.headers.get("retry-after") else None
    )


def test_an_etag_no_header_takes_is_not_kept() -> None:
    look = asyncio.run(
        reader(Once(Said(headers={"etag": "x" * 501, "last-modified": "a\r\nb"}))).look("https://a")
    )
    assert (look.etag, look.last_modified) == ("", "")


def test_conditional_and_redirected_over_a_real_connection() -> None:
    """Through the one client that calls addresses of others: redirects are followed, and looked at."""
    asked: list[tuple[str, str]] = []

    async def feed(request: web.Request) -> web.Response:
        asked.append((request.headers.get("if-none-match", ""), request.headers.get("accept-encoding", "")))
        if request.headers.get("if-none-match") == '"v1"':
            return web.Response(status=304)
        return web.Response(text=RSS.format(item(1)), headers={"etag": '"v1"', "last-modified": "then"})

    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently("/feed")

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/inside")

    async def story() -> None:
        app = web.Application()
        app.add_routes([web.get("/feed", feed), web.get("/old", moved), web.get("/away", away)])
        async with TestServer(app) as server:
            host = f"127.0.0.1:{server.port}"
            inside = clients.feeds(lambda: NOW)
            first = await inside.look(f"http://{host}/old", inside=host)
            again = await inside.look(
                f"http://{host}/old", etag=first.etag, last_modified=first.last_modified, inside=host
            )
            assert [e.key for e in first.entries or ()] == ["id-1"]
            assert (again.entries, again.etag, again.last_modified) == (None, '"v1"', "then")
            with pytest.raises(RejectedError):
                await inside.look(f"http://{host}/away", inside=host)

    asyncio.run(story())
    assert asked == [("", "identity"), ('"v1"', "identity")]


class Stage:
    """Clients whose sockets lead nowhere: which addresses anything was to be opened to."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.wanted = list(answers), []
        self.reader = Feeds(self._client(()), lambda place: self._client((place,)), lambda: NOW)

    def _client(self, local: tuple[str, ...]) -> Outbound:
        return Outbound(Rules(local=local), resolve=self._resolve, sockets=self._socket)

    async def _resolve(self, host: str, port: int) -> list[str]:
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]]

    def _socket(self, info: Any) -> socket.socket:
        self.wanted.append(info[4][0])
        raise OSError("no sockets here")


@pytest.mark.parametrize(
    ("url", "inside", "answers", "opened"),
    [
        ("http://news.lan:8080/f", "news.lan:8080", ["10.0.0.7"], ["10.0.0.7"]),
        ("http://news.lan:8080/other", "", ["10.0.0.7"], []),
        ("https://news.lan/f", "", ["10.0.0.7"], []),
        ("https://news.lan/f", "other.lan:443", ["10.0.0.7"], []),
        ("https://news.lan:8443/f", "news.lan:8080", ["10.0.0.7"], []),
        ("https://10.0.0.7/f", "", ["10.0.0.7"], []),
        ("http://[fd00::7]/f", "[fd00::7]:80", ["::1"], ["fd00::7"]),
        ("https://a.example/f", "", ["93.184.216.34", "10.0.0.7"], ["93.184.216.34"]),  # rebound afterwards
        ("https://a.example/f", "", ["10.0.0.7", "93.184.216.34"], []),
    ],
)
def test_what_one_feed_may_ask_in_the_house_no_other_one_may(
    url: str, inside: str, answers: list[str], opened: list[str]
) -> None:
    async def story() -> None:
        stage = Stage(*answers)
        # One in the house was asked before, as another trigger's.
        with pytest.raises(UnavailableError):
            await stage.reader.look("http://10.0.0.7:8080/f", inside="10.0.0.7:8080")
        assert stage.wanted == ["10.0.0.7"]
        with pytest.raises((RejectedError, UnavailableError)):
            await stage.reader.look(url, inside=inside)
        assert stage.wanted[1:] == opened

    asyncio.run(story())


def test_a_text_is_not_worked_on() -> None:
    """The library's cleaning of HTML takes the square of the time over comments that never end."""
    bomb = "<!--" * 50_000
    (entry,) = parse(RSS.format(item(1, more=f"<description>{escape(bomb)}</description>")).encode())
    assert entry.seen["summary"] == bomb[: feeds.MAX_TEXT]
