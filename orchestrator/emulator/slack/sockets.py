"""Socket Mode: the app connects to us, and gets over the socket what else would be posted to its addresses.

Source: Slack, "Using Socket Mode": `hello`, envelopes acknowledged within 3 s, `disconnect` with a reason, at
most ten sockets an app, each envelope to one of them.
"""

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any, Final, Literal

from litestar import WebSocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect, WebSocketException
from litestar.handlers import websocket

from orchestrator.emulator.slack.settings import Switches

Goodbye = Literal["warning", "refresh_requested", "link_disabled"]

MOST_SOCKETS: Final = 10
HOST: Final = "applink-local"
REFUSED: Final = 4001
"""Close code for a ticket we did not give; Slack does not document one."""


class NoSocketError(ConnectionError):
    """No socket is connected, or the one an envelope went to broke."""


class _Link:
    """One connected socket; `leaving` once the app was told to connect anew."""

    def __init__(self, socket: "WebSocket[Any, Any, Any]") -> None:
        self.socket = socket
        self.leaving = False

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send_text(json.dumps(message))


class Sockets:
    """The sockets of one app and the envelopes on their way."""

    def __init__(self, app_id: str, switches: Callable[[], Switches], base_url: Callable[[], str]) -> None:
        self._app_id = app_id
        self._switches = switches
        self._base_url = base_url
        self._tickets: set[str] = set()
        self._links: list[_Link] = []
        self._asked: dict[str, asyncio.Future[Any]] = {}

    @property
    def connected(self) -> int:
        """How many sockets are open."""
        return len(self._links)

    def open(self, _: object = None) -> dict[str, Any]:
        """`apps.connections.open`: an address that lets one socket in."""
        ticket = secrets.token_urlsafe(16)
        self._tickets.add(ticket)
        base = self._base_url().replace("http", "ws", 1)
        return {"url": f"{base}/link/?ticket={ticket}&app_id={self._app_id}"}

    def envelope(self) -> tuple[str, asyncio.Future[Any]]:
        """An id for an envelope, and what its acknowledgement will carry."""
        envelope_id = secrets.token_hex(16)
        self._asked[envelope_id] = asyncio.get_running_loop().create_future()
        return envelope_id, self._asked[envelope_id]

    async def ask(self, envelope: dict[str, Any], answered: "asyncio.Future[Any]") -> Any:
        """Send an envelope and wait for its acknowledgement; gives the payload in it, None if there is none.

        Raises:
            NoSocketError: Nobody is connected, or the connection broke on the way.
        """
        try:
            links = sorted(self._links, key=lambda link: link.leaving)
            if not links:
                raise NoSocketError("no socket is connected")
            self._links.remove(links[0])
            self._links.append(links[0])  # the next one goes to another
            await self._hand_over(links[0], envelope)
            return await answered
        finally:
            self._asked.pop(str(envelope["envelope_id"]), None)

    async def _hand_over(self, link: _Link, envelope: dict[str, Any]) -> None:
        try:
            await link.send(envelope)
        except (OSError, RuntimeError, WebSocketException) as broken:
            raise NoSocketError("the socket broke") from broken

    async def disconnect(self, reason: Goodbye = "warning") -> int:
        """Tell every socket to connect anew, and close it unless this is only the warning; says how many."""
        links = [link for link in self._links if not link.leaving]
        for link in links:
            link.leaving = True
            await link.send({"type": "disconnect", "reason": reason, "debug_info": {"host": HOST}})
            if reason != "warning":
                self._forget(link)
                await link.socket.close()
        return len(links)

    async def serve(self, socket: "WebSocket[Any, Any, Any]") -> None:
        """One socket from its first word to its last."""
        await socket.accept()
        ticket = str(socket.query_params.get("ticket"))
        if ticket not in self._tickets:
            await socket.close(REFUSED, "no such ticket")
            return
        self._tickets.discard(ticket)
        link = _Link(socket)
        if refusal := self._refusal():
            await link.send({"type": "disconnect", "reason": refusal, "debug_info": {"host": HOST}})
            await socket.close()
            return
        self._links.append(link)
        try:
            await link.send(self._hello())
            await self._listen(socket)
        finally:
            self._forget(link)

    def _forget(self, link: _Link) -> None:
        self._links = [one for one in self._links if one is not link]

    async def _listen(self, socket: "WebSocket[Any, Any, Any]") -> None:
        try:
            while True:
                self._acknowledged(await socket.receive_text())
        except WebSocketDisconnect:
            return

    def _acknowledged(self, text: str) -> None:
        """Take an acknowledgement; Slack ignores what it does not know, and so do we."""
        try:
            message = json.loads(text)
        except ValueError:
            return
        asked = self._asked.get(str(message.get("envelope_id"))) if isinstance(message, dict) else None
        if asked is not None and not asked.done():
            asked.set_result(message.get("payload"))

    def _refusal(self) -> str | None:
        if not self._switches().socket_mode:
            return "link_disabled"
        return "too_many_websockets" if len(self._links) >= MOST_SOCKETS else None

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "num_connections": len(self._links),
            "connection_info": {"app_id": self._app_id},
            "debug_info": {"host": HOST, "build_number": 1, "approximate_connection_time": 18060},
        }


@websocket("/link")
async def link(socket: "WebSocket[Any, Any, Any]", sockets: NamedDependency[Sockets]) -> None:
    """Where an app connects with the address `apps.connections.open` gave it."""
    await sockets.serve(socket)
