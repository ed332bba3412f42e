"""Gemini's webhook resource: where its events go, under which secrets.

A handful of calls a day, so they go the plain way through `google-genai`; it validates no answer,
so that is done here. The resource's habits, and what we make of them:

- A PATCH applies the fields of its body, and no others; no `update_mask` is sent, for it is ignored.
- A ping is answered alike whether the address can be reached or not: it proves nothing by itself.
- A secret is told once, in the answer to create or rotate. Both are sent once and never repeated:
  an answer that got lost took the secret with it.

Source: Gemini API, Webhooks (REST reference).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast

from tenacity import wait_random_exponential

from orchestrator.domain.registration import Registration, SecretHint
from orchestrator.domain.values import replace
from orchestrator.errors import OrchestratorError, RejectedError, UnavailableError, UncertainError
from orchestrator.gemini import wire
from orchestrator.gemini.library import asked_pause, by_proxy
from orchestrator.gemini.mapping import BlipError, Words, retrying, usable_key

PAGE_SIZE: Final = 100
MAX_PAGES: Final = 100
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (a label, no secret)
UNKNOWN: Final = "unknown"
"""The state of a webhook whose answer names none."""
AFTER_A_DAY: Final = "revoke_previous_secrets_after_h24"
AT_ONCE: Final = "revoke_previous_secrets_immediately"

_MISSING: Final = (404,)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Registered:
    """A webhook that was just made. Its secret is told this once and prints nowhere."""

    registration: Registration
    secret: str = field(repr=False)


class Registrations:
    """The webhooks of the key's project.

    Args:
        api_key: It appears in no error and no log line.
        base_url: As `GeminiGateway`'s; a path in it is kept.
        timeout_seconds: For each answer.
        retry_wait_seconds: Before the second try of what may be repeated, on average half of it.

    Raises:
        ConfigError: No key, or one that no header takes.

    Every call raises `UnavailableError` where nothing happened and another try may help (no connection,
    a refused key, 429, 5xx), and `RejectedError` where it will not; `code` is Gemini's word, `not_found`
    for an unknown webhook.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        api_version: str = "v1beta",
        timeout_seconds: float = 30.0,
        retry_wait_seconds: float = 0.5,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._key = usable_key(api_key)
        self._words = Words("Gemini webhooks", (self._key,))
        self._address: dict[str, Any] = {"base_url": base_url.rstrip("/"), "api_version": api_version}
        self._timeout, self._now = timeout_seconds, now
        self._wait = wait_random_exponential(multiplier=retry_wait_seconds, max=2.0)
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def list(self) -> tuple[Registration, ...]:
        """All of them, in Gemini's order."""
        found: list[Registration] = []
        token = ""
        for _ in range(MAX_PAGES):
            entries, token = await self._page(token)
            found += [self._read("list", entry) for entry in entries]
            if not token:
                return tuple(found)
        raise UnavailableError(self._words.tell("list", "the pages do not end"))

    async def _page(self, token: str) -> tuple[Sequence[Any], str]:
        asked = {"page_token": token} if token else {}
        page = await self._retried("list", lambda w: w.list(page_size=PAGE_SIZE, **asked))
        entries = (
            page.get("webhooks", []) if isinstance(page, dict) else None
        )  # left out where there are none
        if not isinstance(entries, list):
            raise self._unreadable("list")
        return entries, _text(page, "next_page_token")

    async def get(self, webhook_id: str) -> Registration:
        """One of them, as it is now."""
        name = _usable(webhook_id)
        return self._read("get", await self._retried("get", lambda w: w.get(id=name)))

    async def create(self, uri: str, *, events: Sequence[str], name: str = "") -> Registered:
        """Register an address.

        Raises:
            UncertainError: It may be registered, but the secret is lost: look, delete, register again.
        """
        named = {"name": name} if name else {}
        made = await self._once("create", lambda w: w.create(uri=uri, subscribed_events=[*events], **named))
        secret = _text(made, "new_signing_secret")
        if not secret.startswith(SECRET_PREFIX):
            raise UncertainError(self._words.tell("create", "the answer holds no signing secret"))
        return Registered(self._made(made, uri, tuple(events), name), secret)

    async def change(
        self, webhook_id: str, *, state: str | None = None, events: Sequence[str] | None = None
    ) -> Registration:
        """Set what is given, leave the rest, and say how it stands then."""
        name, fields = _usable(webhook_id), dict[str, Any]()
        if state is not None:
            fields["state"] = state
        if events is not None:
            fields["subscribed_events"] = [*events]
        answer = await self._retried("update", lambda w: w.update(id=name, **fields))
        return self._read("update", answer)

    async def ping(self, webhook_id: str) -> None:
        """Ask for a test delivery; that this returns does not say that one arrived."""
        name = _usable(webhook_id)
        await self._once("ping", lambda w: w.ping(id=name))

    async def rotate(self, webhook_id: str, *, at_once: bool = False) -> str:
        """A new secret, which signs from now on; the ones before sign beside it for 24 hours.

        Args:
            at_once: The ones before end now.

        Raises:
            UncertainError: There may be a new secret, and nobody knows it: rotate again.
        """
        name, how = _usable(webhook_id), AT_ONCE if at_once else AFTER_A_DAY
        answer = await self._once(
            "rotate", lambda w: w.rotate_signing_secret(id=name, revocation_behavior=how)
        )
        secret = _text(answer, "secret")
        if not secret.startswith(SECRET_PREFIX):
            raise UncertainError(self._words.tell("rotate", "the answer holds no signing secret"))
        return secret

    async def delete(self, webhook_id: str) -> None:
        """Forget one; what is on its way to it is dropped."""
        name, asked = _usable(webhook_id), 0

        def call(w: Any) -> Awaitable[Any]:
            nonlocal asked
            asked += 1
            return cast("Awaitable[Any]", w.delete(id=name))

        try:
            await self._retried("delete", call)
        except RejectedError as e:
            if e.code != "not_found" or asked == 1:  # else an earlier try, whose answer got lost, did it
                raise

    async def aclose(self) -> None:
        """Close the connections."""
        async with self._opening:
            client, self._client = self._client, None
        if client is not None:
            await client.aio.aclose()
            client.close()

    # -------------------------------------------------------------- one try

    async def _retried(self, what: str, call: Callable[[Any], Awaitable[Any]]) -> Any:
        """For what may be repeated."""
        return await retrying("gemini_webhooks_blip", self._wait)(self._try, what, call, True)

    async def _once(self, what: str, call: Callable[[Any], Awaitable[Any]]) -> Any:
        return await self._try(what, call, False)

    async def _try(self, what: str, call: Callable[[Any], Awaitable[Any]], repeatable: bool) -> Any:
        from google.genai import _interactions as sdk  # the library's errors have no public address

        webhooks = (await self._opened()).aio.webhooks.with_raw_response
        try:
            async with asyncio.timeout(2 * self._timeout):  # the library counts from byte to byte
                answer = await call(webhooks)
                if answer.status_code == 200:  # a redirect with a JSON body passes the library as an answer
                    return wire.decode(await answer.read())
            raise self._lost(what, f"HTTP {answer.status_code}", repeatable)
        except sdk.APIStatusError as e:
            raise self._refused(what, e, repeatable) from None
        except sdk.APIConnectionError as e:
            sent = not type(e.__cause__).__name__.startswith(("Connect", "Pool"))
            why = f"no answer: {type(e.__cause__).__name__}" if sent else "no connection"
            raise self._lost(what, why, repeatable or not sent) from None
        except (sdk.APIError, ValueError, TimeoutError) as e:
            why = "no answer in time" if isinstance(e, TimeoutError) else "the answer is not one of the API"
            raise self._lost(what, why, repeatable) from None

    def _refused(self, what: str, error: Any, repeatable: bool) -> OrchestratorError:
        wait = asked_pause(error.response.headers, self._now())
        refusal = self._words.refusal(what, error.status_code, error.body, wait, missing=_MISSING)
        return refusal.of_repeatable() if repeatable else refusal.of_once()

    def _lost(self, what: str, why: str, nothing_done: bool) -> OrchestratorError:
        return (BlipError if nothing_done else UncertainError)(self._words.tell(what, why))

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._open)
            return self._client

    def _open(self) -> Any:
        from google import genai  # 0.8 s
        from google.genai import types

        options = types.HttpOptions(
            **self._address,
            timeout=int(self._timeout * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
            async_client_args={
                "follow_redirects": False,  # the key goes to one host only
                "trust_env": by_proxy(self._address["base_url"]),
            },
        )
        client = genai.Client(api_key=self._key, vertexai=False, http_options=options)
        _ = client.aio.webhooks  # made at first use, which takes half a second more
        return client

    # -------------------------------------------------------------- answers

    def _read(self, what: str, value: Any) -> Registration:
        """A webhook, out of whatever came; it has an id, and of the rest what the answer says.

        A list has everybody's of the project: one that lacks a field must not hide ours.
        """
        name, uri, state = (_text(value, key) for key in ("id", "uri", "state"))
        name = name.removeprefix("webhooks/")
        if not _ID.fullmatch(name):
            raise self._unreadable(what)
        events = tuple(e for e in _items(value, "subscribed_events") if isinstance(e, str))
        hints = tuple(h for s in _items(value, "signing_secrets") if (h := _hint(s)) is not None)
        return Registration(name, uri, state or UNKNOWN, events, _text(value, "name"), hints)

    def _made(self, value: Any, uri: str, events: tuple[str, ...], name: str) -> Registration:
        """What was made, as far as the answer says it: its secret must not be lost over the rest."""
        try:
            read = self._read("create", value)
        except UnavailableError:
            return Registration(_text(value, "id"), uri, UNKNOWN, events, name)
        return replace(read, uri=read.uri or uri, events=read.events or events, name=read.name or name)

    def _unreadable(self, what: str) -> UnavailableError:
        return UnavailableError(self._words.tell(what, "the answer is not a webhook"))


def _usable(webhook_id: str) -> str:
    """An id that may stand in an address, where the library would take `../` for a way up."""
    name = webhook_id.removeprefix("webhooks/")
    if not _ID.fullmatch(name):
        raise RejectedError("Gemini has no such webhook: the id is impossible", code="not_found")
    return name


def _items(value: Any, key: str) -> Sequence[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else ()


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _hint(value: Any) -> SecretHint | None:
    """The end of a secret: what stands behind the last dot of `whsec_...Hh8=`."""
    tail = _text(value, "truncated_secret").rpartition(".")[2].removeprefix(SECRET_PREFIX)
    return SecretHint(tail, _instant(_text(value, "expire_time"))) if tail else None


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
