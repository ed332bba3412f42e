"""What the tests of the Gemini emulator share: servers, the real client, a receiver of webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from google import genai
from google.genai import types

from orchestrator.emulator.gemini.app import build
from orchestrator.emulator.gemini.clock import VirtualClock
from orchestrator.emulator.gemini.emulator import Emulator
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.serving import authorities, running

MODEL = "gemini-3.8-flash"
EVENTS = ["interaction.requires_action", "interaction.completed", "interaction.failed"]
LOOKUP = {
    "type": "function",
    "name": "lookup_order",
    "description": "Look an order up.",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}},
        "required": ["order_id"],
    },
}
REFUND = {
    "type": "function",
    "name": "refund_order",
    "description": "Refund an order.",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}},
        "required": ["order_id", "amount"],
    },
}


@dataclass
class Receiver:
    """A webhook address that notes what it is sent and answers what it is told to."""

    answers: list[int] = field(default_factory=list)
    otherwise: int = 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    uri: str = ""
    delay: float = 0.0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.got.append(({k.decode(): v.decode() for k, v in scope["headers"]}, body))
        self.news.set()
        await asyncio.sleep(self.delay)
        status = self.answers.pop(0) if self.answers else self.otherwise
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return None

    async def until(self, count: int) -> None:
        """Wait for so many deliveries."""
        while len(self.got) < count:
            self.news.clear()
            await self.news.wait()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@dataclass
class Stage:
    """A running emulator with the real client pointed at it."""

    base: str
    emulator: Emulator
    client: genai.Client

    @property
    def interactions(self) -> Any:
        return self.client.aio.interactions

    @property
    def webhooks(self) -> Any:
        return self.client.aio.webhooks

    async def start(self, text: str = "Hello.", **options: Any) -> Any:
        """A background interaction."""
        return await self.interactions.create(model=MODEL, background=True, input=text, **options)

    async def resume(self, previous: Any, results: list[dict[str, Any]], **options: Any) -> Any:
        """The next interaction of a chain, with function results."""
        return await self.interactions.create(
            model=MODEL, background=True, previous_interaction_id=previous.id, input=results, **options
        )

    async def after(self, interaction: Any, seconds: float = 1.0) -> Any:
        """The interaction as it is when the virtual clock has moved on."""
        await self.emulator.advance(seconds)
        return await self.interactions.get(id=interaction.id)

    async def http(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request that no client library would send."""
        headers = {"x-goog-api-key": "k", **options.pop("headers", {})}
        async with httpx.AsyncClient(trust_env=False, timeout=60, verify=authorities()) as raw:
            return await raw.request(method, self.base + path, headers=headers, **options)


def calls(interaction: Any) -> list[Any]:
    return [step for step in interaction.steps if step.type == "function_call"]


def answer(call: Any, result: Any, **options: Any) -> dict[str, Any]:
    return {"type": "function_result", "call_id": call.id, "name": call.name, "result": result, **options}


def turns(*items: dict[str, Any], **options: Any) -> dict[str, Any]:
    """One scenario that takes every conversation."""
    return {"scenarios": [{"name": "test", "turns": list(items), **options}]}


@asynccontextmanager
async def stage(
    *, timeout_ms: int = 10_000, key: str = "k", clock: Any = None, **options: Any
) -> AsyncIterator[Stage]:
    """An emulator on a virtual clock (unless another is given), served and reachable."""
    app = build(EmulatorSettings(clock=clock or VirtualClock(), seed=7, **options))
    async with running(app) as base:
        client = genai.Client(
            api_key=key,
            http_options=types.HttpOptions(
                base_url=base,
                api_version="v1beta",
                timeout=timeout_ms,
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )
        try:
            yield Stage(base, app.state.emulator, client)
        finally:
            await client.aio.aclose()
            client.close()


@asynccontextmanager
async def receiving(*answers: int, otherwise: int = 200) -> AsyncIterator[Receiver]:
    """A receiver, served; `answers` are its first statuses, then `otherwise`."""
    receiver = Receiver(list(answers), otherwise)
    async with running(receiver) as base:
        receiver.uri = base + "/hooks"
        yield receiver
