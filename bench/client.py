"""CPU of one create and one get: the plain google-genai calls beside our gateway, against one server.

The server runs in another process, so that only the client is counted.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench import process
from orchestrator.domain.exchange import Correlation, CreateRequest
from orchestrator.domain.model import Recipe
from orchestrator.emulator.serving import free_port
from orchestrator.gemini import wire
from orchestrator.gemini.gateway import GeminiGateway

TIMES = 150
RECIPE = Recipe("refund", model="gemini-3.8-flash", system_instruction="You handle refunds.")
FUNCTION = {
    "type": "function",
    "name": "refund_order",
    "description": "Refund an order.",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}},
        "required": ["order_id"],
    },
}
REQUEST = CreateRequest(RECIPE, Correlation("run_bench", 1, 1), "Refund A-1042.", (FUNCTION,))


async def main() -> None:
    """Print the table."""
    from google import genai
    from google.genai import types

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    serving = ["-m", "uvicorn", "bench.client:still", "--port", str(port), "--log-level", "error"]
    async with process.started([*serving, "--no-access-log"], os.environ, f"{address}/v1beta/interactions/x"):
        options = types.HttpOptions(
            base_url=address,
            api_version="v1beta",
            timeout=30_000,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        client = genai.Client(api_key="k", http_options=options)
        plain, ours = client.aio, GeminiGateway(api_key="k", base_url=address)
        body: dict[str, Any] = wire.create_body(REQUEST)
        rows = {
            "create": (lambda: plain.interactions.create(**body), lambda: ours.create(REQUEST)),
            "get": (lambda: plain.interactions.get(id="v1_x"), lambda: ours.fetch("v1_x")),
        }
        print("CPU of one call, client side")
        for name, (theirs, mine) in rows.items():
            library, gateway = await _cost(theirs), await _cost(mine)
            share = f"{gateway / library:.2f} of it"
            print(f"  {name:7} library {library:6.2f} ms   our gateway {gateway:6.2f} ms   {share}")
        await ours.aclose()
        await plain.aclose()


async def _cost(call: Callable[[], Awaitable[Any]]) -> float:
    for _ in range(5):
        await call()
    began = time.process_time()
    for _ in range(TIMES):
        await call()
    return (time.process_time() - began) / TIMES * 1000


async def still(scope: Any, receive: Any, send: Any) -> None:
    """The server: the same interaction, whatever is asked."""
    if scope["type"] != "http":
        return
    await receive()
    body = b'{"id": "v1_x", "status": "in_progress", "steps": []}'
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    asyncio.run(main())
