"""What only shows on a real socket: framing, lengths, senders that go away. The server is uvicorn."""

import asyncio
import json

import pytest
from web_kit import House, signed
from wire_kit import CHUNKED, GOOD, LENGTH, POST, START, TOKEN, request, served, start, status, talk

from orchestrator.web.framing import MAX_HEAD_BYTES

RAW = {
    "good": (request(POST, LENGTH, body=GOOD), 200),
    "good, chunked": (request(POST, "Transfer-Encoding: chunked", body=CHUNKED), 200),
    "two different lengths": (request(POST, LENGTH, "Content-Length: 5", body=GOOD), 400),
    "length and chunked": (request(POST, LENGTH, "Transfer-Encoding: chunked", body=CHUNKED), 400),
    "a length in words": (request(POST, "Content-Length: ten", body=GOOD), 400),
    "a negative length": (request(POST, "Content-Length: -5", body=GOOD), 400),
    "too long by its own word": (request(POST, "Content-Length: 99999999"), 413),
    "a coding before chunked": (request(POST, "Transfer-Encoding: gzip, chunked", body=CHUNKED), 400),
    "chunked, spelt otherwise": (request(POST, "transfer-encoding:  Chunked ", body=CHUNKED), 200),
    "a bad chunk": (request(POST, "Transfer-Encoding: chunked", body=b"zz\r\nhello"), 400),
    "a line break in a header": (request(POST, LENGTH, "X-A: b\rc: d", body=GOOD), 400),
    "no header name": (request(POST, LENGTH, ": x", body=GOOD), 400),
    "not http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "no body": (request(POST, "Content-Length: 0"), 401),
    "odd spelling of the headers": (
        request(POST, LENGTH, body=GOOD).replace(b"webhook-id", b"WeBhOoK-iD"),
        200,
    ),
    "header beyond ascii": (
        request(POST, LENGTH, body=GOOD).replace(b"webhook-id: msg_1", b"webhook-id: msg_\xff\xfe"),
        400,
    ),
    **{
        f"{name} twice": (request(POST, LENGTH, f"{name}: {signed(GOOD)[name]}", body=GOOD), 400)
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    },
    "two tokens": (request("GET /v1/runs HTTP/1.1", TOKEN, TOKEN, sign=False), 401),
    "two keys": (start("Idempotency-Key: a", "Idempotency-Key: a"), 400),
    "one key": (start("Idempotency-Key: a"), 202),
    "two content types": (start("Content-Type: text/plain"), 415),
    "a bearer of bytes": (
        request("GET /v1/runs HTTP/1.1", "Authorization: Bearer \xff\xfe", sign=False),
        401,
    ),
    "a path of bytes": (request("GET /v1/runs/%ff%fe%00 HTTP/1.1", sign=False), 401),
}


@pytest.mark.asyncio
async def test_a_raw_request_is_answered_by_the_table_or_closed(house: House) -> None:
    """400 and a closed connection, or the answer of the table; never a 5xx, never a guess."""
    async with served(house) as port:
        got = {name: status(await talk(port, raw)) for name, (raw, _) in RAW.items()}
        again = status(await talk(port, RAW["good"][0]))
    assert got == {name: wanted for name, (_, wanted) in RAW.items()}
    assert again == 200


@pytest.mark.asyncio
async def test_a_sender_that_goes_away_or_stalls_holds_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.web.stall_timeouts.BODIES.seconds", 600)
    async with served(house) as port:
        stalled = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        for _, writer in stalled:
            writer.write(request(POST, LENGTH, body=GOOD[:10]))
        async with asyncio.timeout(30):
            assert status(await talk(port, RAW["good"][0])) == 200
        for _, writer in stalled:
            writer.close()
        cut = start().replace(START, START[:5])
        assert status(await talk(port, cut, end=True)) in (0, 400)
        assert status(await talk(port, RAW["good"][0])) == 200


@pytest.mark.asyncio
async def test_a_body_that_never_ends_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.stall_timeouts.BODIES.seconds", 0.05)
    async with served(house) as port:
        assert status(await talk(port, request(POST, LENGTH, body=GOOD[:10]))) == 408
        assert status(await talk(port, start().replace(START, START[:5]))) == 408


@pytest.mark.asyncio
async def test_who_sends_too_much_is_told_so_and_not_cut_off(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed over unread bytes, the connection would be reset, and the answer lost with it."""
    monkeypatch.setattr("orchestrator.web.drain.DRAIN_SECONDS", 60)
    large, lengthy = b"x" * (6 * 1024 * 1024), f"Content-Length: {6 * 1024 * 1024}"
    own = (TOKEN, "Content-Type: application/json", lengthy)
    async with served(house) as port:
        for _ in range(3):
            assert status(await talk(port, request(POST, lengthy, body=large))) == 413
            raw = request("POST /v1/workflows/refund/runs HTTP/1.1", *own, body=large, sign=False)
            assert status(await talk(port, raw)) == 413


@pytest.mark.asyncio
async def test_an_endless_chunked_body_is_cut(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not announced, so it is counted while it comes; memory stays at the limit."""
    monkeypatch.setattr("orchestrator.web.drain.DRAIN_SECONDS", 0.2)
    chunk = b"%x\r\n%b\r\n" % (8192, b"x" * 8192)
    async with served(house) as port:
        raw = request(POST, "Transfer-Encoding: chunked", body=chunk * 20)
        assert status(await talk(port, raw)) == 413


@pytest.mark.asyncio
async def test_who_announces_too_much_and_waits_is_told_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be waiting for a word before it sends any of it, by `Expect` or just so."""
    monkeypatch.setattr("orchestrator.web.drain.DRAIN_SECONDS", 600)
    monkeypatch.setattr("orchestrator.web.drain.PAUSE_SECONDS", 0.05)
    own = (TOKEN, "Content-Type: application/json", "Content-Length: 2000000")
    asked = "POST /v1/workflows/refund/runs HTTP/1.1"
    async with served(house) as port:
        assert status(await talk(port, request(asked, *own, body=b"ab", sign=False))) == 413
        assert status(await talk(port, request(POST, "Content-Length: 2000000", body=b"ab"))) == 413
        monkeypatch.setattr("orchestrator.web.drain.PAUSE_SECONDS", 600)
        expects = "Expect: 100-continue"
        assert status(await talk(port, request(asked, *own, expects, sign=False))) == 413
        assert status(await talk(port, request(POST, "Content-Length: 2000000", expects))) == 413


HEADS = {
    "one header": ("Host: here", f"X-A: {'a' * MAX_HEAD_BYTES}"),
    "many headers": tuple(f"X-{n}: {'a' * 90}" for n in range(1000)),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("lines", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "without an end"])
async def test_a_head_has_a_largest_size(house: House, lines: tuple[str, ...], whole: bool) -> None:
    """Nobody knows yet who is asking, and a parser keeps all of it."""
    raw = "\r\n".join(["GET /healthz HTTP/1.1", *lines, "", ""]).encode()
    async with served(house) as port:
        assert status(await talk(port, raw if whole else raw[:-2])) == 431
        path = b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: here\r\n\r\n"
        assert status(await talk(port, path)) == 431
        fits = f"X-A: {'a' * (MAX_HEAD_BYTES - 2000)}"
        assert status(await talk(port, request("GET /healthz HTTP/1.1", fits, sign=False))) == 200


@pytest.mark.asyncio
async def test_a_refusal_of_the_framing_has_the_shape_of_all_others(house: House) -> None:
    async with served(house) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nX A: b\r\n\r\n" + b"x" * 100_000)
        async with asyncio.timeout(30):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == 400


@pytest.mark.asyncio
async def test_a_head_that_never_ends_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.framing.HEAD_SECONDS", 0.05)
    healthy = request("GET /healthz HTTP/1.1", sign=False)
    async with served(house) as port:
        assert status(await talk(port, b"GET /healthz HTTP/1.1\r\nX-")) == 408
        assert await talk(port, b"") == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(healthy)
        async with asyncio.timeout(30):
            assert status(await reader.readuntil(b'"ok"}')) == 200
            writer.write(healthy[:20])  # on the same connection
            assert status(await reader.readline()) == 408
        writer.close()


@pytest.mark.asyncio
async def test_requests_behind_each_other_on_one_connection(house: House) -> None:
    """As much as a head may have is counted for each of them, not for all."""
    healthy = request("GET /healthz HTTP/1.1", f"X-A: {'a' * 20_000}", sign=False)
    async with served(house) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(healthy * 10)
        async with asyncio.timeout(30):
            for _ in range(10):
                assert b" 200 " in await reader.readline()
                await reader.readuntil(b'"ok"}')
        writer.close()
