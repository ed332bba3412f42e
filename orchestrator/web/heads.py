"""HEAD wherever there is a GET: monitors and load balancers ask that way."""

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send


def answering_heads(app: ASGIApp) -> ASGIApp:
    """The same app, which answers a HEAD as it would the GET, without the body.

    `Accept` is left out, for the one thing it chooses is a stream that goes on as long as its run.
    """

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "HEAD":
            await app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept"]
        asked: Any = {**scope, "method": "GET", "headers": headers}
        await app(asked, receive, _bodiless(send))

    return handler


def _bodiless(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sent
