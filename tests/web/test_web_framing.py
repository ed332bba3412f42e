"""Connections that mean ill, or are spoken on in unusual ways: what each costs, and what the next hears."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from web_kit import House, signed
from wire_kit import CHUNKED, GOOD, LENGTH, POST, TOKEN, request, served, start, status, talk

from orchestrator.web.framing import IDLE_SECONDS, MAX_HEAD_BYTES, MAX_PIPELINED

HEALTHY = request("GET /healthz HTTP/1.1", sign=False)
BROKEN = b"GET /healthz HTTP/1.1\r\nX A: b\r\n\r\n"
OPEN_CHUNKED = request("GET /healthz HTTP/1.1", "Transfer-Encoding: chunked", sign=False)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(30):
            yield reader, writer
    finally:
        writer.close()


async def answers(port: int, raw: bytes) -> list[int]:
    """The statuses of all that came back until the service closed."""
    async with connected(port) as (reader, writer):
        writer.write(raw)
        return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", await reader.read())]


@pytest.mark.asyncio
@pytest.mark.parametrize("before", [1, 2, 5])
async def test_what_was_asked_before_a_broken_request_is_answered_before_it(
    house: House, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    """A client, or a proxy, would take the refusal for the answer to its first request."""
    async with served(house) as port:
        assert await answers(port, HEALTHY * (before - 1) + start() + BROKEN) == [200] * (before - 1) + [
            202,
            400,
        ]
        broken_body = OPEN_CHUNKED.replace(b"GET /healthz", b"POST /webhooks/gemini") + b"zz\r\n"
        assert await answers(port, HEALTHY * before + broken_body) == [200] * before + [400]
    assert "Exception in ASGI" not in caplog.text


@pytest.mark.asyncio
async def test_a_body_that_breaks_off_is_answered_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """By the framing or by the route, where that did not ask for the body."""
    async with served(house) as port:
        assert await answers(port, OPEN_CHUNKED + b"zz\r\n") == [400]
        async with connected(port) as (reader, writer):
            writer.write(OPEN_CHUNKED)
            assert status(await reader.readline()) == 200
            await reader.readuntil(b'"ok"}')
            writer.write(b"zz\r\n")
            assert await reader.read() == b""
    assert "Exception in ASGI" not in caplog.text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "rest", [b"5", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\nGET"], ids=["begun", "all", "next"]
)
async def test_who_was_answered_and_goes_silent_is_let_go(
    house: House, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    """The route answered without the body; what came of it afterwards stopped every clock there was."""
    monkeypatch.setattr("orchestrator.web.framing.HEAD_SECONDS", 0.05)
    async with served(house) as port, connected(port) as (reader, writer):
        writer.write(OPEN_CHUNKED)
        assert status(await reader.readline()) == 200
        await reader.readuntil(b'"ok"}')
        writer.write(rest)
        assert status(await reader.read()) in (0, 408)


@pytest.mark.asyncio
async def test_proxies_give_up_an_idle_connection_before_we_do(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one sends a click, which Slack does not repeat, on a connection that is just being closed."""
    assert IDLE_SECONDS > 60, "what nginx and AWS keep one for"
    monkeypatch.setattr("orchestrator.web.framing.IDLE_SECONDS", 0.05)
    async with served(house) as port:
        assert await answers(port, HEALTHY * 2) == [200] * 2


TRAILED = request(POST, "Transfer-Encoding: chunked", body=CHUNKED.removesuffix(b"\r\n"))
ENDLESS = {
    "a trailer": TRAILED + b"X-A: ",
    "an extension": request(POST, "Transfer-Encoding: chunked", body=b"5;"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("raw", ENDLESS.values(), ids=ENDLESS)
async def test_what_stands_around_a_body_has_a_largest_size(house: House, raw: bytes) -> None:
    """A parser keeps all of a trailer, as of a head."""
    async with served(house) as port, connected(port) as (reader, writer):
        writer.write(raw + b"a" * 4 * MAX_HEAD_BYTES)
        assert status(await reader.readline()) == 431


@pytest.mark.asyncio
async def test_a_long_body_in_small_pieces_is_no_head(house: House) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD + b" " * 20_000) + b"0\r\nX-A: b\r\n\r\n"
    async with served(house) as port:
        raw = request(POST, "Transfer-Encoding: chunked", body=body)
        assert len(body) > MAX_HEAD_BYTES
        assert status(await talk(port, raw)) == 401


@pytest.mark.asyncio
async def test_headers_behind_the_body_are_none(house: House) -> None:
    """RFC 9110, 6.5.1: what comes in a trailer is not merged into the head."""
    behind = "".join(f"{k}: {v}\r\n" for k, v in signed(GOOD).items()).encode() + b"\r\n"
    raw = request(POST, "Transfer-Encoding: chunked", sign=False) + CHUNKED.removesuffix(b"\r\n")
    async with served(house) as port:
        assert status(await talk(port, raw + behind)) == 400
        assert status(await talk(port, TRAILED + behind)) == 200


@pytest.mark.asyncio
async def test_many_empty_headers_are_a_large_head(house: House) -> None:
    """In one piece, so that the parser sees the end before anybody counts what came."""
    lines = b"a:\r\n" * (MAX_HEAD_BYTES // 4)
    async with served(house) as port:
        assert status(await talk(port, HEALTHY.removesuffix(b"\r\n") + lines + b"\r\n")) == 431


@pytest.mark.asyncio
async def test_so_many_requests_may_stand_behind_each_other(house: House) -> None:
    """Each of them is kept until it is its turn: twenty bytes of a stranger's, and thousands of ours."""
    last = HEALTHY.replace(b"Host", b"Connection: close\r\nHost")
    async with served(house) as port:
        assert await answers(port, HEALTHY * MAX_PIPELINED + last) == [200] * (MAX_PIPELINED + 1)
        assert await answers(port, HEALTHY * (MAX_PIPELINED + 2)) == [200] * (MAX_PIPELINED + 1) + [400]


@pytest.mark.asyncio
async def test_who_asked_first_and_was_refused_is_told_that_this_is_the_end(house: House) -> None:
    """Told no, it need not send its body: what it sends next is a request, and would be read as that body."""
    asked = ("Content-Type: application/json", "Content-Length: 100", "Expect: 100-continue")
    raw = request("POST /v1/workflows/refund/runs HTTP/1.1", *asked, sign=False)
    async with served(house) as port:
        async with connected(port) as (reader, writer):
            writer.write(raw)
            told = await reader.readuntil(b"\r\n\r\n")
            assert (status(told), b"\r\nconnection: close\r\n" in told) == (401, True)
        assert await answers(port, start("Expect: 100-continue")) == [100, 202]


UPGRADES = ("Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__")


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["h2c", "websocket"])
async def test_a_wish_for_another_protocol_is_passed_over_and_the_body_is_not(
    house: House, kind: str
) -> None:
    """Java's client wishes for HTTP/2 with each request that goes unencrypted; some proxies hand that on."""
    wish = (*UPGRADES, f"Upgrade: {kind}")
    chunked = request(POST, "Transfer-Encoding: chunked", *wish, body=CHUNKED)
    asked = request("GET /v1/runs HTTP/1.1", TOKEN, *wish, "Connection: close", sign=False)
    async with served(house) as port:
        assert await answers(port, request(POST, LENGTH, *wish, body=GOOD) + chunked + asked) == [200] * 3
        cut = request(POST, LENGTH, *wish)
        async with connected(port) as (reader, writer):
            writer.write(cut)
            await writer.drain()
            writer.write(GOOD)
            assert status(await reader.readline()) == 200
        assert await answers(port, b"CONNECT here:443 HTTP/1.1\r\nHost: here\r\n\r\n") == [400]


@pytest.mark.asyncio
async def test_who_asks_and_never_reads_is_let_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer waits for room that never comes, and a stop would wait for the answer."""
    monkeypatch.setattr("orchestrator.web.framing.READ_SECONDS", 0.05)
    large = request("GET /docs/openapi.json HTTP/1.1", sign=False)
    loop = asyncio.get_running_loop()
    async with served(house) as port:
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.setblocking(False)
            await loop.sock_sendall(deaf, large * MAX_PIPELINED)
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(loop.sock_sendall(deaf, b"x" * 100_000_000), 30)
