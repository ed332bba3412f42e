"""Addresses from strangers: which are called, and what is opened for them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.outbound import Outbound, Rules, is_global

PUBLIC = "93.184.216.34"

WORDS = """
http://hooks.example.com/ ftp://hooks.example.com/ file:///etc/passwd gopher://hooks.example.com/
hooks.example.com //hooks.example.com/ https: https:// https:///path https://:443/ https:hooks.example.com
https://user@hooks.example.com/ https://user:word@hooks.example.com/ https://hooks.example.com@10.0.0.1/
https://hooks.example.com:443@127.0.0.1/ https://hooks.example.com%40127.0.0.1/ https://@hooks.example.com/
https://127.0.0.1/ https://127.1/ https://127.0.1/ https://2130706433/ https://0x7f000001/ https://0x7f.1/
https://0177.0.0.1/ https://017700000001/ https://127.0.0.01/ https://0/ https://0.0.0.0/ https://0x/
https://10.0.0.1/ https://172.16.0.1/ https://192.168.1.1/ https://169.254.169.254/latest/meta-data
https://100.64.0.1/ https://192.0.0.1/ https://198.18.0.1/ https://224.0.0.1/ https://255.255.255.255/
https://240.0.0.1/ https://127.0.0.1./ https://2130706433./ https://1.2.3.4.5/ https://256.1.1.1/
https://[::1]/ https://[::]/ https://[fe80::1]/ https://[fe80::1%25eth0]/
https://[fc00::1]/ https://[::ffff:127.0.0.1]/
https://[::ffff:7f00:1]/ https://[64:ff9b::7f00:1]/ https://[2002:7f00:1::]/
https://[::127.0.0.1]/ https://[::1/
https://::1/ https://[2001:db8::1]/ https://[ff02::1]/ https://[127.0.0.1]/
https://localhost/ https://intranet/
https://hooks.example.com./ https://hooks..example.com/ https://.example.com/ https://-a.example.com/
https://hooks.example.com:0/ https://hooks.example.com:65536/ https://hooks.example.com:/
https://hooks.example.com:8o/
https://hooks.example.com:443:80/ https://hooks.example.com/#part https://hooks.example.com\\@10.0.0.1/
https://hooks.example.com\\.evil.test/ https://hooks%2eexample.com/
https://ho*ks.example.com/ https://[hooks.example.com]/
"""
HOSTILE = [
    *WORDS.split(),
    "",
    " https://hooks.example.com/",
    "https://hooks.example.com/a b",
    "https://hooks.example.com/\r\nHost: 10.0.0.1",
    "https://hooks.example.com\t/",
    "https://hooks.example.com\n.evil.test/",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://ⓔxample.com/",
    "https://hooks.example.com/" + "a" * 2048,
    "https://" + "a" * 64 + ".example.com/",
    "https://" + "a." * 127 + "example.com/",
]

PRIVATE = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 169.254.169.254 172.31.255.255 192.168.0.1 198.51.100.1 203.0.113.9
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 fe80::1 fe80::1%eth0 fc00::1 fd12::1 fec0::1
ff02::1 2001:db8::1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 2002:7f00:1:: 2002:a00:1::1 2002:e000:1:: 2001:0:7f00:1::
2001:0:808:808:0:0:f5ff:fffe 2a00:1450:4001::5efe:a00:1 2a00:1450:4001::200:5efe:7f00:1
100::1 127.1 0x7f.1 name
"""
NOT_GLOBAL = PRIVATE.split()
OPEN = """
1.1.1.1 93.184.216.34 2606:4700:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8
64:ff9b::808:808 2002:808:808::1
"""
GLOBAL = OPEN.split()


class Sockets:
    """Notes each address a socket is made for, and makes none."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    def __call__(self, info: Any) -> socket.socket:
        self.wanted.append(info[4][0])
        raise OSError("no sockets here")


class Names:
    """A resolver that gives one answer after the other, and the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def refused(url: str, *answers: Sequence[str], rules: Rules | None = None) -> list[str]:
    """To which addresses a socket was wanted for a refused one."""
    sockets = Sockets()
    outbound = Outbound(rules, resolve=Names(*(answers or [[PUBLIC]])), sockets=sockets)
    with pytest.raises(RejectedError) as caught:
        await outbound.request("POST", url, content=b"{}")
    assert caught.value.code == "not_allowed"
    return sockets.wanted


async def _all_refused() -> int:
    count = 0
    for url in HOSTILE:
        assert await refused(url) == [], url
        count += 1
    for address in NOT_GLOBAL:
        for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
            assert await refused("https://hooks.example.com/", answer) == [], answer
            count += 1
    return count


def test_hostile_addresses_and_names_of_private_places_open_no_connection() -> None:
    assert len(HOSTILE) >= 40
    assert len(NOT_GLOBAL) >= 20
    assert asyncio.run(_all_refused()) == len(HOSTILE) + 3 * len(NOT_GLOBAL)


def test_public_addresses_are_public() -> None:
    assert [a for a in GLOBAL if not is_global(a)] == []
    good = [
        "https://hooks.example.com/a?b=c",
        "HTTPS://Hooks.Example.COM",
        "https://xn--nxasmq6b.example/",
        "https://8.8.8.8:8443/",
        "https://[2606:4700:4700::1111]/x",
        "https://a_b.example.com:444?x",
    ]
    assert [Rules().target(url).host for url in good] == [
        "hooks.example.com",
        "hooks.example.com",
        "xn--nxasmq6b.example",
        "8.8.8.8",
        "2606:4700:4700::1111",
        "a_b.example.com",
    ]


def test_only_listed_hosts_where_hosts_are_listed() -> None:
    rules = Rules(["hooks.example.com", "*.partner.example", "other.example:8443"])
    for good in ("https://hooks.example.com/", "https://a.b.partner.example/", "https://other.example:8443/"):
        assert not rules.target(good).local
    for bad in (
        "https://example.com/",
        "https://partner.example/",
        "https://evilpartner.example/",
        "https://other.example/",
        "https://hooks.example.com:8443/",
        "https://8.8.8.8/",
        "https://hooks.example.com.evil.test/",
    ):
        with pytest.raises(RejectedError):
            rules.target(bad)


def test_a_name_is_resolved_once_and_that_address_is_called() -> None:
    async def story() -> None:
        names, sockets = Names([PUBLIC], ["127.0.0.1"]), Sockets()
        with pytest.raises(UnavailableError):
            await Outbound(resolve=names, sockets=sockets).request("POST", "https://hooks.example.com/")
        assert (names.asked, sockets.wanted) == (1, [PUBLIC])
        with pytest.raises(RejectedError):  # the next call looks anew, and refuses
            await Outbound(resolve=names, sockets=sockets).request("POST", "https://hooks.example.com/")
        assert sockets.wanted == [PUBLIC]

    asyncio.run(story())


def test_a_name_nobody_knows_may_be_tried_again() -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror("no such name")

    with pytest.raises(UnavailableError, match=r"hooks\.example\.com was not found"):
        asyncio.run(Outbound(resolve=nobody).request("GET", "https://hooks.example.com/?token=secret"))


@asynccontextmanager
async def server(
    answer: bytes, trust: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Says the same to everybody; with what was asked."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer.replace(b"PORT", str(port).encode()))
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=trust)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield port, heard


def reply(status: str, body: bytes = b"", *fields: str) -> bytes:
    head = "".join(f"{f}\r\n" for f in (*fields, f"Content-Length: {len(body)}"))
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def test_certificate_and_host_are_those_of_the_name(tmp_path: Path) -> None:
    serving, trusting = certified(tmp_path, "hooks.example.com")
    seen: list[str | None] = []
    serving.sni_callback = lambda _, name, __: seen.append(name)

    async def story() -> None:
        async with server(reply("204 No Content"), serving) as (port, heard):
            rules = Rules(local=[f"hooks.example.com:{port}", f"other.example.com:{port}"])
            outbound = Outbound(rules, resolve=Names(["127.0.0.1"]), trust=trusting)
            got = await outbound.request(
                "POST", f"https://hooks.example.com:{port}/a%2Fb?c=%20", content=b"{}"
            )
            assert got.status == 204
            assert heard[0].startswith(b"POST /a%2Fb?c=%20 HTTP/1.1\r\n")
            assert f"Host: hooks.example.com:{port}\r\n".encode() in heard[0]
            with pytest.raises(UnavailableError, match="no certificate we trust"):
                await outbound.request("POST", f"https://other.example.com:{port}/", content=b"{}")
        assert seen == ["hooks.example.com", "other.example.com"]
        assert len(heard) == 1

    asyncio.run(story())


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server of that name, and for who believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    kept = folder / "server.pem"
    kept.write_bytes(
        pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(kept)
    return serving, ssl.create_default_context(cadata=pem.decode())


def test_redirects_are_followed_by_choice_and_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # heeded by nobody

    async def story() -> None:
        moved = reply("302 Found", b"", "Location: http://localhost:PORT/again#x")
        async with server(moved) as (port, heard):
            outbound = Outbound(Rules(local=[f"localhost:{port}"]))
            url = f"http://localhost:{port}/"
            assert (await outbound.request("POST", url, content=b"{}", redirects=3)).status == 302
            assert (await outbound.request("GET", url)).status == 302
            heard.clear()
            with pytest.raises(RejectedError) as caught:
                await outbound.request("GET", url, redirects=2)
            assert (caught.value.code, len(heard)) == ("too_many_redirects", 3)
        for private in ("https://10.0.0.1/", "http://[::1]/", "//127.1/", "file:///etc/passwd", "https://[/"):
            async with server(reply("301 Moved", b"", f"Location: {private}")) as (port, heard):
                outbound = Outbound(Rules(local=[f"localhost:{port}", "[::1]:80"]))
                with pytest.raises(RejectedError, match="redirects to where we do not call"):
                    await outbound.request("GET", f"http://localhost:{port}/", redirects=3)
                assert len(heard) == 1

    asyncio.run(story())


def test_what_we_send_for_one_host_does_not_go_to_another() -> None:
    sockets = Sockets()
    sent: list[dict[str, str]] = []

    class Watched(Outbound):
        def _exchange(self, method: str, target: Any, fields: Any, *rest: Any) -> Any:
            sent.append(dict(fields))
            return super()._exchange(method, target, fields, *rest)

    def only_here(info: Any) -> socket.socket:
        return socket.socket(*info[:2]) if info[4][0] == "127.0.0.1" else sockets(info)

    async def story() -> None:
        async with server(reply("307 Moved", b"", "Location: https://elsewhere.example/")) as (port, _):
            rules = Rules(local=[f"127.0.0.1:{port}"])
            outbound = Watched(rules, resolve=Names([PUBLIC]), sockets=only_here)
            headers = {"Authorization": "Bearer x", "X-Goog-Api-Key": "y", "If-None-Match": '"z"'}
            with pytest.raises(UnavailableError):
                await outbound.request("GET", f"http://127.0.0.1:{port}/", headers=headers, redirects=1)

    asyncio.run(story())
    assert "authorization" in sent[0]
    assert sorted(sent[1]) == ["if-none-match", "user-agent"]
    assert sockets.wanted == [PUBLIC]


def test_of_an_answer_no_more_is_read_than_wanted() -> None:
    async def story() -> None:
        async with server(reply("200 OK", b"x" * 200_000, "Content-Encoding: gzip")) as (port, _):
            outbound = Outbound(Rules(local=[f"127.0.0.1:{port}"]))
            url = f"http://127.0.0.1:{port}/"
            got = await outbound.request("GET", url, max_bytes=1000)
            assert (len(got.content), got.truncated) == (1000, True)
            whole = await outbound.request("GET", url, max_bytes=200_000)
            assert (len(whole.content), whole.truncated) == (200_000, False)

    asyncio.run(story())


def test_an_answer_that_breaks_off_or_never_comes_leaves_us_uncertain() -> None:
    async def story() -> None:
        for answer in (b"", b"no http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"):
            async with server(answer) as (port, heard):
                outbound = Outbound(Rules(local=[f"127.0.0.1:{port}"]))
                with pytest.raises(UncertainError):
                    await outbound.request("POST", f"http://127.0.0.1:{port}/", content=b"{}")
                assert len(heard) == 1
        over = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await over.wait()
            writer.close()

        quiet = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with quiet:
            port = quiet.sockets[0].getsockname()[1]
            outbound = Outbound(Rules(local=[f"127.0.0.1:{port}"]))
            with pytest.raises(UncertainError, match="did not answer in time"):
                await outbound.request("POST", f"http://127.0.0.1:{port}/", content=b"{}", timeout=0.5)
            over.set()

    asyncio.run(story())
