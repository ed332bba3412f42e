"""Which addresses may be called at all. Pure: nothing is resolved or opened in this file.

An address is refused unless it is understood whole, so that no other reader of it can see another host.
No refusal repeats the address: its path or query may hold a token of its owner.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from orchestrator.errors import RejectedError

NOT_ALLOWED: Final = "not_allowed"
"""Code of the refusals made here."""

MAX_URL: Final = 2048
_PORTS: Final = {"https": 443, "http": 80}
_SHAPE: Final = re.compile(r"(https?)://([^/?#]+)([/?][!-~]*)?", re.ASCII | re.IGNORECASE)
_VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_COMPATIBLE: Final = IPv6Network("::/96")  # RFC 4291 2.5.5.1, given up, and yet some systems take it
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214: the third quarter of the address
_UNICAST: Final = IPv6Network("2000::/3")  # all of IPv6 that is given out (IANA)


def is_global(address: str) -> bool:
    """Whether an IP address is a public one, and hides none that is not.

    Args:
        address: As a resolver gives it; anything else is not global.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return _public(ip)
    if ip.scope_id is not None or ip in _COMPATIBLE or ip in _TRANSLATED:
        return False
    if any(ip in net for net in _NAT64):
        # Of RFC 8215's block every network chooses where in it the other address stands.
        return ip in _NAT64[0] and _public(_last_quarter(ip))
    if ip.ipv4_mapped is not None:
        return _public(ip.ipv4_mapped)
    if (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP and not _public(_last_quarter(ip)):
        return False
    inside = [ip.sixtofour, *(ip.teredo or ())]
    return ip in _UNICAST and not ip.is_multicast and all(map(_public, filter(None, inside))) and _routed(ip)


def _public(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _routed(ip: IPv6Address) -> bool:
    """6to4 and Teredo are judged by what is inside; the library's word counts for all others."""
    return ip.is_global or ip.sixtofour is not None


def _last_quarter(ip: IPv6Address) -> IPv4Address:
    return IPv4Address(int(ip) & 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be called, as far as it can be told without resolving its name.

    `host` is lower case, an IPv6 address without its brackets. `local` means that whoever runs the
    service listed it: it may be plain http and need not be a public address.
    """

    url: str
    scheme: str
    host: str
    port: int
    local: bool

    @property
    def literal(self) -> bool:
        """Whether the host is an IP address and no name."""
        return _ip(self.host) is not None

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def shown(self) -> str:
        """For logs and errors: without path and query, where others keep tokens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Rules:
    """What may be called.

    Args:
        allowed: Hosts, each with `:port` where that is not 443; empty for any public one. `*.example.com`
            stands for all names below `example.com`. A listed host must still have public addresses only.
        local: Hosts with their ports, such as `localhost:9000`, that may be called without TLS and on any
            address; for receivers on a developer's machine. Never what a stranger chooses.
    """

    def __init__(self, allowed: Iterable[str] = (), local: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_spelled, allowed))
        self._local = frozenset(map(_spelled, local))

    def target(self, url: str) -> Target:
        """What an address leads to. Raises `RejectedError` with the code `not_allowed`."""
        scheme, host, port = _split(url)
        named = {f"{host}:{port}"} | ({host} if port == _PORTS[scheme] else set())
        local = bool(named & self._local)
        if not local:
            if scheme != "https":
                raise _refused("must begin with https://")
            self._refuse_odd(host, named)
        return Target(url, scheme, host, port, local)

    def _refuse_odd(self, host: str, named: set[str]) -> None:
        literal = _ip(host) is not None
        if literal and not is_global(host):
            raise _refused("its host must be a public address")
        if not literal and "." not in host:
            raise _refused("its host must be a full name, such as hooks.example.com")
        if self._allowed and not named & self._allowed and not self._below(named):
            raise _refused("its host is not among those that may be called")

    def _below(self, named: set[str]) -> bool:
        return any(
            f"*.{rest}" in self._allowed for name in named for rest in _parents(name) if _ip(name) is None
        )


def _parents(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[i:]) for i in range(1, len(labels) - 1)]


def _spelled(host: str) -> str:
    """As targets have it: an IPv6 address without its brackets."""
    return host.lower().replace("[", "").replace("]", "")


def _split(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address that every reader reads alike."""
    if len(url) > MAX_URL or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise _refused(f"must be at most {MAX_URL} visible ASCII characters without backslashes")
    shape = _SHAPE.fullmatch(url)
    if shape is None or "#" in url:
        raise _refused("must be an address such as https://hooks.example.com/path, without a fragment")
    scheme, authority = shape[1].lower(), shape[2].lower()
    if "@" in authority:
        raise _refused("must carry no user name or password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _refused("its host must be a name or an address in its usual spelling")
    port = int(parts[2]) if parts[2] else _PORTS[scheme]
    if not 1 <= port <= 65535:
        raise _refused("its port must be between 1 and 65535")
    return scheme, _host(parts[1]), port


def _host(text: str) -> str:
    """A name, or an IP address in full: whatever ends in a number is no name (WHATWG URL, "host parsing")."""
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except AddressValueError:
            raise _refused("its host is no IPv6 address") from None
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1] or labels[-2 if len(labels) > 1 else -1]):
        try:
            return str(IPv4Address(text))
        except AddressValueError:
            raise _refused("its host must be a name, or an IPv4 address as four decimal numbers") from None
    if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise _refused("its host must be a name without a dot at the end")
    return text


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refused(why: str) -> RejectedError:
    return RejectedError(why, code=NOT_ALLOWED)
