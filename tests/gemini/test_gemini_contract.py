"""What we send is what the library would send: an update of it cannot change that behind our back.

Every case goes out twice to one server, once by the library's plain call and once by ours.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google import genai
from google.genai import types

from orchestrator.domain.exchange import Correlation, CreateRequest, FunctionResult
from orchestrator.domain.model import Recipe
from orchestrator.gemini import wire
from orchestrator.gemini.gateway import GeminiGateway

KEY = "AIza-made-up"
REFUND = {
    "type": "function",
    "name": "refund_order",
    "description": "Refund an order.",
    "parameters": {
        "type": "object",
        "properties": {
            "order_id": {"type": "string", "description": "For example A-17"},
            "amount": {"type": "number", "minimum": 0},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        },
        "required": ["order_id"],
        "$defs": {"Line": {"type": "object", "additionalProperties": False}},
    },
}
MODEL = Recipe(
    "support",
    model="gemini-3.8-flash",
    system_instruction="You are a support agent. Grüße!",
    builtin_tools=({"type": "google_search"}, {"type": "url_context"}),
    generation_config={"max_output_tokens": 2048, "thinking_level": "low", "tool_choice": "auto", "seed": 7},
    response_format={"type": "text", "mime_type": "application/json", "schema": {"type": "object"}},
)
AGENT = Recipe(
    "research",
    agent="deep-research-preview-04-2026",
    agent_config={"type": "deep-research", "thinking_summaries": "auto", "visualization": "off"},
)
PLANNER = Recipe(
    "research",
    agent="deep-research-preview-04-2026",
    agent_config={"type": "deep-research", "collaborative_planning": True},
)
SANDBOXED = Recipe("mend", agent="antigravity-preview-09-2026", environment="remote")
BOUNDED = Recipe(
    "mend",
    agent="antigravity-preview-09-2026",
    environment={"type": "remote", "network": {"allowlist": [{"domain": "example.com"}]}},
    agent_config={"type": "antigravity", "model": "gemini-3.8-flash", "max_total_tokens": 200_000},
)
RESULTS = (
    FunctionResult("c1", "lookup_order", {"order_id": "A-17", "late": True, "n": 1, "x": 1.5, "none": None}),
    FunctionResult("c2", "refund_order", "Rejected by alice: amount above limit.", is_error=True),
    FunctionResult("c3", "see", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
    FunctionResult("c4", "count", {"result": [1, "two", {"three": 3}]}),
)
REQUESTS = {
    "bare": CreateRequest(Recipe("w", model="some-new-model"), Correlation("run_1", 1, 1), "hi"),
    "first": CreateRequest(
        MODEL, Correlation("run_1", 1, 1), "Refund order A-17.\n\u2028", functions=(REFUND,)
    ),
    "results": CreateRequest(
        MODEL, Correlation("run_1", 2, 3), RESULTS, functions=(REFUND,), previous_id="v1_Chd-_=="
    ),
    "plan": CreateRequest(PLANNER, Correlation("run_3", 1, 1), "Research X", planning=True),
    "carried out": CreateRequest(
        PLANNER, Correlation("run_3", 2, 1), "Carry out the plan.", previous_id="v1_b", planning=False
    ),
    "sandbox": CreateRequest(SANDBOXED, Correlation("run_4", 1, 1), "Mend it"),
    "same sandbox": CreateRequest(
        SANDBOXED, Correlation("run_4", 2, 1), "Go on", previous_id="v1_b", environment="env_1"
    ),
    "bounded": CreateRequest(BOUNDED, Correlation("run_4", 1, 1), "Mend it"),
    "agent": CreateRequest(AGENT, Correlation("run_2", 1, 1), "Research X"),
    "continued": CreateRequest(
        MODEL,
        Correlation("run_1", 3, 1),
        "",
        functions=(REFUND,),
        previous_id="v1_b",
        continuation="t0k/en+=",
    ),
}


@asynccontextmanager
async def both(base_url: str, version: str = "v1beta") -> AsyncIterator[tuple[Any, GeminiGateway]]:
    options = types.HttpOptions(
        base_url=base_url,
        api_version=version,
        timeout=30_000,
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    client = genai.Client(api_key=KEY, http_options=options)
    gateway = GeminiGateway(api_key=KEY, base_url=base_url, api_version=version)
    try:
        yield client.aio.interactions, gateway
    finally:
        await gateway.aclose()
        await client.aio.aclose()
        client.close()


def told(request: Any) -> tuple[str, str, dict[str, str], Any]:
    """A request without its length, which depends on how text is escaped, and its JSON as a value."""
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    return request.method, request.target, headers, request.json if request.body else None


async def compare(server: Any, theirs: Awaitable[Any], ours: Awaitable[Any]) -> None:
    await theirs
    await ours
    first, second = server.requests
    assert told(first) == told(second)
    assert ("content-length" in first.headers) == ("content-length" in second.headers)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_create_is_what_the_library_would_send(
    name: str, serving: Callable[[], Any], reply: Any
) -> None:
    request = REQUESTS[name]
    async with serving() as server, both(server.base_url) as (library, gateway):
        server.answer(reply.of({"id": "v1_a", "status": "in_progress"}))
        await compare(server, library.create(**wire.create_body(request)), gateway.create(request))
        assert server.requests[0].json["webhook_config"]["user_metadata"]["run"] == request.correlation.run


@pytest.mark.asyncio
@pytest.mark.parametrize("interaction", ["v1_Chd-_x", "v1_Chd==", "a.b", "interaction-id-goes-here"])
async def test_fetch_and_cancel(interaction: str, serving: Callable[[], Any], reply: Any) -> None:
    async with serving() as server, both(server.base_url) as (library, gateway):
        server.answer(reply.of({"id": interaction, "status": "completed"}))
        await compare(server, library.get(id=interaction), gateway.fetch(interaction))
        server.requests.clear()
        await compare(server, library.cancel(id=interaction), gateway.cancel(interaction))


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["", "/", "/gemini", "/interaction-id-goes-here/x/"])
async def test_address_and_version_make_the_librarys_path(
    path: str, serving: Callable[[], Any], reply: Any
) -> None:
    async with serving() as server, both(server.base_url + path, "v1") as (library, gateway):
        server.answer(reply.of({"id": "v1_a", "status": "completed"}))
        await compare(server, library.get(id="v1_a"), gateway.fetch("v1_a"))
        assert server.requests[0].target == f"{path.rstrip('/')}/v1/interactions/v1_a?stream=false"


@pytest.mark.asyncio
async def test_the_surroundings_cannot_move_us(
    serving: Callable[[], Any], reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither another key nor another platform, by the variables the library listens to."""
    monkeypatch.setenv("GOOGLE_API_KEY", "another")
    monkeypatch.setenv("GEMINI_API_KEY", "another")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_USE_ENTERPRISE", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    async with serving() as server:
        gateway = GeminiGateway(api_key=KEY, base_url=server.base_url)
        server.answer(reply.of({"id": "v1_a", "status": "completed"}))
        await gateway.fetch("v1_a")
        await gateway.aclose()
    assert server.requests[0].target == "/v1beta/interactions/v1_a?stream=false"
    assert server.requests[0].headers["x-goog-api-key"] == KEY
