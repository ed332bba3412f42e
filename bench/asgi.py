"""The few words of ASGI that the stand-ins of these measurements speak by themselves."""

import json
from typing import Any


async def lifespan(receive: Any, send: Any) -> None:
    """What a server is asked at its start and end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def body(receive: Any) -> bytes:
    """All of a request's body."""
    whole, more = b"", True
    while more:
        message = await receive()
        whole += message.get("body", b"")
        more = message.get("more_body", False)
    return whole


async def answer(send: Any, said: Any, status: int = 200) -> None:
    """Say it as JSON."""
    text = json.dumps(said).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": text})
