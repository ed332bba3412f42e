"""A line to a PostgreSQL that can be cut; or held, so that nothing passes any more and nobody is told.

Over one that is held the server stands still, or is gone from behind a proxy: what is sent comes to nothing.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
CHUNK: Final = 65536


class Line:
    """One that is up, in a thread of its own, so that a test may block.

    Args:
        behind: Where it leads.
    """

    def __init__(self, behind: sa.URL) -> None:
        self._behind = behind
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = asyncio.Event()
        self._open.set()
        self._age = 0
        self._passing: set[asyncio.Task[Any]] = set()
        self.port = 0
        self.mend()
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = behind.difference_update_query(["host", "port"]).set(host="127.0.0.1", port=self.port)

    def hold(self) -> None:
        """Connections come about as before, and are silent."""
        self._done(self._set(is_open=False))

    def release(self, *, anew: bool = False) -> None:
        """What was held passes; with `anew` only what is begun now, as where another server took over."""
        self._done(self._set(is_open=True, older=anew))

    def cut(self) -> None:
        """Every connection ends, and none comes about."""
        self._done(self._end())

    def mend(self) -> None:
        """Connections come about again."""
        self._server = self._done(asyncio.start_server(self._connected, "127.0.0.1", self.port))

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _done(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _set(self, *, is_open: bool, older: bool = False) -> None:
        self._age += older
        (self._open.set if is_open else self._open.clear)()

    async def _end(self) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, age = asyncio.current_task(), self._age
        assert task is not None
        self._passing.add(task)
        back = None
        try:
            await self._may_pass(age)
            there, back = await self._to_server()
            await asyncio.gather(self._pass(reader, back, age), self._pass(there, writer, age))
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone, or the test is over
        finally:
            self._passing.discard(task)
            for end in (writer, back):
                if end is not None:
                    end.close()

    async def _may_pass(self, age: int) -> None:
        await self._open.wait()
        if age < self._age:
            await asyncio.Event().wait()

    async def _to_server(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = str(self._behind.query.get("host") or self._behind.host)
        port = int(str(self._behind.query.get("port") or self._behind.port or 5432))
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, age: int) -> None:
        while data := await reader.read(CHUNK):
            await self._may_pass(age)
            writer.write(data)
            await writer.drain()
        await self._may_pass(age)
        with suppress(OSError):
            writer.write_eof()


@contextmanager
def line_to(behind: sa.URL | str) -> Iterator[Line]:
    """Until the block ends."""
    with closing(Line(sa.make_url(behind))) as line:
        yield line
