"""The service's end of an HTTP connection: uvicorn's own, with an end to what a request's head may take.

Before its head is whole nobody knows who is asking, and httptools keeps all of it, in time that grows with
the square of its length: a head of 60 MB from a stranger held up everybody for ten seconds. Refusals have
the API's shape, and who is still sending is read for a moment, so that the answer is not lost to a reset.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from orchestrator.web import problems

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of the request line and all headers; one field alone may have as many."""
HEAD_SECONDS: Final = 10.0
"""From the first byte of a head, or of a connection, to the head's end."""
LINGER_BYTES: Final = 16 * 1024 * 1024
LINGER_SECONDS: Final = 2.0
_CHUNKED: Final = b"chunked"


class Framing(HttpToolsProtocol):
    """Refuses a head that is too large (431), too slow (408) or not plain HTTP/1 (400), and closes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head, self._fed, self._parsed = True, 0, 0
        self._refused: int | None = None
        self._lingered = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            self._linger(len(data))
            return
        if self._in_head:
            self._fed += len(data)
        super().data_received(data)
        if self._in_head and self._refused is None:
            self._look_at_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._parsed = True, 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if name.lower() == b"transfer-encoding" and value.strip().lower() != _CHUNKED:
            raise ValueError("a transfer coding that would have to be guessed")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._fed = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when its parser gives up, also over what the callbacks above raise."""
        if self._parsed > MAX_HEAD_BYTES:
            self._refuse(431, f"at most {MAX_HEAD_BYTES} bytes are taken before the body")
        else:
            self._refuse(400, "this is not a well-formed HTTP/1.1 request")

    def _count(self, size: int) -> None:
        """Raises `ValueError`, over which the parser stops."""
        self._parsed += size
        if self._parsed > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")

    def _look_at_head(self) -> None:
        if self._fed > MAX_HEAD_BYTES:
            self._refuse(431, f"at most {MAX_HEAD_BYTES} bytes are taken before the body")
        elif self._fed and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _late(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:  # ours is the next word, not theirs
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)
        elif self._fed:
            self._refuse(408, f"the head of the request took longer than {HEAD_SECONDS:g} seconds")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        if self._refused is not None or self.transport.is_closing():
            return
        self._refused = status
        self._stop_timer()
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
