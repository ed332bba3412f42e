"""Google's published keys: fetched from one pinned address, kept, and fetched again with restraint.

    no set yet, or the set is old, or no key of it matches  →  fetch, at most one a minute, one at a time
    the fetch fails, or brings no key                       →  the old set stays
    there is no set at all                                  →  `UnavailableError`, the sender comes again

A delivery waits for a fetch only where it cannot be decided without: with a set at hand an address
that does not answer costs nobody any time.

Source: Gemini API, Webhooks (where the keys are); RFC 7517, RFC 8037 (how they are written).
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from orchestrator.errors import UnavailableError
from orchestrator.gemini.library import by_proxy
from orchestrator.strictjson import StrictReader

if TYPE_CHECKING:
    import httpx

AGE_SECONDS: Final = 3600.0
BETWEEN_SECONDS: Final = 60.0
"""Between the beginnings of two fetches, whatever the reason."""
FETCH_SECONDS: Final = 5.0
"""One fetch in all. A sender gives us a few seconds for our answer."""
PATIENCE_SECONDS: Final = 1.0
"""How long a delivery waits for a younger set where there is an old one."""
MAX_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 32
RSA_BITS: Final = (2048, 8192)
_READER: Final = StrictReader(depth=8)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keys:
    """One published set. Ed25519 keys check `v1a`, RSA keys check tokens, by their `kid`."""

    ed25519: tuple[Ed25519PublicKey, ...] = ()
    rsa: Mapping[str, RSAPublicKey] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.ed25519 or self.rsa)


class KeySet:
    """The keys at `url`. One per process; safe for concurrent use in one event loop.

    Args:
        url: The only address ever asked. Redirects are not followed and nothing of ours is sent.
        age_seconds: From then on a set is old.
        fetch_seconds: For one fetch, from connecting to the last byte.
        clock: Seconds of a clock that is never set, such as `time.monotonic`.
    """

    def __init__(
        self,
        url: str,
        *,
        age_seconds: float = AGE_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._age = age_seconds
        self._within = fetch_seconds
        self._clock = clock
        self._keys = Keys()
        self._fetched = self._begun = float("-inf")
        self._failing = False
        self._fetch: asyncio.Task[None] | None = None

    async def current(self) -> Keys:
        """The set to check with, fetched first where there is none or where it is old.

        Raises:
            UnavailableError: There is none, and the address gives none now.
        """
        if not self._keys:
            await self._newer()
        elif self._clock() - self._fetched >= self._age:
            # While the address fails nobody waits for it: the fetch goes on beside the deliveries.
            await self._newer(0 if self._failing else PATIENCE_SECONDS)
        if not self._keys:
            wait = max(1.0, self._begun + BETWEEN_SECONDS - self._clock())
            raise UnavailableError("the sender's keys cannot be had now; send it again", retry_after=wait)
        return self._keys

    async def after(self, unmatched: Keys) -> Keys | None:
        """The set to try once more where none of `unmatched` made a signature; None where it is the same."""
        if self._keys is unmatched:
            await self._newer()
        return None if self._keys is unmatched else self._keys

    async def warm(self) -> None:
        """Fetch the set before anybody needs it; that this may fail is for the log only."""
        if not self._keys:
            await self._newer()

    async def aclose(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    async def _newer(self, patience: float | None = None) -> None:
        """Wait for the fetch under way, or for a new one if the last began long enough ago."""
        if self._fetch is None and self._clock() - self._begun >= BETWEEN_SECONDS:
            self._begun = self._clock()
            self._fetch = asyncio.create_task(self._renew())
        if self._fetch is not None and patience != 0:
            await asyncio.wait({self._fetch}, timeout=patience)  # leaves the fetch alone if we are cancelled

    async def _renew(self) -> None:
        self._failing = True
        try:
            async with asyncio.timeout(self._within):
                found = read_keys(await self._get())
            if not found:
                raise ValueError("it holds no key we can use")
        except Exception as e:  # noqa: BLE001  whatever went wrong, the old set stays and the log says so
            log.warning(
                "key_set_not_fetched", error=type(e).__name__, why=str(e)[:200], kept=bool(self._keys)
            )
        else:
            self._keys, self._fetched, self._failing = found, self._clock(), False
            log.info("key_set_fetched", ed25519=len(found.ed25519), rsa=len(found.rsa))
        finally:
            self._fetch = None

    async def _get(self) -> bytes:
        """The raw answer; an encoded one is not unpacked, so its size is what it says.

        Raises:
            ValueError: Not a 200, or larger than 64 KiB.
            httpx.HTTPError: No whole answer.
        """
        asked = {"accept": "application/json", "accept-encoding": "identity"}
        body = bytearray()
        # In a thread: the library's import and its list of authorities take some 0.1 s the first time.
        async with (
            await asyncio.to_thread(_client, self._url, self._within) as client,
            client.stream("GET", self._url, headers=asked) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"HTTP {answer.status_code}")
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        return bytes(body)


def _client(url: str, seconds: float) -> "httpx.AsyncClient":
    import httpx

    return httpx.AsyncClient(
        timeout=seconds,
        follow_redirects=False,
        headers={"user-agent": "gemini-orchestrator"},
        trust_env=by_proxy(url),
    )


def read_keys(body: bytes) -> Keys:
    """The keys of a JSON Web Key Set that we can use; others and malformed ones are left out.

    Raises:
        ValueError: Not strict JSON, or not a key set.
    """
    value = _READER.read(body)
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is not a key set")
    found = [key for entry in listed[:MAX_KEYS] if isinstance(entry, dict) for key in _key(entry)]
    return Keys(
        tuple(key for _, key in found if isinstance(key, Ed25519PublicKey)),
        {kid: key for kid, key in found if isinstance(key, RSAPublicKey)},
    )


def _key(jwk: Mapping[str, Any]) -> Iterator[tuple[str, Ed25519PublicKey | RSAPublicKey]]:
    """One key or none: of a kind we use, meant for signatures, and well formed."""
    kid, purpose = jwk.get("kid"), (jwk.get("kty"), jwk.get("crv"), jwk.get("use", "sig"))
    try:
        match purpose:
            case ("OKP", "Ed25519", "sig"):
                yield "", Ed25519PublicKey.from_public_bytes(_octets(jwk.get("x")))
            case ("RSA", _, "sig") if isinstance(kid, str) and jwk.get("alg", "RS256") == "RS256":
                yield kid, _rsa(_octets(jwk.get("n")), _octets(jwk.get("e")))
    except ValueError:  # binascii.Error is one; `cryptography` raises no other for what is malformed
        log.warning("key_not_usable", kty=str(purpose[0])[:8])


def _rsa(modulus: bytes, exponent: bytes) -> RSAPublicKey:
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    # Larger exponents are of no use to anybody but whoever wants us to compute for long.
    if not RSA_BITS[0] <= n.bit_length() <= RSA_BITS[1] or e.bit_length() > 32:
        raise ValueError("an RSA key of an unusual size")
    return RSAPublicNumbers(e, n).public_key()


def _octets(value: object) -> bytes:
    if not isinstance(value, str) or not value.isascii() or len(value) > 2048:
        raise ValueError("not base64url")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error as e:
        raise ValueError("not base64url") from e
