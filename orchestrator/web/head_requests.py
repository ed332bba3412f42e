"""HEAD wherever there is a GET: monitors and load balancers ask that way."""

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send


def answering_heads(app: ASGIApp) -> ASGIApp:
    """The same app, which answers a HEAD as it would the GET, without the body.

    `Accept` is left out, for the one thing it chooses is a stream that goes on as long as its run.
    """

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "HEAD":
            await app(scope, receive, _naming_heads(send) if scope.get("method") == "OPTIONS" else send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept"]
        asked: Any = {**scope, "method": "GET", "headers": headers}
        await app(asked, receive, _bodiless(send))

    return handler


def allowed(methods: str) -> str:
    """A list of methods in one order, with the HEAD that every GET has."""
    named = {method.strip() for method in methods.split(",")}
    return ", ".join(sorted(named | ({"HEAD"} if "GET" in named else set())))


def _naming_heads(send: Send) -> Send:
    """Litestar answers OPTIONS by itself, from the routes it knows: none of them is a HEAD."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, allowed(value.decode("latin-1")).encode() if name.lower() == b"allow" else value)
                for name, value in message["headers"]
            ]
            message = {**message, "headers": headers}
        await send(message)

    return sent


def _bodiless(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sent
