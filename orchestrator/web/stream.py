"""A run's record while it grows, as server-sent events.

A stream reads the record from where the client is, sends what is there and waits for a hint that
there is more. Each event carries its sequence number as id, so a client that comes back with
`Last-Event-ID` misses nothing and gets nothing twice, from whichever process it asks.

Nothing is read ahead: the next few entries are read when the client has taken those before.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import structlog
from litestar import Request, Response
from litestar.params import HeaderParameter
from litestar.response.base import ASGIResponse
from litestar.response.sse import ServerSentEventMessage
from litestar.response.streaming import ASGIStreamingResponse
from litestar.serialization import encode_json
from litestar.types import Receive, Scope, Send
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from orchestrator.engine.ports import Clock
from orchestrator.errors import InvalidError, NotFoundError, UnavailableError
from orchestrator.store import views
from orchestrator.store.changes import Changes
from orchestrator.store.database import Database
from orchestrator.web.doors import Token
from orchestrator.web.schemas.ground import Hidden
from orchestrator.web.schemas.record import EventOut, event_out

log = structlog.get_logger(__name__)

MEDIA: Final = "text/event-stream"
MOST: Final = 200
"""Streams at once in one process."""
RETRY_SECONDS: Final = 5.0
"""Told to whom there is no place for."""
PING_SECONDS: Final = 15.0
"""Longest silence. Proxies give up after 30 to 60; a hint that got lost delays an entry by no more."""
BATCH: Final = 20
"""Entries read at once; what a client that does not read costs us."""

ENDLESS: Final = "endless"
"""In the state of a request whose answer is a stream, for the server that has to stop it."""

HELLO: Final = ServerSentEventMessage(data=None, retry=1000).encode()  # milliseconds until it comes back
PING: Final = ServerSentEventMessage(data=None, comment="still here").encode()
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
LARGEST: Final = 2**31 - 1

LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        description="Of a stream: the last event that arrived; goes before `after`.",
    ),
]


def wanted(request: Request[Any, Any, Any]) -> bool:
    """Whether the client prefers the stream; who takes anything gets JSON."""
    try:
        best = request.accept.best_match(["application/json", MEDIA])
    except (ValueError, OverflowError):  # Litestar on a quality such as `inf`
        return False
    return best == MEDIA


def place(request: Request[Any, Any, Any], after: int) -> tuple[int, str]:
    """Where the client is in the record, and the parameter that says so.

    Raises:
        InvalidError: `Last-Event-ID` is no id of ours.
    """
    given = request.headers.getall("last-event-id", [])
    if not given:
        return after, "after"
    if len(given) > 1 or not _NUMBER.fullmatch(given[0]) or int(given[0]) > LARGEST:
        raise _wrong("Last-Event-ID", "must be the id of the last event that arrived")
    return int(given[0]), "Last-Event-ID"


def _wrong(parameter: str, what: str) -> InvalidError:
    return InvalidError(f"{parameter} {what}", [(parameter, what)])


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a record: entries after a place, whether more follow, and the status its run was closed with,
    if it was.
    """

    entries: Sequence[EventOut]
    more: bool
    ended: str | None


def part(s: Session, run_id: str, after: int, hidden: Hidden) -> Part:
    """Raises `NotFoundError`."""
    run, record = views.record(s, run_id, after=after, limit=BATCH)
    entries = [event_out(e, hidden) for e in record.rows]
    return Part(entries, record.more, run["status"] if run["closed_at"] is not None else None)


class Streams:
    """Every stream of this process.

    Args:
        hidden: What nobody is shown of the entries.
        most: Streams at once; further ones are told to come again.
        ping_seconds: Longest silence of a stream.
    """

    def __init__(
        self,
        database: Database,
        changes: Changes,
        clock: Clock,
        hidden: Hidden,
        *,
        most: int = MOST,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self.changes = changes
        self._database, self._clock = database, clock
        self._most, self._ping, self._hidden = most, ping_seconds, hidden
        self._sending: set[object] = set()

    @property
    def open(self) -> int:
        """How many are being sent now."""
        return len(self._sending)

    async def start(self, run_id: str, request: Request[Any, Any, Any], after: int, token: Token) -> "Live":
        """The answer that goes on until the run is closed, the client leaves, or the token expires.

        Raises:
            NotFoundError: There is no such run.
            InvalidError: The client was further than the record is, so it means another one.
            UnavailableError: No place is free, or the service is about to stop.
        """
        after, said_by = place(request, after)
        if after > (await self._database.read(views.run, run_id))["seq"]:
            raise _wrong(said_by, "is beyond the end of this run's record")
        # No await from here to the first byte: between looking and taking, a place stays free.
        if self.changes.stopped or len(self._sending) >= self._most:
            raise UnavailableError("no more streams can be open here now", retry_after=RETRY_SECONDS)
        return Live(self._record(run_id, after, token), self._sending)

    async def _record(self, run_id: str, after: int, token: Token) -> AsyncGenerator[bytes, None]:
        yield HELLO
        with self.changes.watch(run_id) as signal:
            while self._may_go_on(token) and (found := await self._look(run_id, after)):
                for entry in found.entries:
                    yield _message("entry", entry, id=entry.seq)
                    after = entry.seq
                if found.more:
                    continue
                if found.ended is not None:
                    yield _message("end", {"status": found.ended})
                    return
                if not await signal.wait(self._ping):
                    yield PING

    def _may_go_on(self, token: Token) -> bool:
        return not self.changes.stopped and (token.expires is None or self._clock() < token.expires)

    async def _look(self, run_id: str, after: int) -> Part | None:
        """None where it cannot be read. The stream then ends without `end`: the client asks again."""
        try:
            return await self._database.read(part, run_id, after, self._hidden)
        except (SQLAlchemyError, NotFoundError) as e:
            log.warning("stream_broken", run_id=run_id, error=type(e).__name__)
            return None


def _message(event: str, data: object, *, id: int | None = None) -> bytes:
    return ServerSentEventMessage(data=encode_json(data), event=event, id=id).encode()


class Live(Response[Any]):
    """A stream as a handler returns it."""

    def __init__(self, record: AsyncGenerator[bytes, None], sending: set[object]) -> None:
        super().__init__(None, media_type=MEDIA, headers={"x-accel-buffering": "no"})
        self._record, self._sending = record, sending

    def to_asgi_response(
        self, app: Any, request: Any, *, headers: Mapping[str, str] | None = None, **_: Any
    ) -> ASGIResponse:
        return _Sent(self._record, self._sending, {**(headers or {}), **self.headers})


class _Sent(ASGIStreamingResponse):
    """Has its place from the first byte to the last, however that comes."""

    def __init__(
        self, record: AsyncGenerator[bytes, None], sending: set[object], headers: dict[str, str]
    ) -> None:
        super().__init__(iterator=record, headers=headers, media_type=MEDIA)
        self._record, self._sending = record, sending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._sending.add(self)
        scope["state"][ENDLESS] = True
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._sending.discard(self)
            # A client that leaves while something is sent to it leaves the generator at its `yield`.
            await self._record.aclose()
