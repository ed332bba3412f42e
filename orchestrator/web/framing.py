"""The service's end of an HTTP connection: uvicorn's own, with an end to what a request's head may take.

Before its head is whole nobody knows who is asking, and httptools keeps all of it, in time that grows with
the square of its length: a head of 60 MB from a stranger held up everybody for ten seconds. Refusals have
the API's shape, come behind the answers to all that was asked before, and who is still sending is read for
a moment, so that the answer is not lost to a reset.
"""

import asyncio
from typing import Any, Final

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from orchestrator.web import problems

log = structlog.get_logger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of the request line and all headers; one field alone may have as many. So many may also stand around a
piece of a body: the parser keeps a trailer as it does a header.
"""
MAX_PIPELINED: Final = 64
"""Requests that wait on one connection until those before them are answered."""
HEAD_SECONDS: Final = 10.0
"""From the first byte of a head, or of a connection, to the head's end; or to the end of a body whose
request is answered already.
"""
IDLE_SECONDS: Final = 75
"""Between two requests; longer than common proxies keep a connection, so that none sends on one we close."""
READ_SECONDS: Final = 60.0
"""How long an answer may wait for a client that takes nothing of it."""
LINGER_BYTES: Final = 16 * 1024 * 1024
LINGER_SECONDS: Final = 2.0
_CHUNKED: Final = b"chunked"
_FIELD_BYTES: Final = len(": \r\n")


class Framing(HttpToolsProtocol):
    """Refuses a head that is too large (431), too slow (408) or not plain HTTP/1 (400), and closes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = IDLE_SECONDS
        self._in_head, self._begun = True, False
        self._fed, self._parsed, self._unanswered = 0, 0, 0
        self._refused: tuple[int, str] | None = None
        self._lingered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            self._linger(len(data))
            return
        self._unset_keepalive_if_required()
        self._fed += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(400, "this is not a well-formed HTTP/1.1 request")
        else:
            self._look()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun, self._parsed = True, 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _FIELD_BYTES)
        if not self._in_head:
            return  # a trailer is no header: RFC 9110, 6.5.1
        if name.lower() == b"transfer-encoding" and value.strip().lower() != _CHUNKED:
            raise ValueError("a transfer coding that would have to be guessed")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # this head comes once more, without its wish
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refuse(400, f"at most {MAX_PIPELINED} requests may wait behind one")
            raise ValueError("too many requests")
        super().on_headers_complete()
        if self.expect_100_continue:  # told no it need not send its body: what comes next may be either
            self.cycle.keep_alive = False
        self._in_head, self._begun, self._fed = False, False, 0
        self._unanswered += 1
        self._stop_timer()

    def on_body(self, body: bytes) -> None:
        self._fed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._in_head, self._fed = True, 0
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self._refused is not None and not self._unanswered and not self.transport.is_closing():
            self._say(*self._refused)

    def _feed(self, data: bytes) -> None:
        """Raises `HttpParserError`.

        A wish for another protocol (`Upgrade`) may be passed over, but the parser would skip the body with
        it: it is given the head again without the wish. Java's client wishes for HTTP/2 with every request.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as e:
                data = self._without_wish() + data[e.args[0] :]
            else:
                return

    def _without_wish(self) -> bytes:
        """The head that was just read. A CONNECT wishes for nothing else."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserError("this is no proxy")
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(fields))

    def _count(self, size: int) -> None:
        """Raises `ValueError`, over which the parser stops."""
        self._parsed += size
        if self._parsed > MAX_HEAD_BYTES:
            self._too_large()
            raise ValueError("the head is too large")

    def _look(self) -> None:
        if self._fed > MAX_HEAD_BYTES:
            self._too_large()
        elif self._timer is None and (self._begun or not self._unanswered):
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._unanswered:  # ours is the next word, not theirs
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)
        elif self._begun:
            self._refuse(408, f"the head of the request took longer than {HEAD_SECONDS:g} seconds")
        else:
            self.transport.close()

    def _too_large(self) -> None:
        self._refuse(431, f"at most {MAX_HEAD_BYTES} bytes are taken before the body, and around it")

    def _refuse(self, status: int, detail: str) -> None:
        """What was asked before is answered first; of what comes now nothing is read any more."""
        if self._refused is not None or self.transport.is_closing():
            return
        log.warning("request_refused", status=status, why=detail)
        self._refused = status, detail
        self._stop_timer()
        if not self._in_head and self._take_back():
            self._leave()
        elif not self._unanswered:
            self._say(status, detail)

    def _take_back(self) -> bool:
        """The request whose body breaks off; says whether its answer has begun, which no other can follow."""
        self._unanswered -= not self.cycle.response_complete
        if self.pipeline:
            self.pipeline.popleft()
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return self.cycle.response_started

    def _say(self, status: int, detail: str) -> None:
        body = problems.encoded(status, detail)
        head = f"content-type: {problems.MEDIA}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self._leave()

    def _leave(self) -> None:
        """Our side is closed at once, the other's read a moment longer."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    def _linger(self, size: int) -> None:
        self._lingered += size
        if self._lingered > LINGER_BYTES:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
